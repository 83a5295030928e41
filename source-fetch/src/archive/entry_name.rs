//! Names of entries, as paths beneath the target.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::ArchiveError;

/// Drops the first `strip` components of `name` and cleans the rest; `None` when nothing is left.
///
/// A leading `/` counts as an empty component, and so does every doubled one; `.` counts too.
pub(crate) fn target(name: &[u8], strip: u32) -> Result<Option<PathBuf>, ArchiveError> {
    let refused = |problem| ArchiveError::Name {
        name: String::from_utf8_lossy(name).into_owned(),
        problem,
    };
    if name.contains(&0) {
        return Err(refused("holds a NUL byte"));
    }
    let components: Vec<&[u8]> = name.split(|byte| *byte == b'/').collect();
    let strip = usize::try_from(strip).unwrap_or(usize::MAX);
    if strip > 0 && components.len() <= strip {
        return Ok(None);
    }
    let mut cleaned: Vec<&[u8]> = Vec::new();
    for component in &components[strip..] {
        match *component {
            b"" | b"." => {}
            b".." => {
                if cleaned.pop().is_none() {
                    return Err(refused("leads out of the target"));
                }
            }
            name => cleaned.push(name),
        }
    }
    let path: PathBuf = cleaned.iter().map(|name| Path::new(OsStr::from_bytes(name))).collect();
    Ok((!cleaned.is_empty()).then_some(path))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(name: &str, strip: u32, expected: Option<&str>) {
        let target = target(name.as_bytes(), strip).expect("a name");
        assert_eq!(target.as_deref(), expected.map(Path::new), "{name:?} without {strip}");
    }

    // `./` is the target itself, which is there: the reference keeps it as `.`, here it is no entry.
    // row 10.5/X2
    #[test]
    fn leading_components_are_dropped_as_the_reference_counts_them() {
        check("a/b/c", 1, Some("b/c"));
        check("a/", 1, None);
        check("./a/b", 1, Some("a/b"));
        check("/a/b", 1, Some("a/b"));
        check("a", 1, None);
        check("a/b/", 2, None);
        check("a//b/c", 1, Some("b/c"));
        check("./", 0, None);
        check("../x/y", 1, Some("x/y"));
    }

    // row 10.5/X1
    #[test]
    fn zip_slip_and_cve_2023_49569_a_name_that_leads_out_is_refused() {
        for name in ["../x", "a/../../x", "..", "/../etc/passwd", "./../x"] {
            assert!(target(name.as_bytes(), 0).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leads_out(name in prop::collection::vec(prop_oneof![Just("/"), Just(".."), Just("."), Just("a"), Just("\\")], 0..8), strip in 0_u32..4) {
            if let Ok(Some(path)) = target(name.concat().as_bytes(), strip) {
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))));
            }
        }
    }
}
