//! What users read while a phase runs.

use std::sync::Arc;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// For those who look for a cause.
    Debug,
    /// The normal course.
    Info,
    /// Something may be wrong; shown with `Warning: ` in front.
    Warn,
    /// Why it failed; shown with `ERROR: ` in front.
    Error,
}

/// Takes the lines of a phase; the texts are those of the reference lifecycle.
pub trait Log {
    /// Takes a line, to be shown if the user asked for this level. Text without a final newline gets one when shown.
    fn log(&mut self, level: Level, text: &str);

    /// Takes a line that is to be shown whatever level the user asked for, because something failed.
    fn always(&mut self, level: Level, text: &str);

    /// Takes what a program prints, as it comes: bytes that may end in the middle of a line.
    fn raw(&mut self, bytes: &[u8]);
}

/// A line of a [`MemoryLog`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// How important it is.
    pub level: Level,
    /// Whether it is shown at every level.
    pub always: bool,
    /// The text, without prefix.
    pub text: Arc<str>,
    /// Whether the text is what a program printed: shown at every level as it is.
    pub raw: bool,
}

/// Keeps all lines.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    records: Vec<Record>,
}

impl MemoryLog {
    /// Makes an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns all lines.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Keeps a text as [`Log::log`] does, without a copy of it.
    pub(crate) fn shared(&mut self, level: Level, text: &Arc<str>) {
        self.records.push(Record {
            level,
            always: false,
            text: Arc::clone(text),
            raw: false,
        });
    }

    /// Returns what a user who asked for `level` sees, without colours.
    pub fn text(&self, level: Level) -> String {
        let mut text = String::new();
        for record in self
            .records
            .iter()
            .filter(|record| record.always || record.level >= level)
        {
            text.push_str(match record.level {
                Level::Warn => "Warning: ",
                Level::Error => "ERROR: ",
                Level::Debug | Level::Info => "",
            });
            text.push_str(&record.text);
            if !record.raw && !record.text.ends_with('\n') {
                text.push('\n');
            }
        }
        text
    }

    /// Hands all lines to another log, those of a failure to be shown whatever the level.
    pub fn replay(self, log: &mut dyn Log, failed: bool) {
        for record in self.records {
            if record.raw {
                log.raw(record.text.as_bytes());
            } else if record.always || failed {
                log.always(record.level, &record.text);
            } else {
                log.log(record.level, &record.text);
            }
        }
    }
}

impl Log for MemoryLog {
    fn log(&mut self, level: Level, text: &str) {
        self.records.push(Record {
            level,
            always: false,
            text: text.into(),
            raw: false,
        });
    }

    fn always(&mut self, level: Level, text: &str) {
        self.records.push(Record {
            level,
            always: true,
            text: text.into(),
            raw: false,
        });
    }

    fn raw(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.records.push(Record {
            level: Level::Info,
            always: true,
            text: text.into(),
            raw: true,
        });
    }
}
