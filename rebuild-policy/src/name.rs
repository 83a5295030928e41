//! Names of the objects that other objects make.

use crate::md5;

/// Longest name that also is a label value.
const LONGEST: usize = 63;
/// Hexadecimal digits of an MD5.
const DIGEST: usize = 32;

/// Returns the name of a child object: `parent` followed by `suffix`, shortened to 63 bytes.
///
/// A parent that is too long gives its first bytes and the MD5 of the whole, so that different parents give different
/// names. A suffix that is itself too long is shortened too.
///
/// ```
/// assert_eq!(rebuild_policy::child_name("app", "-build-1"), "app-build-1");
/// ```
///
/// # Specification
/// `ChildName` of knative.dev/pkg.
pub fn child_name(parent: &str, suffix: &str) -> String {
    if parent.len() + suffix.len() <= LONGEST {
        return [parent, suffix].concat();
    }
    let room = (LONGEST - DIGEST).saturating_sub(suffix.len());
    if suffix.len() >= LONGEST - DIGEST {
        let digest = md5::hex([parent, suffix].concat().as_bytes());
        let head = prefix(parent, LONGEST - DIGEST);
        let mut name = [head, &digest].concat();
        name.push_str(prefix(suffix, LONGEST - name.len()));
        return name.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    }
    [prefix(parent, room), &md5::hex(parent.as_bytes()), suffix].concat()
}

/// Returns at most `length` bytes, never part of a character.
fn prefix(text: &str, length: usize) -> &str {
    if text.len() <= length {
        return text;
    }
    let end = (0..=length).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::child_name;

    #[test]
    fn names_are_those_that_were_recorded() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../tests/fixtures/policy/child-name.json")).unwrap();
        for case in cases["cases"].as_array().unwrap() {
            let (parent, suffix) = (case["parent"].as_str().unwrap(), case["suffix"].as_str().unwrap());
            assert_eq!(
                child_name(parent, suffix),
                case["expect"].as_str().unwrap(),
                "{parent} {suffix}"
            );
        }
    }
}
