//! Archives, unpacked beneath a directory.

pub(crate) mod entry_name;
mod error;
mod kind;
mod tarball;
mod zipped;

use std::{fs::File, io, io::Seek as _};

use flate2::read::MultiGzDecoder;

pub use error::ArchiveError;
pub(crate) use kind::ArchiveKind;
pub(crate) use zipped::mode as zip_mode;

use crate::beneath::Beneath;

/// Unpacks the archive in `file`, whose content decides what kind it is.
///
/// # Specification
/// kpack 0.17.2, "Blob fetch" (kpack.md §4.7): directories and regular files only. Links and devices of a tar are left
/// out, a link in a zip becomes a file that holds its target.
///
/// # Deviation
/// Names that lead out of the target are refused; the reference follows them.
pub(crate) fn unpack(file: &mut File, into: &mut Beneath<'_>, strip: u32) -> Result<(), ArchiveError> {
    let kind = ArchiveKind::of(file)?.ok_or(ArchiveError::Kind)?;
    unpack_as(kind, file, into, strip)
}

/// Unpacks `file` as the kind that it is said to be.
pub(crate) fn unpack_as(
    kind: ArchiveKind,
    file: &mut File,
    into: &mut Beneath<'_>,
    strip: u32,
) -> Result<(), ArchiveError> {
    file.rewind().map_err(ArchiveError::Read)?;
    into.received().add(file.metadata().map_err(ArchiveError::Read)?.len());
    match kind {
        ArchiveKind::Zip => zipped::unpack(file, into, strip),
        ArchiveKind::Tar => tarball::unpack(&mut io::BufReader::new(file), into, strip),
        ArchiveKind::TarGz => tarball::unpack(&mut MultiGzDecoder::new(io::BufReader::new(file)), into, strip),
    }
}

/// Unpacks a plain tar that comes as a stream.
pub(crate) fn unpack_tar(reader: &mut dyn io::Read, into: &mut Beneath<'_>, strip: u32) -> Result<(), ArchiveError> {
    tarball::unpack(reader, into, strip)
}
