//! The changes that led to a build, as the lines that people read.

use cnb_order::go_json_problem;
use serde_json::Value;

use crate::go_yaml::go_yaml;

/// Why the changes annotation can't be shown.
#[derive(Debug, thiserror::Error)]
#[error("error parsing build changes JSON string '{text}': {problem}")]
pub struct ChangeLogError {
    /// The annotation.
    pub text: String,
    /// What is wrong with it.
    pub problem: String,
}

/// Renders the annotation `image.kpack.io/buildChanges` as `prepare` and `rebase` print it: the reasons in one line,
/// then for each reason a TAB-indented line diff of old and new, removed lines in red and added ones in green.
///
/// Empty text gives empty text.
///
/// # Errors
/// [`ChangeLogError`] when `annotation` is not a JSON array of changes.
///
/// # Examples
/// ```
/// let log = rebuild_policy::change_log(r#"[{"reason":"STACK","old":"","new":"x"}]"#)?;
/// assert_eq!(log, "Build reason(s): STACK\nSTACK:\n\t\u{1b}[32m+\u{1b}[0m \u{1b}[32mx\u{1b}[0m\n");
/// # Ok::<(), rebuild_policy::ChangeLogError>(())
/// ```
///
/// # Specification
/// kpack 0.17.2, `pkg/buildchange/change_logger.go` (kpack.md §7.1).
pub fn change_log(annotation: &str) -> Result<String, ChangeLogError> {
    if annotation.is_empty() {
        return Ok(String::new());
    }
    let changes = parse(annotation)?;
    let reason = |change: &Value| field(change, "reason").as_str().unwrap_or_default().to_owned();
    let reasons: Vec<_> = changes.iter().map(reason).collect();
    let mut log = format!("Build reason(s): {}\n", reasons.join(","));
    for change in &changes {
        log += &format!(
            "{}:\n{}\n",
            reason(change),
            change_diff(field(change, "old"), field(change, "new")).join("\n")
        );
    }
    Ok(log)
}

/// Returns the diff of all changes of an annotation, each line begun by a TAB, without the reasons: what
/// `kp build status` shows.
///
/// # Errors
/// As [`change_log`].
pub fn change_lines(annotation: &str) -> Result<Vec<String>, ChangeLogError> {
    if annotation.is_empty() {
        return Ok(Vec::new());
    }
    let lines = |change: &Value| change_diff(field(change, "old"), field(change, "new"));
    Ok(parse(annotation)?.iter().flat_map(lines).collect())
}

/// Returns a line diff of two values as YAML (text as it is), removed lines in red and added ones in green, without
/// indentation; empty when both are the same.
pub fn value_diff(old: &Value, new: &Value) -> Vec<String> {
    let lines = change_diff(old, new);
    if lines.iter().all(|line| !line.starts_with("\t\u{1b}[")) {
        return Vec::new();
    }
    lines
        .iter()
        .map(|line| line.trim_start_matches('\t').to_owned())
        .collect()
}

fn parse(annotation: &str) -> Result<Vec<Value>, ChangeLogError> {
    let failure = |problem: String| ChangeLogError {
        text: annotation.to_owned(),
        problem,
    };
    match serde_json::from_str(annotation) {
        Ok(Value::Array(changes)) => Ok(changes),
        Ok(Value::Null) => Ok(Vec::new()),
        Ok(_) => Err(failure("it is not an array of changes".to_owned())),
        Err(error) => Err(failure(
            go_json_problem(annotation).unwrap_or_else(|| error.to_string()),
        )),
    }
}

/// Returns a field of a change. As in Go, letters may be of the other case when no name is the same.
fn field<'a>(change: &'a Value, name: &str) -> &'a Value {
    let Value::Object(fields) = change else {
        return &Value::Null;
    };
    fields
        .get(name)
        .or_else(|| {
            fields
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value)
        })
        .unwrap_or(&Value::Null)
}

fn change_diff(old: &Value, new: &Value) -> Vec<String> {
    let (old, new) = (side(old), side(new));
    let old: Vec<&str> = old.lines().filter(|line| !line.is_empty()).collect();
    let new: Vec<&str> = new.lines().filter(|line| !line.is_empty()).collect();
    diff(&old, &new)
        .into_iter()
        .map(|line| match line {
            Line::Same(text) => format!("\t{text}"),
            Line::Removed(text) => format!("\t\u{1b}[31m-\u{1b}[0m \u{1b}[31m{text}\u{1b}[0m"),
            Line::Added(text) => format!("\t\u{1b}[32m+\u{1b}[0m \u{1b}[32m{text}\u{1b}[0m"),
        })
        .collect()
}

fn side(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => go_yaml(other),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a str),
    Removed(&'a str),
    Added(&'a str),
}

/// The longest common subsequence, removals before additions. Quadratic in the number of lines, so sides of more
/// than a thousand lines are shown as replaced whole.
fn diff<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    if old.len() > 1000 || new.len() > 1000 {
        return old
            .iter()
            .map(|text| Line::Removed(text))
            .chain(new.iter().map(|text| Line::Added(text)))
            .collect();
    }
    let width = new.len() + 1;
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i * width + j] = if old[i] == new[j] {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || (i < old.len() && longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
            lines.push(Line::Removed(old[i]));
            i += 1;
        } else {
            lines.push(Line::Added(new[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_recorded_logs_are_reproduced() {
        let recorded: Value = serde_json::from_str(include_str!("../tests/fixtures/policy/change-log.json"))
            .expect("the fixture is JSON");
        for case in recorded["cases"].as_array().expect("cases") {
            let text = case["changes"].as_str().expect("changes");
            let expected = case["expect"]["log"].as_str().unwrap_or_default();
            // The recording masks the date.
            let shown = |log: String| match (log.find("triggered on "), expected.contains("<RFC1123Z>")) {
                (Some(at), true) => format!("{}<RFC1123Z>\u{1b}[0m\n", &log[..at + "triggered on ".len()]),
                _ => log,
            };
            match change_log(text) {
                Ok(log) => assert_eq!(shown(log), expected, "{}", case["name"]),
                Err(error) => assert_eq!(error.to_string(), case["expect"]["error"].as_str().unwrap_or_default()),
            }
        }
    }

    #[test]
    fn text_that_is_no_list_of_changes_is_refused_with_the_words_of_go() {
        for (text, problem) in [
            ("xyz", "invalid character 'x' looking for beginning of value"),
            (
                "[{]",
                "invalid character ']' looking for beginning of object key string",
            ),
            ("[", "unexpected end of JSON input"),
        ] {
            let error = change_log(text).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("error parsing build changes JSON string '{text}': {problem}")
            );
        }
    }

    #[test]
    fn null_is_a_list_without_changes() {
        assert_eq!(change_log("null").unwrap(), "Build reason(s): \n");
    }

    #[test]
    fn the_case_of_a_key_does_not_count_when_no_key_is_the_same() {
        assert_eq!(
            change_log(r#"[{"REASON":"STACK","Old":"x","NEW":"x","new":"y"}]"#).unwrap(),
            change_log(r#"[{"reason":"STACK","old":"x","new":"y"}]"#).unwrap()
        );
    }

    proptest! {
        #[test]
        fn the_diff_holds_both_sides_in_order(old in prop::collection::vec("[ab]", 0..8), new in prop::collection::vec("[ab]", 0..8)) {
            let (old, new): (Vec<_>, Vec<_>) = (old.iter().map(String::as_str).collect(), new.iter().map(String::as_str).collect());
            let lines = diff(&old, &new);
            let before: Vec<_> = lines.iter().filter_map(|line| match line { Line::Same(text) | Line::Removed(text) => Some(*text), Line::Added(_) => None }).collect();
            let after: Vec<_> = lines.iter().filter_map(|line| match line { Line::Same(text) | Line::Added(text) => Some(*text), Line::Removed(_) => None }).collect();
            prop_assert_eq!(before, old);
            prop_assert_eq!(after, new);
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = change_log(&text);
        }
    }
}
