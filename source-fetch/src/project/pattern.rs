//! The patterns of include and exclude: a translation of gitignore lines into regular expressions.

use regex::Regex;

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
    if repeats_a_repetition(&expression) {
        return None;
    }
    Regex::new(&expression).ok().map(|regex| (regex, negated))
}

/// Whether a repetition is repeated without a group, as in `c++`. Go's expressions do not have that; those here do.
fn repeats_a_repetition(expression: &str) -> bool {
    let mut rest = expression.chars();
    let (mut in_class, mut repeated) = (false, false);
    while let Some(character) = rest.next() {
        let repeats = match character {
            '\\' => {
                rest.next();
                false
            }
            '[' if !in_class => {
                in_class = true;
                // A bracket that comes first belongs to the class.
                for first in ['^', ']'] {
                    if rest.as_str().starts_with(first) {
                        rest.next();
                    }
                }
                false
            }
            ']' => {
                in_class = false;
                false
            }
            '*' | '+' => !in_class,
            '{' if !in_class => match counted(rest.as_str()) {
                Some(after) => {
                    rest = after.chars();
                    true
                }
                None => false,
            },
            _ => false,
        };
        if repeats && repeated {
            return true;
        }
        repeated = repeats;
    }
    false
}

/// What follows `2}`, `2,}` or `2,3}`.
fn counted(text: &str) -> Option<&str> {
    let (numbers, after) = text.split_once('}')?;
    let (least, most) = numbers.split_once(',').unwrap_or((numbers, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!least.is_empty() && digits(least) && digits(most)).then_some(after)
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
    fn a_pattern_that_repeats_a_repetition_matches_nothing() {
        for (line, path) in [
            ("c++", "c"),
            ("c++", "cc"),
            ("a{2}+", "aa"),
            ("a+{2}", "aa"),
            ("a{1}{2,}", "aa"),
        ] {
            assert!(!Patterns::new([line]).matches(path), "{line}");
        }
        for (line, path) in [
            ("c+", "cc"),
            ("c\\++", "c++"),
            ("c\\+\\+", "c++"),
            ("[c++]", "+"),
            ("[]+*]+", "]+"),
            ("c+*", "ccd"),
            ("**/c", "a/c"),
            ("a{2}", "aa"),
        ] {
            assert!(Patterns::new([line]).matches(path), "{line} {path}");
        }
    }
}
