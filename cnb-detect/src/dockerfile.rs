//! The Dockerfiles that image extensions generate, as far as their rules go.

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
    /// The line and the instruction that is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let instructions = instructions(text);
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
fn instructions(text: &str) -> Vec<(usize, String)> {
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
        let trimmed = line.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty() && open.is_none()) {
            continue;
        }
        let (number, mut whole) = open.take().unwrap_or((at + 1, String::new()));
        if let Some(part) = trimmed.strip_suffix('\\') {
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
            here = here_documents(&whole);
        }
        found.push((number, whole));
    }
    found.extend(open);
    found
}

/// Returns the end marks of the here-documents that an instruction opens, and whether tabs in front of them are dropped.
fn here_documents(instruction: &str) -> Vec<(String, bool)> {
    instruction
        .split_whitespace()
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
