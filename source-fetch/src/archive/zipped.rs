//! Zip archives.

use std::{fs::File, io::BufReader};

use zip::{ZipArchive, read::ZipFile};

use super::{ArchiveError, entry_name};
use crate::beneath::Beneath;

/// The hosts that an entry can be made on, as the format numbers them.
const FAT: u8 = 0;
const UNIX: u8 = 3;
const NTFS: u8 = 11;
const VFAT: u8 = 14;
const MACOS: u8 = 19;

pub(super) fn unpack(file: &mut File, into: &mut Beneath<'_>, strip: u32) -> Result<(), ArchiveError> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(ArchiveError::Zip)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(ArchiveError::Zip)?;
        let is_directory = entry.name_raw().ends_with(b"/");
        let Some(path) = entry_name::target(entry.name_raw(), strip)? else {
            continue;
        };
        let mode = mode(&entry, is_directory);
        if is_directory {
            into.directory(&path, mode)?;
        } else {
            into.file(&path, mode, &mut entry)?;
        }
    }
    Ok(())
}

/// The mode that Go's zip package finds, but everything allowed for entries made on FAT.
pub(crate) fn mode(entry: &ZipFile<'_, BufReader<&mut File>>, is_directory: bool) -> u32 {
    let attributes = entry.external_attributes();
    match u8::from(entry.system()) {
        FAT | VFAT => 0o777,
        UNIX | MACOS => (attributes >> 16) & 0o7777,
        NTFS => {
            let open = if is_directory { 0o777 } else { 0o666 };
            if attributes & 1 == 1 { open & !0o222 } else { open }
        }
        _ => 0,
    }
}
