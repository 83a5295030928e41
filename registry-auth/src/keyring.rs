//! Image pull secrets, matched as a kubelet matches them.

use std::fmt;

use crate::{
    credential::Credential,
    credential_set::CredentialSetError,
    docker_auth::decode_pull_entry,
    go_json::{GoValue, object},
    go_url::GoUrl,
    keychain::{Keychain, KeychainError},
    kubernetes_secret::{DOCKER_CFG, DOCKER_CONFIG_JSON, KubernetesSecret},
    repository::Repository,
    secret::without_user,
};

/// The credentials of image pull secrets.
///
/// A key is a host, perhaps with globs in its labels (`*.example.com`: as many labels as the registry, the same
/// port) and perhaps with a path that must be a prefix of the repository's. Alphabetically later keys, and so longer
/// ones of the same host, go first; among equal keys the earlier secret does. `%XX` in a key is decoded twice, as a kubelet
/// does: `%3F` begins a query, which counts for the order only.
#[derive(Clone, Default)]
pub struct PullKeyring {
    entries: Vec<(Key, Credential)>,
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    text: String,
    /// What it serves; `None` when `text` is no address any more.
    pattern: Option<GoUrl>,
}

impl PullKeyring {
    /// Reads the secrets of the two docker types, in order of precedence; others are left out.
    ///
    /// # Errors
    /// When one of them is malformed.
    pub fn from_secrets<'a>(
        secrets: impl IntoIterator<Item = &'a KubernetesSecret>,
    ) -> Result<Self, CredentialSetError> {
        let mut entries = Vec::new();
        for secret in secrets {
            for (key, credential) in read(secret)? {
                entries.push((Key::parse(&key)?, credential));
            }
        }
        // A stable sort: equal keys stay in the order of their secrets.
        entries.sort_by(|(one, _), (other, _)| other.text.cmp(&one.text));
        Ok(Self { entries })
    }

    /// Returns the credential for a registry host and a path on it (empty for the registry as a whole).
    pub fn find(&self, host: &str, path: &str) -> Option<&Credential> {
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("/{path}")
        };
        let mut serving = self.entries.iter().filter(|(key, _)| key.serves(host, &path));
        serving.next().map(|(_, credential)| credential)
    }
}

fn read(secret: &KubernetesSecret) -> Result<Vec<(String, Credential)>, CredentialSetError> {
    let (data, nested) = match secret.kind.as_str() {
        DOCKER_CONFIG_JSON => (secret.bytes(".dockerconfigjson"), true),
        DOCKER_CFG => (secret.bytes(".dockercfg"), false),
        _ => return Ok(Vec::new()),
    };
    if data.is_empty() {
        return Ok(Vec::new());
    }
    let root = object(data).map_err(CredentialSetError::Json)?.unwrap_or_default();
    let entries = if nested {
        root.map("auths").ok_or(CredentialSetError::Auths)?
    } else {
        root.as_map()
    };
    let decode = |(key, entry): (&str, &GoValue)| match decode_pull_entry(entry) {
        Ok(credential) => Ok((key.to_owned(), credential)),
        Err(source) => Err(CredentialSetError::Entry {
            key: without_user(key),
            source,
        }),
    };
    entries.into_iter().map(decode).collect()
}

impl Key {
    fn parse(text: &str) -> Result<Self, CredentialSetError> {
        let address = if text.starts_with("https://") || text.starts_with("http://") {
            GoUrl::parse(text)
        } else {
            GoUrl::parse(&format!("https://{text}"))
        };
        let GoUrl { host, mut path } = address.ok_or_else(|| CredentialSetError::Key {
            key: without_user(text),
        })?;
        if path.starts_with("/v1/") || path.starts_with("/v2/") {
            path.drain(..3);
        }
        if path == "/" {
            path.clear();
        }
        let text = format!("{host}{path}");
        let pattern = GoUrl::parse(&format!("https://{text}"));
        Ok(Self { text, pattern })
    }

    fn serves(&self, host: &str, path: &str) -> bool {
        let Some(pattern) = &self.pattern else {
            return false;
        };
        let ((glob, glob_port), (name, port)) = (split_port(&pattern.host), split_port(host));
        if glob_port != port || !path.starts_with(&pattern.path) {
            return false;
        }
        let (globs, labels): (Vec<_>, Vec<_>) = (glob.split('.').collect(), name.split('.').collect());
        let mut pairs = globs.iter().zip(&labels);
        globs.len() == labels.len() && pairs.all(|(glob, label)| glob_matches(glob, label))
    }
}

/// Takes a port off as Go's `net.SplitHostPort` does, and the brackets with it; what it refuses is a host without port.
fn split_port(text: &str) -> (&str, &str) {
    let split = match text.strip_prefix('[') {
        Some(inner) => inner.split_once("]:"),
        None => text.rsplit_once(':').filter(|(host, _)| !host.contains(':')),
    };
    let plain = |part: &str| !part.contains(['[', ']']);
    match split {
        Some((host, port)) if plain(host) && plain(port) && !port.contains(':') => (host, port),
        _ => (text, ""),
    }
}

/// Matches one label against `*`, `?`, `[a-z]`, `[^a-z]` and `\`-escapes; a malformed pattern matches nothing.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    // `back` is where to go on after the last `*` when it takes one character more.
    let (mut p, mut t, mut back) = (0, 0, None);
    loop {
        if pattern.get(p) == Some(&'*') {
            back = Some((p + 1, t));
            p += 1;
            continue;
        }
        if p == pattern.len() && t == text.len() {
            return true;
        }
        let step = text.get(t).and_then(|c| one(&pattern[p..], *c));
        if let Some(used) = step {
            (p, t) = (p + used, t + 1);
            continue;
        }
        match back {
            Some((star, taken)) if taken < text.len() => {
                (p, t) = (star, taken + 1);
                back = Some((star, taken + 1));
            }
            _ => return false,
        }
    }
}

/// Returns how long the pattern's first element is, if it matches `c`.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '\\' => (pattern.get(1)? == &c).then_some(2),
        '[' => class(pattern, c),
        literal => (*literal == c).then_some(1),
    }
}

fn class(pattern: &[char], c: char) -> Option<usize> {
    let negated = pattern.get(1) == Some(&'^');
    let mut at = if negated { 2 } else { 1 };
    let (mut found, mut ranges) = (false, 0);
    while ranges == 0 || *pattern.get(at)? != ']' {
        let (low, after) = bound(pattern, at)?;
        let (high, after) = match pattern.get(after)? {
            '-' => bound(pattern, after + 1)?,
            _ => (low, after),
        };
        found |= (low..=high).contains(&c);
        (at, ranges) = (after, ranges + 1);
    }
    (found != negated).then_some(at + 1)
}

/// Returns the bound of a range at a place, and the place behind it; `-` and `]` must be escaped.
fn bound(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(at + 1)?, at + 2)),
        plain => Some((*plain, at + 1)),
    }
}

impl Keychain for PullKeyring {
    fn find(&self, repository: &Repository) -> Result<Option<Credential>, KeychainError> {
        Ok(self.find(repository.registry().as_str(), repository.path()).cloned())
    }

    fn name(&self) -> String {
        "image pull secrets".to_owned()
    }
}

impl fmt::Debug for PullKeyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.entries.iter().map(|(key, _)| &key.text).collect();
        write!(f, "PullKeyring({keys:?})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_off_and_brackets_with_it() {
        for (text, host, port) in [
            ("reg.io:5000", "reg.io", "5000"),
            ("reg.io:", "reg.io", ""),
            ("[::1]:5000", "::1", "5000"),
            ("[::1]", "[::1]", ""),
            ("::1", "::1", ""),
            ("::1]:5000", "::1]:5000", ""),
            ("a]b.io:5000", "a]b.io:5000", ""),
        ] {
            assert_eq!(split_port(text), (host, port), "{text}");
        }
    }

    #[test]
    fn what_is_escaped_in_a_key_is_decoded_twice() {
        for (key, path, serves) in [
            ("reg.io/team%3Fx", "/team/app", true),
            ("reg.io/team%23x", "/team/app", true),
            ("reg.io/te%61m", "/team/app", true),
            ("reg.io/te%2561m", "/team/app", true),
            ("reg.io/te%252561m", "/team/app", false),
            ("reg.io/team%25zz", "/team/app", false),
            ("reg.io/team?x", "/team/app", true),
        ] {
            let key = Key::parse(key).expect("it is an address");
            assert_eq!(key.serves("reg.io", path), serves, "{}", key.text);
        }
    }

    #[test]
    fn globs_match_one_label() {
        for (pattern, text, expected) in [
            ("*", "reg", true),
            ("r*g", "reg", true),
            ("r?g", "reg", true),
            ("[a-z]eg", "reg", true),
            ("[^a-z]eg", "reg", false),
            ("r*x", "reg", false),
            ("*a*b*", "xaxbx", true),
            ("\\*", "*", true),
            ("[", "[", false),
            ("[\\]a]", "]", true),
            ("[]a]", "]", false),
            ("[a-]", "a", false),
            ("", "", true),
        ] {
            assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
