//! Errors of fields, and how they print.

use std::collections::BTreeMap;
use std::fmt;

/// Something wrong with one field or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What is wrong.
    pub message: String,
    /// The fields, such as `spec.tag`.
    pub paths: Vec<String>,
    /// More about it; may be empty.
    pub details: String,
}

/// Everything wrong with an object.
///
/// Prints one line an error (and one for its details): equal messages together, fields and messages sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Returns whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the errors in the order they were found.
    pub fn as_slice(&self) -> &[FieldError] {
        &self.0
    }

    pub(super) fn add(&mut self, message: impl Into<String>, paths: &[&str], details: impl Into<String>) {
        self.0.push(FieldError {
            message: message.into(),
            paths: paths.iter().map(|&path| path.to_owned()).collect(),
            details: details.into(),
        });
    }

    pub(super) fn missing(&mut self, path: &str) {
        self.add("missing field(s)", &[path], "");
    }

    pub(super) fn invalid(&mut self, value: &str, path: &str) {
        self.add(format!("invalid value: {value}"), &[path], "");
    }

    pub(super) fn neither(&mut self, paths: &[&str]) {
        self.add("expected exactly one, got neither", paths, "");
    }

    pub(super) fn both(&mut self, paths: &[&str]) {
        self.add("expected exactly one, got both", paths, "");
    }

    pub(super) fn immutable(&mut self, path: &str, new: &str, old: &str) {
        self.add("Immutable field changed", &[path], format!("got: {new}, want: {old}"));
    }
}

impl fmt::Display for FieldErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut merged: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for error in &self.0 {
            let paths = merged.entry((&error.message, &error.details)).or_default();
            paths.extend(error.paths.iter().map(String::as_str));
        }
        for (index, ((message, details), paths)) in merged.iter_mut().enumerate() {
            paths.sort_unstable();
            paths.dedup();
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{message}: {}", paths.join(", "))?;
            if !details.is_empty() {
                write!(f, "\n{details}")?;
            }
        }
        Ok(())
    }
}
