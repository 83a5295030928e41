use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Symbolic links that one path may lead through.
const MAX_LINKS: u32 = 40;

/// A directory that is a root: paths start at it and symbolic links in it are followed as if it were `/`.
///
/// Nothing outside is ever opened, also while somebody swaps directories for links: each element is
/// opened by itself, from the one before it, without following a link; links are read and followed
/// here, and `..` goes back to a directory that was open before.
pub(crate) struct RootDir {
    root: Rc<OwnedFd>,
    /// The last directory used, because neighbours in an archive mostly have the same one.
    last: Option<(Vec<u8>, Rc<OwnedFd>)>,
}

/// What is to happen when a directory on the way is missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// It is made, with mode 0755.
    Create,
    /// It is an error.
    Fail,
}

const DIRECTORY: OFlags = OFlags::PATH
    .union(OFlags::NOFOLLOW)
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl RootDir {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // The root itself may be reached through links: it is the caller's.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self {
            root: Rc::new(root),
            last: None,
        })
    }

    /// Forgets what is remembered of directories; needed whenever something is removed or linked.
    pub(crate) fn changed(&mut self) {
        self.last = None;
    }

    /// Opens the directory `path`, whose elements are separated by slashes and hold no `..`.
    pub(crate) fn directory(&mut self, path: &[u8], missing: Missing) -> io::Result<Rc<OwnedFd>> {
        if path.is_empty() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((last, dir)) = &self.last
            && last == path
        {
            return Ok(Rc::clone(dir));
        }
        let dir = self.resolve(path, missing)?;
        self.last = Some((path.to_vec(), Rc::clone(&dir)));
        Ok(dir)
    }

    fn resolve(&self, path: &[u8], missing: Missing) -> io::Result<Rc<OwnedFd>> {
        let mut open = vec![Rc::clone(&self.root)];
        let mut waiting: Vec<Vec<u8>> = elements(path);
        let mut links = 0;
        while let Some(element) = waiting.pop() {
            if element == b".." {
                // At the root, `..` is the root.
                if open.len() > 1 {
                    open.pop();
                }
                continue;
            }
            let here = Rc::clone(open.last().unwrap_or(&self.root));
            match rustix::fs::openat(&here, element.as_slice(), DIRECTORY, Mode::empty()) {
                Ok(next) => open.push(Rc::new(next)),
                Err(Errno::NOENT) if missing == Missing::Create => {
                    match rustix::fs::mkdirat(&here, element.as_slice(), Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    open.push(Rc::new(rustix::fs::openat(
                        &here,
                        element.as_slice(),
                        DIRECTORY,
                        Mode::empty(),
                    )?));
                }
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let target = rustix::fs::readlinkat(&here, element.as_slice(), Vec::new()).map_err(|error| {
                        // Not a link either: something that is no directory.
                        if error == Errno::INVAL { Errno::NOTDIR } else { error }
                    })?;
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    if target.as_bytes().starts_with(b"/") {
                        open.truncate(1);
                    }
                    waiting.extend(elements(target.as_bytes()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(open.pop().unwrap_or_else(|| Rc::clone(&self.root)))
    }
}

/// Returns the elements of a path, last first.
fn elements(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .rev()
        .filter(|element| !element.is_empty() && *element != b".")
        .map(<[u8]>::to_vec)
        .collect()
}

/// Returns what `name` in `dir` is, without following a link; `None` when there is nothing.
pub(crate) fn kind_of(dir: &impl AsFd, name: &[u8]) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Returns the names in a directory.
pub(crate) fn names_in(dir: &impl AsFd) -> io::Result<Vec<Vec<u8>>> {
    // A directory opened as a place only cannot be listed.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let readable = rustix::fs::openat(dir, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(readable)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Removes `name` in `dir` with all that is in it, without following a link.
pub(crate) fn remove_all(dir: &impl AsFd, name: &[u8]) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    // Emptied level by level, not by recursion: a tree may be deeper than the stack.
    let mut open: Vec<(OwnedFd, Vec<u8>)> =
        vec![(rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())?, name.to_vec())];
    while let Some((here, _)) = open.last() {
        let mut deeper = None;
        for child in names_in(here)? {
            match rustix::fs::unlinkat(here, child.as_slice(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    match rustix::fs::unlinkat(here, child.as_slice(), AtFlags::REMOVEDIR) {
                        Ok(()) | Err(Errno::NOENT) => {}
                        Err(Errno::NOTEMPTY | Errno::EXIST) => {
                            let next = rustix::fs::openat(here, child.as_slice(), DIRECTORY, Mode::empty())?;
                            deeper = Some((next, child));
                            break;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(next) = deeper {
            open.push(next);
            continue;
        }
        let Some((_, name)) = open.pop() else { break };
        match open.last() {
            Some((parent, _)) => rustix::fs::unlinkat(parent, name.as_slice(), AtFlags::REMOVEDIR)?,
            None => rustix::fs::unlinkat(dir, name.as_slice(), AtFlags::REMOVEDIR)?,
        }
    }
    Ok(())
}
