//! The registries of a phase: credentials, connections, and what the phase may do there.

use std::fs;
use std::io;
use std::sync::Arc;

use cnb_layers::{AllowAll, ImageError, LayoutImages, Reference, RegistryAccess, RegistryStore};
use registry_auth::{Chain, DockerConfig, DockerConfigPlaces, EnvKeychain, Keychain};
use registry_client::{Client, HelperPrograms, HttpPolicy, ProxyPolicy};

use crate::env::Env;
use crate::failure::{Failure, code, with_causes};
use crate::inputs::Inputs;

/// Returns the registries, with the credentials of the environment. To be called before root is given
/// up: the docker config may be readable for root only.
pub(crate) fn registries(inputs: &Inputs, env: &Env) -> Result<RegistryStore, Failure> {
    let mut keychains: Vec<Arc<dyn Keychain>> = Vec::new();
    if let Some(text) = env.text("CNB_REGISTRY_AUTH") {
        let keychain =
            EnvKeychain::parse(&text).map_err(|error| Failure::of(code::FAILED, "resolve keychain", &error))?;
        keychains.push(Arc::new(keychain));
    }
    if let Some(config) = docker_config(env)? {
        keychains.push(Arc::new(config));
    }
    let policy = HttpPolicy {
        insecure_hosts: inputs.insecure_registries.iter().map(|name| host(name)).collect(),
        extra_ca_pems: env
            .get("SSL_CERT_FILE")
            .and_then(|path| fs::read(path).ok())
            .into_iter()
            .collect(),
        proxy: ProxyPolicy::from_env(|name| env.text(name)),
        ..HttpPolicy::default()
    };
    let client = Client::new(policy, Arc::new(Chain::new(keychains)));
    client
        .map(RegistryStore::new)
        .map_err(|error| Failure::of(code::FAILED, "connect to registries", &error))
}

/// Returns where an image is with `-layout`: the path of its layout.
pub(crate) fn layout_path(inputs: &Inputs, name: &str) -> Result<String, Failure> {
    let path = LayoutImages::path_in(&inputs.layout_dir, name)
        .map_err(|_| crate::phase::inputs_failure(format_args!("could not parse reference: {name}")))?;
    Ok(path.display().to_string())
}

/// What may be done where images are on disk: everything, except that the cache image is in a registry.
pub(crate) struct CacheAccess<'a> {
    cache: Option<Reference>,
    registries: &'a dyn RegistryAccess,
}

impl<'a> CacheAccess<'a> {
    pub(crate) fn new(cache: Option<&str>, registries: &'a dyn RegistryAccess) -> Self {
        let cache = cache.and_then(|name| Reference::parse(name).ok());
        Self { cache, registries }
    }

    fn of(&self, image: &Reference) -> &dyn RegistryAccess {
        if self.cache.as_ref() == Some(image) {
            self.registries
        } else {
            &AllowAll
        }
    }
}

impl RegistryAccess for CacheAccess<'_> {
    fn check_read(&self, image: &Reference) -> Result<(), ImageError> {
        self.of(image).check_read(image)
    }

    fn check_write(&self, image: &Reference) -> Result<(), ImageError> {
        self.of(image).check_write(image)
    }
}

/// Returns the host of a registry or image that is named as insecure.
fn host(name: &str) -> String {
    let name = name
        .strip_prefix("http://")
        .or_else(|| name.strip_prefix("https://"))
        .unwrap_or(name);
    name.split('/').next().unwrap_or(name).to_owned()
}

fn docker_config(env: &Env) -> Result<Option<DockerConfig>, Failure> {
    let places = DockerConfigPlaces::from_env(|name| env.get(name).map(ToOwned::to_owned));
    let Some(path) = places.choose(std::path::Path::is_file) else {
        return Ok(None);
    };
    let failed = |reason: String| Failure::because(code::FAILED, "resolve keychain", reason);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
        Err(error) => return Err(failed(format!("reading {}: {error}", path.display()))),
    };
    let config = DockerConfig::from_json(&text)
        .map_err(|error| failed(format!("{}: {}", path.display(), with_causes(&error))))?;
    let directories = env.get("PATH").unwrap_or_default();
    let helpers = HelperPrograms::in_directories(std::env::split_paths(directories))
        .with_environment(env.iter().map(|(name, value)| (name.to_owned(), value.to_owned())));
    let config = config.at(path.display()).with_helpers(Arc::new(helpers));
    Ok(Some(match env.text("DOCKER_AUTH_CONFIG") {
        Some(text) => config.with_auth_config(&text),
        None => config,
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Asked(Mutex<Vec<String>>);

    impl RegistryAccess for Asked {
        fn check_read(&self, image: &Reference) -> Result<(), ImageError> {
            self.0.lock().expect("nobody panics").push(format!("read {image}"));
            Ok(())
        }

        fn check_write(&self, image: &Reference) -> Result<(), ImageError> {
            self.0.lock().expect("nobody panics").push(format!("write {image}"));
            Ok(())
        }
    }

    // row 11.5/N2
    #[test]
    fn where_images_are_on_disk_registries_are_asked_for_the_cache_image_alone() {
        let asked = Asked::default();
        let access = CacheAccess::new(Some("registry.example/cache:1"), &asked);
        for name in [
            "registry.example/app:1",
            "registry.example/cache:1",
            "registry.example/app:2",
        ] {
            let image = Reference::parse(name).expect("it is a name");
            access.check_read(&image).expect("nothing refuses");
            access.check_write(&image).expect("nothing refuses");
        }
        let asked = asked.0.into_inner().expect("nobody panics");
        assert_eq!(
            asked,
            ["read registry.example/cache:1", "write registry.example/cache:1"]
        );
    }
}
