//! What a layer's tar is made of.

mod archive;
mod builder;
mod cancel;
mod entries;
mod error;
mod hashing;
mod kinds;
mod pattern;
mod slices;
mod tree;

pub use archive::{CopiedTar, RewrittenTar};
pub use builder::LayerBuilder;
pub use error::LayerError;
pub use kinds::{directory_layer, launcher_layer, process_types_layer};
pub use pattern::{InvalidPattern, Pattern};
pub use slices::slice_layers;
pub use tree::{HardLinks, Modes, Order, Owners, Parents, Tree};

pub(crate) use archive::decompressed;
pub(crate) use cancel::Cancellable;

use std::io::Write;

use crate::DiffId;
use hashing::Hashing;

/// Something that can write a layer's tar, any number of times.
///
/// Writing it twice gives the same bytes as long as the files it is made of do not change. So a layer
/// can be hashed first, to see whether an image has it already, and written only when it is needed.
pub trait LayerContent: Send + Sync {
    /// Writes the whole uncompressed archive, with the blocks that end it.
    ///
    /// # Errors
    /// When a file cannot be read, changes while it is read, or cannot be expressed in a tar; or what
    /// `out` says.
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError>;

    /// Returns the diff id when it is known without the bytes; it must be that of what
    /// [`write_tar`](Self::write_tar) writes now, if it can. `None`, unless a kind of layer knows better.
    ///
    /// An export asks for it, and the cache it fills; what needs the bytes anyway does not.
    fn known_diff_id(&self) -> Option<DiffId> {
        None
    }
}

/// Hashes a layer without keeping anything: its diff id, and its size in bytes (uncompressed).
///
/// # Errors
/// As [`LayerContent::write_tar`].
pub fn diff_id(content: &dyn LayerContent) -> Result<(DiffId, u64), LayerError> {
    let mut sum = Hashing::new();
    content.write_tar(&mut sum)?;
    sum.finish().map_err(LayerError::Write)
}
