//! The Dockerfiles that image extensions generate, as far as their rules go.

use crate::instruction::{self, words};

/// What a Dockerfile of an extension says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    /// Names of the `ARG`s in front of the first `FROM`.
    args: Vec<String>,
    /// The images of all `FROM`s.
    bases: Vec<String>,
    /// Whether anything follows the first `FROM`.
    pub extends: bool,
    /// Instructions that are allowed but not recommended, with their lines.
    pub not_recommended: Vec<(String, usize)>,
}

const RECOMMENDED: [&str; 10] = [
    "FROM", "ADD", "ARG", "COPY", "ENV", "LABEL", "RUN", "SHELL", "USER", "WORKDIR",
];
const OTHERS: [&str; 9] = [
    "CMD",
    "ENTRYPOINT",
    "EXPOSE",
    "HEALTHCHECK",
    "MAINTAINER",
    "ONBUILD",
    "STOPSIGNAL",
    "VOLUME",
    "CROSS_BUILD",
];

/// The base image that means: the one there is.
const SAME_BASE: &str = "${base_image}";

impl Dockerfile {
    /// Reads the text.
    ///
    /// # Errors
    /// The line and what is wrong with it: no instruction, or one that cannot stand there or lacks arguments.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let escape = escape(text)?;
        let instructions = instructions(text, escape)?;
        if instructions.is_empty() {
            return Err("file with no instructions".to_owned());
        }
        for (line, instruction) in instructions {
            let (word, rest) = instruction
                .split_once(char::is_whitespace)
                .unwrap_or((&instruction, ""));
            let name = word.to_ascii_uppercase();
            if !RECOMMENDED.contains(&name.as_str()) {
                if !OTHERS.contains(&name.as_str()) {
                    return Err(format!(
                        "dockerfile parse error on line {line}: unknown instruction: {word}"
                    ));
                }
                found.not_recommended.push((name.clone(), line));
            }
            instruction::check(&name, rest, escape)
                .map_err(|problem| format!("dockerfile parse error on line {line}: {problem}"))?;
            if found.bases.is_empty() && !matches!(name.as_str(), "FROM" | "ARG") {
                return Err("no build stage in current context".to_owned());
            }
            let mut words = rest.split_whitespace().filter(|word| !word.starts_with("--"));
            match name.as_str() {
                "FROM" => found.bases.push(words.next().unwrap_or_default().to_owned()),
                "ARG" if found.bases.is_empty() => {
                    found
                        .args
                        .extend(words.map(|word| word.split('=').next().unwrap_or_default().to_owned()));
                }
                _ if !found.bases.is_empty() => found.extends = true,
                _ => {}
            }
            if name == "ARG" && !found.bases.is_empty() {
                found.extends = true;
            }
        }
        Ok(found)
    }

    /// Checks the number of stages; `file` is named in messages.
    fn check_stages(&self, file: &str) -> Result<(), String> {
        match self.bases.len() {
            0 => Err(format!("{file} should have at least one stage")),
            1 => Ok(()),
            _ => Err(format!("{file} is not permitted to use multistage build")),
        }
    }

    /// Checks the rules for `build.Dockerfile`.
    pub(crate) fn check_build(&self) -> Result<(), String> {
        self.check_stages("build.Dockerfile")?;
        if self.args != ["base_image"] {
            return Err("build.Dockerfile did not start with required ARG command".to_owned());
        }
        if self.bases != [SAME_BASE] {
            return Err(format!(
                "build.Dockerfile did not contain required FROM {SAME_BASE} command"
            ));
        }
        Ok(())
    }

    /// Checks the rules for `run.Dockerfile`.
    pub(crate) fn check_run(&self) -> Result<(), String> {
        self.check_stages("run.Dockerfile")
    }

    /// Returns the new base image, if the file switches to one.
    pub(crate) fn new_base(&self) -> Option<&str> {
        self.bases.first().map(String::as_str).filter(|base| *base != SAME_BASE)
    }
}

/// Returns the instructions with the number of their first line; continued lines are joined, comments and the bodies of
/// here-documents dropped.
fn instructions(text: &str, escape: char) -> Result<Vec<(usize, String)>, String> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    let mut here: Vec<(String, bool)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if let Some((end, strip)) = here.first() {
            let line = if *strip { line.trim_start_matches('\t') } else { line };
            if line == end {
                here.remove(0);
            }
            continue;
        }
        // An empty line does not end one that is continued.
        let trimmed = line.trim();
        if trimmed.starts_with('#') || trimmed.is_empty() {
            continue;
        }
        let (number, mut whole) = open.take().unwrap_or((at + 1, String::new()));
        if let Some(part) = trimmed.strip_suffix(escape) {
            whole.push_str(part);
            whole.push(' ');
            open = Some((number, whole));
            continue;
        }
        whole.push_str(trimmed);
        let starts_with = |name: &&str| {
            whole
                .get(..name.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        if ["RUN", "COPY", "ADD"].iter().any(starts_with) {
            here = here_documents(&whole, escape);
        }
        found.push((number, whole));
    }
    if !here.is_empty() {
        return Err("unterminated heredoc".to_owned());
    }
    found.extend(open);
    Ok(found)
}

/// Returns the character that joins lines: a directive among the first lines may choose another one.
fn escape(text: &str) -> Result<char, String> {
    let directives = text
        .lines()
        .map_while(|line| line.trim().strip_prefix('#')?.split_once('='));
    for (name, value) in directives {
        let name = name.trim();
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            break;
        }
        if name.eq_ignore_ascii_case("escape") {
            return match value.trim() {
                "\\" => Ok('\\'),
                "`" => Ok('`'),
                other => Err(format!("invalid ESCAPE '{other}'. Must be ` or \\")),
            };
        }
    }
    Ok('\\')
}

/// Returns the end marks of the here-documents that an instruction opens, and whether tabs in front of them are dropped.
fn here_documents(instruction: &str, escape: char) -> Vec<(String, bool)> {
    words(instruction, escape)
        .iter()
        .filter_map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<"))
        .filter(|rest| !rest.starts_with('<'))
        .map(|rest| match rest.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (rest, false),
        })
        .map(|(mark, strip)| (mark.trim_matches(|c| c == '"' || c == '\'').to_owned(), strip))
        .filter(|(mark, _)| !mark.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continued_lines_and_here_documents_are_one_instruction() {
        let text = "# syntax\nARG base_image\nFROM ${base_image}\nRUN a \\\n  # comment\n  b\nRUN <<EOF\nNOT AN INSTRUCTION\nEOF\nCMD x\n";
        let found = Dockerfile::parse(text).expect("it is fine");
        assert_eq!(found.check_build(), Ok(()));
        assert!(found.extends);
        assert_eq!(found.not_recommended, [("CMD".to_owned(), 10)]);
    }

    #[test]
    fn an_empty_line_does_not_end_a_continued_one() {
        let found = Dockerfile::parse("\u{feff}FROM x\nRUN a \\\n\n  b\nUSER root\n").expect("it is fine");
        assert_eq!(found.bases, ["x"]);
        assert!(found.extends && found.not_recommended.is_empty());
    }

    #[test]
    fn lines_that_the_reference_refuses_are_refused_with_their_number() {
        for (text, problem) in [
            ("RUN true\nFROM x\n", "no build stage in current context"),
            (
                "FROM x\n\nENV a\n",
                "dockerfile parse error on line 3: ENV must have two arguments",
            ),
            (
                "FROM a b\n",
                "dockerfile parse error on line 1: FROM requires either one or three arguments",
            ),
            ("FROM x\nRUN <<EOF\ntrue\n", "unterminated heredoc"),
            (
                "FROM x\nRUN echo 'a <<EOF b'\nBAD\n",
                "dockerfile parse error on line 3: unknown instruction: BAD",
            ),
            ("# escape=x\nFROM x\n", "invalid ESCAPE 'x'. Must be ` or \\"),
        ] {
            assert_eq!(Dockerfile::parse(text), Err(problem.to_owned()));
        }
    }

    #[test]
    fn a_directive_chooses_the_character_that_joins_lines() {
        let found =
            Dockerfile::parse("# syntax=x\n# escape = `\nFROM x\nRUN a `\n  b\nCOPY c:\\ d:\\\n").expect("it is fine");
        assert_eq!(found.bases, ["x"]);
        // Behind other text it is a comment.
        let found = Dockerfile::parse("FROM x\n# escape=`\nRUN a \\\n  b\n");
        assert!(found.is_ok());
    }

    #[test]
    fn a_base_written_in_any_other_way_is_a_switch() {
        for base in ["registry.example/run", "$base_image", "${base_image:-x}"] {
            let found = Dockerfile::parse(&format!("FROM {base}\n")).expect("it is fine");
            assert_eq!(found.new_base(), Some(base));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}") {
            let _ = Dockerfile::parse(&text);
        }
    }
}
