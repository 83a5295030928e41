//! What the phases print: one line a message, all of it on standard output.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use crate::detector::Timer;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Shown on request only.
    Debug,
    /// The ordinary course of a build.
    Info,
    /// Something that the user should know, though the phase goes on.
    Warn,
    /// The reason why the phase fails.
    Error,
    /// Shows nothing at all.
    Fatal,
}

impl Level {
    /// Reads a level by its name, in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" | "warning" => Some(Self::Warn),
            "error" => Some(Self::Error),
            "fatal" => Some(Self::Fatal),
            _ => None,
        }
    }
}

/// A log that several threads may write to; clones write to the same place.
#[derive(Clone)]
pub(crate) struct Logger {
    output: Arc<Mutex<dyn Write + Send>>,
    level: Level,
    colour: bool,
    /// The timer of an image that is being saved.
    saving: Arc<Mutex<Option<Timer>>>,
}

impl fmt::Debug for Logger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logger")
            .field("level", &self.level)
            .field("colour", &self.colour)
            .finish_non_exhaustive()
    }
}

impl Logger {
    /// Returns a logger to standard output at level *info*, with colours.
    pub(crate) fn to_stdout() -> Self {
        Self::to(Arc::new(Mutex::new(io::stdout())))
    }

    /// Returns a logger to `output` at level *info*, with colours.
    pub(crate) fn to(output: Arc<Mutex<dyn Write + Send>>) -> Self {
        Self {
            output,
            level: Level::Info,
            colour: true,
            saving: Arc::default(),
        }
    }

    /// Returns the same log with another threshold.
    #[must_use]
    pub(crate) fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Returns the same log with or without colours.
    #[must_use]
    pub(crate) fn coloured(self, colour: bool) -> Self {
        Self { colour, ..self }
    }

    /// Returns whether lines of `level` are shown.
    pub(crate) fn shows(&self, level: Level) -> bool {
        level >= self.level && self.level != Level::Fatal
    }

    /// Writes a line for people who look into a problem.
    pub(crate) fn debug(&self, line: impl fmt::Display) {
        self.line(Level::Debug, &line.to_string());
    }

    /// Writes an ordinary line.
    pub(crate) fn info(&self, line: impl fmt::Display) {
        self.line(Level::Info, &line.to_string());
    }

    /// Writes a warning.
    pub(crate) fn warn(&self, line: impl fmt::Display) {
        self.line(Level::Warn, &line.to_string());
    }

    /// Writes the reason of a failure.
    pub(crate) fn error(&self, line: impl fmt::Display) {
        self.line(Level::Error, &line.to_string());
    }

    /// Writes the headline of a phase, as the creator shows them.
    pub(crate) fn phase(&self, name: &str) {
        self.info(self.styled(&format!("===> {name}"), "36"));
    }

    /// Notes that an image is about to be saved: `what` is the line that says so.
    pub(crate) fn start_saving(&self, what: &str) {
        let timer = Timer::start(what, self);
        *self.saving.lock().unwrap_or_else(PoisonError::into_inner) = Some(timer);
    }

    /// Notes that the image has been saved.
    pub(crate) fn stop_saving(&self) {
        let timer = self.saving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(timer) = timer {
            timer.stop(self);
        }
    }

    /// Writes one line of any level, with the prefix of its level and a newline where there is none.
    pub(crate) fn line(&self, level: Level, text: &str) {
        if !self.shows(level) {
            return;
        }
        let prefix = match level {
            Level::Debug | Level::Info => String::new(),
            Level::Warn => self.styled("Warning: ", "33;1"),
            Level::Error | Level::Fatal => self.styled("ERROR: ", "31;1"),
        };
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.write(format!("{prefix}{text}{end}").as_bytes());
    }

    /// Passes the output of a buildpack on; without colours, its sequences that control a terminal are left out.
    pub(crate) fn write(&self, bytes: &[u8]) {
        let plain;
        let bytes = if self.colour || !bytes.contains(&ESCAPE) {
            bytes
        } else {
            plain = without_colours(bytes);
            &plain
        };
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is left to tell when the log itself cannot be written.
        let _ = output.write_all(bytes).and_then(|()| output.flush());
    }

    fn styled(&self, text: &str, style: &str) -> String {
        if self.colour {
            format!("\u{1b}[{style}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}
/// Begins a sequence that controls a terminal.
const ESCAPE: u8 = 0x1b;

/// Removes the sequences that control a terminal: each up to the letter or `@` that ends it, or without a `[` its two bytes.
fn without_colours(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        if *byte != ESCAPE {
            plain.push(*byte);
        } else if rest.next() == Some(&b'[') {
            rest.find(|byte| byte.is_ascii_alphabetic() || **byte == b'@');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_all_sequences_that_control_a_terminal_go() {
        for (text, plain) in [
            ("\u{1b}[2Kx", "x"),
            ("a\u{1b}[31;1mb\u{1b}[0mc", "abc"),
            ("\u{1b}[?25lx\u{1b}[1@y", "xy"),
            ("a\u{1b}Xb", "ab"),
            ("a\u{1b}[1", "a"),
            ("a\u{1b}[12é b-", "a-"),
            ("a\u{1b}", "a"),
        ] {
            assert_eq!(without_colours(text.as_bytes()), plain.as_bytes());
        }
    }
}
