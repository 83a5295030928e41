//! Credential helpers as processes of this machine.

use std::{
    ffi::OsString,
    fmt, fs,
    io::{self, Read, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use registry_auth::{HelperOutput, HelperRunner};

const MAX_OUTPUT: u64 = 1 << 20;

/// Runs `docker-credential-NAME` programs, for [`DockerConfig::with_helpers`](registry_auth::DockerConfig::with_helpers).
///
/// A program is looked for in the given directories only, where files that nobody may execute are passed over; it sees
/// the given environment only, and is killed when it takes longer than the time limit.
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
        let program = candidates.find(|program| is_executable(program));
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
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let until = Instant::now() + self.time_limit;
        let server = server.to_owned();
        let output = within(until, move || {
            if let Some(mut stdin) = stdin {
                // A program that does not read has its answer without.
                let _ = stdin.write_all(server.as_bytes());
            }
            let mut bytes = Vec::new();
            let Some(stdout) = stdout else { return Ok(bytes) };
            stdout.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        // One that has said everything may still go on.
        let status = match output {
            Ok(_) => end(&mut child, until),
            Err(_) => None,
        };
        if status.is_none() {
            let _ = child.kill();
            child.wait()?;
        }
        let stdout = output.map_err(|error| error.unwrap_or_else(|| self.too_late()))?;
        let status = status.transpose()?.ok_or_else(|| self.too_late())?;
        Ok(HelperOutput {
            success: status.success(),
            stdout,
        })
    }
}

impl HelperPrograms {
    fn too_late(&self) -> io::Error {
        let limit = self.time_limit.as_secs_f32();
        io::Error::new(io::ErrorKind::TimedOut, format!("it took longer than {limit} seconds"))
    }
}

fn is_executable(program: &Path) -> bool {
    fs::metadata(program).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Does `work` on a thread of its own, and waits until then; `Err(None)` when that was too short.
fn within<T: Send + 'static>(
    until: Instant,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Option<io::Error>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = sender.send(work());
    });
    let done = receiver.recv_timeout(until.saturating_duration_since(Instant::now()));
    done.map_err(|_| None)?.map_err(Some)
}

/// Waits for the end of a process, looking again and again; `None` when it goes on.
fn end(child: &mut Child, until: Instant) -> Option<io::Result<ExitStatus>> {
    loop {
        let ended = child.try_wait().transpose();
        if ended.is_some() || Instant::now() >= until {
            return ended;
        }
        thread::sleep(Duration::from_millis(1));
    }
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
    use std::sync::Arc;

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
    fn a_file_that_is_no_program_does_not_hide_a_helper_behind_it() {
        let (folder, mut programs) = programs("printf '{}'");
        let other = tempfile::tempdir().expect("a directory");
        fs::write(other.path().join("docker-credential-test"), "").expect("it is written");
        programs.directories = vec![other.path().to_owned(), folder.path().to_owned()];
        assert!(programs.run("test", "reg.example.com").expect("it is found").success);
        programs.directories.pop();
        let error = programs.run("test", "reg.example.com").err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::NotFound));
    }

    #[test]
    fn a_helper_that_hangs_or_is_missing_is_an_error() {
        let (_folder, mut programs) = programs("exec /bin/sleep 60");
        programs.time_limit = Duration::from_millis(100);
        let error = programs.run("test", "reg.example.com").err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::TimedOut));
        let (_folder, mut programs) = self::programs("printf '{}'; exec >&-; exec /bin/sleep 60");
        programs.time_limit = Duration::from_millis(200);
        let error = programs.run("test", "reg.example.com").err().map(|error| error.kind());
        assert_eq!(
            error,
            Some(io::ErrorKind::TimedOut),
            "it has closed its output and goes on"
        );
        let error = programs.run("other", "reg.example.com").err().map(|error| error.kind());
        assert_eq!(error, Some(io::ErrorKind::NotFound));
    }
}
