//! The distribution according to `/etc/os-release`.

/// Name and version of a distribution, read from the text of `/etc/os-release`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// The value of `ID`.
    pub name: String,
    /// The value of `VERSION_ID`.
    pub version: String,
}

impl OsRelease {
    /// Reads the text; what is missing is empty.
    ///
    /// Lines with more or less than one `=` are skipped, double quotes and spaces around a value are dropped, and reading
    /// stops once both values are there; until then a later line wins.
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for line in text.split('\n') {
            if !found.name.is_empty() && !found.version.is_empty() {
                break;
            }
            let mut parts = line.split('=');
            let (Some(key), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let value = value.trim_matches(|c| c == '"' || c == ' ');
            match key {
                "ID" => value.clone_into(&mut found.name),
                "VERSION_ID" => value.clone_into(&mut found.version),
                _ => {}
            }
        }
        found
    }
}
