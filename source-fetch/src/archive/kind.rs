//! What kind of archive some content is.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _},
};

use super::{ArchiveError, tarball};

/// What kind of archive some content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    /// Also `.jar` and `.war`.
    Zip,
    Tar,
    TarGz,
}

impl ArchiveKind {
    /// Looks at the first bytes, never at a name; `None` for anything else.
    ///
    /// A zip has to begin with an entry and a tar with a valid header, so empty ones are not recognised.
    pub(crate) fn of(file: &mut File) -> Result<Option<Self>, ArchiveError> {
        file.rewind().map_err(ArchiveError::Read)?;
        let mut start = Vec::new();
        io::Read::by_ref(file)
            .take(512)
            .read_to_end(&mut start)
            .map_err(ArchiveError::Read)?;
        Ok(Self::of_start(&start))
    }

    pub(crate) fn of_start(start: &[u8]) -> Option<Self> {
        if start.starts_with(b"PK\x03\x04") {
            return Some(Self::Zip);
        }
        if start.starts_with(&[0x1f, 0x8b, 0x08]) {
            return Some(Self::TarGz);
        }
        tarball::is_header(start).then_some(Self::Tar)
    }
}
