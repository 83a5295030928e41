//! Texts without what differs from run to run, as the recording normalised them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex::{Captures, Regex};

/// The registry of the recording: base64 texts still hold it.
const RECORDED_REGISTRY: &str = "127.0.0.1:5162";

/// The replacements of one world.
pub(crate) struct Normal {
    literals: Vec<(String, &'static str)>,
    rules: Vec<(Regex, &'static str)>,
    builder: Regex,
    source: Regex,
    base64: Regex,
    registry: String,
}

impl Normal {
    pub(crate) fn new(registry: &str, git: &str, server: &str, tmp: &str) -> Self {
        let literals = [
            (registry, "<registryhost>"),
            (git, "<git-hostport>"),
            (server, "<server>"),
            (tmp, "<tmp>"),
        ];
        let rules = [
            (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uid>"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
            (
                r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
                "<RFC1123Z>",
            ),
            (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "<datetime>"),
            (r#"(resourceVersion"?: )"\d+""#, r#"$1"<rv>""#),
            (r"\bb(\d+)\.\d{8}\.\d{6}\b", "b$1.<YYYYMMDD>.<HHMMSS>"),
        ];
        Self {
            literals: literals.map(|(text, by)| (text.to_owned(), by)).to_vec(),
            rules: rules.map(|(rule, by)| (Regex::new(rule).unwrap(), by)).to_vec(),
            builder: Regex::new(r"(:(?:cluster)?builder-[a-z0-9-]+@sha256:)[0-9a-f]{64}").unwrap(),
            source: Regex::new(r"((?:-source|/dest)@sha256:)[0-9a-f]{64}").unwrap(),
            base64: Regex::new(r"[A-Za-z0-9+/]{24,}={0,2}").unwrap(),
            registry: registry.to_owned(),
        }
    }

    /// What a command must print.
    pub(crate) fn expected(&self, text: &str) -> String {
        self.common(&self.base64.replace_all(text, |found: &Captures<'_>| {
            let decoded = STANDARD
                .decode(&found[0])
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            match decoded.filter(|text| text.contains(RECORDED_REGISTRY)) {
                Some(text) => STANDARD.encode(text.replace(RECORDED_REGISTRY, &self.registry)),
                None => found[0].to_owned(),
            }
        }))
    }

    /// What it printed.
    pub(crate) fn seen(&self, text: &str) -> String {
        let named = self
            .literals
            .iter()
            .fold(text.to_owned(), |text, (literal, by)| text.replace(literal, by));
        self.common(&named)
    }

    fn common(&self, text: &str) -> String {
        let text = self.rules.iter().fold(text.to_owned(), |text, (rule, by)| {
            rule.replace_all(&text, *by).into_owned()
        });
        // The bytes of a builder image are this project's own; those of a run image are the recorded ones.
        let digest = |found: &Captures<'_>| match found[1].contains("-run-image@") {
            true => found[0].to_owned(),
            false => format!("{}<builder>", &found[1]),
        };
        let text = self.builder.replace_all(&text, digest);
        // So are the compressed bytes of a local source, if not its files.
        self.source.replace_all(&text, "$1<source>").into_owned()
    }
}
