use std::path::PathBuf;
use std::sync::Arc;

use registry_auth::Reference;

use crate::{
    Compression, CopiedTar, History, Image, ImageDraft, ImageFormat, ImageSource, ImageTarget, LayerBuilder,
    LayerContent, Platform, Timestamp, Tree, UploadError, copy_layers, push_image, upload_layer,
};

/// An image made from file trees and archives: a stack's build and run image, say.
///
/// The same input gives the same image: entries are in a fixed order, and `created` is what the caller says.
///
/// # Examples
/// ```
/// use cnb_layers::{BaseImage, Compression, ImageSource, LayerBuilder, MemoryStore, Platform, Reference};
///
/// let store = MemoryStore::new();
/// let tag = Reference::parse("registry.example/acme/run:1")?;
/// let image = BaseImage::new(Platform::linux_amd64())
///     .layer("files", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, "hello\n"))
///     .label("io.buildpacks.stack.id", "acme.stacks.base")
///     .env("CNB_USER_ID", "1000")
///     .user("1000:1000")
///     .push(&store, &[tag.clone()], Compression::default())?;
/// assert_eq!(store.image(&tag, &Platform::linux_amd64())?.expect("pushed").digest(), image.digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct BaseImage {
    draft: ImageDraft,
    created: Timestamp,
    layers: Vec<(String, Arc<dyn LayerContent>)>,
    below: Option<(Reference, Image)>,
}

impl BaseImage {
    /// Starts with an image of no layers, of Docker's media types, made at 1980-01-01T00:00:01Z.
    pub fn new(platform: Platform) -> Self {
        Self::of_format(platform, ImageFormat::Docker)
    }

    /// Starts with an image of no layers.
    pub fn of_format(platform: Platform, format: ImageFormat) -> Self {
        let mut draft = ImageDraft::empty(format);
        let config = draft.config_mut();
        config.architecture = platform.architecture;
        config.os = platform.os;
        config.os_version = platform.os_version;
        config.os_features = platform.os_features;
        config.variant = platform.variant;
        Self {
            draft,
            created: Timestamp::reproducible(),
            layers: Vec::new(),
            below: None,
        }
    }

    /// Starts with all that `image`, found at `reference`, has and says.
    pub fn on(reference: Reference, image: &Image) -> Self {
        Self {
            draft: ImageDraft::of(image),
            created: Timestamp::reproducible(),
            layers: Vec::new(),
            below: Some((reference, image.clone())),
        }
    }

    /// Puts a layer on top; `created_by` becomes its history entry.
    #[must_use]
    pub fn layer(mut self, created_by: impl Into<String>, content: impl LayerContent + 'static) -> Self {
        self.layers.push((created_by.into(), Arc::new(content)));
        self
    }

    /// Puts the root file system in a directory on top, with its owners, links and times. The content of
    /// `dev`, `proc` and `sys` is left out.
    #[must_use]
    pub fn root_directory(self, dir: impl Into<PathBuf>) -> Self {
        let mut tree = Tree::root_filesystem(dir);
        tree.leave_out = ["dev", "proc", "sys"].map(str::to_owned).to_vec();
        let mut layer = LayerBuilder::new();
        for name in ["dev/", "proc/", "sys/"] {
            layer = layer.directory(name, 0o755, 0, 0);
        }
        self.layer("root file system", layer.tree(tree))
    }

    /// Puts the root file system in a tar (plain or gzip) on top, byte for byte.
    #[must_use]
    pub fn root_tar(self, tar: impl Into<PathBuf>) -> Self {
        self.layer("root file system", CopiedTar(tar.into()))
    }

    /// Sets a label.
    #[must_use]
    pub fn label(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.draft.set_label(name, value);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.draft.container_mut().set_env(name, value);
        self
    }

    /// Sets the user, such as `1000:1000`.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.draft.container_mut().user = user.into();
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn working_dir(mut self, dir: impl Into<String>) -> Self {
        self.draft.container_mut().working_dir = dir.into();
        self
    }

    /// Sets the entrypoint.
    #[must_use]
    pub fn entrypoint<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.draft.container_mut().entrypoint = words.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the command.
    #[must_use]
    pub fn cmd<S: Into<String>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.draft.container_mut().cmd = words.into_iter().map(Into::into).collect();
        self
    }

    /// Sets when the image and its new layers were made.
    #[must_use]
    pub fn created(mut self, created: Timestamp) -> Self {
        self.created = created;
        self
    }

    /// Sets an annotation of the manifest.
    #[must_use]
    pub fn annotation(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.draft.annotations_mut().insert(name.into(), value.into());
        self
    }

    /// Makes the image and writes it to `tags`, all of one repository. Layers of an image below must be in
    /// that repository; [`push_from`](Self::push_from) brings them there.
    ///
    /// # Errors
    /// When a layer cannot be made, or `target` fails; then no tag is written.
    pub fn push(
        self,
        target: &dyn ImageTarget,
        tags: &[Reference],
        compression: Compression,
    ) -> Result<Image, UploadError> {
        let repository = tags.first().ok_or(UploadError::NoTag)?.repository().clone();
        let Self {
            mut draft,
            created,
            layers,
            below: _,
        } = self;
        let media_type = draft.layer_media_type();
        for (created_by, content) in layers {
            let (layer, _) = upload_layer(target, &repository, content.as_ref(), media_type, compression)?;
            draft.push_layer(layer, History::new(created.clone(), created_by));
        }
        draft.config_mut().created = created;
        let image = draft.finish();
        push_image(target, &image, &repository, tags)?;
        Ok(image)
    }

    /// As [`push`](Self::push), after bringing the layers of the image below from `source`.
    ///
    /// # Errors
    /// As [`push`](Self::push), or when `source` fails.
    pub fn push_from(
        self,
        source: &dyn ImageSource,
        target: &dyn ImageTarget,
        tags: &[Reference],
        compression: Compression,
    ) -> Result<Image, UploadError> {
        let repository = tags.first().ok_or(UploadError::NoTag)?.repository();
        if let Some((reference, image)) = &self.below {
            copy_layers(source, reference, &image.layers(), target, repository, &|_| {})?;
        }
        self.push(target, tags, compression)
    }
}
