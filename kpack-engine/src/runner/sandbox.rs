//! Starts containers and ends them with everything that they started.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

use super::machine::Machine;
use crate::logs::LogWriter;

/// The exit code by which the script below tells that there was no root to run in.
const NO_ROOT: i32 = 125;
/// A container's root, then the runtime in its place. `$1` is the container's directory, `$2` the overlay's options,
/// empty when the root is there already.
const SCRIPT: &str = r#"
cd "$1" || exit 125
if [ -n "$2" ]; then mount -t overlay overlay -o "$2" root 2>root.log || exit 125; fi
shift 2
exec "$@"
"#;

/// A container that runs.
pub(super) struct Sandbox {
    dir: PathBuf,
    child: Child,
    kill: KillSwitch,
    log: JoinHandle<LogWriter>,
}

/// Ends a sandbox from anywhere; does nothing when it has ended.
#[derive(Clone)]
pub(super) struct KillSwitch(Arc<Switch>);

struct Switch {
    pidfd: OwnedFd,
    /// The outermost process; `None` when it has been waited for, and its number may be another's.
    pid: Mutex<Option<Pid>>,
}

/// How a container ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) exit_code: i32,
    /// The end of its output.
    pub(super) tail: String,
    /// Why it did not even start.
    pub(super) not_started: Option<String>,
}

/// What a sandbox is started from.
pub(super) struct SandboxFiles<'a> {
    /// A directory of its own; `config.json` is in it.
    pub(super) dir: &'a Path,
    /// The image's root.
    pub(super) image_root: &'a Path,
    /// Where the runtime keeps what it knows.
    pub(super) state_dir: &'a Path,
    pub(super) id: &'a str,
}

impl Sandbox {
    /// Starts a container. It ends when its own first process does, or this process, or the calling *thread*: that
    /// one has to [`wait`](Self::wait).
    ///
    /// Three nested programs see to it. `setpriv` has the kernel kill what follows when this thread ends;
    /// `unshare` makes a process namespace of which the runtime is the first process, so that the kernel kills all
    /// others with it, and a mount namespace, so that no mount outlives them.
    pub(super) fn start(machine: &Machine, files: &SandboxFiles<'_>, log: LogWriter) -> io::Result<Self> {
        let SandboxFiles {
            dir,
            image_root,
            state_dir,
            id,
        } = *files;
        fs::create_dir_all(dir.join("root"))?;
        let options = if let Some(more) = machine.overlay {
            fs::create_dir_all(dir.join("upper"))?;
            fs::create_dir_all(dir.join("work"))?;
            // A link, because a mount's options cannot hold every path.
            std::os::unix::fs::symlink(image_root, dir.join("lower"))?;
            fs::set_permissions(dir.join("upper"), fs::metadata(image_root)?.permissions())?;
            format!("{more}lowerdir=lower,upperdir=upper,workdir=work")
        } else {
            copy_root(image_root, &dir.join("root"))?;
            String::new()
        };
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork"])
            .args(["--kill-child", "--mount-proc", "sh", "-c", SCRIPT, "sandbox"])
            .arg(dir)
            .arg(options)
            .arg(&machine.runtime)
            .args(runtime_options(machine, state_dir))
            .args(["run", "--bundle", "."])
            .arg(id)
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let child = command.spawn()?;
        // The command holds the pipe's writing end; while it lives, the log would never end.
        drop(command);
        let pid = Pid::from_child(&child);
        let kill = KillSwitch(Arc::new(Switch {
            pidfd: pidfd_open(pid, PidfdFlags::empty())?,
            pid: Mutex::new(Some(pid)),
        }));
        let log = std::thread::spawn(move || copy_log(reader, log));
        Ok(Self {
            dir: dir.to_owned(),
            child,
            kill,
            log,
        })
    }

    /// Returns what ends the sandbox.
    pub(super) fn kill_switch(&self) -> KillSwitch {
        self.kill.clone()
    }

    /// Waits until the container and all that it started have ended.
    pub(super) fn wait(mut self) -> io::Result<Outcome> {
        while !self.kill.wait_timeout(std::time::Duration::from_secs(3600)) {}
        let status = {
            let mut pid = self.kill.0.pid.lock().unwrap_or_else(PoisonError::into_inner);
            *pid = None;
            self.child.wait()?
        };
        let writer = self.log.join();
        let tail = writer.map_or_else(|_| String::new(), |writer| writer.tail());
        let exit_code = exit_code(status);
        let not_started = (exit_code != 0)
            .then(|| reason_not_started(&self.dir, exit_code))
            .flatten();
        Ok(Outcome {
            exit_code,
            tail,
            not_started,
        })
    }
}

impl KillSwitch {
    /// Kills the sandbox; [`Sandbox::wait`] returns soon.
    ///
    /// What the outermost process has started is killed first: only a moment after its start does the kernel do that by
    /// itself. The outermost process is stopped meanwhile, so that it starts nothing that is not seen.
    pub(super) fn kill(&self) {
        let pid = self.0.pid.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(pid) = *pid else { return };
        // Whatever has ended before it is signalled is as good as killed.
        let _ = pidfd_send_signal(&self.0.pidfd, Signal::STOP);
        for _ in 0..1000 {
            if !matches!(process_state(pid), Some((b'R' | b'S' | b'D', _))) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        for child in
            processes().filter(|child| process_state(*child).is_some_and(|(_, parent)| parent == pid.as_raw_pid()))
        {
            // Its number is its own until its parent, which is stopped, waits for it.
            if let Ok(child) = pidfd_open(child, PidfdFlags::empty()) {
                let _ = pidfd_send_signal(&child, Signal::KILL);
            }
        }
        let _ = pidfd_send_signal(&self.0.pidfd, Signal::KILL);
    }

    /// Waits until the sandbox has ended, at most `timeout`; says whether it has.
    pub(super) fn wait_timeout(&self, timeout: std::time::Duration) -> bool {
        let mut fds = [rustix::event::PollFd::new(&self.0.pidfd, rustix::event::PollFlags::IN)];
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        rustix::event::poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }
}

/// Kills the sandboxes that a killed process left behind: those whose runtime keeps what it knows in `state_dir`.
///
/// The kernel ends sandboxes with the process that started them, except in their first moment.
pub(super) fn kill_orphans(state_dir: &Path) {
    use std::os::unix::ffi::OsStrExt as _;
    let is_sandbox = |pid: &Pid| {
        let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_pid())).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        words.contains(&state_dir.as_os_str().as_bytes()) && words.contains(&&b"--bundle"[..])
    };
    for pid in processes() {
        // The number may be another's by the time it is looked at, so it is looked at again.
        if is_sandbox(&pid)
            && let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
            && is_sandbox(&pid)
        {
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let list = fs::read_dir("/proc").into_iter().flatten().flatten();
    list.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// Returns the kernel's letter for what a process does, and its parent's number.
fn process_state(pid: Pid) -> Option<(u8, i32)> {
    let text = fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name before it, in parentheses, may hold anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text.get(end + 1..)?.split(|byte| *byte == b' ').skip(1);
    let state = *fields.next()?.first()?;
    let parent = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    Some((state, parent))
}

/// Removes what the runtime remembers of a container that has ended, its control group too.
pub(super) fn forget(machine: &Machine, state_dir: &Path, id: &str) {
    let forgotten = Command::new(&machine.runtime)
        .args(runtime_options(machine, state_dir))
        .args(["delete", "--force", id])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = forgotten {
        tracing::warn!(%error, id, "cannot clean up after a container");
    }
    // There is nothing to remove when it ended by itself.
    let _ = fs::remove_dir_all(state_dir.join(id));
}

/// Removes a tree that a container wrote; by a program that trees of any depth do not trouble.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    // Processes that were killed may still be on their way out.
    let mut problem = String::new();
    for pause in [0, 50, 500] {
        std::thread::sleep(std::time::Duration::from_millis(pause));
        let output = Command::new("rm").args(["-rf", "--"]).arg(path).output()?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        text.lines().next().unwrap_or_default().clone_into(&mut problem);
    }
    Err(io::Error::other(problem))
}

fn copy_root(from: &Path, to: &Path) -> io::Result<()> {
    let output = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .arg(from.join("."))
        .arg(to)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn runtime_options(machine: &Machine, state_dir: &Path) -> Vec<std::ffi::OsString> {
    let mut options: Vec<std::ffi::OsString> = vec!["--root".into(), state_dir.into()];
    let is_crun = machine.runtime.file_name().is_some_and(|name| name == "crun");
    if is_crun {
        let manager = if machine.cgroups { "cgroupfs" } else { "disabled" };
        options.extend([
            "--log".into(),
            "runtime.log".into(),
            "--log-format".into(),
            "json".into(),
        ]);
        options.extend(["--cgroup-manager".into(), manager.into()]);
    } else {
        options.extend([
            "--log".into(),
            "runtime.log".into(),
            "--log-format".into(),
            "json".into(),
        ]);
        if !machine.cgroups {
            options.extend(["--rootless".into(), "true".into()]);
        }
    }
    options
}

fn copy_log(mut output: io::PipeReader, mut log: LogWriter) -> LogWriter {
    let mut buffer = vec![0; 32 << 10];
    loop {
        match output.read(&mut buffer) {
            Ok(0) => return log,
            Ok(read) => {
                if let Err(error) = log.write_all(&buffer[..read]) {
                    // A full disk must not stop the container.
                    tracing::warn!(%error, "output of a container is lost");
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(%error, "output of a container is lost");
                return log;
            }
        }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| Some(128 + status.signal()?)).unwrap_or(255)
}

/// Returns what the runtime, or the mount before it, complained of.
fn reason_not_started(dir: &Path, exit_code: i32) -> Option<String> {
    if exit_code == NO_ROOT
        && let Ok(text) = read_start(&dir.join("root.log"))
        && !text.trim().is_empty()
    {
        return Some(format!("cannot mount the container's root: {}", text.trim()));
    }
    let log = read_start(&dir.join("runtime.log")).ok()?;
    let error = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let fatal = matches!(line["level"].as_str()?, "error" | "fatal");
        let message = line["msg"].as_str()?;
        // What goes wrong while the container is taken away is not why it did not start.
        (fatal && !message.contains("nsexec")).then(|| message.to_owned())
    };
    log.lines().filter_map(error).next_back()
}

fn read_start(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(64 << 10).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt as _;

    use rustix::fs::{Mode, OFlags, mkdirat, openat};

    use super::*;

    #[test]
    fn a_tree_of_any_depth_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut here = OwnedFd::from(File::open(&top).unwrap());
        for _ in 0..3000 {
            mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = openat(&here, "d", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        }
        drop(here);
        remove_tree(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn a_sandbox_that_an_earlier_process_left_is_known_by_its_state_directory() {
        let sleeper = |words: [&str; 2]| {
            let mut command = Command::new("sh");
            let script = "while :; do sleep 0.01; done";
            command
                .args(["-c", script])
                .args(words)
                .arg0("runtime")
                .process_group(0);
            command.spawn().unwrap()
        };
        let mut ours = sleeper(["/test/state/5d0c", "--bundle"]);
        let mut other = sleeper(["/test/state/other", "--bundle"]);
        // The child is a copy of this process until it is the other program.
        while process_state(Pid::from_child(&ours)).is_none() {}
        std::thread::sleep(std::time::Duration::from_millis(50));
        kill_orphans(Path::new("/test/state/5d0c"));
        assert_eq!(ours.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        remove_tree(Path::new("/no/such/tree")).unwrap();
    }
}
