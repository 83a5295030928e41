//! [`NotStarted`]: why a container waits or cannot run, in a kubelet's words.

use std::fmt;

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NotStarted {
    /// A kubelet's word, such as `CreateContainerConfigError`.
    pub(super) reason: &'static str,
    /// What is wrong, for people.
    pub(super) message: String,
    /// Whether trying again later may help.
    pub(super) may_heal: bool,
}

impl NotStarted {
    /// Something that the container names is missing or malformed; it may appear.
    pub(super) fn config(message: impl fmt::Display) -> Self {
        Self {
            reason: "CreateContainerConfigError",
            message: message.to_string(),
            may_heal: true,
        }
    }

    /// The machine refuses; it may recover.
    pub(super) fn machine(message: impl fmt::Display) -> Self {
        Self {
            reason: "CreateContainerError",
            message: message.to_string(),
            may_heal: true,
        }
    }

    /// The container can never run as it is.
    pub(super) fn never(message: impl fmt::Display) -> Self {
        Self {
            reason: "ContainerCannotRun",
            message: message.to_string(),
            may_heal: false,
        }
    }
}

/// Joins an error and its causes: `cannot read x: no such file`.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
