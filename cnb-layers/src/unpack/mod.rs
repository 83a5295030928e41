mod target;

use std::io::{self, Read};
use std::path::Path;

use registry_auth::Reference;

use crate::layer::decompressed;
use crate::read_ahead::ReadAhead;
use crate::tar::TarError;
use crate::validate::HashingReader;
use crate::{DiffId, Image, ImageError, ImageSource};
use target::Target;

/// What unpacking does with owners and devices, and how much it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnpackOptions {
    /// Whose the files become.
    pub owners: UnpackOwners,
    /// What device files become.
    pub devices: DeviceFiles,
    /// How many bytes all layers of an image may hold together, unpacked.
    pub max_bytes: u64,
    /// How many entries all layers of an image may have together.
    pub max_entries: u64,
}

impl Default for UnpackOptions {
    /// Owners kept, devices left out, at most 64 GiB in 8 million entries.
    fn default() -> Self {
        Self {
            owners: UnpackOwners::Keep,
            devices: DeviceFiles::LeaveOut,
            max_bytes: 64 << 30,
            max_entries: 8_000_000,
        }
    }
}

/// Whose unpacked files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpackOwners {
    /// The archive's owners, by number; needs the right to give files away.
    Keep,
    /// The caller's.
    Caller,
}

/// What device files become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceFiles {
    /// Nothing: containers get a `/dev` of their own.
    LeaveOut,
    /// Device files; needs the right to make them.
    Create,
}

/// Why an image could not be unpacked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnpackError {
    /// The directory to unpack into cannot be opened.
    #[error("cannot unpack into {path}")]
    Root {
        /// The directory.
        path: std::path::PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A layer cannot be opened.
    #[error(transparent)]
    Store(#[from] ImageError),
    /// A layer cannot be read to its end, or is damaged.
    #[error("layer {diff_id} cannot be read")]
    Layer {
        /// The layer.
        diff_id: String,
        /// The cause.
        source: TarError,
    },
    /// A layer's bytes are not those that the image names.
    #[error("the image names layer {expected}, but its blob holds {actual}")]
    WrongLayer {
        /// The diff id in the image's config.
        expected: DiffId,
        /// The diff id of the bytes.
        actual: DiffId,
    },
    /// An entry is made to write outside of the directory, or names something that cannot be.
    #[error("entry {entry:?} is refused: {problem}")]
    Hostile {
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The layers hold more than is allowed.
    #[error("the image holds more than {limit} {what} when unpacked; raise the limit if that is meant")]
    TooMuch {
        /// `bytes` or `entries`.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// An entry could not be made on disk.
    #[error("cannot unpack {entry:?}")]
    Entry {
        /// The entry's name.
        entry: String,
        /// The cause.
        source: io::Error,
    },
}

/// Makes a root file system of an image: applies its layers, lowest first, to the directory `dir`.
///
/// Whiteouts remove what lower layers made. Everything happens beneath `dir`, whatever names and links
/// the layers hold. Every layer's bytes are checked against its diff id. `dir` must exist and should be
/// empty; when unpacking fails, what was made so far remains.
///
/// # Errors
/// When a layer cannot be read, is not what the image says, is made to do harm, or cannot be written.
pub fn unpack(
    source: &dyn ImageSource,
    reference: &Reference,
    image: &Image,
    dir: &Path,
    options: &UnpackOptions,
) -> Result<(), UnpackError> {
    let mut target = Target::open(dir, options)?;
    for layer in image.layers() {
        let failed = |source| UnpackError::Layer {
            diff_id: layer.diff_id.to_string(),
            source,
        };
        let blob = source.layer(reference, &layer.descriptor)?;
        let tar = decompressed(blob).map_err(|error| failed(error.into()))?;
        // Inflating and hashing happen beside the writing of files.
        let mut tar = ReadAhead::new(HashingReader::new(tar));
        target.apply(&mut tar, &layer.diff_id.to_string())?;
        let actual = tar
            .finish()
            .and_then(HashingReader::finish)
            .map_err(|error| failed(error.into()))?;
        if actual != layer.diff_id {
            return Err(UnpackError::WrongLayer {
                expected: layer.diff_id,
                actual,
            });
        }
    }
    Ok(())
}

/// Applies one layer's uncompressed tar to a directory, as [`unpack`] does, without knowing its diff id.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_tar(tar: &mut dyn Read, dir: &Path, options: &UnpackOptions) -> Result<(), UnpackError> {
    Target::open(dir, options)?.apply(tar, "tar")
}
