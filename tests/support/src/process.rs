//! A child process that ends with its value, and with this process however it dies.

use std::{
    io::{self, BufRead, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts `command` from a thread that lives as long as the process: the kernel's parent-death
/// signal is tied to the *thread* that started a child, and tests run in short-lived ones.
fn start(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in jobs {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (sender, answer) = mpsc::channel();
    let gone = || io::Error::other("the thread that starts processes has ended");
    starter
        .lock()
        .map_err(|_| gone())?
        .send((command, sender))
        .map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

/// A running program that is killed when this value is dropped or this process dies.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
}

impl Process {
    /// Starts `command`, which keeps its own choice of standard streams.
    ///
    /// # Errors
    /// When the program (or `setpriv` of util-linux, which ties it to this process) can't be started.
    pub fn spawn(command: &Command) -> io::Result<Self> {
        Self::spawn_with(command, |_| {})
    }

    /// Starts a server that `command` makes for a free loopback port; returns when it takes connections, with its port.
    ///
    /// Another process may take the port first: a server that ends at once is started again with another one.
    ///
    /// # Errors
    /// As [`Process::spawn`]; when the server ends three times, or takes no connection for ten seconds.
    pub fn serve(command: impl Fn(u16) -> Command) -> io::Result<(Self, u16)> {
        let until = Instant::now() + Duration::from_secs(10);
        let mut ended = 0;
        while ended < 3 {
            let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
            let mut server = Self::spawn(&command(port))?;
            loop {
                if server.child.try_wait()?.is_some() {
                    ended += 1;
                    break;
                }
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Ok((server, port));
                }
                if Instant::now() > until {
                    return Err(io::Error::other(format!("{} takes no connection", server.name)));
                }
                thread::sleep(Duration::from_millis(5));
            }
        }
        Err(io::Error::other("the server ends at once, three times"))
    }

    /// Starts `command` after `adjust` has set the standard streams.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn spawn_with(command: &Command, adjust: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let mut wrapped = Command::new("setpriv");
        wrapped
            .args(["--pdeathsig", "KILL", "--"])
            .arg(command.get_program())
            .args(command.get_args());
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(key, value),
                None => wrapped.env_remove(key),
            };
        }
        if let Some(folder) = command.get_current_dir() {
            wrapped.current_dir(folder);
        }
        adjust(&mut wrapped);
        let name = command.get_program().to_string_lossy().into_owned();
        Ok(Self {
            child: start(wrapped)?,
            name,
        })
    }

    /// Starts `command` and waits until `ready` finds what it looks for in a line of its standard
    /// error; later lines are read and thrown away.
    ///
    /// # Errors
    /// When it can't be started, ends, or prints no such line within 30 seconds: the error holds
    /// what it printed.
    pub fn spawn_until<T: Send + 'static>(
        command: &Command,
        ready: impl Fn(&str) -> Option<T> + Send + 'static,
    ) -> io::Result<(Self, T)> {
        let mut process = Self::spawn_with(command, |command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::piped());
        })?;
        let stderr = process
            .child
            .stderr
            .take()
            .ok_or_else(|| io::Error::other("no standard error"))?;
        let (sender, found) = mpsc::channel();
        thread::spawn(move || {
            let mut seen = String::new();
            let mut waiting = true;
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if !waiting {
                    continue;
                }
                if let Some(value) = ready(&line) {
                    waiting = false;
                    let _ = sender.send(Ok(value));
                } else {
                    seen.push_str(&line);
                    seen.push('\n');
                }
            }
            if waiting {
                let _ = sender.send(Err(seen));
            }
        });
        match found.recv_timeout(Duration::from_secs(30)) {
            Ok(Ok(value)) => Ok((process, value)),
            Ok(Err(output)) => Err(io::Error::other(format!("{} ended at once: {output}", process.name))),
            Err(_) => Err(io::Error::other(format!(
                "{} was not ready within 30 seconds",
                process.name
            ))),
        }
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the child's standard streams and status.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Sends SIGTERM and waits; kills the process after `patience`.
    ///
    /// # Errors
    /// When the process can't be waited for.
    pub fn terminate(mut self, patience: Duration) -> io::Result<ExitStatus> {
        let id = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        }
        let until = Instant::now() + patience;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        self.child.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_an_error_and_not_waited_for() {
        let error = Process::serve(|_| Command::new("false")).expect_err("it is no server");
        assert!(error.to_string().contains("ends at once"), "{error}");
    }

    #[test]
    fn a_process_ends_with_its_value() {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let process = Process::spawn(&command).expect("sleep starts");
        let status = format!("/proc/{}/stat", process.id());
        assert!(std::path::Path::new(&status).exists());
        drop(process);
        assert!(!std::path::Path::new(&status).exists());
    }

    #[test]
    fn a_program_that_ends_before_it_is_ready_is_an_error_with_its_words() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no disk >&2"]);
        let error = Process::spawn_until(&command, |line| line.contains("ready").then_some(())).expect_err("ends");
        assert!(error.to_string().contains("no disk"), "{error}");
    }
}
