use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::{DeviceFiles, UnpackError, UnpackOptions, UnpackOwners};
use crate::root_dir::{Missing, RootDir, kind_of, names_in, remove_all};
use crate::tar::{EntryKind, Header, TarReader};

/// A directory that layers are unpacked into, and how much has been.
pub(super) struct Target<'a> {
    root: RootDir,
    options: &'a UnpackOptions,
    bytes: u64,
    entries: u64,
}

/// What one layer has done so far.
#[derive(Default)]
struct Done {
    /// Paths that this layer made; its own whiteouts do not remove them.
    made: BTreeSet<Vec<u8>>,
    /// Directories get their mode, owner and time when nothing more is put into them.
    directories: BTreeMap<Vec<u8>, Header>,
}

impl<'a> Target<'a> {
    pub(super) fn open(dir: &Path, options: &'a UnpackOptions) -> Result<Self, UnpackError> {
        let root = RootDir::open(dir).map_err(|source| UnpackError::Root {
            path: dir.to_owned(),
            source,
        })?;
        Ok(Self {
            root,
            options,
            bytes: 0,
            entries: 0,
        })
    }

    pub(super) fn apply(&mut self, tar: &mut dyn Read, layer: &str) -> Result<(), UnpackError> {
        let mut done = Done::default();
        let mut tar = TarReader::new(tar);
        loop {
            let next = tar.next().map_err(|source| UnpackError::Layer {
                diff_id: layer.to_owned(),
                source,
            })?;
            let Some(header) = next else { break };
            self.count(&header)?;
            let path = path_of(&header.name).map_err(|problem| hostile(&header, problem))?;
            self.entry(&header, path, &mut tar, &mut done)?;
        }
        for (path, header) in done.directories.into_iter().rev() {
            self.finish_directory(&path, &header)
                .map_err(|source| failed(&header, source))?;
        }
        Ok(())
    }

    fn count(&mut self, header: &Header) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.options.max_entries {
            return Err(UnpackError::TooMuch {
                what: "entries",
                limit: self.options.max_entries,
            });
        }
        if header.kind == EntryKind::File {
            self.bytes = self.bytes.saturating_add(u64::try_from(header.size).unwrap_or(0));
        }
        if self.bytes > self.options.max_bytes {
            return Err(UnpackError::TooMuch {
                what: "bytes",
                limit: self.options.max_bytes,
            });
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header,
        path: Vec<u8>,
        content: &mut dyn Read,
        done: &mut Done,
    ) -> Result<(), UnpackError> {
        if path.is_empty() {
            // The root directory itself; nothing else can be there.
            if header.kind == EntryKind::Directory {
                done.directories.insert(path, header.clone());
            }
            return Ok(());
        }
        let (parent, name) = split(&path);
        if let Some(hidden) = name.strip_prefix(b".wh.") {
            return self.whiteout(header, parent, hidden, done);
        }
        let io = |source| failed(header, source);
        let dir = self.root.directory(parent, Missing::Create).map_err(io)?;
        let existing = kind_of(&dir, name).map_err(io)?;
        let keeps_directory = header.kind == EntryKind::Directory && existing == Some(FileType::Directory);
        if existing.is_some() && !keeps_directory {
            remove_all(&dir, name).map_err(io)?;
            self.root.changed();
            forget(&path, done);
        }
        let name_text = name.to_vec();
        match header.kind {
            EntryKind::Directory => {
                if !keeps_directory {
                    rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o700)).map_err(|error| io(error.into()))?;
                }
                done.directories.insert(path.clone(), header.clone());
            }
            EntryKind::File => self.file(header, &dir, name, content).map_err(io)?,
            EntryKind::Symlink => self.symlink(header, &dir, name).map_err(io)?,
            EntryKind::HardLink => self.hard_link(header, &dir, &name_text)?,
            EntryKind::Fifo => self.node(header, &dir, name, FileType::Fifo).map_err(io)?,
            EntryKind::CharDevice if self.options.devices == DeviceFiles::Create => {
                self.node(header, &dir, name, FileType::CharacterDevice).map_err(io)?;
            }
            EntryKind::BlockDevice if self.options.devices == DeviceFiles::Create => {
                self.node(header, &dir, name, FileType::BlockDevice).map_err(io)?;
            }
            EntryKind::CharDevice | EntryKind::BlockDevice | EntryKind::PaxGlobal | EntryKind::Other(_) => {
                return Ok(());
            }
        }
        done.made.insert(path);
        Ok(())
    }

    fn file(&self, header: &Header, dir: &OwnedFd, name: &[u8], content: &mut dyn Read) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))?);
        io::copy(content, &mut file)?;
        self.own(|uid, gid| rustix::fs::fchown(&file, uid, gid), header)?;
        rustix::fs::fchmod(&file, mode(header))?;
        if self.options.owners == UnpackOwners::Keep {
            for (key, value) in &header.records {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    set_attribute(&file, name, value)?;
                }
            }
        }
        rustix::fs::futimens(&file, &times(header))?;
        Ok(())
    }

    fn symlink(&mut self, header: &Header, dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
        rustix::fs::symlinkat(header.link.as_slice(), dir, name)?;
        self.root.changed();
        self.own(
            |uid, gid| rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
            header,
        )?;
        rustix::fs::utimensat(dir, name, &times(header), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn hard_link(&mut self, header: &Header, dir: &OwnedFd, name: &[u8]) -> Result<(), UnpackError> {
        let target = path_of(&header.link).map_err(|problem| hostile(header, problem))?;
        let (parent, old) = split(&target);
        if old.is_empty() {
            return Err(hostile(header, "it is a hard link to the root directory"));
        }
        let io = |source| failed(header, source);
        let from = self.root.directory(parent, Missing::Fail).map_err(io)?;
        if kind_of(&from, old).map_err(io)? == Some(FileType::Directory) {
            return Err(hostile(header, "it is a hard link to a directory"));
        }
        rustix::fs::linkat(&from, old, dir, name, AtFlags::empty()).map_err(|error| io(error.into()))
    }

    fn node(&self, header: &Header, dir: &OwnedFd, name: &[u8], kind: FileType) -> io::Result<()> {
        let number = |number: i64| u32::try_from(number).map_err(|_| io::Error::from(Errno::INVAL));
        let device = rustix::fs::makedev(number(header.device.0)?, number(header.device.1)?);
        rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(0o600), device)?;
        self.own(
            |uid, gid| rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
            header,
        )?;
        rustix::fs::chmodat(dir, name, mode(header), AtFlags::empty())?;
        rustix::fs::utimensat(dir, name, &times(header), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn own(
        &self,
        chown: impl FnOnce(Option<rustix::fs::Uid>, Option<rustix::fs::Gid>) -> rustix::io::Result<()>,
        header: &Header,
    ) -> io::Result<()> {
        if self.options.owners == UnpackOwners::Caller {
            return Ok(());
        }
        let id = |id: i64| u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or(Errno::INVAL);
        let (uid, gid) = (
            rustix::fs::Uid::from_raw(id(header.uid)?),
            rustix::fs::Gid::from_raw(id(header.gid)?),
        );
        Ok(chown(Some(uid), Some(gid))?)
    }

    fn finish_directory(&mut self, path: &[u8], header: &Header) -> io::Result<()> {
        let (parent, name) = split(path);
        let name: &[u8] = if name.is_empty() { b"." } else { name };
        let dir = match self.root.directory(parent, Missing::Fail) {
            Ok(dir) => dir,
            // A later entry of the same layer took its place.
            Err(error)
                if matches!(
                    error.raw_os_error().map(Errno::from_raw_os_error),
                    Some(Errno::NOENT | Errno::NOTDIR)
                ) =>
            {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.own(|uid, gid| rustix::fs::fchown(&dir, uid, gid), header)?;
        rustix::fs::fchmod(&dir, mode(header))?;
        rustix::fs::futimens(&dir, &times(header))?;
        Ok(())
    }

    /// Removes what lower layers made: one name, or everything in a directory.
    fn whiteout(&mut self, header: &Header, parent: &[u8], hidden: &[u8], done: &mut Done) -> Result<(), UnpackError> {
        let io = |source| failed(header, source);
        if hidden.is_empty() || hidden == b"." || hidden == b".." {
            return Err(hostile(header, "it is a whiteout of nothing"));
        }
        let dir: Rc<OwnedFd> = match self.root.directory(parent, Missing::Fail) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io(error)),
        };
        if hidden == b".wh..opq" {
            for name in names_in(&dir).map_err(io)? {
                hide(&dir, &join(parent, &name), &name, done).map_err(io)?;
            }
        } else if !hidden.starts_with(b".wh.") {
            hide(&dir, &join(parent, hidden), hidden, done).map_err(io)?;
        }
        self.root.changed();
        Ok(())
    }
}

/// Removes `name` in `dir`, except what the layer itself put there before.
fn hide(dir: &OwnedFd, path: &[u8], name: &[u8], done: &Done) -> io::Result<()> {
    let below = [path, b"/"].concat();
    let own = done.made.contains(path)
        || done
            .made
            .range(below.clone()..)
            .next()
            .is_some_and(|made| made.starts_with(&below));
    if !own {
        return remove_all(dir, name);
    }
    if kind_of(&dir, name)? != Some(FileType::Directory) {
        return Ok(());
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(dir, name, flags, Mode::empty())?;
    for child in names_in(&dir)? {
        hide(&dir, &join(path, &child), &child, done)?;
    }
    Ok(())
}

/// A path was replaced by something else: what was below it is gone.
fn forget(path: &[u8], done: &mut Done) {
    if done.directories.remove(path).is_some() {
        let below = [path, b"/"].concat();
        done.directories.retain(|other, _| !other.starts_with(&below));
    }
}

fn join(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() {
        name.to_vec()
    } else {
        [parent, b"/", name].concat()
    }
}

/// Splits a path into the directory and the name in it.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        None => (b"", path),
        Some(at) => (&path[..at], &path[at + 1..]),
    }
}

/// Returns a name's path beneath the root, without leading slash; empty for the root itself.
fn path_of(name: &[u8]) -> Result<Vec<u8>, &'static str> {
    if name.is_empty() || name.contains(&0) {
        return Err("its name is empty or holds a NUL byte");
    }
    let elements: Vec<&[u8]> = name
        .split(|byte| *byte == b'/')
        .filter(|element| !element.is_empty() && *element != b".")
        .collect();
    if elements.contains(&b"..".as_slice()) {
        return Err("its name leads out of a directory with \"..\"");
    }
    if elements.iter().any(|element| element.len() > 255) {
        return Err("an element of its name is longer than 255 bytes");
    }
    Ok(elements.join(&b'/'))
}

fn mode(header: &Header) -> Mode {
    Mode::from_raw_mode(u32::try_from(header.mode & 0o7777).unwrap_or(0))
}

fn times(header: &Header) -> Timestamps {
    let (seconds, nanos) = header.mtime.unwrap_or_default();
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanos.into(),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}

/// Sets a file's capability or user attribute; others belong to the machine and are not taken over.
fn set_attribute(file: &File, name: &[u8], value: &[u8]) -> io::Result<()> {
    if name != b"security.capability" && !name.starts_with(b"user.") {
        return Ok(());
    }
    match rustix::fs::fsetxattr(file, name, value, XattrFlags::empty()) {
        // Not every file system has attributes, and not everyone may set capabilities.
        Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn hostile(header: &Header, problem: &'static str) -> UnpackError {
    UnpackError::Hostile {
        entry: shown(header),
        problem,
    }
}

fn failed(header: &Header, source: io::Error) -> UnpackError {
    UnpackError::Entry {
        entry: shown(header),
        source,
    }
}

fn shown(header: &Header) -> String {
    String::from_utf8_lossy(&header.name).chars().take(500).collect()
}
