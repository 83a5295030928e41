//! What a server asks for when it answers 401.

use std::collections::BTreeMap;

use http::{HeaderMap, header::WWW_AUTHENTICATE};

/// One challenge of a `WWW-Authenticate` header, such as `Bearer realm="…",service="…"`.
///
/// # Specification
/// RFC 2617 §1.2, as far as container registries and the reference use it: one challenge a header line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    /// Reads one header line; `None` when it does not start with the name of a scheme.
    ///
    /// What can't be understood ends the parameters: those before it count. Never panics.
    pub fn parse(line: &str) -> Option<Self> {
        let (scheme, rest) = token(line);
        if scheme.is_empty() {
            return None;
        }
        let mut challenge = Self {
            scheme: scheme.to_ascii_lowercase(),
            parameters: BTreeMap::new(),
        };
        let mut rest = skip_space(rest);
        loop {
            let (name, after) = token(rest);
            let Some(after) = after.strip_prefix('=').filter(|_| !name.is_empty()) else {
                return Some(challenge);
            };
            let (value, after) = token_or_quoted(after);
            if value.is_empty() {
                return Some(challenge);
            }
            challenge.parameters.insert(name.to_ascii_lowercase(), value);
            match skip_space(after).strip_prefix(',') {
                Some(after) => rest = skip_space(after),
                None => return Some(challenge),
            }
        }
    }

    /// Reads every `WWW-Authenticate` line of an answer, in order.
    pub fn all(headers: &HeaderMap) -> Vec<Self> {
        let lines = headers.get_all(WWW_AUTHENTICATE).iter();
        lines
            .filter_map(|line| Self::parse(str::from_utf8(line.as_bytes()).ok()?))
            .collect()
    }

    /// Chooses the challenge to answer: the first of `Basic` and `Bearer`, else the first of all.
    pub fn pick(headers: &HeaderMap) -> Option<Self> {
        let mut all = Self::all(headers);
        let known = all
            .iter()
            .position(|challenge| matches!(challenge.scheme.as_str(), "basic" | "bearer"));
        match known.unwrap_or(0) {
            at if at < all.len() => Some(all.swap_remove(at)),
            _ => None,
        }
    }

    /// Returns the scheme in lower case, such as `bearer`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns the parameters; their names are in lower case.
    pub fn parameters(&self) -> &BTreeMap<String, String> {
        &self.parameters
    }

    /// Returns the parameter `name`, which is in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }
}

fn skip_space(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

fn is_token(c: char) -> bool {
    c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c)
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    text.split_at(end)
}

fn token_or_quoted(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (value.to_owned(), rest);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return (value, &quoted[at + 1..]),
            _ => value.push(c),
        }
    }
    // Never closed.
    (String::new(), "")
}
