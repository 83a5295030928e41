//! What a pod's plan asks of the cluster and the registry.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

use super::{Binding, BuildAccount, BuilderImage, PodError, PodInputs, PodOptions, PodSecret, build_pod};
use crate::resource::{Build, Builder, ClusterBuilder, ObjectReference};

/// Labels, environment and system of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<String>,
    /// Its operating system.
    pub os: String,
}

/// A question that could not be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LookupError {
    /// Why.
    pub problem: String,
    /// Whether asking again may help.
    pub retryable: bool,
}

/// Answers what planning a pod asks; `None` = there is no such object.
///
/// Objects are JSON as the API has it.
pub trait PodWorld {
    /// Returns all service accounts of a namespace.
    fn service_accounts(&self, namespace: &str) -> Result<Vec<Value>, LookupError>;
    /// Returns a secret.
    fn secret(&self, namespace: &str, name: &str) -> Result<Option<Value>, LookupError>;
    /// Returns a Builder.
    fn builder(&self, namespace: &str, name: &str) -> Result<Option<Builder>, LookupError>;
    /// Returns a ClusterBuilder.
    fn cluster_builder(&self, name: &str) -> Result<Option<ClusterBuilder>, LookupError>;
    /// Returns the object of a provisioned service.
    fn service(&self, namespace: &str, reference: &ObjectReference) -> Result<Option<Value>, LookupError>;
    /// Reads an image with the secrets of a service account (namespace, name) and further pull secrets of the same
    /// namespace.
    fn image(&self, image: &str, account: (&str, &str), pull_secrets: &[String]) -> Result<ImageFacts, LookupError>;
}

/// Looks up what a Build refers to and makes its Pod.
///
/// # Errors
/// When something it needs is missing, forbidden or unusable. [`PodError::is_retryable`] says whether to try again.
pub fn plan_pod(build: &Build, world: &dyn PodWorld, options: &PodOptions, now: Timestamp) -> Result<Value, PodError> {
    let accounts = world.service_accounts(&build.metadata.namespace).map_err(lookup)?;
    let bindings = bindings(build, &accounts, world)?;
    let account = account(build, &accounts, world)?;
    let builder = read_builder(build, world)?;
    build_pod(&PodInputs {
        build,
        account: &account,
        builder: &builder,
        bindings: &bindings,
        options,
        now,
    })
}

fn lookup(error: LookupError) -> PodError {
    PodError::Lookup { problem: error.problem }
}

fn not_found(context: &'static str, resource: &str, name: &str) -> PodError {
    PodError::NotFound {
        context,
        resource: resource.to_owned(),
        name: name.to_owned(),
    }
}

fn secret_names<'a>(account: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    let references = account
        .get(field)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    references
        .iter()
        .map(|reference| reference["name"].as_str().unwrap_or_default())
}

/// Resolves service bindings. The secrets of service accounts are no bindings: a build must not read them.
fn bindings(build: &Build, accounts: &[Value], world: &dyn PodWorld) -> Result<Vec<Binding>, PodError> {
    let forbidden: Vec<&str> = accounts
        .iter()
        .flat_map(|account| secret_names(account, "secrets"))
        .collect();
    let check = |noun: &'static str, name: &str, secret: &str| {
        if forbidden.contains(&secret) {
            return Err(PodError::ForbiddenSecret {
                noun,
                name: name.to_owned(),
                secret: secret.to_owned(),
            });
        }
        Ok(())
    };
    let mut found = Vec::new();
    for service in &build.spec.services {
        let secret = if service.kind == "Secret" {
            service.name.clone()
        } else {
            let object = world
                .service(&build.metadata.namespace, service)
                .map_err(lookup)?
                .ok_or_else(|| not_found("", &guessed_resource(service), &service.name))?;
            match object["status"]["binding"]["name"].as_str() {
                Some(secret) if !secret.is_empty() => secret.to_owned(),
                _ => continue,
            }
        };
        check("service", &service.name, &secret)?;
        found.push(Binding::Service {
            name: service.name.clone(),
            secret,
        });
    }
    if build.spec.services.is_empty() {
        for binding in &build.spec.cnb_bindings {
            if let Some(secret) = &binding.secret_ref {
                check("binding", &binding.name, &secret.name)?;
            }
            found.push(Binding::Legacy(binding.clone()));
        }
    }
    Ok(found)
}

/// The plural that Kubernetes guesses for a kind, with its group.
fn guessed_resource(reference: &ObjectReference) -> String {
    let kind = reference.kind.to_ascii_lowercase();
    let plural = match kind.as_bytes().last() {
        Some(b's') => format!("{kind}es"),
        Some(b'y') => format!("{}ies", &kind[..kind.len() - 1]),
        _ => format!("{kind}s"),
    };
    match reference.api_version.split_once('/') {
        Some((group, _)) => format!("{plural}.{group}"),
        None => plural,
    }
}

fn account(build: &Build, accounts: &[Value], world: &dyn PodWorld) -> Result<BuildAccount, PodError> {
    let name = &build.spec.service_account_name;
    let account = accounts
        .iter()
        .find(|account| account["metadata"]["name"] == *name.as_str())
        .ok_or_else(|| not_found("", "serviceaccounts", name))?;
    let mut found = BuildAccount::default();
    for name in secret_names(account, "secrets") {
        if name.is_empty() {
            return Err(PodError::UnnamedSecret { field: "Secret" });
        }
        if found.secrets.iter().any(|secret| secret.name == name) {
            continue;
        }
        let secret = world
            .secret(&build.metadata.namespace, name)
            .map_err(lookup)?
            .ok_or_else(|| not_found("", "secrets", name))?;
        found.secrets.push(PodSecret::read(name, &secret));
    }
    for name in secret_names(account, "imagePullSecrets") {
        if name.is_empty() {
            return Err(PodError::UnnamedSecret {
                field: "ImagePullSecret",
            });
        }
        let known = found.secrets.iter().any(|secret| secret.name == name);
        if !known && !found.image_pull_secrets.iter().any(|other| other == name) {
            found.image_pull_secrets.push(name.to_owned());
        }
    }
    Ok(found)
}

impl PodSecret {
    /// Reads a Secret object; its data is looked at for one question only and not kept.
    pub fn read(name: &str, object: &Value) -> Self {
        let annotations = object["metadata"]["annotations"].as_object();
        let held = |field: &str| {
            object[field]["cosign.key"]
                .as_str()
                .is_some_and(|value| !value.is_empty())
        };
        Self {
            name: name.to_owned(),
            kind: object["type"].as_str().unwrap_or_default().to_owned(),
            annotations: annotations
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect(),
            has_cosign_key: held("data") || held("stringData"),
        }
    }
}

/// Finds and reads the builder image of a Build, named or by a Builder or ClusterBuilder.
///
/// # Errors
/// When the builder does not exist, or its image cannot be read or is none.
pub fn read_builder(build: &Build, world: &dyn PodWorld) -> Result<BuilderImage, PodError> {
    let spec = &build.spec.builder;
    let namespace = &build.metadata.namespace;
    let (image, account_namespace, account, pull_secrets) = match &spec.reference {
        None => {
            let pull = spec
                .image_pull_secrets
                .iter()
                .map(|secret| secret.name.clone())
                .collect();
            (
                spec.image.clone(),
                namespace.clone(),
                build.spec.service_account_name.clone(),
                pull,
            )
        }
        Some(reference) => referenced_builder(reference, world)?,
    };
    let facts = world
        .image(&image, (&account_namespace, &account), &pull_secrets)
        .map_err(|error| PodError::BuilderImage {
            problem: error.problem,
            retryable: error.retryable,
        })?;
    BuilderImage::read(&image, &facts)
}

/// Image, namespace and name of the account to read it with, pull secrets.
type ImageAccess = (String, String, String, Vec<String>);

fn referenced_builder(reference: &ObjectReference, world: &dyn PodWorld) -> Result<ImageAccess, PodError> {
    let name = &reference.name;
    match reference.kind.as_str() {
        "ClusterBuilder" => {
            let context = "unable to resolve cluster builder image: ";
            let builder = world
                .cluster_builder(name)
                .map_err(lookup)?
                .ok_or_else(|| not_found(context, "clusterbuilders.kpack.io", name))?;
            let account = builder.spec.service_account_ref;
            Ok((builder.status.latest_image, account.namespace, account.name, Vec::new()))
        }
        "Builder" => {
            let context = "unable to resolve builder image: ";
            let builder = world
                .builder(&reference.namespace, name)
                .map_err(lookup)?
                .ok_or_else(|| not_found(context, "builders.kpack.io", name))?;
            let account = builder.spec.account().to_owned();
            Ok((
                builder.status.latest_image,
                reference.namespace.clone(),
                account,
                Vec::new(),
            ))
        }
        kind => Err(PodError::UnknownBuilderKind { kind: kind.to_owned() }),
    }
}
