//! Which bytes make the image, and which of them already exist?
//!
//! ```
//! use cnb_layers::{
//!     BaseImage, Compression, CopyEvent, ImageSource, LayerBuilder, MemoryStore, Platform, Reference, copy_image, validate,
//! };
//!
//! let store = MemoryStore::new();
//! let (tag, other) = (Reference::parse("reg.example/acme/run:1")?, Reference::parse("reg.example/prod/run:1")?);
//! let image = BaseImage::new(Platform::linux_amd64())
//!     .layer("motd", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, "hello\n"))
//!     .label("io.buildpacks.stack.id", "acme.base")
//!     .push(&store, &[tag.clone()], Compression::default())?;
//! assert!(validate(&store, &tag, &image).is_empty());
//!
//! // Within one registry no layer travels: it is mounted.
//! let mounted = |event: CopyEvent| assert!(matches!(event, CopyEvent::Mounted(_)));
//! let digest = copy_image(&store, &tag, &store, &[other.clone()], &mounted)?;
//! assert_eq!(&digest, image.digest());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Values: [`Image`] (of a [`Manifest`] and an [`ImageConfig`]), [`Descriptor`], [`Platform`]; [`DiffId`] is of
//!   uncompressed, [`Digest`] of stored bytes. A new one is an [`ImageDraft`].
//! - Where images are: [`ImageSource`] and [`ImageTarget`]; implemented by [`RegistryStore`], [`LayoutStore`],
//!   [`LayoutImages`], [`MemoryStore`].
//! - Making layers, in one pass: [`LayerContent`] ([`LayerBuilder`], [`Tree`], …) through [`compress_layer`] or
//!   [`upload_layer`]; the bytes of archives: [`tar`].
//! - Whole images: [`copy_image`], [`push_image`], [`unpack()`], [`validate()`], [`BaseImage`]; builders, buildpackages
//!   and lifecycle images: [`builder`].
//! - The phases of a build: [`analyze`], [`restore`] and [`export`] with a [`cache`], and [`rebase`]; what they share:
//!   [`phase`], the documents they read and write: [`metadata`], whether a registry lets them: [`RegistryAccess`].
//!
//! Not here: choosing buildpacks (`cnb-order`, `cnb-detect`), running them (`cnb-build`), credentials
//! (`registry-auth`), http (`registry-client`).
//! Specification: OCI image specification 1.1; Platform API 0.15; the bytes of lifecycle 0.20.12.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod analyze;
pub mod builder;
pub mod cache;
pub mod export;
pub mod media_type;
pub mod metadata;
pub mod phase;
pub mod rebase;
pub mod restore;
pub mod tar;

mod access;
mod base_image;
mod copy;
mod descriptor;
mod diff_id;
mod fields;
mod go_json;
mod image;
mod image_config;
mod layer;
mod layers_dir;
mod manifest;
mod open;
mod outline;
mod pipeline;
mod read_ahead;
mod root_dir;
mod save;
mod seal;
mod store;
mod timestamp;
mod unpack;
mod validate;

pub use access::{AllowAll, RegistryAccess};
pub use base_image::BaseImage;
pub use copy::{CopyError, CopyEvent, copy_image, copy_layers, copy_resolved_image};
pub use descriptor::{Descriptor, Platform};
pub use diff_id::{DiffId, InvalidDiffId, digest_of};
pub use fields::InvalidJson;
pub use image::{Image, ImageDraft, ImageFormat, InvalidImage, Layer};
pub use image_config::{ContainerConfig, Healthcheck, History, ImageConfig, RootFs};
pub use layer::{
    CopiedTar, HardLinks, InvalidPattern, LayerBuilder, LayerContent, LayerError, Modes, Order, Owners, Parents,
    Pattern, RewrittenTar, Tree, diff_id, directory_layer, launcher_layer, process_types_layer, slice_layers,
};
pub use manifest::{Index, Manifest};
pub use open::OpenError;
pub use pipeline::{Compressed, Compression, UploadError, compress_layer, upload_layer};
pub use registry_auth::{Digest, Reference, Repository};
pub use save::SaveError;
pub use seal::Seals;
pub use store::{
    BlobWriter, ImageError, ImageSource, ImageTarget, LayoutImages, LayoutStore, MemoryStore, OpenBlob, RegistryStore,
    StoreEvent, push_image,
};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use unpack::{DeviceFiles, UnpackError, UnpackOptions, UnpackOwners, unpack, unpack_tar};
pub use validate::{ImageFault, validate, validate_documents};
