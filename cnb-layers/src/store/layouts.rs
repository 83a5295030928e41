use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use registry_auth::{Digest, Reference, Repository};

use super::layout::{LayoutStore, REF_NAME};
use super::{BlobWriter, ImageError, ImageSource, ImageTarget, OpenBlob};
use crate::{Descriptor, Image, Index, Manifest, Platform};

/// Images on disk, each as an OCI image layout of its own, in a directory named after the image: where the lifecycle
/// puts images with `-layout`.
///
/// References are paths: that of `acme/app:1` below the directory `/layout` is
/// `/layout/index.docker.io/acme/app/1` (see [`path_in`](Self::path_in)). As text it is a [`Reference`] as well, unless
/// there is a colon or an upper-case letter in it.
///
/// An image may lack the blobs of layers (it is *sparse*); then copies of it lack them as well.
///
/// # Specification
/// Platform API, experimental feature "export to OCI layout format"; OCI image-spec 1.1, "OCI Image Layout".
#[derive(Clone, Copy, Debug, Default)]
pub struct LayoutImages;

impl LayoutImages {
    /// Returns where the image `name` lies below `dir`: `<dir>/<registry>/<repository>/<tag>`, or
    /// `<dir>/<registry>/<repository>/sha256/<hex>`. A path that is below `dir` already stays as it is.
    ///
    /// # Errors
    /// When `name` is no reference.
    pub fn path_in(dir: &Path, name: &str) -> Result<PathBuf, registry_auth::InvalidReference> {
        if !dir.as_os_str().is_empty() && Path::new(name).starts_with(dir) {
            return Ok(PathBuf::from(name));
        }
        let reference = Reference::parse(name)?;
        let repository = reference.repository();
        let place = dir.join(repository.registry().to_string()).join(repository.path());
        Ok(match reference.digest() {
            Some(digest) => place.join("sha256").join(digest.hex()),
            None => place.join(reference.identifier()),
        })
    }

    /// Returns how the image is named in documents: its path, with its digest if it has one.
    pub(crate) fn name(reference: &Reference) -> String {
        let path = Self::dir(reference.repository());
        match reference.digest() {
            Some(digest) => format!("{}@{digest}", path.display()),
            None => path.display().to_string(),
        }
    }

    fn dir(repository: &Repository) -> PathBuf {
        let path = repository.path();
        if path.starts_with('/') {
            // What is no registry's name is taken for a repository of the default registry.
            PathBuf::from(path)
        } else {
            Path::new(&repository.registry().to_string()).join(path)
        }
    }

    /// Opens an image's layout, `None` when there is none.
    fn open(repository: &Repository) -> Result<Option<LayoutStore>, ImageError> {
        let dir = Self::dir(repository);
        if !dir.join("index.json").exists() {
            return Ok(None);
        }
        LayoutStore::open(dir).map(Some)
    }

    fn create(repository: &Repository) -> Result<LayoutStore, ImageError> {
        let dir = Self::dir(repository);
        let layout = LayoutStore::create(&dir)?;
        for name in ["index.json", "oci-layout"] {
            make_executable(&dir.join(name))?;
        }
        Ok(layout)
    }
}

/// The reference gives these files all permissions that the umask leaves.
fn make_executable(path: &Path) -> Result<(), ImageError> {
    use std::os::unix::fs::PermissionsExt as _;
    let changed = fs::set_permissions(path, fs::Permissions::from_mode(0o755));
    changed.map_err(|source| ImageError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}

impl ImageSource for LayoutImages {
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, ImageError> {
        let Some(layout) = Self::open(reference.repository())? else {
            return Ok(None);
        };
        // A path names the one image of its layout, whatever that is called there.
        let digest = match (reference.digest(), layout.index()?.manifests.as_slice()) {
            (Some(digest), _) => digest.clone(),
            (None, [only]) => only.digest.clone(),
            (None, _) => return Ok(None),
        };
        layout.image(&reference.with_digest(&digest), platform)
    }

    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        match Self::open(reference.repository())? {
            Some(layout) => layout.layer(reference, layer),
            None => Err(ImageError::NoBlob {
                repository: reference.repository().clone(),
                digest: layer.digest.clone(),
            }),
        }
    }
}

impl ImageTarget for LayoutImages {
    fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, ImageError> {
        match Self::open(repository)? {
            Some(layout) => layout.has_blob(repository, digest),
            None => Ok(false),
        }
    }

    fn start_blob(&self, repository: &Repository) -> Result<Box<dyn BlobWriter>, ImageError> {
        Self::create(repository)?.start_blob(repository)
    }

    fn push_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        size: u64,
        open: &mut OpenBlob<'_>,
    ) -> Result<(), ImageError> {
        Self::create(repository)?.push_blob(repository, digest, size, open)
    }

    /// Puts the manifest into its layout as the only one, named there by its own annotation.
    fn put_manifest(&self, reference: &Reference, media_type: &str, json: &[u8]) -> Result<Digest, ImageError> {
        let layout = Self::create(reference.repository())?;
        let manifest = Manifest::from_json(json).ok();
        let annotation = manifest.and_then(|manifest| manifest.annotations.get(REF_NAME).cloned());
        let digest = layout.put_only(media_type, json, annotation)?;
        make_executable(&layout.dir().join("index.json"))?;
        Ok(digest)
    }

    fn manifest_digest(&self, reference: &Reference) -> Result<Option<Digest>, ImageError> {
        let Some(layout) = Self::open(reference.repository())? else {
            return Ok(None);
        };
        let Index { manifests, .. } = layout.index()?;
        Ok(manifests.into_iter().next().map(|entry| entry.digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BaseImage, Compression, LayerBuilder, validate};

    #[test]
    fn a_name_becomes_a_path_with_all_its_defaults() {
        let path = |name: &str| LayoutImages::path_in(Path::new("/layout"), name).expect("it is a name");
        assert_eq!(path("app"), Path::new("/layout/index.docker.io/library/app/latest"));
        assert_eq!(path("r.io:5000/a/b:v1"), Path::new("/layout/r.io:5000/a/b/v1"));
        assert_eq!(path("/layout/r.io/a/v1"), Path::new("/layout/r.io/a/v1"));
        let digest = crate::digest_of(b"x");
        let by_digest = path(&format!("a/b@{digest}"));
        assert!(
            by_digest.ends_with(format!("a/b/sha256/{}", digest.hex())),
            "{}",
            by_digest.display()
        );
        assert!(LayoutImages::path_in(Path::new("/layout"), "a b").is_err());
    }

    #[test]
    fn an_image_is_found_at_its_path_and_replaced_there() {
        // Names of images have no upper-case letters, those of temporary directories may.
        let name = format!("layouts-{}", std::process::id());
        let dir = tempfile::Builder::new().prefix(&name).rand_bytes(0).tempdir();
        let dir = dir.expect("there is room");
        let path = LayoutImages::path_in(dir.path(), "acme/run:1").expect("it is a name");
        let reference = Reference::parse(path.to_str().expect("it is text")).expect("it has no upper-case letters");
        let platform = Platform::linux_amd64();
        assert!(
            LayoutImages
                .image(&reference, &platform)
                .expect("nothing is readable")
                .is_none()
        );
        let mut last = None;
        for motd in ["one", "two"] {
            let image = BaseImage::new(platform.clone())
                .layer("motd", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, motd))
                .push(&LayoutImages, std::slice::from_ref(&reference), Compression::default())
                .expect("there is room");
            let found = LayoutImages.image(&reference, &platform).expect("it is readable");
            assert_eq!(found.expect("it is there").digest(), image.digest());
            assert!(validate(&LayoutImages, &reference, &image).is_empty());
            assert_ne!(last.replace(image.digest().clone()).as_ref(), Some(image.digest()));
        }
        let layout = LayoutStore::open(&path).expect("it is a layout");
        assert_eq!(layout.index().expect("it is readable").manifests.len(), 1);
    }
}
