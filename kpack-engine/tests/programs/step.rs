//! A pod's volumes as a temporary directory, and a program run over them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cnb_layers::{BaseImage, Compression, LayerBuilder, Platform, Reference, RegistryStore};
use kpack_engine::programs::{Invocation, Places, Program};
use registry_auth::{AnonymousKeychain, Credential, Keychain, StaticKeychain};
use registry_client::{Client, HttpPolicy};
use test_support::Registry;

pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "correct-horse";

/// The volumes of a pod.
pub(crate) struct Pod {
    dir: tempfile::TempDir,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Pod {
    pub(crate) fn new() -> Self {
        let pod = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        for dir in ["workspace", "projectMetadata", "platform", "secrets", "home", "report"] {
            fs::create_dir(pod.path(dir)).unwrap();
        }
        pod
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Mounts a secret.
    pub(crate) fn secret(&self, name: &str, files: &[(&str, &str)]) {
        let dir = self.path("secrets").join(name);
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
    }

    pub(crate) fn run(&self, program: Program, args: &[&str], env: &[(&str, &str)]) -> Outcome {
        let owned = |text: &&str| (*text).to_owned();
        let pairs = env.iter().map(|(name, value)| (owned(name), owned(value)));
        let mut invocation = Invocation::new(args.iter().map(owned), pairs);
        invocation.places = Places {
            workspace: self.path("workspace"),
            project_metadata: self.path("projectMetadata"),
            platform_env: self.path("platform/env"),
            secrets: self.path("secrets"),
            registry_source_secrets: self.path("sourceSecrets"),
            home: self.path("home"),
            report: self.path("report/report.toml"),
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = program.run(&invocation, &mut out, &mut err);
        Outcome {
            code,
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }
}

pub(crate) fn store(registry: &Registry, with_password: bool) -> RegistryStore {
    let keychain: Arc<dyn Keychain> = if with_password {
        let host = registry.host().parse().unwrap();
        Arc::new(StaticKeychain::new().with(host, Credential::basic(USER, PASSWORD)))
    } else {
        Arc::new(AnonymousKeychain)
    };
    RegistryStore::new(Client::new(HttpPolicy::default(), keychain).unwrap())
}

/// Pushes an image of one file with these labels, and returns its digest reference.
pub(crate) fn push(store: &RegistryStore, tag: &str, file: (&str, &str), labels: &[(&str, &str)]) -> Reference {
    let reference: Reference = tag.parse().unwrap();
    let layer = LayerBuilder::new().file(file.0, 0o644, 0, 0, file.1);
    let mut image = BaseImage::new(Platform::linux_amd64()).layer("test", layer);
    for (name, value) in labels {
        image = image.label(*name, *value);
    }
    let image = image
        .push(store, std::slice::from_ref(&reference), Compression::default())
        .unwrap();
    reference.with_digest(image.digest())
}

/// Returns every file beneath `dir` that holds `text`.
pub(crate) fn files_with(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text)) {
            found.push(path);
        }
    }
    found
}
