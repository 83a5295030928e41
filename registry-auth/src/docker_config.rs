//! Docker's configuration file as a source of credentials.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    credential::{Credential, CredentialKind},
    credential_helper::{HelperRunner, ask_helper},
    docker_auth::{EntryProblem, decode_entry},
    go_json::{self, GoValue},
    go_url::GoUrl,
    host::RegistryHost,
    keychain::{Keychain, KeychainError},
    repository::Repository,
    secret::without_user,
};

/// The key under which credentials of Docker Hub are kept.
pub(crate) const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// The credentials of docker's `config.json` or podman's `auth.json`.
///
/// A repository is looked up by its full name, then by its registry: under the exact key, then under any key whose
/// host is the registry. Docker Hub is looked up as `https://index.docker.io/v1/`. A helper named for the key in
/// `credHelpers`, or else `credsStore`, answers instead of `auths`, of which only a registry token is kept.
///
/// Where the reference picks one of several keys for the same host by chance, the alphabetically first is taken.
#[derive(Clone)]
pub struct DockerConfig {
    place: String,
    auths: BTreeMap<String, Credential>,
    overrides: BTreeMap<String, Credential>,
    helpers: BTreeMap<String, String>,
    store: String,
    runner: Option<Arc<dyn HelperRunner>>,
}

impl DockerConfig {
    /// Reads the bytes of a configuration file. Unknown fields are ignored, no bytes at all are no credentials.
    ///
    /// # Errors
    /// When they are no JSON object of the right shape, or any `auth` in them can't be decoded: one bad entry
    /// spoils the file, as for docker, so that a typing error does not silently mean "anonymous".
    pub fn from_json(bytes: &[u8]) -> Result<Self, DockerConfigError> {
        let mut config = Self {
            place: "docker config".to_owned(),
            auths: BTreeMap::new(),
            overrides: BTreeMap::new(),
            helpers: BTreeMap::new(),
            store: String::new(),
            runner: None,
        };
        // Docker reads the first value of the file only, and an empty file as no configuration.
        let json = go_json::tolerable(bytes);
        let mut values = serde_json::Deserializer::from_slice(&json).into_iter::<GoValue>();
        let root = match values.next() {
            None | Some(Ok(GoValue::Null)) => return Ok(config),
            Some(Ok(GoValue::Object(root))) => root,
            Some(Ok(_)) => return Err(DockerConfigError::Shape("the file is not an object")),
            Some(Err(source)) => return Err(DockerConfigError::Json(source)),
        };
        let auths = root
            .map("auths")
            .ok_or(DockerConfigError::Shape("auths is not an object"))?;
        for (key, entry) in auths {
            let credential = decode_entry(entry).map_err(|source| DockerConfigError::Entry {
                key: without_user(key),
                source,
            })?;
            config.auths.insert(key.to_owned(), credential);
        }
        let helpers = root.map("credHelpers");
        for (key, helper) in helpers.ok_or(DockerConfigError::Shape("credHelpers is not an object"))? {
            let name = match helper {
                GoValue::Null => "",
                GoValue::Text(name) => name,
                _ => return Err(DockerConfigError::Shape("a value of credHelpers is not a text")),
            };
            config.helpers.insert(key.to_owned(), name.to_owned());
        }
        let store = root.text("credsStore");
        store
            .ok_or(DockerConfigError::Shape("credsStore is not a text"))?
            .clone_into(&mut config.store);
        Ok(config)
    }

    /// Names the file it was read from, for errors and explanations.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = format!("docker config {place}");
        self
    }

    /// Gives it a way to run the credential helpers that it names; without, a helper that is needed is an error.
    #[must_use]
    pub fn with_helpers(mut self, runner: Arc<dyn HelperRunner>) -> Self {
        self.runner = Some(runner);
        self
    }

    /// Adds the content of the variable `DOCKER_AUTH_CONFIG`, whose entries go before the file's and its helpers.
    ///
    /// What is not exactly `{"auths": {KEY: {"auth": TEXT}}}` is ignored, as docker does; so is all of it where one TEXT is
    /// empty.
    #[must_use]
    pub fn with_auth_config(mut self, text: &str) -> Self {
        self.overrides = read_auth_config(text).unwrap_or_default();
        self
    }

    /// Returns the credential for a registry as a whole.
    ///
    /// # Errors
    /// When a helper was needed and failed.
    pub fn find_for_registry(&self, registry: &RegistryHost) -> Result<Option<Credential>, KeychainError> {
        self.look_up(if registry.is_docker_hub() {
            DOCKER_HUB_KEY
        } else {
            registry.as_str()
        })
    }

    fn look_up(&self, key: &str) -> Result<Option<Credential>, KeychainError> {
        let known = |credential: &&Credential| !credential.is_anonymous();
        if let Some(credential) = self.overrides.get(key).filter(known) {
            return Ok(Some(credential.clone()));
        }
        let entry = self.entry(key);
        let helper = self.helpers.get(key).unwrap_or(&self.store);
        if helper.is_empty() {
            return Ok(entry.filter(known).cloned());
        }
        let found = ask_helper(self.runner.as_deref(), helper, key).map_err(|error| KeychainError {
            keychain: self.place.clone(),
            problem: error.to_string(),
            source: Some(Arc::new(error)),
        })?;
        // Helpers know nothing of registry tokens, so that the file's stays.
        Ok(match entry.map(Credential::kind) {
            Some(CredentialKind::Registry(token)) => Some(found.unwrap_or_default().with_registry_token(token.clone())),
            _ => found,
        })
    }

    fn entry(&self, key: &str) -> Option<&Credential> {
        let by_host = || self.auths.iter().find(|(known, _)| host_of(known) == key);
        self.auths
            .get(key)
            .or_else(|| by_host().map(|(_, credential)| credential))
    }
}

impl Keychain for DockerConfig {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        match self.look_up(&repository.to_string())? {
            Some(credential) => Ok(Some(credential)),
            None => self.find_for_registry(repository.registry()),
        }
    }

    fn name(&self) -> String {
        self.place.clone()
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.auths.keys().collect();
        write!(
            f,
            "DockerConfig({}, auths of {keys:?}, helpers {:?})",
            self.place, self.helpers
        )
    }
}

/// Finds the host that a key serves: that of an address with a scheme, else everything up to the first `/`.
fn host_of(key: &str) -> String {
    let address = Some(key).filter(|key| key.contains("://")).and_then(GoUrl::parse);
    match address.as_ref().map(GoUrl::host_and_port) {
        None | Some(("", _)) => key.split('/').next().unwrap_or_default().to_owned(),
        Some((host, "")) => host.to_owned(),
        Some((host, port)) if host.contains(':') => format!("[{host}]:{port}"),
        Some((host, port)) => format!("{host}:{port}"),
    }
}

fn read_auth_config(text: &str) -> Option<BTreeMap<String, Credential>> {
    let root = go_json::object(text.as_bytes()).ok()??;
    if !root.has_only("auths") {
        return None;
    }
    let mut found = BTreeMap::new();
    for (key, entry) in root.map("auths")? {
        match entry {
            GoValue::Object(object) if object.has_only("auth") && object.text("auth") != Some("") => {}
            _ => return None,
        }
        found.insert(key.to_owned(), decode_entry(entry).ok()?);
    }
    Some(found)
}

/// Why a docker configuration could not be read. Never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DockerConfigError {
    /// It is no JSON.
    #[error("the docker config is not valid JSON; correct it or log in again")]
    Json(#[source] serde_json::Error),
    /// A part has another form than docker writes.
    #[error("the docker config is not understood: {0}")]
    Shape(&'static str),
    /// An entry of `auths` can't be decoded.
    #[error("the docker config has a bad entry for {key}; log in there again")]
    Entry {
        /// The key under `auths`.
        key: String,
        /// What is wrong with it.
        source: EntryProblem,
    },
}

/// The places where docker's or podman's configuration may be, taken from the environment by the caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DockerConfigPlaces {
    /// The home directory.
    pub home: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a directory.
    pub docker_config: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`: a file.
    pub registry_auth_file: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`; `~/.config` without it.
    pub xdg_config_home: Option<PathBuf>,
}

impl DockerConfigPlaces {
    /// Takes the places from environment variables, which `variable` looks up.
    pub fn from_env(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            home: path("HOME"),
            docker_config: path("DOCKER_CONFIG"),
            registry_auth_file: path("REGISTRY_AUTH_FILE"),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
            xdg_config_home: path("XDG_CONFIG_HOME"),
        }
    }

    /// Chooses the file to read, asking `is_file` about candidates; `None` means that there is none.
    ///
    /// A docker configuration in either place goes before podman's files. With one only in the home directory and
    /// `DOCKER_CONFIG` set, the latter's (missing) file is meant, as for docker: the result may not exist.
    pub fn choose(&self, is_file: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let home = self.home.as_ref().map(|home| home.join(".docker/config.json"));
        let directory = self.docker_config.as_ref().map(|folder| folder.join("config.json"));
        if [&home, &directory].into_iter().flatten().any(|file| is_file(file)) {
            return directory.or(home);
        }
        let config_home = self.xdg_config_home.clone();
        let config_home = config_home.or_else(|| self.home.as_ref().map(|home| home.join(".config")));
        let podman = |folder: &PathBuf| folder.join("containers/auth.json");
        let candidates = [
            self.registry_auth_file.clone(),
            self.xdg_runtime_dir.as_ref().map(podman),
            config_home.as_ref().map(podman),
        ];
        candidates.into_iter().flatten().find(|file| is_file(file))
    }
}
