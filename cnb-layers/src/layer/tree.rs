use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::entries::Entries;
use super::{LayerBuilder, LayerError};
use crate::tar::{EntryKind, Header};

/// A file tree as part of a layer: what is on disk, under which name, and what is recorded of it.
///
/// The tree is walked without following symbolic links. Sockets are passed over. [`Tree::new`] records
/// what the reference records; [`Tree::root_filesystem`] what a root file system needs.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The directory (or single file) on disk.
    pub disk: PathBuf,
    /// Its name in the archive; children are below it. Empty: the tree's own entry is left out and
    /// children have relative names.
    pub name: Vec<u8>,
    /// Whose the entries are.
    pub owners: Owners,
    /// Which permission bits they have.
    pub modes: Modes,
    /// In which order they come.
    pub order: Order,
    /// What further names of a file become.
    pub hard_links: HardLinks,
    /// Whether the time of each file is kept, in whole seconds.
    pub keep_times: bool,
    /// Whether extended attributes `security.capability` and `user.*` are kept.
    pub keep_attributes: bool,
    /// Whether the names of directories end with a slash.
    pub directory_slash: bool,
    /// Names directly below the tree's root that are left out with all below them.
    pub leave_out: Vec<String>,
}

/// Whose the entries of a tree are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Everything belongs to this user and group.
    All(i64, i64),
    /// As on disk.
    OnDisk,
}

/// Which permission bits the entries of a tree have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modes {
    /// As on disk.
    OnDisk,
    /// 0755 for directories and for files that anyone may execute, 0644 for other files: independent of
    /// the umask with which they were checked out.
    Normal,
}

/// In which order the entries of a tree come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A directory before its children; the children of one directory by name: `a`, `a/x`, `a-b`.
    Walk,
    /// By the whole path: `a`, `a-b`, `a/x`.
    Path,
}

/// What further names of one file become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HardLinks {
    /// Files of their own, with a copy of the content: what the reference does.
    Copies,
    /// Links to the first name.
    Links,
}

impl Tree {
    /// Returns the tree at `disk` under `name`, all of it owned by `uid` and `gid`, recorded as the
    /// reference does.
    pub fn new(disk: impl Into<PathBuf>, name: impl Into<Vec<u8>>, uid: i64, gid: i64) -> Self {
        Self {
            disk: disk.into(),
            name: name.into(),
            owners: Owners::All(uid, gid),
            modes: Modes::OnDisk,
            order: Order::Walk,
            hard_links: HardLinks::Copies,
            keep_times: false,
            keep_attributes: false,
            directory_slash: false,
            leave_out: Vec::new(),
        }
    }

    /// Returns the root file system at `disk`: relative names, owners, links and attributes kept. The
    /// content of `dev`, `proc`, `sys` and `run`, which belongs to a running system, is for the caller
    /// to leave out.
    pub fn root_filesystem(disk: impl Into<PathBuf>) -> Self {
        Self {
            owners: Owners::OnDisk,
            hard_links: HardLinks::Links,
            keep_times: true,
            keep_attributes: true,
            directory_slash: true,
            ..Self::new(disk, "", 0, 0)
        }
    }

    pub(super) fn write(&self, archive: &mut dyn Entries) -> Result<(), LayerError> {
        let mut links = HashMap::new();
        let mut write = |disk: &Path, name: &[u8], metadata: &Metadata| {
            if name.is_empty() {
                Ok(())
            } else {
                self.write_entry(archive, &mut links, disk, name, metadata)
            }
        };
        match self.order {
            Order::Walk => walk(&self.disk, &self.name, &self.leave_out, &mut write),
            Order::Path => {
                let mut paths = Vec::new();
                walk(
                    &self.disk,
                    &self.name,
                    &self.leave_out,
                    &mut |disk: &Path, name: &[u8], _: &Metadata| {
                        paths.push((name.to_vec(), disk.to_owned()));
                        Ok(())
                    },
                )?;
                paths.sort();
                paths.iter().try_for_each(|(name, disk)| {
                    write(
                        disk,
                        name,
                        &fs::symlink_metadata(disk).map_err(LayerError::lstat(disk))?,
                    )
                })
            }
        }
    }

    fn write_entry(
        &self,
        archive: &mut dyn Entries,
        links: &mut HashMap<(u64, u64), Vec<u8>>,
        disk: &Path,
        name: &[u8],
        metadata: &Metadata,
    ) -> Result<(), LayerError> {
        let Some(mut header) = header(disk, name, metadata)? else {
            return Ok(());
        };
        match self.owners {
            Owners::All(uid, gid) => (header.uid, header.gid) = (uid, gid),
            Owners::OnDisk => {}
        }
        if self.modes == Modes::Normal && header.kind != EntryKind::Symlink {
            let executable = header.kind == EntryKind::Directory || header.mode & 0o111 != 0;
            header.mode = if executable { 0o755 } else { 0o644 };
        }
        if self.keep_times {
            header.mtime = Some((metadata.mtime(), 0));
        }
        if self.directory_slash && header.kind == EntryKind::Directory && !name.ends_with(b"/") {
            header.name.push(b'/');
        }
        if self.hard_links == HardLinks::Links && header.kind != EntryKind::Directory && metadata.nlink() > 1 {
            if let Some(first) = links.get(&(metadata.dev(), metadata.ino())) {
                (header.kind, header.size) = (EntryKind::HardLink, 0);
                header.link.clone_from(first);
                return archive.entry(&header).map_err(|error| LayerError::entry(disk, error));
            }
            links.insert((metadata.dev(), metadata.ino()), name.to_vec());
        }
        if self.keep_attributes && matches!(header.kind, EntryKind::File | EntryKind::Directory) {
            attributes(disk, &mut header)?;
        }
        write(archive, &header, disk, metadata)
    }
}

/// What is known of the directories above a layer's own.
///
/// The reference records their mode and owner as they are on disk, so the diff id depends on them.
pub enum Parents<'a> {
    /// As they are on disk.
    OnDisk,
    /// As this function says: mode, user, group.
    Given(&'a (dyn Fn(&Path) -> (u32, i64, i64) + Sync)),
}

impl Parents<'_> {
    /// Adds the directories above `dir`, outermost first, without `/`. On disk they are below `root`.
    pub(super) fn add(&self, mut layer: LayerBuilder, root: &Path, dir: &Path) -> Result<LayerBuilder, LayerError> {
        let mut parents: Vec<&Path> = dir.ancestors().skip(1).collect();
        parents.reverse();
        for parent in parents {
            if parent == Path::new("/") || parent == Path::new("") {
                continue;
            }
            let (mode, uid, gid) = match self {
                Self::Given(known) => known(parent),
                Self::OnDisk => {
                    let disk = below(root, parent);
                    let metadata = fs::metadata(&disk).map_err(LayerError::during("stat", &disk))?;
                    (
                        metadata.mode() & 0o7777,
                        i64::from(metadata.uid()),
                        i64::from(metadata.gid()),
                    )
                }
            };
            layer = layer.directory(parent.as_os_str().as_bytes(), mode, uid, gid);
        }
        Ok(layer)
    }
}

/// Returns where `path`, absolute in the image, lies when the image's root is `root`.
pub(super) fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// What a walk does with each path: its place on disk, its name, what it is.
pub(super) type Visit<'a> = dyn FnMut(&Path, &[u8], &Metadata) -> Result<(), LayerError> + 'a;

/// Calls `visit` for everything in a tree, a directory before its children, children by name.
pub(super) fn walk(disk: &Path, name: &[u8], leave_out: &[String], visit: &mut Visit<'_>) -> Result<(), LayerError> {
    let metadata = fs::symlink_metadata(disk).map_err(LayerError::lstat(disk))?;
    visit(disk, name, &metadata)?;
    // Directories that are being walked, with their children that are still to come, last name first.
    let mut open: Vec<(PathBuf, Vec<u8>, Vec<std::ffi::OsString>)> = Vec::new();
    if metadata.is_dir() {
        let mut children = children(disk)?;
        children.retain(|child| !leave_out.iter().any(|name| child.as_bytes() == name.as_bytes()));
        open.push((disk.to_owned(), name.to_vec(), children));
    }
    while let Some((dir, dir_name, waiting)) = open.last_mut() {
        let Some(child) = waiting.pop() else {
            open.pop();
            continue;
        };
        let disk = dir.join(&child);
        let mut name = dir_name.clone();
        if !name.is_empty() && !name.ends_with(b"/") {
            name.push(b'/');
        }
        name.extend_from_slice(child.as_bytes());
        let metadata = fs::symlink_metadata(&disk).map_err(LayerError::lstat(&disk))?;
        visit(&disk, &name, &metadata)?;
        if metadata.is_dir() {
            let children = children(&disk)?;
            open.push((disk, name, children));
        }
    }
    Ok(())
}

/// Returns the names in a directory, last first.
fn children(dir: &Path) -> Result<Vec<std::ffi::OsString>, LayerError> {
    let entries = fs::read_dir(dir).map_err(LayerError::open(dir))?;
    let mut names: Vec<_> = entries
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()
        .map_err(LayerError::open(dir))?;
    names.sort_by(|a, b| b.as_bytes().cmp(a.as_bytes()));
    Ok(names)
}

/// Writes one thing that is on disk, recorded as the reference does.
pub(super) fn write_path(
    archive: &mut dyn Entries,
    disk: &Path,
    name: &[u8],
    uid: i64,
    gid: i64,
) -> Result<(), LayerError> {
    let metadata = fs::symlink_metadata(disk).map_err(LayerError::lstat(disk))?;
    match header(disk, name, &metadata)? {
        None => Ok(()),
        Some(mut header) => {
            (header.uid, header.gid) = (uid, gid);
            write(archive, &header, disk, &metadata)
        }
    }
}

fn write(archive: &mut dyn Entries, header: &Header, disk: &Path, metadata: &Metadata) -> Result<(), LayerError> {
    if header.kind == EntryKind::File {
        return archive.file(header, disk, metadata);
    }
    archive.entry(header).map_err(|error| LayerError::entry(disk, error))
}

/// Returns the header of something on disk; `None` for a socket, which no archive can hold.
fn header(disk: &Path, name: &[u8], metadata: &Metadata) -> Result<Option<Header>, LayerError> {
    let kind = metadata.file_type();
    let entry = match kind {
        kind if kind.is_file() => EntryKind::File,
        kind if kind.is_dir() => EntryKind::Directory,
        kind if kind.is_symlink() => EntryKind::Symlink,
        kind if kind.is_fifo() => EntryKind::Fifo,
        kind if kind.is_char_device() => EntryKind::CharDevice,
        kind if kind.is_block_device() => EntryKind::BlockDevice,
        _ => return Ok(None),
    };
    let mut header = Header::new(entry, name).owned(
        metadata.mode() & 0o7777,
        i64::from(metadata.uid()),
        i64::from(metadata.gid()),
    );
    match entry {
        EntryKind::File => header.size = i64::try_from(metadata.len()).unwrap_or(i64::MAX),
        EntryKind::Symlink => {
            header.link = fs::read_link(disk)
                .map_err(LayerError::open(disk))?
                .as_os_str()
                .as_bytes()
                .to_vec();
        }
        EntryKind::CharDevice | EntryKind::BlockDevice => {
            let device = metadata.rdev();
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            header.device = (i64::from(major), i64::from(minor));
        }
        _ => {}
    }
    Ok(Some(header))
}

/// Adds the extended attributes worth keeping as PAX records.
fn attributes(disk: &Path, header: &mut Header) -> Result<(), LayerError> {
    let read = |error: rustix::io::Errno| LayerError::Read {
        action: "read",
        path: disk.to_owned(),
        source: error.into(),
    };
    let mut names = vec![0; 4096];
    let length = match rustix::fs::llistxattr(disk, &mut names[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => return Ok(()),
        Err(error) => return Err(read(error)),
    };
    for name in names[..length].split(|byte| *byte == 0) {
        if name == b"security.capability" || name.starts_with(b"user.") {
            let mut value = vec![0; 65_536];
            let length = rustix::fs::lgetxattr(disk, name, &mut value[..]).map_err(read)?;
            value.truncate(length);
            header.records.insert([b"SCHILY.xattr.", name].concat(), value);
        }
    }
    Ok(())
}
