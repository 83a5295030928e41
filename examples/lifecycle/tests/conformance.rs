//! docs/conformance.md is in step with the tests: every row once, everything it names exists and names the row, and no row
//! that is named in a test or case is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// How many rows each section of the table has, by letter.
const ROWS: [(char, usize); 16] = [
    ('O', 24),
    ('P', 22),
    ('D', 23),
    ('T', 32),
    ('X', 11),
    ('S', 12),
    ('E', 28),
    ('B', 37),
    ('Q', 27),
    ('L', 25),
    ('G', 21),
    ('A', 9),
    ('I', 10),
    ('F', 3),
    ('R', 11),
    ('K', 14),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The page, row by row.
fn page() -> BTreeMap<String, String> {
    let text = fs::read_to_string(repository().join("docs/conformance.md")).expect("the page is there");
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let Some((row, shown)) = line.strip_prefix("| ").and_then(|line| line.split_once(" | ")) else {
            continue;
        };
        if row != "Row" {
            let before = rows.insert(row.to_owned(), shown.trim_end_matches(" |").to_owned());
            assert_eq!(before, None, "{row} is listed twice");
        }
    }
    rows
}

/// Where the cases of a name as the page gives it lie.
fn fixtures(name: &str) -> Vec<PathBuf> {
    let places = match name.split_once('/') {
        Some(("detect" | "build", _)) => vec![format!("examples/lifecycle/tests/fixtures/{name}")],
        Some(("launch", file)) => vec![format!("examples/launcher/tests/fixtures/{file}")],
        _ => vec![
            format!("cnb-order/tests/fixtures/{name}"),
            format!("cnb-build/tests/fixtures/{}", name.replace("decode/", "")),
        ],
    };
    places
        .into_iter()
        .map(|place| repository().join(place))
        .filter(|path| path.exists())
        .collect()
}

/// The cases of a file: name and the rows it gives.
fn cases(path: &Path) -> Vec<(String, BTreeSet<String>)> {
    let text = fs::read_to_string(path).expect("a fixture");
    let cases: Vec<Value> = if path.extension().is_some_and(|end| end == "jsonl") {
        let lines = text.split('\n').filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_str(line).expect("a case is JSON"))
            .collect()
    } else {
        let document: Value = serde_json::from_str(&text).expect("the fixture is JSON");
        document["cases"].as_array().cloned().unwrap_or_default()
    };
    let rows = |case: &Value| -> BTreeSet<String> {
        let one = case["row"].as_str();
        let many = case["row"].as_array().into_iter().flatten().filter_map(Value::as_str);
        one.into_iter().chain(many).flat_map(table_rows).collect()
    };
    cases
        .iter()
        .map(|case| (case["name"].as_str().unwrap_or_default().to_owned(), rows(case)))
        .collect()
}

/// The rows of this table in a text such as `8.3/D4`; other tables have other sections.
fn table_rows(text: &str) -> Vec<String> {
    text.strip_prefix("8.")
        .and_then(|rest| rest.split_once('/'))
        .map(|(_, row)| row.to_owned())
        .filter(|row| row.starts_with(|c: char| c.is_ascii_uppercase()))
        .into_iter()
        .collect()
}

/// The words between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The tests of a source file that name a row in a comment in front of them: row and function.
fn marked(source: &str) -> BTreeSet<(String, String)> {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut found = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(rows) = line.strip_prefix("// row ").or_else(|| line.strip_prefix("// rows ")) else {
            continue;
        };
        let function = lines[at..].iter().find_map(|line| line.strip_prefix("fn "));
        let function = function
            .and_then(|line| line.split('(').next())
            .expect("a test follows the row");
        assert!(
            lines[at..].iter().take(3).any(|line| *line == "#[test]"),
            "{function} is no test"
        );
        found.extend(rows.split_whitespace().map(|row| (row.to_owned(), function.to_owned())));
    }
    found
}

const SOURCES: [&str; 5] = [
    "cnb-order/tests/conformance.rs",
    "cnb-order/tests/written_by_hand.rs",
    "cnb-detect/tests/conformance.rs",
    "cnb-build/tests/conformance.rs",
    "examples/lifecycle/src/inputs.rs",
];

#[test]
fn every_row_of_the_table_is_on_the_page() {
    let expected: BTreeSet<String> = ROWS
        .iter()
        .flat_map(|(letter, count)| (1..=*count).map(move |number| format!("{letter}{number}")))
        .collect();
    let found: BTreeSet<String> = page().into_keys().collect();
    assert_eq!(found, expected);
    assert_eq!(found.len(), 309);
}

#[test]
fn what_the_page_names_exists_and_names_the_row() {
    let mut problems = Vec::new();
    for (row, shown) in page() {
        if let Some(reason) = shown.strip_prefix("not here: ") {
            if reason.len() < 20 {
                problems.push(format!("{row} has no reason"));
            }
            continue;
        }
        for part in shown.split("; ") {
            let words = quoted(part);
            let Some((file, names)) = words.split_first() else {
                problems.push(format!("{row} names nothing in {part:?}"));
                continue;
            };
            if part.starts_with("test ") {
                let source = fs::read_to_string(repository().join(file)).unwrap_or_default();
                let marked = marked(&source);
                for name in names
                    .iter()
                    .filter(|name| !marked.contains(&(row.clone(), (**name).to_owned())))
                {
                    problems.push(format!("{file} has no test {name} that names {row}"));
                }
                continue;
            }
            let cases: BTreeMap<String, BTreeSet<String>> =
                fixtures(file).iter().flat_map(|path| cases(path)).collect();
            for name in names {
                match cases.get(*name) {
                    None => problems.push(format!("{row}: there is no case {name} in {file}")),
                    // Recorded for another row, and shows this one, too.
                    Some(rows) if !rows.contains(&row) && row != "A9" => {
                        problems.push(format!("{row}: the case {name} in {file} does not name it"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn no_row_that_a_test_or_case_names_is_said_not_to_be_here() {
    let page = page();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for source in SOURCES {
        let text = fs::read_to_string(repository().join(source)).expect("a source");
        for (row, function) in marked(&text) {
            let listed = page
                .get(&row)
                .is_some_and(|shown| shown.contains(&format!("`{function}`")));
            assert!(
                listed,
                "{function} in {source} names {row}, but the page does not list it"
            );
            named.insert(row);
        }
    }
    for directory in ["detect", "build"] {
        let path = repository().join("examples/lifecycle/tests/fixtures").join(directory);
        for entry in fs::read_dir(path).expect("fixtures").flatten() {
            named.extend(cases(&entry.path()).into_iter().flat_map(|(_, rows)| rows));
        }
    }
    let launch = repository().join("examples/launcher/tests/fixtures");
    for entry in fs::read_dir(launch).expect("fixtures").flatten() {
        named.extend(cases(&entry.path()).into_iter().flat_map(|(_, rows)| rows));
    }
    for row in named {
        let shown = page
            .get(&row)
            .unwrap_or_else(|| panic!("{row} is named but not on the page"));
        assert!(!shown.starts_with("not here"), "{row} is shown by a test or case");
    }
}
