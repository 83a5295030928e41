//! Finding an executable as Go's `exec.LookPath` does.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cnb_detect::os_text;
use rustix::fs::{Access, AtFlags, CWD, accessat};

/// Returns the path of `command`: itself if it has a slash, else the first match in `path`; a match in a relative
/// directory is refused. Relative paths are looked up beneath `directory`.
pub(super) fn look_path(command: &OsStr, path: &OsStr, directory: &Path) -> Result<PathBuf, String> {
    if command.as_bytes().contains(&b'/') {
        return match executable(Path::new(command), directory) {
            Ok(()) => Ok(command.into()),
            Err(message) => Err(message),
        };
    }
    let not_found = || "executable file not found in $PATH".to_owned();
    if path.is_empty() || command.is_empty() {
        return Err(not_found());
    }
    for element in path.as_bytes().split(|byte| *byte == b':') {
        let element = if element.is_empty() { b".".as_slice() } else { element };
        let found = join(OsStr::from_bytes(element), command);
        if executable(&found, directory).is_ok() {
            if found.is_relative() {
                return Err("cannot run executable found relative to current directory".to_owned());
            }
            return Ok(found);
        }
    }
    Err(not_found())
}

/// Joins and cleans the path by its text alone.
fn join(directory: &OsStr, name: &OsStr) -> PathBuf {
    let mut text = OsString::from(directory);
    text.push("/");
    text.push(name);
    let absolute = text.as_bytes().starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in text.as_bytes().split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if absolute && parts.is_empty() => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    let mut path = if absolute { b"/".to_vec() } else { Vec::new() };
    path.extend(joined);
    PathBuf::from(OsStr::from_bytes(&path))
}

fn executable(path: &Path, directory: &Path) -> Result<(), String> {
    let full = directory.join(path);
    let found = fs::metadata(&full).map_err(|error| format!("stat {}: {}", path.display(), os_text(&error)))?;
    if found.is_dir() {
        return Err("is a directory".to_owned());
    }
    accessat(CWD, &full, Access::EXEC_OK, AtFlags::EACCESS).map_err(|error| os_text(&error.into()))
}
