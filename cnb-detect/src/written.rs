//! Reading what buildpacks write.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// The most bytes of one file that are read.
const MOST: u64 = 16 << 20;

/// Opens a file that a buildpack wrote, which may be anything: not a pipe that nobody writes to, nor a device without end.
///
/// # Errors
/// When there is no such file, or it is no regular file ([`ErrorKind::InvalidInput`], of directories
/// [`ErrorKind::IsADirectory`]).
pub fn open_written(path: &Path) -> io::Result<File> {
    // With this flag, opening a pipe does not wait for somebody who writes to it.
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    if !found.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "is no regular file"));
    }
    Ok(file)
}

/// Reads a file that a buildpack wrote.
///
/// # Errors
/// As those of [`open_written`], and when it has more than 16 MiB ([`ErrorKind::FileTooLarge`]).
pub fn read_written(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_written(path)?;
    let size = file.metadata()?.len();
    let mut bytes = Vec::new();
    let read = file.take(MOST + 1).read_to_end(&mut bytes)?;
    if read as u64 > MOST {
        let problem = format!("has {size} bytes; at most {MOST} are read");
        return Err(io::Error::new(ErrorKind::FileTooLarge, problem));
    }
    Ok(bytes)
}
