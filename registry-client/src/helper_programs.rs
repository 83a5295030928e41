//! Credential helpers as processes of this machine.

use std::{
    ffi::OsString,
    fmt,
    io::{self, Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use registry_auth::{HelperOutput, HelperRunner};

const MAX_OUTPUT: u64 = 1 << 20;

/// Runs `docker-credential-NAME` programs, for [`DockerConfig::with_helpers`](registry_auth::DockerConfig::with_helpers).
///
/// A program is looked for in the given directories only, sees the given environment only, and is killed when it takes
/// longer than the time limit.
#[derive(Clone)]
pub struct HelperPrograms {
    /// The directories to look in, in this order; usually those of `PATH`.
    pub directories: Vec<PathBuf>,
    /// The environment of the programs; many want `HOME` and `PATH`.
    pub environment: Vec<(OsString, OsString)>,
    /// How long one program may take.
    pub time_limit: Duration,
}

impl HelperPrograms {
    /// Looks in `directories`, with an empty environment and a time limit of 30 seconds.
    pub fn in_directories(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            directories: directories.into_iter().collect(),
            environment: Vec::new(),
            time_limit: Duration::from_secs(30),
        }
    }

    /// Gives the programs this environment.
    #[must_use]
    pub fn with_environment(mut self, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        self.environment = environment.into_iter().collect();
        self
    }
}

impl HelperRunner for HelperPrograms {
    fn run(&self, helper: &str, server: &str) -> io::Result<HelperOutput> {
        let name = format!("docker-credential-{helper}");
        let mut candidates = self
            .directories
            .iter()
            .filter(|folder| folder.is_absolute())
            .map(|folder| folder.join(&name));
        let program = candidates.find(|program| program.is_file());
        let program =
            program.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no program {name}")))?;
        let mut child = Command::new(program)
            .arg("get")
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that does not read has its answer without.
            let _ = stdin.write_all(server.as_bytes());
        }
        let output = read_within(&mut child, self.time_limit);
        if output.is_err() {
            let _ = child.kill();
        }
        let status = child.wait()?;
        Ok(HelperOutput {
            success: status.success(),
            stdout: output?,
        })
    }
}

/// Reads standard output to its end, which a thread waits for.
fn read_within(child: &mut Child, limit: Duration) -> io::Result<Vec<u8>> {
    let Some(stdout) = child.stdout.take() else {
        return Ok(Vec::new());
    };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = stdout.take(MAX_OUTPUT).read_to_end(&mut bytes).map(|_| bytes);
        // Nobody listens any more when it took too long.
        let _ = sender.send(read);
    });
    receiver.recv_timeout(limit).unwrap_or_else(|_| {
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("it took longer than {} seconds", limit.as_secs_f32()),
        ))
    })
}

/// The environment may hold secrets, so only its names are shown.
impl fmt::Debug for HelperPrograms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("HelperPrograms")
            .field("directories", &self.directories)
            .field("environment", &names)
            .field("time_limit", &self.time_limit)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

    use registry_auth::{DockerConfig, Keychain};

    use super::*;

    fn programs(script: &str) -> (tempfile::TempDir, HelperPrograms) {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("docker-credential-test");
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("it is written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is made a program");
        let programs = HelperPrograms::in_directories([folder.path().to_owned()]);
        (folder, programs)
    }

    #[test]
    fn a_helper_that_the_docker_config_names_is_asked() {
        let (_folder, programs) =
            programs(r#"read -r s; printf '{"Username":"me","Secret":"of %s with %s"}' "$s" "$SET""#);
        let programs = programs.with_environment([("SET".into(), "this".into())]);
        let config = DockerConfig::from_json(br#"{"credsStore": "test"}"#).expect("it is a config");
        let config = config.with_helpers(Arc::new(programs));
        let found = config
            .find(&"reg.example.com/team/app".parse().expect("a repository"))
            .expect("it answers");
        let found = found.expect("there is a credential");
        assert_eq!(found.password().expose(), "of reg.example.com/team/app with this");
    }

    #[test]
    fn a_helper_that_hangs_or_is_missing_is_an_error() {
        let (_folder, mut programs) = programs("exec /bin/sleep 60");
        programs.time_limit = Duration::from_millis(100);
        let error = programs.run("test", "reg.example.com").err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::TimedOut));
        let error = programs.run("other", "reg.example.com").err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::NotFound));
    }
}
