//! The environment of a phase, as a value.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// The environment variables that a phase was started with.
///
/// Taken once in `main` and passed on, so that every phase can be tested with any environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env(BTreeMap<OsString, OsString>);

impl Env {
    /// Returns the environment of this process.
    pub(crate) fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// Returns the value of `name`; an empty variable counts as unset.
    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        let value = self.0.get(OsStr::new(name))?;
        (!value.is_empty()).then_some(value.as_os_str())
    }

    /// Returns the value of `name` as text, with bytes that are not UTF-8 replaced.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| value.to_string_lossy().into_owned())
    }

    /// Returns whether `name` holds one of the words that mean *true* to the platform specification.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| parse_bool(&value) == Some(true))
    }

    /// Returns the environment with `name` set to `value`.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Returns all variables, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut variables = BTreeMap::new();
        for (name, value) in pairs {
            // Of a variable that is there twice the first counts.
            variables.entry(name.into()).or_insert_with(|| value.into());
        }
        Self(variables)
    }
}

/// Reads the spellings of a boolean that flags and variables accept; `None` for anything else.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_variable_that_is_there_twice_the_first_counts() {
        let env: Env = [("A", "1"), ("A", "2")].into_iter().collect();
        assert_eq!(env.text("A").as_deref(), Some("1"));
    }
}
