//! Which bytes make the image, and which of them already exist?
#![forbid(unsafe_code)]

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
mod pipeline;
mod read_ahead;
mod root_dir;
mod save;
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
pub use go_json::to_go_json;
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
pub use store::{
    BlobWriter, ImageError, ImageSource, ImageTarget, LayoutStore, MemoryStore, OpenBlob, RegistryStore, StoreEvent,
    push_image,
};
pub use timestamp::{InvalidTimestamp, Timestamp};
pub use unpack::{DeviceFiles, UnpackError, UnpackOptions, UnpackOwners, unpack, unpack_tar};
pub use validate::{ImageFault, validate, validate_documents};
