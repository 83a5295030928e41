//! The registry as the person of the walk-through reaches it.

use std::sync::Arc;

use cnb_layers::{Image, ImageSource as _, Platform, Reference, RegistryStore};
use registry_auth::{Credential, DockerConfig, Keychain, StaticKeychain};
use registry_client::{Client, HttpPolicy};

/// A client that knows the credential of the walk-through's own registry, or the user's docker config.
pub(crate) fn client(host: &str, basic: Option<(&str, &str)>) -> anyhow::Result<Client> {
    let keychain: Arc<dyn Keychain> = match basic {
        Some((user, password)) => {
            Arc::new(StaticKeychain::new().with(host.parse()?, Credential::basic(user, password)))
        }
        None => {
            let places = registry_auth::DockerConfigPlaces::from_env(|name| std::env::var_os(name));
            let bytes = places.choose(std::path::Path::is_file).map(std::fs::read).transpose()?;
            let config = DockerConfig::from_json(&bytes.unwrap_or_else(|| b"{}".to_vec()))?;
            let path = std::env::var_os("PATH").unwrap_or_default();
            let helpers = registry_client::HelperPrograms::in_directories(std::env::split_paths(&path));
            Arc::new(config.with_helpers(Arc::new(helpers.with_environment(std::env::vars_os()))))
        }
    };
    Ok(Client::new(HttpPolicy::default(), keychain)?)
}

/// Reads an image that must be there.
pub(crate) fn image(client: &Client, name: &str) -> anyhow::Result<Image> {
    let reference: Reference = name.parse()?;
    let image = RegistryStore::new(client.clone()).image(&reference, &Platform::linux_amd64())?;
    image.ok_or_else(|| anyhow::anyhow!("{name} is not in the registry"))
}
