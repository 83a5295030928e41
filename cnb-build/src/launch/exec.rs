//! Becoming the process.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use cnb_detect::check_format;

use super::{Launch, LaunchError};

impl Launch {
    /// Changes the directory and replaces this program by the process; returns only when that fails.
    pub fn exec(&self) -> LaunchError {
        match self.try_exec() {
            Ok(source) => LaunchError::Exec {
                what: self.what,
                source,
            },
            Err(error) => error,
        }
    }

    fn try_exec(&self) -> Result<io::Error, LaunchError> {
        std::env::set_current_dir(&self.app_dir).map_err(|source| LaunchError::AppDirectory {
            directory: self.app_dir.clone(),
            source,
        })?;
        if let Some(directory) = &self.directory {
            std::env::set_current_dir(directory).map_err(|source| LaunchError::WorkingDirectory {
                directory: directory.clone(),
                source,
            })?;
        }
        if let Err(error) = check_format(&self.program) {
            return Ok(error);
        }
        let mut argv = self.argv.iter();
        let mut command = Command::new(&self.program);
        if let Some(name) = argv.next() {
            command.arg0(name);
        }
        command
            .args(argv)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        Ok(command.exec())
    }
}
