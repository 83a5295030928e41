//! Programs that keep credentials: `docker-credential-NAME`.

use std::io;

use crate::{
    credential::Credential,
    go_json::{GoObject, GoValue, tolerable},
};

/// Starts credential helper programs.
///
/// This crate starts no process: whoever does decides where the program is looked for, how long it may take and
/// which environment it sees.
pub trait HelperRunner: Send + Sync {
    /// Runs `docker-credential-NAME get`, where `helper` is the NAME, with `server` on its standard input.
    ///
    /// `helper` is never empty and has no `/` in it.
    ///
    /// # Errors
    /// When the program could not be started or took too long.
    fn run(&self, helper: &str, server: &str) -> io::Result<HelperOutput>;
}

/// What a helper program left behind.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HelperOutput {
    /// Whether it ended with exit code 0.
    pub success: bool,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
}

/// Why a helper gave no answer. Never holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HelperError {
    /// Nobody said how to run helpers.
    #[error("the credential helper {helper:?} is needed, but helpers are not run here")]
    NotRun {
        /// The helper's name.
        helper: String,
    },
    /// The name would be a path.
    #[error("{helper:?} is no name of a credential helper")]
    BadName {
        /// The helper's name.
        helper: String,
    },
    /// It could not be started.
    #[error("cannot run docker-credential-{helper}; install it, or take it out of the docker config")]
    Run {
        /// The helper's name.
        helper: String,
        /// The cause.
        source: io::Error,
    },
    /// It took longer than it may.
    #[error("docker-credential-{helper} gave no answer in time; run it by hand to see what it waits for")]
    TimedOut {
        /// The helper's name.
        helper: String,
        /// The cause.
        source: io::Error,
    },
    /// It said that something is wrong.
    #[error("docker-credential-{helper} failed for {server}: {message}")]
    Failed {
        /// The helper's name.
        helper: String,
        /// What it was asked for.
        server: String,
        /// What it printed, its first 200 characters; unless that may hold a credential.
        message: String,
    },
    /// Its answer is not understood.
    #[error("docker-credential-{helper} gave an answer for {server} that is not the JSON of a credential")]
    Answer {
        /// The helper's name.
        helper: String,
        /// What it was asked for.
        server: String,
    },
}

pub(crate) fn ask_helper(
    runner: Option<&dyn HelperRunner>,
    helper: &str,
    server: &str,
) -> Result<Option<Credential>, HelperError> {
    let name = || helper.to_owned();
    if helper.contains(['/', '\\', '\0']) {
        return Err(HelperError::BadName { helper: name() });
    }
    let runner = runner.ok_or_else(|| HelperError::NotRun { helper: name() })?;
    let output = runner.run(helper, server).map_err(|source| match source.kind() {
        io::ErrorKind::TimedOut => HelperError::TimedOut { helper: name(), source },
        _ => HelperError::Run { helper: name(), source },
    })?;
    if !output.success {
        let text = String::from_utf8_lossy(&output.stdout);
        let text = text.trim();
        if text == "credentials not found in native keychain" {
            return Ok(None);
        }
        return Err(HelperError::Failed {
            helper: name(),
            server: server.to_owned(),
            message: shown(text),
        });
    }
    match read_answer(&output.stdout) {
        Some(credential) if credential.is_anonymous() => Ok(None),
        Some(credential) => Ok(Some(credential)),
        None => Err(HelperError::Answer {
            helper: name(),
            server: server.to_owned(),
        }),
    }
}

/// Returns what may be shown of the output of a helper that failed.
fn shown(text: &str) -> String {
    if text.contains('{') || text.to_ascii_lowercase().contains("secret\"") {
        return "it printed what may hold a credential, and ended as if that was none".to_owned();
    }
    text.chars().take(200).collect()
}

fn read_answer(bytes: &[u8]) -> Option<Credential> {
    let json = tolerable(bytes);
    let mut values = serde_json::Deserializer::from_slice(&json).into_iter::<GoValue>();
    let answer = match values.next()?.ok()? {
        GoValue::Object(answer) => answer,
        // To Go it is a credential without fields.
        GoValue::Null => GoObject::default(),
        _ => return None,
    };
    let (user, secret) = (answer.text("Username")?, answer.text("Secret")?);
    Some(if user == "<token>" {
        Credential::identity_token(secret)
    } else {
        Credential::basic(user, secret)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_helper_that_fails_no_credential_is_shown() {
        struct Fails(&'static str);
        impl HelperRunner for Fails {
            fn run(&self, _: &str, _: &str) -> io::Result<HelperOutput> {
                Ok(HelperOutput {
                    success: false,
                    stdout: self.0.as_bytes().to_vec(),
                })
            }
        }
        let said = |output| {
            let asked = ask_helper(Some(&Fails(output)), "x", "r.io");
            asked.expect_err("it failed").to_string()
        };
        assert!(!said("{\"Username\":\"u\",\"Secret\":\"s3cr3t\"}").contains("s3cr3t"));
        assert!(said("no such keychain").ends_with("r.io: no such keychain"));
    }

    #[test]
    fn null_is_the_answer_of_a_helper_that_knows_nothing() {
        assert_eq!(read_answer(b"null\n"), Some(Credential::anonymous()));
        for other in ["", "nul", "[]", "5"] {
            assert_eq!(read_answer(other.as_bytes()), None, "{other}");
        }
    }
}
