//! Files that a user names, with the messages that users of kp know.

use std::{fs, io, io::Read as _};

use anyhow::{Context as _, anyhow};

/// Reads a file; `-` is standard input.
pub(crate) fn read_file(name: &str) -> anyhow::Result<String> {
    if name == "-" {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .context("cannot read standard input")?;
        return Ok(text);
    }
    fs::read_to_string(name).map_err(|error| failure("open", name, &error))
}

/// Reads a file of any bytes.
pub(crate) fn read_bytes(name: &str) -> anyhow::Result<Vec<u8>> {
    fs::read(name).map_err(|error| failure("open", name, &error))
}

/// `open FILE: no such file or directory`.
pub(crate) fn failure(action: &str, name: &str, error: &io::Error) -> anyhow::Error {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
    anyhow!("{action} {name}: {text}")
}
