//! Addresses of repositories.

use std::{fmt, str::FromStr};

use crate::blob::percent_decoded;

/// The address of a repository: `https://…`, `http://…`, `ssh://…`, `user@host:path`, `git://…`, `file://…` or a path
/// that begins with `/`.
///
/// `Display` never shows a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GitUrl {
    scheme: GitScheme,
    user: Option<String>,
    password: Option<String>,
    host: String,
    port: Option<u16>,
    path: String,
    is_scp: bool,
    /// The text as it was given, a password masked.
    given: String,
}

/// How a repository is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GitScheme {
    Http,
    Https,
    Ssh,
    Git,
    File,
}

impl GitScheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Ssh => "ssh",
            Self::Git => "git",
            Self::File => "file",
        }
    }
}

/// Text that is no address of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("git url {text:?} {problem}; urls look like https://host/path, ssh://git@host/path or git@host:path")]
pub struct InvalidGitUrl {
    /// The text, a password masked.
    pub text: String,
    /// What is wrong.
    pub problem: &'static str,
}

impl GitUrl {
    pub(crate) fn scheme(&self) -> GitScheme {
        self.scheme
    }

    /// Returns the host with the port if one was given.
    pub fn host(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    pub(crate) fn host_name(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    pub(crate) fn port(&self) -> Option<u16> {
        self.port
    }

    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The user and password that the url itself carries.
    pub(crate) fn userinfo(&self) -> Option<(String, String)> {
        let (user, password) = self.user.as_deref().zip(self.password.as_deref())?;
        Some((percent_decoded(user)?, percent_decoded(password)?))
    }

    /// Returns the path, with its leading slash for all but `user@host:path`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path with `%XX` read as bytes, as programs take it.
    pub(crate) fn decoded_path(&self) -> String {
        match self.is_scp {
            true => self.path.clone(),
            false => percent_decoded(&self.path).unwrap_or_else(|| self.path.clone()),
        }
    }

    /// The address for http requests, without user and password.
    pub(crate) fn http_base(&self) -> String {
        format!(
            "{}://{}{}",
            self.scheme.as_str(),
            self.host(),
            self.path.trim_end_matches('/').replace(' ', "%20")
        )
    }
}

impl GitUrl {
    /// Returns the text as it was given, a password masked.
    pub fn as_given(&self) -> String {
        self.given.clone()
    }

    pub(crate) fn is_local(&self) -> bool {
        self.scheme == GitScheme::File
    }

    /// Reads `text` as a url, or as a path relative to this repository when it begins with `./` or `../`.
    pub(crate) fn join(&self, text: &str) -> Result<Self, InvalidGitUrl> {
        if !text.starts_with("./") && !text.starts_with("../") {
            return text.parse();
        }
        let invalid = |problem| InvalidGitUrl {
            text: masked(text),
            problem,
        };
        if text.chars().any(char::is_control) {
            return Err(invalid("holds a control character"));
        }
        let absolute = self.path.starts_with('/');
        let mut parts: Vec<&str> = self.path.split('/').filter(|part| !part.is_empty()).collect();
        for part in text.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop().ok_or_else(|| invalid("leads above the server's top"))?;
                }
                part => parts.push(part),
            }
        }
        let mut path = parts.join("/");
        if absolute {
            path.insert(0, '/');
        }
        if path.is_empty() || path.starts_with('-') {
            return Err(invalid("leads to no repository"));
        }
        let mut joined = Self { path, ..self.clone() };
        joined.given = joined.to_string();
        Ok(joined)
    }
}

fn masked(text: &str) -> String {
    match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => match text[scheme + 3..at].find(':') {
            Some(colon) => format!("{}:***{}", &text[..scheme + 3 + colon], &text[at..]),
            None => text.to_owned(),
        },
        _ => text.to_owned(),
    }
}

impl FromStr for GitUrl {
    type Err = InvalidGitUrl;

    fn from_str(text: &str) -> Result<Self, InvalidGitUrl> {
        let invalid = |problem| InvalidGitUrl {
            text: masked(text),
            problem,
        };
        if text.chars().any(char::is_control) {
            return Err(invalid("holds a control character"));
        }
        if text.starts_with('/') {
            return Ok(local(text));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return scp(text).ok_or_else(|| invalid("has no scheme"));
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => GitScheme::Http,
            "https" => GitScheme::Https,
            "ssh" | "git+ssh" | "ssh+git" => GitScheme::Ssh,
            "git" => GitScheme::Git,
            "file" => GitScheme::File,
            _ => return Err(invalid("has a scheme that is not supported")),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let Authority {
            user,
            password,
            host,
            port,
        } = Authority::read(authority).map_err(invalid)?;
        match (scheme, host.is_empty()) {
            (GitScheme::File, false) => return Err(invalid("names a host before its path")),
            (GitScheme::File, true) | (_, false) => {}
            (_, true) => return Err(invalid("has no host")),
        }
        // Such a host or user would be taken for an option by the ssh program.
        if host.starts_with('-') || user.as_deref().is_some_and(|user| user.starts_with('-')) {
            return Err(invalid("has a host or user that begins with a dash"));
        }
        if host.contains([' ', '\\']) {
            return Err(invalid("has a host with a blank or backslash"));
        }
        if path.is_empty() && scheme == GitScheme::File {
            return Err(invalid("has no path"));
        }
        Ok(Self {
            scheme,
            user,
            password,
            host: host.to_owned(),
            port,
            path: path.to_owned(),
            is_scp: false,
            given: masked(text),
        })
    }
}

/// A path on this machine.
fn local(path: &str) -> GitUrl {
    GitUrl {
        scheme: GitScheme::File,
        user: None,
        password: None,
        host: String::new(),
        port: None,
        path: path.to_owned(),
        is_scp: true,
        given: path.to_owned(),
    }
}

/// What is between the scheme and the path of a url.
struct Authority<'a> {
    user: Option<String>,
    password: Option<String>,
    host: &'a str,
    port: Option<u16>,
}

impl<'a> Authority<'a> {
    fn read(text: &'a str) -> Result<Self, &'static str> {
        let (userinfo, host) = text
            .rsplit_once('@')
            .map_or((None, text), |(user, host)| (Some(user), host));
        let (user, password) = match userinfo.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some((user, "")) => (Some(user.to_owned()), None),
            Some((user, password)) => (Some(user.to_owned()), Some(password.to_owned())),
            None => (None, None),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => {
                let port = port.parse().map_err(|_| "has a port that is no number")?;
                (name, Some(port))
            }
            _ => (host, None),
        };
        Ok(Self {
            user,
            password,
            host,
            port,
        })
    }
}

/// `user@host:path`.
fn scp(text: &str) -> Option<GitUrl> {
    let (authority, path) = text.split_once(':')?;
    let (user, host) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(user, host)| (Some(user), host));
    let odd = |part: &str| part.is_empty() || part.starts_with('-') || part.contains(['/', '\\', ' ', '@', '[']);
    if odd(host) || user.is_some_and(odd) || path.is_empty() || path.starts_with(['-', '\\']) {
        return None;
    }
    Some(GitUrl {
        scheme: GitScheme::Ssh,
        user: user.map(str::to_owned),
        password: None,
        host: host.to_owned(),
        port: None,
        path: path.to_owned(),
        is_scp: true,
        given: text.to_owned(),
    })
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = match (&self.user, &self.password) {
            (Some(user), Some(_)) => format!("{user}:***@"),
            (Some(user), None) => format!("{user}@"),
            (None, _) => String::new(),
        };
        if self.scheme == GitScheme::File && self.is_scp {
            return f.write_str(&self.path);
        }
        let slash = if self.path.starts_with('/') || self.path.is_empty() {
            ""
        } else {
            "/"
        };
        write!(
            f,
            "{}://{user}{}{slash}{}",
            self.scheme.as_str(),
            self.host(),
            self.path
        )
    }
}

impl fmt::Debug for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_usual_forms_are_read() {
        let host = |text: &str| text.parse::<GitUrl>().expect(text).host();
        assert_eq!(host("https://git.example/a/b"), "git.example");
        assert_eq!(host("http://user:pw@Git.example:8080/a"), "Git.example:8080");
        assert_eq!(host("git@git.example:a/b.git"), "git.example");
        assert_eq!(host("ssh://git@git.example:22/a"), "git.example:22");
    }

    #[test]
    fn a_host_is_missing_from_a_server_and_too_much_for_a_file() {
        let problem = |text: &str| text.parse::<GitUrl>().expect_err(text).to_string();
        assert!(problem("https:///a/b").contains("has no host"));
        assert!(problem("file://localhost/a").contains("names a host before its path"));
        assert!("file:///a".parse::<GitUrl>().is_ok());
    }

    #[test]
    fn a_password_is_never_shown() {
        let url: GitUrl = "https://me:hunter2@git.example/a".parse().expect("valid");
        assert!(!format!("{url} {url:?}").contains("hunter2"));
        let error = "gopher://me:hunter2@git.example/a"
            .parse::<GitUrl>()
            .expect_err("no such scheme");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn rustsec_2023_0064_and_2024_0335_a_host_or_user_that_begins_with_a_dash_is_refused() {
        for text in [
            "ssh://-oProxyCommand=x/a",
            "-oProxyCommand=x:a",
            "ssh://-x@host/a",
            "git@-x:a",
            "git@host:-x",
        ] {
            assert!(text.parse::<GitUrl>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*") {
            let _ = text.parse::<GitUrl>();
        }
    }
}
