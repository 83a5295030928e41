use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use registry_auth::{Digest, Reference, Repository};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use super::{BlobWriter, Document, ImageError, ImageSource, ImageTarget, Verified, read_limited, resolve};
use crate::{Descriptor, Image, Index, Platform, digest_of, media_type};

pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Images in a directory, as an OCI image layout: a source and target without a registry.
///
/// One layout holds any number of images. Each entry of its index names an image by the annotation
/// `org.opencontainers.image.ref.name`, whose text is the full reference
/// (`index.docker.io/library/app:latest`), or for layouts made by other tools the tag alone. All
/// repositories share the blobs. Writers in several processes take turns by a lock on the index; files
/// appear complete or not at all. Cheap to clone.
///
/// # Specification
/// OCI image-spec 1.1, "OCI Image Layout".
#[derive(Clone, Debug)]
pub struct LayoutStore {
    dir: Arc<PathBuf>,
    index: Arc<Mutex<()>>,
}

impl LayoutStore {
    /// Opens the layout in `dir`; makes it if the directory is missing or empty.
    ///
    /// # Errors
    /// When `dir` cannot be made or read, or is something else than a layout of version 1.
    pub fn create(dir: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(|source| written(&dir, source))?;
        if !dir.join("oci-layout").exists() {
            let foreign = fs::read_dir(&dir)
                .map_err(|source| read(&dir, source))?
                .flatten()
                .any(|entry| {
                    !["blobs", "index.json"].contains(&entry.file_name().to_string_lossy().as_ref())
                        && !entry.file_name().to_string_lossy().starts_with(".tmp")
                });
            if foreign {
                let problem = "it has files but no oci-layout; choose an empty directory".to_owned();
                return Err(ImageError::NotALayout { path: dir, problem });
            }
            let blobs = dir.join("blobs/sha256");
            fs::create_dir_all(&blobs).map_err(|source| written(&blobs, source))?;
            if !dir.join("index.json").exists() {
                write_index(&dir, &empty_index())?;
            }
            replace(&dir.join("oci-layout"), b"{\n    \"imageLayoutVersion\": \"1.0.0\"\n}")?;
        }
        Self::open(dir)
    }

    /// Opens the layout in `dir`.
    ///
    /// # Errors
    /// When there is none, or one of another version than 1.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let dir = dir.into();
        let problem = |problem: String| ImageError::NotALayout {
            path: dir.clone(),
            problem,
        };
        let marker = fs::read(dir.join("oci-layout")).map_err(|error| problem(format!("oci-layout: {error}")))?;
        let marker: serde_json::Value =
            serde_json::from_slice(&marker).map_err(|error| problem(format!("oci-layout: {error}")))?;
        match marker.get("imageLayoutVersion").and_then(|version| version.as_str()) {
            Some(version) if version.starts_with("1.") => {}
            other => return Err(problem(format!("its version is {other:?}, and 1.0.0 is the one known"))),
        }
        Ok(Self {
            dir: Arc::new(dir),
            index: Arc::new(Mutex::new(())),
        })
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the index: one entry for each name.
    ///
    /// # Errors
    /// When `index.json` cannot be read.
    pub fn index(&self) -> Result<Index, ImageError> {
        let path = self.dir.join("index.json");
        let json = read_document(&path)?;
        Index::from_json(&json).map_err(|error| ImageError::NotALayout {
            path: self.dir.to_path_buf(),
            problem: format!("index.json: {error}"),
        })
    }

    /// Removes a name; blobs stay. Returns whether it was there.
    ///
    /// # Errors
    /// When `index.json` cannot be read or written.
    pub fn remove(&self, reference: &Reference) -> Result<bool, ImageError> {
        self.change_index(|index| {
            let before = index.manifests.len();
            index.manifests.retain(|entry| !names(entry, reference));
            Ok(index.manifests.len() != before)
        })
    }

    /// Makes this manifest the only entry of the index, named by `name` if there is one.
    pub(super) fn put_only(&self, media_type: &str, json: &[u8], name: Option<String>) -> Result<Digest, ImageError> {
        let digest = digest_of(json);
        replace(&self.blob_path(&digest), json)?;
        let mut entry = Descriptor::new(media_type, digest.clone(), json.len() as u64);
        entry.annotations.extend(name.map(|name| (REF_NAME.to_owned(), name)));
        self.change_index(|index| {
            index.manifests = vec![entry];
            Ok(())
        })?;
        Ok(digest)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    fn entry(&self, reference: &Reference) -> Result<Option<Descriptor>, ImageError> {
        Ok(self
            .index()?
            .manifests
            .into_iter()
            .find(|entry| names(entry, reference)))
    }

    fn change_index<T>(&self, change: impl FnOnce(&mut Index) -> Result<T, ImageError>) -> Result<T, ImageError> {
        let _turn = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.dir.join("oci-layout");
        // Closing the file releases the lock.
        let lock = File::open(&path).map_err(|source| read(&path, source))?;
        lock.lock().map_err(|source| written(&path, source))?;
        let mut index = self.index()?;
        let result = change(&mut index)?;
        write_index(&self.dir, &index)?;
        Ok(result)
    }
}

/// Returns whether an entry of the index is the image that `reference` names.
fn names(entry: &Descriptor, reference: &Reference) -> bool {
    if let Some(digest) = reference.digest() {
        return entry.digest == *digest;
    }
    let name = entry.annotations.get(REF_NAME).map(String::as_str);
    name == Some(&reference.to_string()) || name.is_some() && name == reference.tag()
}

fn empty_index() -> Index {
    Index {
        schema_version: 2,
        media_type: media_type::OCI_INDEX.to_owned(),
        manifests: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        unknown: std::collections::BTreeMap::new(),
    }
}

fn write_index(dir: &Path, index: &Index) -> Result<(), ImageError> {
    let mut json = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    index
        .serialize(&mut serde_json::Serializer::with_formatter(&mut json, format))
        .expect("an index has only text keys and finite numbers");
    replace(&dir.join("index.json"), &json)
}

/// Writes a file so that it has, at any time, either its old or its new content.
fn replace(path: &Path, content: &[u8]) -> Result<(), ImageError> {
    let write = || -> io::Result<()> {
        let mut file = NamedTempFile::with_prefix_in(".tmp", path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(content)?;
        persist(file, path)
    };
    write().map_err(|source| written(path, source))
}

fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name itself has to survive a crash too.
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

fn read_document(path: &Path) -> Result<Vec<u8>, ImageError> {
    let file = File::open(path).map_err(|source| read(path, source))?;
    read_limited(file, &digest_of(b"")).map_err(|error| match error {
        ImageError::Blob { source, .. } => read(path, source),
        ImageError::TooLarge { limit, .. } => ImageError::TooLarge {
            what: path.display().to_string(),
            limit,
        },
        other => other,
    })
}

fn read(path: &Path, source: io::Error) -> ImageError {
    ImageError::File {
        action: "read",
        path: path.to_owned(),
        source,
    }
}

fn written(path: &Path, source: io::Error) -> ImageError {
    ImageError::File {
        action: "write",
        path: path.to_owned(),
        source,
    }
}

impl ImageSource for LayoutStore {
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, ImageError> {
        let open = |digest: &Digest| match File::open(self.blob_path(digest)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(read(&self.blob_path(digest), source)),
        };
        let manifest = |digest: Option<&Digest>| {
            let (digest, media_type) = match (digest, self.entry(reference)?) {
                (Some(digest), _) => (digest.clone(), String::new()),
                (None, Some(entry)) => (entry.digest, entry.media_type),
                // The child of an index has no entry of its own.
                (None, None) => match reference.digest() {
                    Some(digest) => (digest.clone(), String::new()),
                    None => return Ok(None),
                },
            };
            let Some(file) = open(&digest)? else { return Ok(None) };
            let json = read_limited(file, &digest)?;
            let actual = digest_of(&json);
            if actual != digest {
                return Err(ImageError::WrongDigest {
                    expected: digest,
                    actual,
                });
            }
            Ok(Some(Document { media_type, json }))
        };
        let config = |config: &Descriptor| match open(&config.digest)? {
            Some(file) => read_limited(file, &config.digest),
            None => Err(ImageError::NoBlob {
                repository: reference.repository().clone(),
                digest: config.digest.clone(),
            }),
        };
        resolve(reference, platform, &manifest, &config)
    }

    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        let path = self.blob_path(&layer.digest);
        match File::open(&path) {
            Ok(file) => Ok(Box::new(Verified::new(file, layer.digest.clone(), layer.size))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ImageError::NoBlob {
                repository: reference.repository().clone(),
                digest: layer.digest.clone(),
            }),
            Err(source) => Err(read(&path, source)),
        }
    }
}

impl ImageTarget for LayoutStore {
    fn has_blob(&self, _: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        let path = self.blob_path(digest);
        path.try_exists().map_err(|source| read(&path, source))
    }

    fn is_known(&self, _: &Repository, digest: &Digest) -> bool {
        self.blob_path(digest).exists()
    }

    fn start_blob(&self, _: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        let dir = self.dir.join("blobs/sha256");
        fs::create_dir_all(&dir).map_err(|source| written(&dir, source))?;
        let file = NamedTempFile::with_prefix_in(".tmp", &dir).map_err(|source| written(&dir, source))?;
        Ok(Box::new(LayoutBlob {
            store: self.clone(),
            file,
            hash: Sha256::new(),
        }))
    }

    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        let digest = digest_of(json);
        if let Some(expected) = reference.digest().filter(|expected| **expected != digest) {
            return Err(ImageError::WrongDigest {
                expected: expected.clone(),
                actual: digest,
            });
        }
        replace(&self.blob_path(&digest), json)?;
        let mut entry = Descriptor::new(media_type, digest.clone(), json.len() as u64);
        if reference.digest().is_none() {
            entry.annotations.insert(REF_NAME.to_owned(), reference.to_string());
        }
        self.change_index(|index| {
            let named = entry.annotations.get(REF_NAME);
            index.manifests.retain(|old| match old.annotations.get(REF_NAME) {
                None => old.digest != entry.digest,
                name => name != named,
            });
            index.manifests.push(entry.clone());
            Ok(())
        })?;
        Ok(digest)
    }

    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        Ok(self.entry(reference)?.map(|entry| entry.digest))
    }
}

struct LayoutBlob {
    store: LayoutStore,
    file: NamedTempFile,
    hash: Sha256,
}

impl Write for LayoutBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hash.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl BlobWriter for LayoutBlob {
    fn finish(self: Box<Self>, digest: &Digest) -> Result<(), ImageError> {
        let actual = Digest::from_sha256_bytes(self.hash.finalize().into());
        if actual != *digest {
            return Err(ImageError::WrongDigest {
                expected: digest.clone(),
                actual,
            });
        }
        let path = self.store.blob_path(digest);
        persist(self.file, &path).map_err(|source| written(&path, source))
    }
}
