//! Debian's `docker-registry` on a free loopback port.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Authority, Process, Program, TokenServer, require,
    token_server::{ISSUER, SERVICE},
};

/// How a [`Registry`] is set up.
#[derive(Default)]
pub struct RegistryOptions<'a> {
    /// The user and password that every request must carry (htpasswd); `None` asks for none.
    pub basic_auth: Option<(&'a str, &'a str)>,
    /// The token server that it sends clients to; `None` asks for no token.
    pub token_server: Option<&'a TokenServer>,
    /// The registry (`http://HOST:PORT`) whose content it fetches when asked for (a pull-through mirror), with the
    /// user and password to use there, if any.
    pub mirror_of: Option<(&'a str, Option<(&'a str, &'a str)>)>,
    /// The authority that signs its certificate; `None` means plain http.
    pub tls: Option<&'a Authority>,
    /// Where its data is kept; `None` means a temporary directory that goes with the value.
    pub data: Option<PathBuf>,
    /// Further configuration, as lines of the registry's YAML at the top level.
    pub configuration: &'a str,
}

/// A running `docker-registry`.
pub struct Registry {
    process: Option<Process>,
    port: u16,
    folder: TempDir,
    data: PathBuf,
    settings: Settings,
}

struct Settings {
    basic_auth: bool,
    tls: bool,
    realm: Option<String>,
    proxy: Option<String>,
    extra: String,
}

const PROGRAMS: &[Program] = &[
    Program::new("docker-registry", "docker-registry"),
    Program::new("htpasswd", "apache2-utils"),
];

impl Registry {
    /// Starts a registry that anyone may use, over plain http.
    ///
    /// # Errors
    /// When the program is missing and can't be installed, or does not start.
    pub fn start() -> io::Result<Self> {
        Self::with_options(&RegistryOptions::default())
    }

    /// Starts a registry that asks for `user` and `password`, over plain http.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn with_basic_auth(user: &str, password: &str) -> io::Result<Self> {
        Self::with_options(&RegistryOptions {
            basic_auth: Some((user, password)),
            ..Default::default()
        })
    }

    /// Starts a registry set up by `options`.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn with_options(options: &RegistryOptions<'_>) -> io::Result<Self> {
        require(PROGRAMS).map_err(io::Error::other)?;
        let folder = tempfile::Builder::new().prefix("registry-").tempdir()?;
        let data = options.data.clone().unwrap_or_else(|| folder.path().join("data"));
        fs::create_dir_all(&data)?;
        if let Some((user, password)) = options.basic_auth {
            write_htpasswd(&folder.path().join("htpasswd"), user, password)?;
        }
        if let Some(authority) = options.tls {
            authority.issue_into(folder.path())?;
        }
        if let Some(server) = options.token_server {
            fs::write(folder.path().join("tokens.crt"), server.certificate())?;
        }
        let settings = Settings {
            basic_auth: options.basic_auth.is_some(),
            tls: options.tls.is_some(),
            realm: options.token_server.map(TokenServer::realm),
            proxy: options.mirror_of.map(proxy),
            extra: options.configuration.to_owned(),
        };
        let mut registry = Self {
            process: None,
            port: 0,
            folder,
            data,
            settings,
        };
        registry.resume()?;
        Ok(registry)
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the directory that holds its blobs and links.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Stops it; its data and its port stay for [`Registry::resume`].
    pub fn pause(&mut self) {
        if let Some(process) = self.process.take() {
            let _ = process.terminate(Duration::from_secs(5));
        }
    }

    /// Starts it again on the same port, if it is not running.
    ///
    /// # Errors
    /// When it does not start, for example because the port was taken meanwhile.
    pub fn resume(&mut self) -> io::Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let file = self.folder.path().join("config.yml");
        fs::write(&file, self.configuration())?;
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        let (process, port) = Process::spawn_until(&command, listening_port)?;
        self.process = Some(process);
        self.port = port;
        Ok(())
    }

    fn configuration(&self) -> String {
        let folder = self.folder.path().display();
        let mut text = format!(
            "version: 0.1\nlog: {{level: info, formatter: text, accesslog: {{disabled: true}}}}\n\
             storage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n  maintenance: {{uploadpurging: {{enabled: false}}}}\n\
             http:\n  addr: 127.0.0.1:{}\n",
            self.data.display(),
            self.port
        );
        if self.settings.tls {
            text += &format!("  tls: {{certificate: {folder}/server.crt, key: {folder}/server.key}}\n");
        }
        if self.settings.basic_auth {
            text += &format!("auth:\n  htpasswd: {{realm: kpack-flow, path: {folder}/htpasswd}}\n");
        }
        if let Some(realm) = &self.settings.realm {
            text += &format!(
                "auth:\n  token: {{realm: \"{realm}\", service: {SERVICE}, issuer: {ISSUER}, rootcertbundle: {folder}/tokens.crt}}\n"
            );
        }
        if let Some(proxy) = &self.settings.proxy {
            text += proxy;
        }
        text + &self.settings.extra
    }
}

fn proxy((address, login): (&str, Option<(&str, &str)>)) -> String {
    let login = login.map(|(user, password)| format!(", username: {user}, password: {password}"));
    format!("proxy: {{remoteurl: \"{address}\"{}}}\n", login.unwrap_or_default())
}

fn write_htpasswd(file: &Path, user: &str, password: &str) -> io::Result<()> {
    // The lowest bcrypt cost: the registry checks the password at every request.
    let output = Command::new("htpasswd")
        .args(["-nbB", "-C", "4", user, password])
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    fs::write(file, output.stdout)
}

/// Finds the port in `… msg="listening on 127.0.0.1:41234" …` (with `, tls` behind it for https).
fn listening_port(line: &str) -> Option<u16> {
    let rest = line.split("listening on ").nth(1)?;
    let address = rest.split(['"', ',', ' ']).next()?;
    address.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_log() {
        let line = r#"time="2026-01-01" level=info msg="listening on 127.0.0.1:41234" go.version=go1.19"#;
        assert_eq!(listening_port(line), Some(41234));
        assert_eq!(listening_port(r#"msg="listening on 127.0.0.1:7, tls""#), Some(7));
        assert_eq!(listening_port("starting"), None);
    }

    #[test]
    fn a_registry_answers_on_its_port_and_again_after_a_pause() {
        let mut registry = Registry::start().expect("docker-registry starts");
        let port = registry.port();
        assert!(std::net::TcpStream::connect(registry.host()).is_ok());
        registry.pause();
        assert!(std::net::TcpStream::connect(registry.host()).is_err());
        registry.resume().expect("docker-registry starts again");
        assert_eq!(registry.port(), port);
    }
}
