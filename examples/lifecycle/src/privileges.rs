//! Giving up root: directories are handed to the user of the build, then the process becomes that user.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Gid, Uid, getgid, getuid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};

/// Hands `directories` to the user, unless they can write there already.
///
/// Only the top of each directory is looked at: what lies in it is assumed to be in the same state.
/// Directories that do not exist are passed over; the top may be a link, those beneath it are not followed.
pub(crate) fn hand_over(directories: &[&Path], uid: i64, gid: i64) -> Result<(), (PathBuf, io::Error)> {
    let (Some(uid), Some(gid)) = (id(uid), id(gid)) else {
        return Ok(());
    };
    for top in directories {
        match fs::metadata(top) {
            Ok(found) if is_writable(&found, uid, gid) => {}
            Ok(_) => {
                let top = fs::canonicalize(top).map_err(|error| (top.to_path_buf(), error))?;
                chown_all(&top, uid, gid)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((top.to_path_buf(), error)),
        }
    }
    Ok(())
}

/// Becomes the user for the rest of the process; nothing happens when the process is that user already.
///
/// To be called while the process has one thread: threads started later are the user, too.
pub(crate) fn become_user(uid: i64, gid: i64) -> io::Result<()> {
    let (Some(uid), Some(gid)) = (id(uid), id(gid)) else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{uid}:{gid} is not a user and a group"),
        ));
    };
    if getuid().as_raw() == uid && getgid().as_raw() == gid {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

fn id(number: i64) -> Option<u32> {
    u32::try_from(number).ok().filter(|id| *id != u32::MAX)
}

fn is_writable(found: &fs::Metadata, uid: u32, gid: u32) -> bool {
    let mode = found.permissions().mode();
    found.uid() == uid || (found.gid() == gid && mode & 0o020 != 0) || mode & 0o002 != 0
}

fn chown_all(path: &Path, uid: u32, gid: u32) -> Result<(), (PathBuf, io::Error)> {
    let here = |error| (path.to_path_buf(), error);
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(here)?;
    if fs::symlink_metadata(path).map_err(here)?.is_dir() {
        for entry in fs::read_dir(path).map_err(here)? {
            chown_all(&entry.map_err(here)?.path(), uid, gid)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_directory_behind_a_link_is_handed_over_but_not_what_links_in_it_lead_to() {
        if !getuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().expect("there is room");
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("real/a")).expect("there is room");
        fs::write(path("other"), "").expect("there is room");
        symlink("real", path("link")).expect("there is room");
        symlink("../other", path("real/other")).expect("there is room");
        hand_over(&[&path("link"), &path("missing")], 1000, 1001).expect("root may");
        let owner = |name: &str| {
            let found = fs::metadata(path(name)).expect("it is there");
            (found.uid(), found.gid())
        };
        assert_eq!((owner("real"), owner("real/a")), ((1000, 1001), (1000, 1001)));
        assert_eq!(owner("real/other"), (0, 0));
    }
}
