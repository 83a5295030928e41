//! A real registry whose contents are written, damaged and looked at in its storage directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use test_support::{Registry, RegistryOptions};

use crate::json::Json;

/// Returns `sha256:…` of bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    registry_auth::Digest::from_sha256_bytes(Sha256::digest(bytes).into()).to_string()
}

/// A running registry.
pub(crate) struct Store {
    registry: Registry,
}

/// An image as it lies in a registry.
pub(crate) struct Pushed {
    pub(crate) digest: String,
    pub(crate) manifest: Json,
    pub(crate) manifest_text: String,
    pub(crate) config: Option<String>,
}

impl Store {
    pub(crate) fn start(basic_auth: Option<(&str, &str)>) -> Self {
        let options = RegistryOptions {
            basic_auth,
            ..RegistryOptions::default()
        };
        Self {
            registry: Registry::with_options(&options).expect("docker-registry starts"),
        }
    }

    /// Starts a registry that keeps its data in a directory.
    pub(crate) fn start_in(data: &Path) -> Self {
        let options = RegistryOptions {
            data: Some(data.to_owned()),
            ..RegistryOptions::default()
        };
        Self {
            registry: Registry::with_options(&options).expect("docker-registry starts"),
        }
    }

    /// Stops the registry; its data stay.
    pub(crate) fn pause(&mut self) {
        self.registry.pause();
    }

    /// Starts it again.
    pub(crate) fn resume(&mut self) {
        self.registry.resume().expect("docker-registry starts again");
    }

    pub(crate) fn host(&self) -> String {
        self.registry.host()
    }

    pub(crate) fn port(&self) -> u16 {
        self.registry.port()
    }

    fn top(&self) -> PathBuf {
        self.registry.data().join("docker/registry/v2")
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let _ = fs::remove_dir_all(self.top());
    }

    fn blob_file(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").expect("a digest");
        self.top().join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    fn repository(&self, repository: &str) -> PathBuf {
        self.top().join("repositories").join(repository)
    }

    pub(crate) fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        write(&self.blob_file(&digest), bytes);
        write(&self.layer_link(repository, &digest), digest.as_bytes());
        digest
    }

    fn layer_link(&self, repository: &str, digest: &str) -> PathBuf {
        let hex = &digest["sha256:".len()..];
        self.repository(repository)
            .join("_layers/sha256")
            .join(hex)
            .join("link")
    }

    /// Stores a manifest, and points the tag to it unless `tag` is a digest.
    pub(crate) fn put_manifest(&self, repository: &str, tag: &str, bytes: &[u8]) -> String {
        let digest = digest(bytes);
        let hex = &digest["sha256:".len()..];
        write(&self.blob_file(&digest), bytes);
        let manifests = self.repository(repository).join("_manifests");
        write(
            &manifests.join("revisions/sha256").join(hex).join("link"),
            digest.as_bytes(),
        );
        if !tag.starts_with("sha256:") {
            let tag = manifests.join("tags").join(tag);
            write(&tag.join("current/link"), digest.as_bytes());
            write(&tag.join("index/sha256").join(hex).join("link"), digest.as_bytes());
        }
        digest
    }

    /// Returns the digests of all tags: `repository:tag` → digest.
    pub(crate) fn tags(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let top = self.top().join("repositories");
        collect_tags(&top, &top, &mut found);
        found
    }

    /// Returns what a tag or digest of a repository names.
    pub(crate) fn image(&self, repository: &str, tag: &str) -> Option<Pushed> {
        let manifests = self.repository(repository).join("_manifests");
        let digest = match tag.strip_prefix("sha256:") {
            Some(hex) => fs::read_to_string(manifests.join("revisions/sha256").join(hex).join("link")).ok()?,
            None => fs::read_to_string(manifests.join("tags").join(tag).join("current/link")).ok()?,
        };
        let manifest_text = fs::read_to_string(self.blob_file(&digest)).ok()?;
        let manifest: Json = serde_json::from_str(&manifest_text).expect("JSON");
        let config = manifest.get("config").get("digest").text();
        let config = config
            .and_then(|digest| fs::read(self.blob_file(digest)).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Some(Pushed {
            digest,
            manifest,
            manifest_text,
            config,
        })
    }

    /// Deletes the manifest that a tag names, with all tags that name it.
    pub(crate) fn delete_image(&self, repository: &str, tag: &str) {
        let Some(image) = self.image(repository, tag) else {
            return;
        };
        let hex = &image.digest["sha256:".len()..];
        let manifests = self.repository(repository).join("_manifests");
        let _ = fs::remove_dir_all(manifests.join("revisions/sha256").join(hex));
        for (name, digest) in self.tags() {
            if let Some((found, tag)) = name.rsplit_once(':')
                && found == repository
                && digest == image.digest
            {
                let _ = fs::remove_dir_all(manifests.join("tags").join(tag));
            }
        }
    }

    /// Takes a blob out of a repository; `everywhere` also destroys its bytes.
    pub(crate) fn drop_blob(&self, repository: &str, digest: &str, everywhere: bool) {
        let link = self.layer_link(repository, digest);
        let _ = fs::remove_dir_all(link.parent().expect("it has one"));
        if everywhere {
            let _ = fs::remove_file(self.blob_file(digest));
        }
    }

    /// Cuts the bytes of a blob off.
    pub(crate) fn truncate_blob(&self, digest: &str, bytes: u64) {
        let file = fs::File::options()
            .write(true)
            .open(self.blob_file(digest))
            .expect("the blob");
        file.set_len(bytes).expect("it can be cut");
    }
}

fn collect_tags(top: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name() == "_manifests" {
            let repository = directory
                .strip_prefix(top)
                .expect("it is beneath")
                .display()
                .to_string();
            for tag in fs::read_dir(path.join("tags")).into_iter().flatten().flatten() {
                if let Ok(digest) = fs::read_to_string(tag.path().join("current/link")) {
                    found.insert(format!("{repository}:{}", tag.file_name().to_string_lossy()), digest);
                }
            }
        } else if !entry.file_name().to_string_lossy().starts_with('_') {
            collect_tags(top, &path, found);
        }
    }
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
    fs::write(path, bytes).expect("a file");
}
