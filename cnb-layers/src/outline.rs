//! What of a layer's tar can be told without reading its files.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;

use sha2::{Digest as _, Sha256};

/// Seconds and nanoseconds since 1970.
pub(crate) type Time = (i64, i64);

/// Stands for the tar of a layer: takes everything in it but what is in the files, and the status of those in its place.
///
/// Two with the same sum are of the same entries in the same order, byte for byte, whose files are the same and unchanged.
#[derive(Default)]
pub(crate) struct Outline {
    sum: Sha256,
    /// The devices that its files are on.
    pub(crate) devices: BTreeSet<u64>,
    /// When a file was changed last.
    pub(crate) newest: Time,
    /// Whether it proves nothing.
    pub(crate) is_void: bool,
}

impl Outline {
    /// Takes the status of a file in the place of its content.
    pub(crate) fn file(&mut self, status: &Status) {
        let Status {
            device,
            inode,
            size,
            modified,
            changed,
        } = *status;
        for number in [device, inode, size] {
            self.sum.update(number.to_le_bytes());
        }
        for (seconds, nanos) in [modified, changed] {
            self.sum.update(seconds.to_le_bytes());
            self.sum.update(nanos.to_le_bytes());
        }
        self.devices.insert(device);
        self.newest = self.newest.max(changed);
    }

    /// Returns its sum.
    pub(crate) fn finish(self) -> [u8; 32] {
        self.sum.finalize().into()
    }
}

/// What changes with the content of a file.
#[derive(Clone, Copy)]
pub(crate) struct Status {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: Time,
    pub(crate) changed: Time,
}

impl From<&Metadata> for Status {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Write for Outline {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sum.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The outline of a tar that is being read: everything but what is read while a file is made.
pub(crate) struct Outlined<'a> {
    outline: RefCell<&'a mut Outline>,
    is_in_file: Cell<bool>,
}

impl<'a> Outlined<'a> {
    pub(crate) fn new(outline: &'a mut Outline) -> Self {
        Self {
            outline: RefCell::new(outline),
            is_in_file: Cell::new(false),
        }
    }

    /// Takes in bytes of the tar.
    pub(crate) fn read(&self, bytes: &[u8]) -> io::Result<()> {
        if self.is_in_file.get() {
            return Ok(());
        }
        self.outline.borrow_mut().write_all(bytes)
    }

    /// Fills a file, of which only the status counts. One that is not new may have other names, under which it is
    /// filled again.
    pub(crate) fn file(
        &self,
        file: &mut File,
        is_new: bool,
        fill: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.is_in_file.set(true);
        let filled = fill(file);
        self.is_in_file.set(false);
        filled?;
        let mut outline = self.outline.borrow_mut();
        outline.file(&Status::from(&file.metadata()?));
        outline.is_void |= !is_new;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_the_status_of_a_file_counts() {
        let status = Status {
            device: 1,
            inode: 2,
            size: 3,
            modified: (4, 5),
            changed: (6, 7),
        };
        let changes: [fn(&mut Status); 8] = [
            |_| (),
            |status| status.device = 9,
            |status| status.inode = 9,
            |status| status.size = 9,
            |status| status.modified.0 = 9,
            |status| status.modified.1 = 9,
            |status| status.changed.0 = 9,
            |status| status.changed.1 = 9,
        ];
        let sums: BTreeSet<_> = changes
            .iter()
            .map(|change| {
                let (mut status, mut outline) = (status, Outline::default());
                change(&mut status);
                outline.file(&status);
                outline.finish()
            })
            .collect();
        assert_eq!(sums.len(), changes.len());
    }
}
