//! Runs buildpack executables on this machine.

use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{Command, Exit, Output, RunError, Runner, descendants};

/// Runs programs as children of this process, each in a process group of its own.
///
/// Standard input is empty, standard output and standard error are one pipe, and memory stays bounded however much is
/// printed.
///
/// A program that ends but leaves children with the pipe open is waited for until they have been silent for
/// [`linger`](Self::linger); then they are ended, and a line of output says so. Children that let go of the pipe are left alone.
/// When a run is cancelled or takes too long, the program is ended with all its descendants, and whoever else holds the pipe.
///
/// Nothing that this process has opened reaches the program, as the standard library opens all files to be closed then. What
/// this process itself was started with is another matter: closing it is up to the program, as `lifecycle` does first of all.
///
/// What it is not: a sandbox. A process that left its parent, its group and the pipe behind cannot be found again.
#[derive(Clone, Debug)]
pub struct HostRunner {
    /// How long children that a program left behind may stay silent before they are no longer listened to.
    pub linger: Duration,
    /// How long a program may run; `None` is as long as it wants.
    pub time_limit: Option<Duration>,
    /// Ends all programs started through this runner, with their children.
    pub cancel: Cancel,
}

impl Default for HostRunner {
    fn default() -> Self {
        Self {
            linger: Duration::from_secs(10),
            time_limit: None,
            cancel: Cancel::default(),
        }
    }
}

/// A switch that another thread can throw.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Throws the switch; there is no way back.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Says whether it was thrown.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl From<Arc<AtomicBool>> for Cancel {
    /// Makes a switch that is thrown when the flag is set, as handlers of signals do.
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}

/// How often the switch and the time limit are looked at while nothing happens.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

impl Runner for HostRunner {
    fn run(&self, command: &Command, output: &mut dyn Output) -> Result<Exit, RunError> {
        if let Err(source) = enter(&command.directory) {
            return Err(RunError::Directory {
                directory: command.directory.clone(),
                source,
            });
        }
        let (mut child, reader) = start(command).map_err(|source| RunError::Start {
            program: command.program.clone(),
            source,
        })?;
        let pipe = descendants::pipe_of(&reader);
        let end = self.watch(&mut child, reader, output);
        if !matches!(end, Ok(End::Done(_))) {
            descendants::end_all(child.id(), pipe);
            let _ = child.wait();
        }
        let program = || command.program.clone();
        match end {
            Ok(End::Done(status) | End::LeftChildren(status)) => {
                if matches!(end, Ok(End::LeftChildren(_))) {
                    let text = format!(
                        "[processes that were left running were ended after {:?} of silence]\n",
                        self.linger
                    );
                    output.write(text.as_bytes());
                }
                Ok(Exit::from(status))
            }
            Ok(End::Cancelled) => Err(RunError::Cancelled { program: program() }),
            Ok(End::TimedOut(limit)) => Err(RunError::TimedOut {
                program: program(),
                limit,
            }),
            Err(source) => Err(RunError::Watch {
                program: program(),
                source,
            }),
        }
    }
}

/// How watching a program ended.
#[derive(Clone, Copy)]
enum End {
    /// It ended, and nobody holds its output any more.
    Done(ExitStatus),
    /// It ended, but somebody else holds its output and has been silent for long.
    LeftChildren(ExitStatus),
    Cancelled,
    TimedOut(Duration),
}

/// Says why a directory cannot be a working directory: a failed start alone would not tell.
fn enter(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(io::Error::from_raw_os_error(rustix::io::Errno::NOTDIR.raw_os_error()));
    }
    rustix::fs::access(directory, rustix::fs::Access::EXEC_OK).map_err(io::Error::from)
}

/// Says whether the kernel can execute the file: the standard library would hand anything else to a shell.
///
/// # Errors
/// "Exec format error" when the file is neither a script that names an interpreter nor a binary for this machine; a file that
/// cannot be read is not judged.
pub fn check_format(program: &Path) -> io::Result<()> {
    use io::Read as _;
    let mut start = Vec::new();
    match fs::File::open(program).and_then(|file| file.take(LOOKED_AT).read_to_end(&mut start)) {
        Ok(_) if !names_interpreter(&start) && !is_binary(&start) => {
            // Whether it may be executed at all comes first.
            rustix::fs::access(program, rustix::fs::Access::EXEC_OK)?;
            Err(io::Error::from_raw_os_error(rustix::io::Errno::NOEXEC.raw_os_error()))
        }
        _ => Ok(()),
    }
}

/// The kernel decides by so many bytes of a file.
const LOOKED_AT: u64 = 256;

/// Says whether a script names the program that runs it, in what the kernel looks at.
fn names_interpreter(start: &[u8]) -> bool {
    let Some(rest) = start.strip_prefix(b"#!") else {
        return false;
    };
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let line = rest.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Some(name) = line.iter().position(|byte| !is_space(byte)) else {
        return false;
    };
    // One that goes on behind that is taken for cut off.
    let is_whole = line.len() < rest.len() || (start.len() as u64) < LOOKED_AT;
    is_whole || line[name..].iter().any(|byte| is_space(byte) || *byte == 0)
}

/// Says whether an ELF file is for this machine, or one that may be registered with the kernel.
fn is_binary(start: &[u8]) -> bool {
    let number = |at: usize| {
        start
            .get(at..at + 2)
            .map(|bytes| u16::from_ne_bytes([bytes[0], bytes[1]]))
    };
    let (Some(kind), Some(machine)) = (number(16), number(18)) else {
        return false;
    };
    let is_program = start.starts_with(b"\x7fELF") && start.len() >= 52 && matches!(kind, 2 | 3);
    is_program && (machines().is_none_or(|known| known.contains(&machine)) || others_are_registered())
}

/// The machines whose programs run here, by their numbers in ELF files; `None` where that is not known.
fn machines() -> Option<&'static [u16]> {
    match std::env::consts::ARCH {
        "x86_64" => Some(&[62, 3]),
        "aarch64" => Some(&[183, 40]),
        "riscv64" => Some(&[243]),
        "powerpc64" => Some(&[21]),
        "s390x" => Some(&[22]),
        _ => None,
    }
}

/// Returns whether the kernel knows programs that run those of other machines.
fn others_are_registered() -> bool {
    let Ok(entries) = fs::read_dir("/proc/sys/fs/binfmt_misc") else {
        return false;
    };
    let own = ["register", "status"];
    entries
        .flatten()
        .any(|entry| !own.iter().any(|name| entry.file_name() == *name))
}

fn start(command: &Command) -> io::Result<(Child, PipeReader)> {
    check_format(&command.program)?;
    let (reader, writer) = io::pipe()?;
    let child = std::process::Command::new(&command.program)
        .args(&command.args)
        .env_clear()
        .envs(command.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&command.directory)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        .spawn()?;
    Ok((child, reader))
}

impl HostRunner {
    fn watch(&self, child: &mut Child, mut reader: PipeReader, output: &mut dyn Output) -> io::Result<End> {
        let mut buffer = vec![0; 32 * 1024];
        let mut ended: Option<(ExitStatus, Instant)> = None;
        let mut open = true;
        let began = Instant::now();
        // Tells when the program ends; where the kernel has no such thing, looking now and then does.
        let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).ok();
        loop {
            if self.cancel.is_cancelled() {
                return Ok(End::Cancelled);
            }
            if let Some(limit) = self.time_limit.filter(|limit| began.elapsed() >= *limit) {
                return Ok(End::TimedOut(limit));
            }
            let mut waiting = Vec::with_capacity(2);
            if open {
                waiting.push(PollFd::new(&reader, PollFlags::IN));
            }
            if let Some(process) = process.as_ref().filter(|_| ended.is_none()) {
                waiting.push(PollFd::new(process, PollFlags::IN));
            }
            match poll(&mut waiting, Some(&LOOK)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let ready = open && !waiting[0].revents().is_empty();
            if ready {
                match reader.read(&mut buffer) {
                    Ok(0) => open = false,
                    Ok(count) => {
                        output.write(&buffer[..count]);
                        if let Some((_, since)) = &mut ended {
                            *since = Instant::now();
                        }
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error),
                }
            }
            if ended.is_none() {
                ended = child.try_wait()?.map(|status| (status, Instant::now()));
            }
            match ended {
                Some((status, _)) if !open => return Ok(End::Done(status)),
                Some((status, since)) if since.elapsed() >= self.linger => return Ok(End::LeftChildren(status)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_interpreter_in_what_the_kernel_looks_at() {
        let long = [b"#!/", "x".repeat(300).as_bytes()].concat();
        let with_argument = [b"#!/bin/sh ", "x".repeat(300).as_bytes()].concat();
        for (start, expected) in [
            (b"#!/bin/sh\nexit 0\n".as_slice(), true),
            (b"#! \t/bin/sh -e", true),
            (b"#!x", true),
            (b"#!\nexit 0\n", false),
            (b"#! \t \nexit 0\n", false),
            (b"#!", false),
            (b"exit 0\n", false),
            (&long[..256], false),
            (&with_argument[..256], true),
        ] {
            assert_eq!(names_interpreter(start), expected, "{}", String::from_utf8_lossy(start));
        }
    }

    #[test]
    fn a_binary_is_whole_and_for_this_machine() {
        let own = fs::read("/proc/self/exe").expect("this is a program");
        assert!(is_binary(&own[..256]));
        assert!(!is_binary(&own[..40]));
        assert!(!is_binary(b"\x7fELFjunk"));
        let mut object = own[..256].to_vec();
        object[16] = 1;
        assert!(!is_binary(&object));
    }
}
