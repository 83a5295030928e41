//! Images on their way into the default repository, with the user's own credentials.

mod saved;

use std::{collections::BTreeMap, env, ffi::OsString, path::Path, sync::Arc};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use cnb_layers::{Image, ImageSource, LayoutStore, Platform, RegistryStore, copy_resolved_image};
use registry_auth::{
    Chain, Credential, DockerConfig, DockerConfigPlaces, Keychain, KeychainError, Reference, Repository,
};
use registry_client::{Client, HelperPrograms, HttpPolicy, ProxyPolicy};

use saved::SavedTar;
use source_fetch::{LocalError, LocalImage, LocalOptions};

use crate::{files::failure, print::Printer};

/// How registries are trusted.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct TlsFlags {
    /// a CA certificate file (PEM) that registry calls trust in addition
    #[arg(long, value_name = "FILE", default_value = "")]
    pub(crate) registry_ca_cert_path: String,
    /// whether to verify the TLS certificates of registries
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    pub(crate) registry_verify_certs: bool,
}

/// The registries as the user of this machine reaches them.
pub(crate) struct Registries {
    client: Client,
    store: RegistryStore,
}

/// An image that was found, and where.
pub(crate) struct Found {
    source: Box<dyn ImageSource>,
    reference: Reference,
    pub(crate) image: Image,
    /// Holds an unpacked file as long as it is needed.
    _unpacked: Option<tempfile::TempDir>,
}

impl Registries {
    /// Prepares calls for the images `names`: only their registries' certificates may go unchecked.
    pub(crate) fn new<'a>(flags: &TlsFlags, names: impl IntoIterator<Item = &'a str>) -> anyhow::Result<Self> {
        let mut policy = HttpPolicy {
            proxy: ProxyPolicy::from_env(|name| env::var(name).ok()),
            ..HttpPolicy::default()
        };
        for path in [&flags.registry_ca_cert_path]
            .into_iter()
            .filter(|path| !path.is_empty())
        {
            let pem = std::fs::read(path).with_context(|| format!("cannot read the CA certificate {path}"))?;
            policy.extra_ca_pems.push(pem);
        }
        if let Some(path) = env::var_os("SSL_CERT_FILE") {
            policy.extra_ca_pems.extend(std::fs::read(path));
        }
        if !flags.registry_verify_certs {
            let references = names.into_iter().filter_map(|name| name.parse::<Reference>().ok());
            policy
                .insecure_hosts
                .extend(references.map(|reference| reference.registry().to_string()));
        }
        let client = Client::new(policy, Arc::new(user_keychain()?))?;
        Ok(Self {
            store: RegistryStore::new(client.clone()),
            client,
        })
    }

    /// Finds an image: on this machine when `name` is a path that exists, else in a registry.
    pub(crate) fn find(&self, name: &str) -> anyhow::Result<Found> {
        let path = Path::new(name);
        if path.exists() {
            return local(path).with_context(|| format!("invalid local image {name}"));
        }
        // No registry is called so.
        let is_path = ["/", "./", "../"].iter().any(|start| name.starts_with(start));
        if let Some(error) = path.metadata().err().filter(|_| is_path) {
            return Err(failure("open", name, &error));
        }
        let reference: Reference = name.parse()?;
        let image = self
            .store
            .image(&reference, &Platform::linux_amd64())
            .map_err(Self::explain)?;
        let image = image.ok_or_else(|| self.absent(&reference))?;
        Ok(Found {
            source: Box::new(self.store.clone()),
            reference,
            image,
            _unpacked: None,
        })
    }

    /// Why there is no such image, in the registry's own words.
    fn absent(&self, reference: &Reference) -> anyhow::Error {
        let (host, path) = (reference.registry(), reference.repository().path());
        let identifier = reference.identifier();
        let url = format!("GET {}://{host}/v2/{path}/manifests/{identifier}", host.scheme());
        let answer = self.client.check_read(reference).err();
        let said = answer.iter().flat_map(registry_client::RegistryError::errors).next();
        match said {
            Some(said) if said.code == "MANIFEST_UNKNOWN" && reference.digest().is_none() => {
                anyhow!("{url}: {}: {}; map[Tag:{identifier}]", said.code, said.message)
            }
            Some(said) => anyhow!("{url}: {}: {}", said.code, said.message),
            None => anyhow!("{url}: unexpected status code 404 Not Found"),
        }
    }

    /// What users of kp are told when a registry does not let them in.
    fn explain(error: cnb_layers::ImageError) -> anyhow::Error {
        match error {
            error if Self::is_unauthorized(&error) => anyhow::Error::new(error).context("invalid credentials"),
            error => error.into(),
        }
    }

    fn is_unauthorized(error: &(dyn std::error::Error + 'static)) -> bool {
        std::iter::successors(Some(error), |error| error.source()).any(|error| {
            error
                .downcast_ref::<registry_client::RegistryError>()
                .is_some_and(registry_client::RegistryError::is_unauthorized)
        })
    }

    /// Packs a directory or zip of this machine and uploads it to `repository`; returns the digest reference.
    pub(crate) fn upload_source(&self, printer: &Printer, path: &str, repository: &str) -> anyhow::Result<String> {
        let target: Reference = repository
            .parse()
            .with_context(|| format!("invalid repository '{repository}'"))?;
        let scratch = env::temp_dir();
        let image =
            LocalImage::pack(Path::new(path), &LocalOptions::default(), &scratch).map_err(|error| match error {
                LocalError::Missing { source, .. } => failure("stat", path, &source),
                error => error.into(),
            })?;
        let placed = image.reference(&target).to_string();
        printer.upload(&placed);
        if printer.uploads() {
            image
                .push(&self.client, &target, &["latest", &timestamp()])
                .with_context(|| format!("failed to upload to {placed}"))?;
        }
        Ok(placed)
    }

    /// The digest reference of an image in `repository`.
    pub(crate) fn placed(found: &Found, repository: &str) -> anyhow::Result<String> {
        let target: Reference = repository
            .parse()
            .with_context(|| format!("invalid repository '{repository}'"))?;
        Ok(target.with_digest(found.image.digest()).to_string())
    }

    /// Copies what was found into `repository`, under `latest` and a tag of the local time; returns
    /// the digest reference. Prints the upload line, and sends nothing when uploads are off.
    pub(crate) fn relocate(&self, printer: &Printer, found: &Found, repository: &str) -> anyhow::Result<String> {
        let target: Reference = repository
            .parse()
            .with_context(|| format!("invalid repository '{repository}'"))?;
        let placed = target.with_digest(found.image.digest());
        printer.upload(&placed.to_string());
        if printer.uploads() {
            let tags = [target.with_tag("latest")?, target.with_tag(&timestamp())?];
            copy_resolved_image(
                found.source.as_ref(),
                &found.reference,
                &found.image,
                &self.store,
                &tags,
                &|_| {},
            )
            .with_context(|| format!("failed to upload to {placed}"))?;
        }
        Ok(placed.to_string())
    }
}

/// The tag that keeps a manifest from being collected: the local time.
fn timestamp() -> String {
    jiff::Zoned::now().strftime("%Y%m%d%H%M%S").to_string()
}

/// A directory or a tar file with an OCI layout, or a tar file that docker saved; the first image of an index counts.
fn local(path: &Path) -> anyhow::Result<Found> {
    let (unpacked, layout) = match path.is_dir() {
        true => (None, LayoutStore::open(path)?),
        false => {
            let folder = tempfile::tempdir()?;
            let layout = unpack(path, folder.path())?;
            (Some(folder), layout)
        }
    };
    let Some(entry) = layout.index()?.manifests.into_iter().next() else {
        bail!("its index lists no image")
    };
    let reference = "local/image:latest".parse::<Reference>()?.with_digest(&entry.digest);
    let image = layout
        .image(&reference, &Platform::linux_amd64())?
        .context("its image is not there")?;
    Ok(Found {
        source: Box::new(layout),
        reference,
        image,
        _unpacked: unpacked,
    })
}

/// Makes a tar file into a layout in `folder`. One with both forms, as docker writes them, is taken as the layout.
fn unpack(path: &Path, folder: &Path) -> anyhow::Result<LayoutStore> {
    const NEITHER: &str = "not a tar file with an OCI layout or an image saved by docker";
    let saved = SavedTar::open(path).context(NEITHER)?;
    if saved.is_saved_image() && !saved.has("oci-layout") {
        return saved.write_layout(folder);
    }
    let unpacked = tar::Archive::new(std::fs::File::open(path)?).unpack(folder);
    unpacked.context(NEITHER)?;
    Ok(LayoutStore::open(folder)?)
}

/// The credentials of the environment (`KP_REGISTRY_…`), then those of the docker config.
fn user_keychain() -> anyhow::Result<Chain> {
    let chain = Chain::default().then(EnvironmentTriples::read(env::vars_os()));
    let places = DockerConfigPlaces::from_env(|name| env::var_os(name));
    let Some(path) = places.choose(Path::is_file) else {
        return Ok(chain);
    };
    let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let config = DockerConfig::from_json(&bytes).with_context(|| format!("cannot understand {}", path.display()))?;
    let directories = env::var_os("PATH").unwrap_or_default();
    let helpers = HelperPrograms::in_directories(env::split_paths(&directories)).with_environment(env::vars_os());
    Ok(chain.then(config.at(path.display()).with_helpers(Arc::new(helpers))))
}

/// `KP_REGISTRY_HOSTNAME`, `_USERNAME` and `_PASSWORD`, each with the same suffix or none.
struct EnvironmentTriples(BTreeMap<String, Credential>);

impl EnvironmentTriples {
    fn read(variables: impl Iterator<Item = (OsString, OsString)>) -> Self {
        // Of what is no text, nothing is meant for kp.
        let texts = variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let variables: BTreeMap<_, _> = texts.filter(|(name, _)| name.starts_with("KP_REGISTRY_")).collect();
        let mut hosts = BTreeMap::new();
        for (name, host) in &variables {
            let Some(suffix) = name.strip_prefix("KP_REGISTRY_HOSTNAME") else {
                continue;
            };
            let part = |part: &str| variables.get(&format!("KP_REGISTRY_{part}{suffix}"));
            let (Some(user), Some(password)) = (part("USERNAME"), part("PASSWORD")) else {
                continue;
            };
            let credential = match user.as_str() {
                "<token>" => Credential::identity_token(password.clone()),
                _ => Credential::basic(user.clone(), password.clone()),
            };
            hosts.insert(host.clone(), credential);
        }
        Self(hosts)
    }
}

impl Keychain for EnvironmentTriples {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        Ok(self.0.get(repository.registry().as_str()).cloned())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn a_triple_counts_only_when_it_is_whole() {
        let variables = [
            ("KP_REGISTRY_HOSTNAME_1", "reg.example"),
            ("KP_REGISTRY_USERNAME_1", "dev"),
            ("KP_REGISTRY_PASSWORD_1", "pw"),
            ("KP_REGISTRY_HOSTNAME", "other.example"),
            ("KP_REGISTRY_USERNAME", "dev"),
        ];
        let no_text = (OsString::from("OTHER"), OsString::from_vec(vec![0xff]));
        let variables = variables.map(|(name, value)| (name.into(), value.into()));
        let triples = EnvironmentTriples::read(variables.into_iter().chain([no_text]));
        let find = |name: &str| triples.find(name.parse::<Reference>().expect("a reference").repository());
        assert!(find("reg.example/app").expect("no error").is_some());
        assert!(find("other.example/app").expect("no error").is_none());
    }
}
