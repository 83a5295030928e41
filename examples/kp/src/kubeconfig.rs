//! Which API server to talk to, and as whom: the part of a kubeconfig that kp needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use serde::{Deserialize, Deserializer};

use crate::exec_plugin::ExecPlugin;

/// One server, the way in, and the namespace that commands use when none is named.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub(crate) server: String,
    /// The proxy to go through, when the kubeconfig names one; else that of the environment counts.
    pub(crate) proxy: Option<String>,
    pub(crate) authority: Option<Vec<u8>>,
    pub(crate) skip_verify: bool,
    pub(crate) authorization: Option<String>,
    pub(crate) client_certificate: Option<(Vec<u8>, Vec<u8>)>,
    pub(crate) namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct File {
    current_context: Option<String>,
    clusters: Option<Vec<Named>>,
    contexts: Option<Vec<Named>>,
    users: Option<Vec<Named>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    name: String,
    #[serde(deserialize_with = "null_as_default")]
    cluster: Cluster,
    #[serde(deserialize_with = "null_as_default")]
    context: Context,
    #[serde(deserialize_with = "null_as_default")]
    user: User,
}

fn null_as_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    insecure_skip_tls_verify: bool,
    proxy_url: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Context {
    cluster: String,
    user: String,
    namespace: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    // The one key of this format in camel case.
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    password: Option<String>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    exec: Option<ExecPlugin>,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("User(masked)")
    }
}

impl Connection {
    /// Reads the files of `KUBECONFIG`, else `~/.kube/config`, by the usual rules: the first file
    /// that sets a value wins.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let mut merged = File::default();
        for path in paths() {
            let text = match fs::read_to_string(&path) {
                Ok(text) => text,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error).with_context(|| format!("cannot read kubeconfig {}", path.display())),
            };
            let file: File =
                serde_saphyr::from_str(&text).with_context(|| format!("cannot parse kubeconfig {}", path.display()))?;
            merged.absorb(file, path.parent().unwrap_or(Path::new(".")));
        }
        merged.resolve()
    }
}

fn paths() -> Vec<PathBuf> {
    match env::var_os("KUBECONFIG").filter(|value| !value.is_empty()) {
        Some(list) => env::split_paths(&list).collect(),
        None => env::home_dir()
            .map(|home| home.join(".kube/config"))
            .into_iter()
            .collect(),
    }
}

impl File {
    fn absorb(&mut self, other: Self, folder: &Path) {
        let anchor = |path: &mut Option<PathBuf>| {
            let given = path.take().filter(|path| !path.as_os_str().is_empty());
            *path = given.map(|path| folder.join(path));
        };
        let mut entries = [other.clusters, other.contexts, other.users].map(Option::unwrap_or_default);
        for entry in entries.iter_mut().flatten() {
            anchor(&mut entry.cluster.certificate_authority);
            anchor(&mut entry.user.token_file);
            anchor(&mut entry.user.client_certificate);
            anchor(&mut entry.user.client_key);
            if let Some(plugin) = &mut entry.user.exec {
                plugin.anchor(folder);
            }
        }
        let [clusters, contexts, users] = entries;
        let current = self.current_context.take().filter(|name| !name.is_empty());
        self.current_context = current.or(other.current_context);
        self.clusters.get_or_insert_default().extend(clusters);
        self.contexts.get_or_insert_default().extend(contexts);
        self.users.get_or_insert_default().extend(users);
    }

    fn resolve(self) -> anyhow::Result<Connection> {
        let find = |entries: &Option<Vec<Named>>, name: &str, what: &str| -> anyhow::Result<usize> {
            let position = entries
                .as_ref()
                .and_then(|list| list.iter().position(|entry| entry.name == name));
            position.ok_or_else(|| anyhow!("{what} \"{name}\" does not exist in the kubeconfig"))
        };
        let current = self.current_context.clone().filter(|name| !name.is_empty());
        let current = current.ok_or_else(|| anyhow!("Kubernetes current context is not set"))?;
        let context = &self.contexts.as_deref().unwrap_or_default()[find(&self.contexts, &current, "context")?].context;
        let cluster = find(&self.clusters, &context.cluster, "cluster")?;
        let cluster = &self.clusters.as_deref().unwrap_or_default()[cluster].cluster;
        let mut user = match find(&self.users, &context.user, "user") {
            Ok(position) => self.users.as_deref().unwrap_or_default()[position].user.clone(),
            Err(_) if context.user.is_empty() => User::default(),
            Err(error) => return Err(error),
        };
        if cluster.server.is_empty() {
            bail!("cluster \"{}\" of the kubeconfig names no server", context.cluster);
        }
        user.ask_program()?;
        let authority = material(
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
        )?;
        let client_certificate = user.certificate()?;
        let uses_tls = authority.is_some() || client_certificate.is_some() || cluster.insecure_skip_tls_verify;
        Ok(Connection {
            server: address(&cluster.server, uses_tls),
            proxy: cluster.proxy_url.clone().filter(|proxy| !proxy.is_empty()),
            authority,
            skip_verify: cluster.insecure_skip_tls_verify,
            authorization: user.authorization()?,
            client_certificate,
            namespace: context
                .namespace
                .clone()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| "default".into()),
        })
    }
}

/// The address of a server, whose scheme may be left out.
fn address(server: &str, uses_tls: bool) -> String {
    let server = server.trim_end_matches('/');
    match (server.contains("://"), uses_tls) {
        (true, _) => server.to_owned(),
        (false, true) => format!("https://{server}"),
        (false, false) => format!("http://{server}"),
    }
}

impl User {
    /// Takes what is not written here from the program that is named for it.
    fn ask_program(&mut self) -> anyhow::Result<()> {
        let has_token = self.token.as_deref().is_some_and(|token| !token.is_empty()) || self.token_file.is_some();
        let Some(plugin) = self.exec.as_ref().filter(|_| !has_token) else {
            return Ok(());
        };
        let answer = plugin.ask()?;
        let encode = |pem: String| base64::engine::general_purpose::STANDARD.encode(pem);
        self.token = answer.token;
        if let (Some(certificate), Some(key)) = (answer.client_certificate_data, answer.client_key_data) {
            self.client_certificate_data = Some(encode(certificate));
            self.client_key_data = Some(encode(key));
        }
        Ok(())
    }

    fn authorization(&self) -> anyhow::Result<Option<String>> {
        if let Some(token) = self.token.as_deref().filter(|token| !token.is_empty()) {
            return Ok(Some(format!("Bearer {token}")));
        }
        if let Some(path) = &self.token_file {
            let token =
                fs::read_to_string(path).with_context(|| format!("cannot read token file {}", path.display()))?;
            return Ok(Some(format!("Bearer {}", token.trim())));
        }
        let name = self.username.as_ref().filter(|name| !name.is_empty());
        Ok(name.map(|name| {
            let pair = format!("{name}:{}", self.password.as_deref().unwrap_or_default());
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
        }))
    }

    fn certificate(&self) -> anyhow::Result<Option<(Vec<u8>, Vec<u8>)>> {
        let certificate = material(
            self.client_certificate_data.as_deref(),
            self.client_certificate.as_deref(),
        )?;
        let key = material(self.client_key_data.as_deref(), self.client_key.as_deref())?;
        Ok(certificate.zip(key))
    }
}

/// PEM text given inline as base64, or in a file.
fn material(inline: Option<&str>, file: Option<&Path>) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(text) = inline.filter(|text| !text.is_empty()) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text.trim());
        return bytes
            .map(Some)
            .context("the kubeconfig holds certificate data that is not base64");
    }
    file.map(|path| fs::read(path).with_context(|| format!("cannot read {}", path.display())))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Connection> {
        merge(&[text])
    }

    /// What files in this order say together.
    fn merge(texts: &[&str]) -> anyhow::Result<Connection> {
        let mut merged = File::default();
        for text in texts {
            merged.absorb(serde_saphyr::from_str(text)?, Path::new("/etc/kube"));
        }
        merged.resolve()
    }

    const SAMPLE: &str = "
current-context: here
contexts: [{name: here, context: {cluster: c, user: u, namespace: demo}}]
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443/', insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: secret}}]
";

    #[test]
    fn the_current_context_names_server_user_and_namespace() {
        let connection = parse(SAMPLE).expect("the sample is valid");
        assert_eq!(connection.server, "https://127.0.0.1:6443");
        assert_eq!(connection.namespace, "demo");
        assert_eq!(connection.authorization.as_deref(), Some("Bearer secret"));
    }

    #[test]
    fn a_server_without_a_scheme_is_reached_with_tls_when_something_is_said_about_that() {
        let bare = SAMPLE.replace("https://", "");
        assert_eq!(parse(&bare).expect("it is valid").server, "https://127.0.0.1:6443");
        let plain = bare.replace(", insecure-skip-tls-verify: true", "");
        assert_eq!(parse(&plain).expect("it is valid").server, "http://127.0.0.1:6443");
    }

    #[test]
    fn of_several_files_the_first_that_says_something_counts() {
        let other = "{current-context: there, contexts: [{name: here, context: {cluster: x}}], clusters: null}";
        for texts in [
            &[SAMPLE, other][..],
            &["", SAMPLE],
            &["# nothing", SAMPLE],
            &["current-context: ''", SAMPLE],
            &[
                "{current-context: here, contexts: [], clusters: null, preferences: {}}",
                SAMPLE,
            ],
        ] {
            let connection = merge(texts).expect("one file has it all");
            assert_eq!(connection.server, "https://127.0.0.1:6443", "{texts:?}");
        }
        let error = merge(&[other, SAMPLE])
            .expect_err("the other context is meant")
            .to_string();
        assert_eq!(error, "context \"there\" does not exist in the kubeconfig");
    }

    #[test]
    fn what_is_empty_or_null_counts_as_not_given() {
        let text = SAMPLE.replace(
            "insecure-skip-tls-verify: true",
            "certificate-authority: '', certificate-authority-data: null",
        );
        let text = text.replace(
            "token: secret",
            "token: '', tokenFile: '', username: '', client-certificate: '', client-key: null",
        );
        let connection = parse(&text).expect("nothing is to be read");
        assert_eq!(connection.authorization, None);
        assert!(connection.authority.is_none() && connection.client_certificate.is_none());
        let text = SAMPLE.replace("user: {token: secret}", "user: null");
        assert_eq!(parse(&text).expect("nobody in particular").authorization, None);
        let text = SAMPLE.replace("namespace: demo", "namespace: null");
        assert_eq!(parse(&text).expect("it is valid").namespace, "default");
    }

    #[test]
    fn a_program_is_asked_for_the_token_that_is_not_written() {
        let answer =
            r#"{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"asked"}}"#;
        let exec = format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, command: echo, args: ['{answer}'], interactiveMode: Never}}"
        );
        let connection = parse(&SAMPLE.replace("token: secret", &exec)).expect("it answers");
        assert_eq!(connection.authorization.as_deref(), Some("Bearer asked"));
        let both = format!("token: secret, {exec}");
        let connection = parse(&SAMPLE.replace("token: secret", &both)).expect("it is valid");
        assert_eq!(connection.authorization.as_deref(), Some("Bearer secret"));
    }

    #[test]
    fn without_a_current_context_the_error_says_so() {
        let error = parse("contexts: []").expect_err("nothing is current");
        assert!(error.to_string().contains("current context is not set"), "{error}");
    }
}
