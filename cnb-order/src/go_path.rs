//! Paths without detours.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// Resolves `.`, `..` and repeated slashes by the text alone, as Go's `path.Clean`. The empty path becomes `.`.
///
/// # Examples
/// ```
/// use cnb_order::go_clean;
///
/// assert_eq!(go_clean(b"/layers//a/../b/"), b"/layers/b");
/// assert_eq!(go_clean(b"../a/.."), b"..");
/// ```
pub fn go_clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => drop(parts.pop()),
                _ if rooted => {}
                _ => parts.push(part),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/".as_slice(), &joined].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// Returns a path without `.`, `..` and repeated slashes, as [`go_clean`].
pub fn go_clean_path(path: &Path) -> PathBuf {
    PathBuf::from(OsString::from_vec(go_clean(path.as_os_str().as_bytes())))
}
