//! Files of untrusted trees, never outside of them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

/// Why a sub path cannot be mounted.
#[derive(Debug, thiserror::Error)]
pub(super) enum SubPathError {
    #[error("sub path {sub:?} holds `..`")]
    Form { sub: String },
    #[error("sub path {sub:?} leaves the volume or leads through a broken link")]
    Outside { sub: String },
    #[error("cannot open sub path {sub:?}: {source}")]
    Io { sub: String, source: io::Error },
}

/// Returns where `sub` is beneath `root`, links followed as far as they stay there; makes directories that are missing.
///
/// Nothing may change the tree at the time, or the answer may be outdated when it is used.
pub(super) fn sub_path(root: &Path, sub: &str) -> Result<PathBuf, SubPathError> {
    let parts = parts(sub)?;
    let root = open_dir(root).map_err(|source| io_error(sub, source))?;
    let mut here = PathBuf::new();
    for part in &parts {
        here.push(part);
        match open_beneath(&root, &here) {
            Err(rustix::io::Errno::NOENT) => {
                let parent = match here.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                    Some(parent) => open_beneath(&root, parent).map_err(|errno| open_error(sub, errno))?,
                    None => root.try_clone().map_err(|source| io_error(sub, source))?,
                };
                rustix::fs::mkdirat(&parent, *part, Mode::from_raw_mode(0o755)).map_err(|errno| {
                    // A link that leads nowhere: it is there, and yet it cannot be opened.
                    open_error(
                        sub,
                        if errno == rustix::io::Errno::EXIST {
                            rustix::io::Errno::XDEV
                        } else {
                            errno
                        },
                    )
                })?;
            }
            Err(errno) => return Err(open_error(sub, errno)),
            Ok(_) => {}
        }
    }
    let found = if parts.is_empty() {
        root
    } else {
        open_beneath(&root, &here).map_err(|errno| open_error(sub, errno))?
    };
    fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd())).map_err(|source| io_error(sub, source))
}

/// Reads at most `limit` bytes of the regular file at `path` in the root file system `root`; `None` when there is none.
///
/// Links are followed as if `root` were `/`.
pub(super) fn read_in_root(root: &Path, path: &str, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let root = open_dir(root)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file = match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn parts(sub: &str) -> Result<Vec<&std::ffi::OsStr>, SubPathError> {
    let mut parts = Vec::new();
    for component in Path::new(sub).components() {
        match component {
            Component::Normal(part) => parts.push(part),
            // A slash in front does not count, as in the sub path of a source.
            Component::CurDir | Component::RootDir => {}
            _ => return Err(SubPathError::Form { sub: sub.to_owned() }),
        }
    }
    Ok(parts)
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

fn open_beneath(root: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)
}

fn open_error(sub: &str, errno: rustix::io::Errno) -> SubPathError {
    match errno {
        rustix::io::Errno::XDEV | rustix::io::Errno::LOOP => SubPathError::Outside { sub: sub.to_owned() },
        errno => io_error(sub, errno.into()),
    }
}

fn io_error(sub: &str, source: io::Error) -> SubPathError {
    SubPathError::Io {
        sub: sub.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_sub_path_stays_beneath_its_volume() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("volume");
        fs::create_dir_all(root.join("real/deep")).unwrap();
        symlink("real", root.join("link")).unwrap();
        symlink("/etc", root.join("absolute")).unwrap();
        symlink("../..", root.join("up")).unwrap();
        symlink("nowhere", root.join("broken")).unwrap();
        assert_eq!(sub_path(&root, "real/deep").unwrap(), root.join("real/deep"));
        assert_eq!(sub_path(&root, "./link/deep").unwrap(), root.join("real/deep"));
        assert_eq!(sub_path(&root, "link/new/er").unwrap(), root.join("real/new/er"));
        assert!(root.join("real/new/er").is_dir());
        assert_eq!(sub_path(&root, "").unwrap(), root);
        for bad in ["absolute", "up", "up/etc", "broken", "broken/x"] {
            assert!(
                matches!(sub_path(&root, bad), Err(SubPathError::Outside { .. })),
                "{bad}"
            );
        }
        assert_eq!(sub_path(&root, "/real/deep/").unwrap(), root.join("real/deep"));
        for bad in ["..", "a/../.."] {
            assert!(matches!(sub_path(&root, bad), Err(SubPathError::Form { .. })), "{bad}");
        }
    }

    #[test]
    fn a_file_of_an_image_is_read_as_a_container_sees_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/real"), "text").unwrap();
        symlink("/etc/real", root.path().join("etc/passwd")).unwrap();
        let read = |path, limit| read_in_root(root.path(), path, limit).unwrap();
        assert_eq!(read("/etc/passwd", 9).unwrap(), b"text");
        assert_eq!(read("/etc/passwd", 2).unwrap(), b"te");
        assert_eq!(read("/etc/group", 9), None);
        assert_eq!(read("/etc", 9), None);
    }
}
