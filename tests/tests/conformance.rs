//! The pages of conformance are in step with the tests: every row of the references' tables once, everything that a page
//! names exists and names the row, "and 4 more" is so many cases, and no row that is named in a test or case is missing.
//!
//! A test names rows by a comment in front of it, `// row 10.6/P5` or `// rows …`; a recorded case by its field `row`. The
//! rows of the detect and build reference are named without their section.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

/// A page and the tables of the reference that it is about.
struct Table {
    page: &'static str,
    /// How rows begin in recorded cases: the chapter of the reference.
    chapter: &'static str,
    /// Whether a row is named with its section.
    with_section: bool,
    /// Sections, letters, and how many rows there are.
    rows: &'static [(&'static str, char, usize)],
}

const TABLES: [Table; 3] = [
    Table {
        page: "docs/conformance.md",
        chapter: "8.",
        with_section: false,
        rows: &[
            ("8.1", 'O', 24),
            ("8.2", 'P', 22),
            ("8.3", 'D', 23),
            ("8.4", 'T', 32),
            ("8.5", 'X', 11),
            ("8.5", 'S', 12),
            ("8.6", 'E', 28),
            ("8.7", 'B', 37),
            ("8.8", 'Q', 27),
            ("8.9", 'L', 25),
            ("8.10", 'G', 21),
            ("8.11", 'A', 9),
            ("8.11", 'I', 10),
            ("8.11", 'F', 3),
            ("8.11", 'R', 11),
            ("8.12", 'K', 14),
        ],
    },
    Table {
        page: "docs/conformance-kpack.md",
        chapter: "10.",
        with_section: true,
        rows: &[
            ("10.1", 'O', 24),
            ("10.2", 'D', 42),
            ("10.3", 'L', 31),
            ("10.4", 'A', 27),
            ("10.5", 'S', 8),
            ("10.5", 'K', 8),
            ("10.5", 'R', 7),
            ("10.5", 'B', 13),
            ("10.5", 'G', 5),
            ("10.5", 'X', 2),
            ("10.6", 'P', 28),
            ("10.6", 'I', 22),
        ],
    },
    Table {
        page: "docs/conformance-layers.md",
        chapter: "11.",
        with_section: true,
        rows: &[
            ("11.1", 'A', 17),
            ("11.2", 'L', 18),
            ("11.3", 'E', 46),
            ("11.4", 'C', 22),
            ("11.5", 'N', 18),
            ("11.6", 'R', 30),
            ("11.7", 'B', 20),
            ("11.8", 'P', 30),
            ("11.9", 'X', 19),
        ],
    },
];

/// Recorded for another row of its page, and shows this one, too.
const SHOWN_BY_ANOTHERS_CASE: [&str; 1] = ["A9"];

impl Table {
    fn expected(&self) -> BTreeSet<String> {
        let numbered = |&(section, letter, count): &(&str, char, usize)| {
            let section = if self.with_section {
                format!("{section}/")
            } else {
                String::new()
            };
            (1..=count).map(move |number| format!("{section}{letter}{number}"))
        };
        self.rows.iter().flat_map(numbered).collect()
    }

    /// The page, row by row.
    fn page(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(repository().join(self.page)).expect("the page is there");
        let mut rows = BTreeMap::new();
        for line in text.lines() {
            let Some((row, shown)) = line.strip_prefix("| ").and_then(|line| line.split_once(" | ")) else {
                continue;
            };
            if row != "Row" {
                let before = rows.insert(row.to_owned(), shown.trim_end_matches(" |").to_owned());
                assert_eq!(before, None, "{row} is listed twice in {}", self.page);
            }
        }
        rows
    }

    /// The rows as this page names them of a recorded case's `8.3/D4` or `10.1/O6-O15,O22`; other tables have other
    /// chapters.
    fn recorded_rows(&self, text: &str) -> Vec<String> {
        let Some((section, rows)) = text
            .split_once('/')
            .filter(|(section, _)| section.starts_with(self.chapter))
        else {
            return Vec::new();
        };
        let section = if self.with_section {
            format!("{section}/")
        } else {
            String::new()
        };
        let number = |row: &str| row.get(1..)?.parse::<usize>().ok();
        let mut found = Vec::new();
        for part in rows.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            // What has no number is a name of something else than a row.
            if let (Some(from), Some(to)) = (number(first), number(last)) {
                found.extend((from..=to).map(|number| format!("{section}{}{number}", &first[..1])));
            }
        }
        found
    }

    /// Whether a comment's row belongs to this page.
    fn has(&self, row: &str) -> bool {
        if self.with_section {
            row.starts_with(self.chapter)
        } else {
            !row.contains('/')
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Where the cases of a file as a page gives it lie: at a path in the repository, or short for one of the fixtures.
fn fixtures(name: &str) -> Vec<PathBuf> {
    let places = match name.split_once('/') {
        Some(("detect" | "build", _)) => vec![format!("examples/lifecycle/tests/fixtures/{name}")],
        Some(("launch", file)) => vec![format!("examples/launcher/tests/fixtures/{file}")],
        _ => vec![
            name.to_owned(),
            format!("cnb-order/tests/fixtures/{name}"),
            format!("cnb-build/tests/fixtures/{}", name.replace("decode/", "")),
        ],
    };
    places
        .into_iter()
        .map(|place| repository().join(place))
        .filter(|path| path.is_file())
        .collect()
}

/// The recorded cases of a file, wherever they stand in it: name and what they give as their rows.
fn cases(path: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut bytes = fs::read(path).expect("a fixture");
    if path.extension().is_some_and(|end| end == "gz") {
        let mut unpacked = Vec::new();
        GzDecoder::new(&*bytes).read_to_end(&mut unpacked).expect("gzip");
        bytes = unpacked;
    }
    let mut found = BTreeMap::new();
    for document in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
        collect(&document.expect("the fixture is JSON"), &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut BTreeMap<String, BTreeSet<String>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            if let Some(name) = value["name"].as_str() {
                let many = value["row"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let rows = value["row"].as_str().into_iter().chain(many).map(str::to_owned);
                found.entry(name.to_owned()).or_default().extend(rows);
            }
            fields.values().for_each(|field| collect(field, found));
        }
        _ => {}
    }
}

/// The words between backquotes.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

/// The tests of a source file that name a row in a comment in front of them: row and function.
fn marked(path: &Path) -> BTreeSet<(String, String)> {
    let source = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let mut found = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(rows) = line.strip_prefix("// row ").or_else(|| line.strip_prefix("// rows ")) else {
            continue;
        };
        let is_row = |word: &&str| {
            let row = word.rsplit('/').next().unwrap_or(word);
            row.starts_with(|c: char| c.is_ascii_uppercase()) && row[1..].starts_with(|c: char| c.is_ascii_digit())
        };
        let rows: Vec<&str> = rows.split([' ', ',', ':', ';']).take_while(is_row).collect();
        assert!(!rows.is_empty(), "{} has no row in {line:?}", path.display());
        let function = lines[at..].iter().find_map(|line| line.strip_prefix("fn "));
        let function = function
            .and_then(|line| line.split('(').next())
            .expect("a test follows the row");
        let between = lines[at..].iter().take_while(|line| !line.starts_with("fn "));
        let is_test = between.into_iter().any(|line| *line == "#[test]");
        assert!(is_test, "{function} in {} names a row and is no test", path.display());
        found.extend(rows.into_iter().map(|row| (row.to_owned(), function.to_owned())));
    }
    found
}

/// All files of the repository's own with one of these endings.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![repository()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if entry.file_type().expect("a type").is_dir() {
                if name != "target" && name != "corpus" && !name.starts_with('.') {
                    open.push(path);
                }
            } else if endings.iter().any(|end| name.ends_with(end)) {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_row_of_the_tables_is_on_its_page() {
    for table in &TABLES {
        let found: BTreeSet<String> = table.page().into_keys().collect();
        let expected = table.expected();
        let missing: Vec<_> = expected.difference(&found).collect();
        let unknown: Vec<_> = found.difference(&expected).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "{}: missing {missing:?}, unknown {unknown:?}",
            table.page
        );
    }
}

#[test]
fn what_the_pages_name_exists_and_names_the_row() {
    let (mut problems, mut known) = (Vec::new(), Known::default());
    for table in &TABLES {
        for (row, shown) in table.page() {
            problems.extend(problems_of(table, &row, &shown, &mut known));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The cases of the files that were read already, and the tests.
#[derive(Default)]
struct Known {
    cases: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    tests: BTreeMap<String, BTreeSet<(String, String)>>,
}

impl Known {
    fn cases(&mut self, file: &str) -> &BTreeMap<String, BTreeSet<String>> {
        let read = || fixtures(file).iter().flat_map(|path| cases(path)).collect();
        self.cases.entry(file.to_owned()).or_insert_with(read)
    }

    fn tests(&mut self, file: &str) -> &BTreeSet<(String, String)> {
        let read = || marked(&repository().join(file));
        self.tests.entry(file.to_owned()).or_insert_with(read)
    }
}

fn problems_of(table: &Table, row: &str, shown: &str, known: &mut Known) -> Vec<String> {
    if let Some(reason) = shown.strip_prefix("not here: ") {
        return match reason.len() {
            20.. => Vec::new(),
            _ => vec![format!("{row} has no reason")],
        };
    }
    let mut problems = Vec::new();
    for part in shown.split("; ") {
        let words = quoted(part);
        let Some((file, names)) = words.split_first().filter(|(_, names)| !names.is_empty()) else {
            problems.push(format!("{row} names nothing in {part:?}"));
            continue;
        };
        if part.starts_with("test ") {
            let marked = known.tests(file);
            let unmarked = names
                .iter()
                .filter(|name| !marked.contains(&(row.to_owned(), (**name).to_owned())));
            problems.extend(unmarked.map(|name| format!("{file} has no test {name} that names {row}")));
            continue;
        }
        let cases = known.cases(file);
        let names_it = |rows: &BTreeSet<String>| {
            let mut rows = rows.iter().flat_map(|text| table.recorded_rows(text));
            rows.any(|found| found == row)
        };
        for name in names {
            match cases.get(*name) {
                None => problems.push(format!("{row}: there is no case {name} in {file}")),
                Some(rows) if !names_it(rows) && !SHOWN_BY_ANOTHERS_CASE.contains(&row) => {
                    problems.push(format!("{row}: the case {name} in {file} does not name it"));
                }
                Some(_) => {}
            }
        }
        if let Some((_, more)) = part.strip_suffix(" more").and_then(|part| part.rsplit_once("` and ")) {
            let is_other =
                |(name, rows): &(&String, &BTreeSet<String>)| names_it(rows) && !names.contains(&name.as_str());
            let others = cases.iter().filter(is_other).count();
            if more != others.to_string() {
                problems.push(format!("{row}: {others} more cases in {file} name it, not {more}"));
            }
        }
    }
    problems
}

#[test]
fn no_row_that_a_test_or_case_names_is_said_not_to_be_here() {
    let marked: BTreeSet<(String, String)> = files(&[".rs"]).iter().flat_map(|path| marked(path)).collect();
    let recorded: BTreeSet<String> = files(&[".json", ".jsonl", ".json.gz"])
        .iter()
        .filter(|path| path.components().any(|part| part.as_os_str() == "fixtures"))
        .flat_map(|path| cases(path).into_values().flatten())
        .collect();
    for table in &TABLES {
        let page = table.page();
        for (row, function) in marked.iter().filter(|(row, _)| table.has(row)) {
            let listed = page
                .get(row)
                .is_some_and(|shown| shown.contains(&format!("`{function}`")));
            assert!(listed, "{function} names {row}, but {} does not list it", table.page);
        }
        for row in recorded.iter().flat_map(|text| table.recorded_rows(text)) {
            let Some(shown) = page.get(&row) else {
                panic!("{row} is named by a case but not in {}", table.page)
            };
            assert!(!shown.starts_with("not here"), "{row} is shown by a recorded case");
        }
    }
}
