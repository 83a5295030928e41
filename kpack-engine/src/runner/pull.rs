//! Gets the image of a container.

use std::sync::Arc;

use cnb_layers::{Digest, ImageSource, Platform, Reference, UnpackOptions};
use registry_auth::{AnonymousKeychain, Chain, Keychain, KubernetesKeychain, KubernetesSecret};

use super::ImageRouter;
use super::lookup::data;
use super::not_started::{NotStarted, with_causes};
use super::roots::{Root, Roots};
use super::spec::PodSpec;
use crate::{Kind, Object, Resources};

/// Gets images for the containers of pods.
pub(super) struct Puller {
    pub(super) router: Arc<dyn ImageRouter>,
    pub(super) roots: Arc<Roots>,
    pub(super) architecture: &'static str,
}

/// A container's image.
pub(super) struct Pulled {
    pub(super) root: Root,
    /// `REPOSITORY@DIGEST`.
    pub(super) id: String,
}

impl Puller {
    /// Returns the image, unpacked. A digest that is here already is not asked for again.
    pub(super) fn pull(
        &self,
        resources: &dyn Resources,
        namespace: &str,
        spec: &PodSpec,
        image: &str,
    ) -> Result<Pulled, NotStarted> {
        let reference = Reference::parse(image).map_err(|error| NotStarted {
            reason: "InvalidImageName",
            message: format!("Failed to apply default image tag {image:?}: {}", with_causes(&error)),
            may_heal: false,
        })?;
        let pulled = |root: Root, digest: &Digest| Pulled {
            root,
            id: format!("{}@{digest}", reference.repository()),
        };
        if let Some(digest) = reference.digest()
            && let Some(root) = self.roots.present(digest).map_err(|error| failed(image, &error))?
        {
            return Ok(pulled(root, digest));
        }
        let keychain = keychain(resources, namespace, spec)?;
        let source = self.router.route(&reference, keychain);
        let source = source.map_err(|error| failed(image, &error))?;
        let found = self.find(&*source, &reference, image)?;
        let root = self
            .roots
            .unpacked(&*source, &reference, &found, &UnpackOptions::default())
            .map_err(|error| failed(image, &error))?;
        Ok(pulled(root, found.digest()))
    }

    fn find(
        &self,
        source: &dyn ImageSource,
        reference: &Reference,
        image: &str,
    ) -> Result<cnb_layers::Image, NotStarted> {
        let found = source.image(reference, &Platform::linux(self.architecture));
        found.map_err(|error| failed(image, &error))?.ok_or_else(|| NotStarted {
            reason: "ErrImagePull",
            message: format!("failed to pull image {image:?}: not found"),
            may_heal: true,
        })
    }
}

fn failed(image: &str, error: &dyn std::error::Error) -> NotStarted {
    NotStarted {
        reason: "ErrImagePull",
        message: format!("failed to pull image {image:?}: {}", with_causes(error)),
        may_heal: true,
    }
}

/// Finds the credentials for images of a pod: pull secrets of the pod and of its service account, then the account's
/// own registry secrets.
///
/// # Deviation
/// A kubelet uses pull secrets only. The account's own secrets serve the builder's registry in kpack's controllers, so
/// they do here, where both are one program.
fn keychain(resources: &dyn Resources, namespace: &str, spec: &PodSpec) -> Result<Arc<dyn Keychain>, NotStarted> {
    let account = resources.get(Kind::ServiceAccount, Some(namespace), spec.account());
    let account = account.map_err(NotStarted::machine)?;
    let of_account = |list: &str| {
        let list = account
            .as_ref()
            .and_then(|account| account.as_value().get(list)?.as_array());
        let names = list
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.get("name")?.as_str());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut pull: Vec<String> = spec
        .image_pull_secrets
        .iter()
        .map(|secret| secret.name.clone())
        .collect();
    pull.extend(of_account("imagePullSecrets"));
    let secrets = |names: Vec<String>| {
        let mut secrets = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            let found = resources.get(Kind::Secret, Some(namespace), name);
            // A kubelet goes on without those that are missing.
            if let Some(secret) = found.map_err(NotStarted::machine)? {
                secrets.push(kubernetes_secret(&secret)?);
            }
        }
        Ok(secrets)
    };
    let (pull, account) = (secrets(pull)?, secrets(of_account("secrets"))?);
    if pull.is_empty() && account.is_empty() {
        return Ok(Arc::new(AnonymousKeychain));
    }
    let keychain = |account: &[KubernetesSecret], pull: &[KubernetesSecret]| {
        let keychain = KubernetesKeychain::for_controller(account, pull);
        keychain.map_err(|error| NotStarted::config(with_causes(&error)))
    };
    let of_node = keychain(&[], &pull)?;
    Ok(Arc::new(Chain::default().then(of_node).then(keychain(&account, &[])?)))
}

fn kubernetes_secret(secret: &Object) -> Result<KubernetesSecret, NotStarted> {
    Ok(KubernetesSecret {
        name: secret.name().to_owned(),
        kind: secret.text("/type").unwrap_or("Opaque").to_owned(),
        annotations: secret.annotations(),
        data: data(secret)?,
    })
}
