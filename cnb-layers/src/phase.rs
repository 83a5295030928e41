//! What all phases share: the platform API they speak and the log they write.

use std::fmt;
use std::sync::{Mutex, PoisonError};

/// A platform API version that the phases speak: 0.7 to 0.15.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlatformApi(u64);

impl PlatformApi {
    /// The oldest version.
    pub const OLDEST: Self = Self(7);
    /// The newest version.
    pub const NEWEST: Self = Self(15);

    /// Returns version `0.<minor>` if the phases speak it.
    pub fn new(minor: u64) -> Option<Self> {
        (Self::OLDEST.0..=Self::NEWEST.0)
            .contains(&minor)
            .then_some(Self(minor))
    }

    /// Returns whether the version is `0.<minor>` or newer.
    pub fn at_least(self, minor: u64) -> bool {
        self.0 >= minor
    }
}

impl fmt::Display for PlatformApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0.{}", self.0)
    }
}

/// Where the images of a build are, which decides how documents and logs name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Home<'a> {
    /// In registries.
    #[default]
    Registry,
    /// On disk, each as an OCI layout of its own (see [`LayoutImages`](crate::LayoutImages)).
    Layout {
        /// The tag or digest in the name that the user gave the image; the manifest carries it as an annotation.
        ref_name: &'a str,
    },
}

impl Home<'_> {
    /// Returns the name of an image in documents.
    pub(crate) fn name(self, reference: &registry_auth::Reference) -> String {
        match self {
            Self::Registry => reference.to_string(),
            Self::Layout { .. } => crate::LayoutImages::name(reference),
        }
    }
}

/// How important a line of a phase's log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For people who look into a problem.
    Debug,
    /// The ordinary course of a build.
    Info,
    /// Something that the user should know, though the phase goes on.
    Warn,
    /// Something that has failed.
    Error,
}

/// Takes the lines that a phase logs. Several threads may log at once.
pub trait Log: Send + Sync {
    /// Takes one line, without a newline at its end.
    fn line(&self, level: LogLevel, text: &str);
}

/// A log that nobody reads.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl Log for NoLog {
    fn line(&self, _level: LogLevel, _text: &str) {}
}

/// A log that keeps its lines, for tests and for programs that show them later.
#[derive(Debug, Default)]
pub struct MemoryLog(Mutex<Vec<(LogLevel, String)>>);

impl MemoryLog {
    /// Returns the lines so far.
    pub fn lines(&self) -> Vec<(LogLevel, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Log for MemoryLog {
    fn line(&self, level: LogLevel, text: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push((level, text.to_owned()));
    }
}

/// Shorter ways to log.
pub(crate) trait LogExt {
    fn debug(&self, text: impl fmt::Display);
    fn info(&self, text: impl fmt::Display);
    fn warn(&self, text: impl fmt::Display);
}

impl LogExt for dyn Log + '_ {
    fn debug(&self, text: impl fmt::Display) {
        self.line(LogLevel::Debug, &text.to_string());
    }

    fn info(&self, text: impl fmt::Display) {
        self.line(LogLevel::Info, &text.to_string());
    }

    fn warn(&self, text: impl fmt::Display) {
        self.line(LogLevel::Warn, &text.to_string());
    }
}

/// Returns the text of an operating system's error without the number that Rust adds, in lower case as
/// the reference prints it.
pub fn os_error_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}

/// Returns the text of an error and of everything that caused it, joined by `: `.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&match cause.downcast_ref::<std::io::Error>() {
            Some(error) if error.raw_os_error().is_some() => os_error_text(error),
            _ => cause.to_string(),
        });
        next = cause.source();
    }
    text
}
