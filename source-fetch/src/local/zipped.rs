//! A zip as entries of a layer, in its own order.

use std::{
    fs::File,
    io::{BufReader, Read as _},
    path::Path,
};

use zip::ZipArchive;

use super::{
    LocalError,
    tar_writer::{Entry, Kind},
    walk::{Sink, absolute},
};
use crate::{
    archive::{entry_name, zip_mode},
    limits::Spent,
};

/// How far a link may lead, in bytes.
const MAX_LINK: u64 = 4096;
const FILE_TYPE: u32 = 0o170_000;
const LINK: u32 = 0o120_000;

pub(super) fn entries(
    file: &mut File,
    path: &Path,
    spent: &mut Spent<'_>,
    sink: &mut dyn Sink,
) -> Result<(), LocalError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| LocalError::Zip {
        path: path.to_owned(),
        source,
    };
    let too_large = |source| LocalError::TooLarge {
        path: path.to_owned(),
        source,
    };
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|error| failed(error.into()))?;
    for index in 0..archive.len() {
        let mut found = archive.by_index(index).map_err(|error| failed(error.into()))?;
        spent.entry(found.name_raw()).map_err(too_large)?;
        let target = entry_name::target(found.name_raw(), 0).map_err(|error| failed(error.into()))?;
        let Some(target) = target else { continue };
        let is_directory = found.name_raw().ends_with(b"/");
        let is_link = found.unix_mode().is_some_and(|mode| mode & FILE_TYPE == LINK);
        let mut entry = Entry {
            name: absolute(&target),
            kind: Kind::Directory,
            mode: zip_mode(&found, is_directory),
        };
        if is_directory {
            sink.entry(&entry, None)?;
        } else if is_link {
            let mut link = Vec::new();
            let read = found.by_ref().take(MAX_LINK).read_to_end(&mut link);
            read.map_err(|error| failed(error.into()))?;
            entry.kind = Kind::Link(link);
            sink.entry(&entry, None)?;
        } else {
            // What is read is counted by its announced size, of which no byte more is taken.
            spent.bytes(found.size()).map_err(too_large)?;
            entry.kind = Kind::File(found.size());
            sink.entry(&entry, Some(&mut found))?;
        }
    }
    Ok(())
}
