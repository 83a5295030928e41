//! The `.gitmodules` file: which submodule is where. Nothing in it is run.

use std::path::{Path, PathBuf};

/// One submodule as the file describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Module {
    pub(super) name: String,
    pub(super) path: String,
    pub(super) url: String,
}

impl Module {
    /// The directory for its objects beneath `modules`; `None` when the name leads elsewhere.
    ///
    /// CVE-2018-11235: names are paths, and strangers choose them.
    pub(super) fn directory(&self) -> Option<PathBuf> {
        let is_plain =
            |part: &str| !matches!(part, "" | "." | "..") && !part.contains(|c: char| c == '\\' || c.is_control());
        self.name
            .split('/')
            .all(is_plain)
            .then(|| Path::new(&self.name).to_owned())
    }
}

/// Reads the submodules; what is not understood is passed over, for a file of strangers must not end a build.
pub(super) fn parse(text: &str) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let mut inside = false;
    let joined = text.replace("\\\r\n", "").replace("\\\n", "");
    for line in joined.lines() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[') {
            let name = header.strip_prefix("submodule").map(str::trim_start);
            let name = name.and_then(|rest| quoted(rest.strip_prefix('"')?));
            inside = name.is_some();
            if let Some(name) = name {
                match modules.iter().position(|module| module.name == name) {
                    // Later lines of the same name add to it.
                    Some(position) => {
                        let module = modules.remove(position);
                        modules.push(module);
                    }
                    None => modules.push(Module {
                        name,
                        ..Module::default()
                    }),
                }
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| inside) else {
            continue;
        };
        let Some(module) = modules.last_mut() else { continue };
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => module.path = plain(value),
            "url" => module.url = plain(value),
            _ => {}
        }
    }
    modules
}

/// The text up to the closing quote.
fn quoted(rest: &str) -> Option<String> {
    let mut text = String::new();
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

/// A value without its quotes, escapes and comment.
fn plain(value: &str) -> String {
    let mut text = String::new();
    let mut in_quotes = false;
    // How much of the text is no trailing blank.
    let mut kept = 0;
    let mut characters = value.trim_start().chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => in_quotes = !in_quotes,
            '#' | ';' if !in_quotes => break,
            '\\' => text.push(match characters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('b') => '\u{8}',
                Some(other) => other,
                None => break,
            }),
            other => text.push(other),
        }
        if in_quotes || !character.is_whitespace() {
            kept = text.len();
        }
    }
    text.truncate(kept);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_paths_and_urls_are_read_as_git_reads_them() {
        let modules = parse(
            "# note\n[core]\n\tpath = x\n[submodule \"libs/\\\"a\\\"\"]\n\tpath = \"libs/a b\" ; note\n\turl=../a.git # x\n\tupdate = !rm -rf /\n",
        );
        assert_eq!(
            modules,
            [Module {
                name: "libs/\"a\"".into(),
                path: "libs/a b".into(),
                url: "../a.git".into()
            }]
        );
    }

    #[test]
    fn cve_2018_11235_a_name_that_leads_elsewhere_has_no_directory() {
        for name in ["..", "a/../../b", "", "/abs", "a//b", "a\\..\\b", "."] {
            let module = Module {
                name: name.to_owned(),
                ..Module::default()
            };
            assert_eq!(module.directory(), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(\\[submodule \"|path=|url = |\"|\\\\|\\n|#|[a-z]){0,20}") {
            let _ = parse(&text);
        }
    }
}
