//! The `exec.d` programs, which set variables at launch.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use cnb_detect::{Environment, Exit, check_format, os_text, start_text};
use cnb_order::parse_toml;
use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};
use toml::Value;

use super::LaunchError;

/// Runs `exec.d` programs.
pub trait ExecD {
    /// Runs a program with descriptor 3 open for writing, and returns the variables it wrote there.
    ///
    /// # Errors
    /// When it fails, or writes something else than a TOML table of strings.
    fn run(
        &self,
        program: &Path,
        env: &Environment,
        directory: &Path,
    ) -> Result<Vec<(OsString, OsString)>, LaunchError>;
}

/// The most output of one program that is read, in bytes.
const MOST_OUTPUT: u64 = 16 << 20;

/// Runs the programs as children of this process; standard input is empty, output goes where the process's own goes.
///
/// Best called while descriptor 3 of this process is free, as it is in a program that has opened nothing yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostExecD;

impl ExecD for HostExecD {
    fn run(
        &self,
        program: &Path,
        env: &Environment,
        directory: &Path,
    ) -> Result<Vec<(OsString, OsString)>, LaunchError> {
        let failed = |message: String| LaunchError::ExecD {
            path: program.to_owned(),
            message,
        };
        let (mut child, reader) =
            start(program, env, directory).map_err(|error| failed(start_text(program, &error)))?;
        let mut output = Vec::new();
        let read = reader.take(MOST_OUTPUT + 1).read_to_end(&mut output);
        let status = child.wait().map_err(|error| failed(os_text(&error)))?;
        if !status.success() {
            return Err(failed(Exit::from(status).to_string()));
        }
        read.map_err(|error| failed(os_text(&error)))?;
        decode(&output).map_err(|message| LaunchError::ExecDOutput {
            path: program.to_owned(),
            message,
        })
    }
}

fn start(program: &Path, env: &Environment, directory: &Path) -> io::Result<(Child, io::PipeReader)> {
    check_format(program)?;
    let (reader, writer) = io::pipe()?;
    // Move the pipe's own ends out of the way, so that 3 is the lowest free descriptor.
    let reader = io::PipeReader::from(fcntl_dupfd_cloexec(OwnedFd::from(reader), 10)?);
    let writer = fcntl_dupfd_cloexec(OwnedFd::from(writer), 10)?;
    let three = fcntl_dupfd_cloexec(&writer, 3)?;
    drop(writer);
    fcntl_setfd(three.as_fd(), FdFlags::empty())?;
    let mut command = if three.as_raw_fd() == 3 {
        Command::new(program)
    } else {
        // Something else is open there: a shell moves the descriptor.
        let mut shell = Command::new("/bin/sh");
        let number = three.as_raw_fd();
        shell
            .arg("-c")
            .arg(format!("exec \"$0\" 3>&{number} {number}>&-"))
            .arg(program);
        shell
    };
    let child = command
        .env_clear()
        .envs(env.iter())
        .current_dir(directory)
        .stdin(Stdio::null())
        .spawn()?;
    Ok((child, reader))
}

fn decode(output: &[u8]) -> Result<Vec<(OsString, OsString)>, String> {
    if output.len() as u64 > MOST_OUTPUT {
        return Err(format!("more than {MOST_OUTPUT} bytes"));
    }
    let text = std::str::from_utf8(output).map_err(|_| "toml: invalid UTF-8".to_owned())?;
    let table = parse_toml(text).map_err(|error| error.to_string())?;
    let variable = |(name, value): (String, Value)| match value {
        Value::String(value) => Ok((name.into(), value.into())),
        value => Err(format!(
            "toml: (last key \"{name}\"): incompatible types: TOML value has type {}; destination has type string",
            value.type_str()
        )),
    };
    table.into_iter().map(variable).collect()
}
