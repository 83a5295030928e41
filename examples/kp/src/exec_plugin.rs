//! Programs that a kubeconfig names to ask for credentials: those of managed clusters.

use std::{
    io::{self, IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, anyhow, bail};
use serde::Deserialize;
use serde_json::json;

/// The most bytes of an answer that are read.
const MOST: u64 = 1 << 20;

/// How a kubeconfig says to run a program.
///
/// Specification: `client.authentication.k8s.io/v1` and `v1beta1`, `ExecCredential`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ExecPlugin {
    api_version: String,
    command: PathBuf,
    args: Option<Vec<String>>,
    env: Option<Vec<Variable>>,
    install_hint: Option<String>,
    interactive_mode: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Variable {
    name: String,
    value: String,
}

/// What a program answers.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    kind: String,
    api_version: String,
    status: Option<Status>,
}

/// The credentials of an answer.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Status {
    pub(crate) token: Option<String>,
    pub(crate) client_certificate_data: Option<String>,
    pub(crate) client_key_data: Option<String>,
}

impl ExecPlugin {
    /// Makes a path that is relative to the kubeconfig's folder one that is not; a bare name is looked up in `PATH`.
    pub(crate) fn anchor(&mut self, folder: &Path) {
        if self.command.components().count() > 1 {
            self.command = folder.join(&self.command);
        }
    }

    /// Runs the program and returns the credentials that it prints.
    ///
    /// # Errors
    /// When it cannot be run, fails, or answers something else. Nothing of its answer is in the error.
    pub(crate) fn ask(&self) -> anyhow::Result<Status> {
        let name = self.command.display();
        let is_interactive = match self.interactive_mode.as_deref() {
            Some("Never") => false,
            Some("Always") if !io::stdin().is_terminal() => {
                bail!("the credential program {name} of the kubeconfig must be run in a terminal")
            }
            _ => io::stdin().is_terminal(),
        };
        let about = json!({
            "kind": "ExecCredential",
            "apiVersion": self.api_version,
            "spec": {"interactive": is_interactive},
        });
        let variables = self.env.iter().flatten();
        let child = Command::new(&self.command)
            .args(self.args.iter().flatten())
            .envs(variables.map(|variable| (&variable.name, &variable.value)))
            .env("KUBERNETES_EXEC_INFO", about.to_string())
            .stdin(if is_interactive {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn();
        let mut child = child.map_err(|error| self.not_run(&error))?;
        let mut text = Vec::new();
        let output = child.stdout.take().map(|output| output.take(MOST + 1));
        let read = output.map_or(Ok(0), |mut output| output.read_to_end(&mut text));
        if text.len() as u64 > MOST {
            // It would wait for somebody to read on.
            let _ = child.kill();
        }
        let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
        read.with_context(|| format!("cannot read what {name} prints"))?;
        if !status.success() {
            bail!("the credential program {name} of the kubeconfig failed: {status}");
        }
        self.read(&text)
    }

    fn not_run(&self, error: &io::Error) -> anyhow::Error {
        let name = self.command.display();
        let hint = match self.install_hint.as_deref().unwrap_or_default().trim() {
            "" => "install it, or take it out of the kubeconfig",
            hint => hint,
        };
        anyhow!("cannot run the credential program {name} of the kubeconfig: {error}\n{hint}")
    }

    fn read(&self, text: &[u8]) -> anyhow::Result<Status> {
        let name = self.command.display();
        // The errors of the decoder quote what they found, which may be a secret.
        let answer: Answer =
            serde_json::from_slice(text).map_err(|_| anyhow!("{name} did not print the JSON of an ExecCredential"))?;
        if answer.kind != "ExecCredential" || answer.api_version != self.api_version {
            bail!(
                "{name} answered with {} of {}, and the kubeconfig says ExecCredential of {}",
                cnb_order::go_quoted(&answer.kind),
                cnb_order::go_quoted(&answer.api_version),
                cnb_order::go_quoted(&self.api_version)
            );
        }
        let status = answer.status.unwrap_or_default();
        let is_some = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        match (
            is_some(&status.client_certificate_data),
            is_some(&status.client_key_data),
        ) {
            (true, true) => Ok(status),
            (false, false) if is_some(&status.token) => Ok(status),
            (false, false) => bail!("{name} gave neither a token nor a certificate with its key"),
            _ => bail!("{name} gave a certificate without its key, or a key alone"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = "client.authentication.k8s.io/v1";

    fn asked(script: &str) -> anyhow::Result<Status> {
        let plugin = ExecPlugin {
            api_version: API.into(),
            command: "sh".into(),
            args: Some(vec!["-c".into(), script.into()]),
            env: Some(vec![Variable {
                name: "TOKEN".into(),
                value: "s3cr3t".into(),
            }]),
            ..ExecPlugin::default()
        };
        plugin.ask()
    }

    fn answer(status: &str) -> String {
        format!("printf '%s' '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"{API}\",\"status\":{status}}}'")
    }

    #[test]
    fn a_program_is_told_what_it_is_asked_and_its_token_is_used() {
        let script = format!(
            "test \"$KUBERNETES_EXEC_INFO\" && printf '{{\"kind\":\"ExecCredential\",\"apiVersion\":\"{API}\",\
             \"status\":{{\"token\":\"%s\"}}}}' \"$TOKEN\""
        );
        assert_eq!(asked(&script).expect("it answers").token.as_deref(), Some("s3cr3t"));
    }

    #[test]
    fn what_is_no_credential_is_refused_and_not_shown() {
        for (script, problem) in [
            ("exit 3".to_owned(), "failed: exit status: 3"),
            ("echo s3cr3t".to_owned(), "did not print the JSON of an ExecCredential"),
            (
                "printf '{\"kind\":\"x\",\"status\":{\"token\":\"s3cr3t\"}}'".to_owned(),
                "answered with \"x\" of \"\"",
            ),
            (answer("{}"), "neither a token nor a certificate"),
            (answer("null"), "neither a token nor a certificate"),
            (answer("{\"token\":\"s3cr3t\",\"clientKeyData\":\"k\"}"), "a key alone"),
            ("head -c 2000000 /dev/zero".to_owned(), "failed"),
        ] {
            let error = format!("{:#}", asked(&script).map(drop).expect_err("it is no credential"));
            assert!(error.contains(problem), "{script}: {error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_the_hint() {
        let mut plugin = ExecPlugin {
            command: "bin/no-such-program".into(),
            install_hint: Some("get it from example.com\n".into()),
            ..ExecPlugin::default()
        };
        plugin.anchor(Path::new("/etc/kube"));
        let error = format!("{:#}", plugin.ask().map(drop).expect_err("it is not there"));
        assert_eq!(
            error,
            "cannot run the credential program /etc/kube/bin/no-such-program of the kubeconfig: \
             No such file or directory (os error 2)\nget it from example.com"
        );
    }
}
