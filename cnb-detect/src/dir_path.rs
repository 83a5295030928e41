//! Directories, looked up from one that is open already.

use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, Stat, openat, statat};
use rustix::io::Errno;

/// The path of a directory, and from where it is looked up: the working directory, or a directory on the way that is open.
///
/// The launcher reads some hundred files between the start of a container and that of its process; walking the whole path
/// for each would be a good part of that time.
#[derive(Clone, Copy, Debug)]
pub struct DirPath<'a> {
    path: &'a Path,
    base: BorrowedFd<'a>,
    /// How much of the path leads to `base`.
    open: usize,
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for DirPath<'a> {
    fn from(path: &'a P) -> Self {
        Self {
            path: path.as_ref(),
            base: CWD,
            open: 0,
        }
    }
}

impl<'a> DirPath<'a> {
    /// Returns the whole path.
    pub fn path(&self) -> &'a Path {
        self.path
    }

    /// Returns what has `path`, looked up from the same place if it begins with the path of this one.
    pub fn join<'b>(&self, path: &'b Path) -> DirPath<'b>
    where
        'a: 'b,
    {
        let within = path
            .as_os_str()
            .as_bytes()
            .starts_with(self.path.as_os_str().as_bytes());
        let (base, open) = if within { (self.base, self.open) } else { (CWD, 0) };
        DirPath { path, base, open }
    }

    /// Opens the directory and reads what is in it; `None` when there is no such thing.
    ///
    /// # Errors
    /// When it cannot be opened or read, or is not a directory.
    pub fn list(&self) -> Result<Option<Listing>, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let handle = match openat(self.base, self.rest(), flags, Mode::empty()) {
            Ok(handle) => handle,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut found = RawDir::new(&handle, &mut buffer);
        let mut entries = Vec::new();
        while let Some(entry) = found.next() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                entries.push((name.to_owned(), entry.file_type()));
            }
        }
        for (name, kind) in &mut entries {
            if *kind == FileType::Unknown {
                *kind = FileType::from_raw_mode(statat(&handle, &*name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
            }
        }
        entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Some(Listing { handle, entries }))
    }

    /// Says what is at the path; links are followed.
    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        statat(self.base, self.rest(), AtFlags::empty())
    }

    fn rest(&self) -> &'a OsStr {
        OsStr::from_bytes(&self.path.as_os_str().as_bytes()[self.open..])
    }
}

/// An open directory and what is in it.
#[derive(Debug)]
pub struct Listing {
    pub(crate) handle: OwnedFd,
    /// In byte order of their names; links are not followed.
    pub(crate) entries: Vec<(CString, FileType)>,
}

impl Listing {
    /// Returns the names of all directories in it, in byte order; links to directories are none.
    pub fn directories(&self) -> impl Iterator<Item = &OsStr> {
        self.names(true)
    }

    /// Returns the names of all that is no directory, in byte order.
    pub fn files(&self) -> impl Iterator<Item = &OsStr> {
        self.names(false)
    }

    fn names(&self, directories: bool) -> impl Iterator<Item = &OsStr> {
        self.entries
            .iter()
            .filter(move |(_, kind)| (*kind == FileType::Directory) == directories)
            .map(|(name, _)| OsStr::from_bytes(name.to_bytes()))
    }

    /// Returns `path`, looked up from this directory if it lies beneath it; `own` is the directory's own path.
    pub fn beneath<'a>(&'a self, own: &Path, path: &'a Path) -> DirPath<'a> {
        let (own, bytes) = (own.as_os_str().as_bytes(), path.as_os_str().as_bytes());
        let rest = bytes.strip_prefix(own).unwrap_or_default();
        let slashes = rest.iter().take_while(|byte| **byte == b'/').count();
        // `/layers/ab` is not beneath `/layers/a`, and the directory itself has no name in itself.
        if (slashes > 0 || own.ends_with(b"/")) && slashes < rest.len() {
            DirPath {
                path,
                base: self.handle.as_fd(),
                open: own.len() + slashes,
            }
        } else {
            path.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_beneath_a_directory_is_looked_up_from_it() {
        let listing = DirPath::from("/").list().expect("it can be read").expect("it is there");
        for (own, path, rest) in [
            ("/layers/a", "/layers/a/env", "env"),
            ("/layers/a", "/layers/a//env/build", "env/build"),
            ("/layers/a/", "/layers/a/env", "env"),
            ("/", "/layers", "layers"),
            ("/layers/a", "/layers/ab/env", "/layers/ab/env"),
            ("/layers/a", "/layers/a", "/layers/a"),
            ("/layers/a", "/layers/a/", "/layers/a/"),
            ("/layers/a", "/layers", "/layers"),
            ("", "layers", "layers"),
        ] {
            let found = listing.beneath(Path::new(own), Path::new(path));
            assert_eq!(
                (found.rest(), found.path()),
                (OsStr::new(rest), Path::new(path)),
                "{own}"
            );
        }
    }
}
