//! The patterns of include and exclude: a translation of gitignore lines into regular expressions.

use regex::Regex;

use super::go_regex::compile;

/// Patterns in their order; the last that matches a path decides.
#[derive(Debug, Default)]
pub(super) struct Patterns(Vec<(Regex, bool)>);

impl Patterns {
    /// Translates lines. A line whose translation is no regular expression matches nothing.
    ///
    /// # Specification
    /// The reference's translation, not gitignore itself: `?` stands for itself, and so on (kpack.md §3.7).
    pub(super) fn new<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        Self(lines.into_iter().filter_map(translate).collect())
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        let mut matched = false;
        for (pattern, negated) in &self.0 {
            if pattern.is_match(path) {
                matched = !negated;
            }
        }
        matched
    }
}

fn translate(line: &str) -> Option<(Regex, bool)> {
    // Stands for a star of the result while stars of the line are being replaced.
    const STAR: &str = "#$~";
    let line = line.trim_end_matches('\r');
    if line.starts_with('#') {
        return None;
    }
    let line = line.trim_matches(' ');
    let (line, negated) = line.strip_prefix('!').map_or((line, false), |rest| (rest, true));
    if line.is_empty() {
        return None;
    }
    let line = if line.starts_with("\\#") || line.starts_with("\\!") {
        &line[1..]
    } else {
        line
    };
    let mut text = line.to_owned();
    if !text.starts_with('/') && has_file_star_in_a_folder(&text) {
        text.insert(0, '/');
    }
    text = text.replace('.', "\\.");
    if text.starts_with("/**/") {
        text.remove(0);
    }
    text = text.replace("/**/", "(/|/.+/)");
    text = text.replace("**/", &format!("(|.{STAR}/)"));
    text = text.replace("/**", &format!("(|/.{STAR})"));
    text = text.replace("\\*", &format!("\\{STAR}"));
    text = text.replace('*', "([^/]*)");
    text = text.replace('?', "\\?");
    text = text.replace(STAR, "*");
    text += if text.ends_with('/') { "(|.*)$" } else { "(|/.*)$" };
    let expression = match text.strip_prefix('/') {
        Some(rest) => format!("^(|/){rest}"),
        None => format!("^(|.*/){text}"),
    };
    compile(&expression).map(|regex| (regex, negated))
}

/// `folder/….*\.` in the reference's words: a character other than `/` and `+`, a slash, later `*.`.
fn has_file_star_in_a_folder(line: &str) -> bool {
    let Some(star) = line.rfind("*.") else { return false };
    let characters: Vec<_> = line[..star].chars().collect();
    characters
        .windows(2)
        .any(|pair| !matches!(pair[0], '/' | '+') && pair[1] == '/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_go_refuses_matches_nothing() {
        for (line, path) in [
            ("c++", "c"),
            ("c++", "cc"),
            ("a{2}+", "aa"),
            ("a+{2}", "aa"),
            ("a{1}{2,}", "aa"),
            // The star becomes a group, whose end stands alone.
            ("[]+*]+", "]+"),
        ] {
            assert!(!Patterns::new([line]).matches(path), "{line}");
        }
        for (line, path) in [
            ("c+", "cc"),
            ("c\\++", "c++"),
            ("c\\+\\+", "c++"),
            ("[c++]", "+"),
            ("c+*", "ccd"),
            ("**/c", "a/c"),
            ("a{2}", "aa"),
            ("*.{js,ts}", "a.{js,ts}"),
        ] {
            assert!(Patterns::new([line]).matches(path), "{line} {path}");
        }
    }
}
