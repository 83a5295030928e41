//! The seam at which buildpack executables are started.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::os_text;

/// A program to run: no shell, exactly these arguments and this environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// Path of the executable.
    pub program: PathBuf,
    /// Arguments behind the program's name.
    pub args: Vec<OsString>,
    /// The whole environment, sorted by name, no name twice.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory.
    pub directory: PathBuf,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// A signal ended it.
    Signal {
        /// Which one.
        number: i32,
        /// Whether the kernel kept its memory in a core file.
        core_dumped: bool,
    },
}

impl Exit {
    /// Says whether it returned 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match status.code() {
            Some(code) => Self::Code(code),
            None => Self::Signal {
                number: status.signal().unwrap_or_default(),
                core_dumped: status.core_dumped(),
            },
        }
    }
}

impl std::fmt::Display for Exit {
    /// Writes `exit status 1`, `signal: killed` or `signal: aborted (core dumped)`, as messages of the reference have it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal { number, core_dumped } => {
                match usize::try_from(*number).ok().and_then(|number| SIGNALS.get(number)) {
                    Some(name) => write!(f, "signal: {name}")?,
                    None => write!(f, "signal: signal {number}")?,
                }
                f.write_str(if *core_dumped { " (core dumped)" } else { "" })
            }
        }
    }
}

/// What Go calls the signals of Linux, by their numbers.
const SIGNALS: [&str; 32] = [
    "signal 0",
    "hangup",
    "interrupt",
    "quit",
    "illegal instruction",
    "trace/breakpoint trap",
    "aborted",
    "bus error",
    "floating point exception",
    "killed",
    "user defined signal 1",
    "segmentation fault",
    "user defined signal 2",
    "broken pipe",
    "alarm clock",
    "terminated",
    "stack fault",
    "child exited",
    "continued",
    "stopped (signal)",
    "stopped",
    "stopped (tty input)",
    "stopped (tty output)",
    "urgent I/O condition",
    "CPU time limit exceeded",
    "file size limit exceeded",
    "virtual timer expired",
    "profiling timer expired",
    "window changed",
    "I/O possible",
    "power failure",
    "bad system call",
];

/// Takes what a program prints, standard output and standard error together, in the order of printing.
pub trait Output {
    /// Takes the next bytes; they may end in the middle of a line or of a character.
    fn write(&mut self, bytes: &[u8]);
}

impl Output for Vec<u8> {
    fn write(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// An [`Output`] that keeps the first bytes up to a limit and counts the rest.
#[derive(Clone, Debug)]
pub struct Captured {
    bytes: Vec<u8>,
    limit: usize,
    dropped: u64,
}

impl Captured {
    /// Makes one that keeps at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            limit,
            dropped: 0,
        }
    }

    /// Returns the text; bytes that are not UTF-8 become U+FFFD, and a line says how many bytes were dropped, if any.
    pub fn into_text(self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.dropped > 0 {
            if !text.ends_with('\n') {
                text.push('\n');
            }
            let _ = writeln!(text, "[{} more bytes of output are not shown]", self.dropped);
        }
        text
    }
}

impl Output for Captured {
    fn write(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..room]);
        self.dropped += (bytes.len() - room) as u64;
    }
}

/// Why a program could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It could not be started: missing, not executable, or its interpreter is missing.
    #[error("{}", start_text(.program, .source))]
    Start {
        /// The executable.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its working directory is missing or cannot be entered.
    #[error("chdir {}: {}", .directory.display(), os_text(.source))]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Its output could not be read, or its end not be awaited.
    #[error("running {}: {}", .program.display(), os_text(.source))]
    Watch {
        /// The executable.
        program: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// It ran longer than the runner allows.
    #[error("{} was ended after {limit:?}, the most it may take", .program.display())]
    TimedOut {
        /// The executable.
        program: PathBuf,
        /// How long it may run.
        limit: Duration,
    },
    /// The caller cancelled the run.
    #[error("{} was cancelled", .program.display())]
    Cancelled {
        /// The executable.
        program: PathBuf,
    },
}

/// Runs programs: on this machine, in a sandbox, or only in a test's imagination.
///
/// Detection runs the modules of a group at the same time, so implementations are shared between threads.
pub trait Runner: Sync {
    /// Runs `command` to its end with an empty standard input, and hands on what it prints.
    ///
    /// # Errors
    /// When it could not be started or watched; a program that ran and failed is an [`Exit`].
    fn run(&self, command: &Command, output: &mut dyn Output) -> Result<Exit, RunError>;
}

/// Says why a program could not be started.
pub fn start_text(program: &Path, error: &io::Error) -> String {
    // The standard library notices what cannot be passed on before the operating system does.
    if error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_none() {
        return "exec: environment variable contains NUL".to_owned();
    }
    format!("fork/exec {}: {}", program.display(), os_text(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_program_ended_is_said_in_the_words_of_the_reference() {
        for (status, text) in [
            (0x0100, "exit status 1"),
            (9, "signal: killed"),
            (6 | 0x80, "signal: aborted (core dumped)"),
            (34, "signal: signal 34"),
        ] {
            assert_eq!(Exit::from(ExitStatus::from_raw(status)).to_string(), text);
        }
    }
}
