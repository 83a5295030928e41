//! What reads the bytes of strangers, for the fuzz targets; no part of the API.

use std::{
    io::{Seek as _, Write as _},
    path::Path,
};

use crate::{archive, beneath::Beneath, limits::Limits};

pub use crate::git::fuzzing::{conversation, gitmodules, lines, pack};

/// Unpacks an archive of any kind beneath `dir`; returns whether it was one.
pub fn unpack(bytes: &[u8], dir: &Path, strip: u32) -> bool {
    let limits = Limits {
        unpacked: 1 << 20,
        entries: 200,
        path: 512,
        ..Limits::default()
    };
    let Ok(mut into) = Beneath::open(dir, &limits) else {
        return false;
    };
    let Ok(mut file) = tempfile::tempfile() else {
        return false;
    };
    let stored = file.write_all(bytes).and_then(|()| file.rewind());
    stored.is_ok() && archive::unpack(&mut file, &mut into, strip).is_ok() && into.finish().is_ok()
}
