//! [`Action`]: what is done to an image.

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::change::{Changes, Priority};
use crate::decide::{DecideError, Waiting};

/// What is done to an image.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Everything is built anew.
    Rebuild(Changes),
    /// The app's layers are put on another run image.
    Rebase(Changes),
    /// Nothing.
    Stay,
    /// Nobody can tell yet.
    Wait(Waiting),
    /// Its builder does not exist.
    NoBuilder,
    /// No decision can be made.
    Undecided(DecideError),
}

impl Action {
    /// Returns the action in one word, such as `rebuild`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rebuild(_) => "rebuild",
            Self::Rebase(_) => "rebase",
            Self::Stay => "stay",
            Self::Wait(_) | Self::NoBuilder => "wait",
            Self::Undecided(_) => "error",
        }
    }

    /// Returns what makes work necessary; `None` when there is none.
    pub fn changes(&self) -> Option<&Changes> {
        match self {
            Self::Rebuild(changes) | Self::Rebase(changes) => Some(changes),
            _ => None,
        }
    }

    /// Returns the reasons, such as `COMMIT,STACK`; empty when there is no work.
    pub fn reasons(&self) -> String {
        self.changes().map(Changes::reasons).unwrap_or_default()
    }

    /// Returns how urgent it is.
    pub fn priority(&self) -> Priority {
        self.changes().map_or(Priority::Low, Changes::priority)
    }

    /// Tells people what is done and why.
    pub fn explain(&self) -> String {
        match self {
            Self::Rebuild(changes) => format!("rebuild because {}", changes.explain()),
            Self::Rebase(changes) => format!("rebase because {}", changes.explain()),
            Self::Stay => "stays as it is".to_owned(),
            Self::Wait(Waiting::Source) => "waits for its source to be resolved".to_owned(),
            Self::Wait(Waiting::Builder) => "waits for its builder to be ready".to_owned(),
            Self::NoBuilder => "waits for its builder to be made".to_owned(),
            Self::Undecided(error) => format!("cannot be decided: {error}"),
        }
    }
}

/// As a map: `action`, and where it applies `reasons`, `changes` (as in a Build's annotation) or `problem`.
impl Serialize for Action {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("action", self.name())?;
        if let Some(changes) = self.changes() {
            map.serialize_entry("reasons", &changes.reasons())?;
            map.serialize_entry("changes", changes.as_slice())?;
        }
        if matches!(self, Self::Wait(_) | Self::NoBuilder | Self::Undecided(_)) {
            map.serialize_entry("problem", &self.explain())?;
        }
        map.end()
    }
}
