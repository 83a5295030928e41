//! Conditions: the part of a status that says how things stand.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::is_default;

/// One observation of an object, such as `Ready`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Condition {
    /// Name of the condition, such as `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Never set by the reference; kept when present.
    #[serde(skip_serializing_if = "is_default")]
    pub severity: String,
    /// When the condition was last written, RFC 3339.
    pub last_transition_time: Option<String>,
    /// One word for machines.
    #[serde(skip_serializing_if = "is_default")]
    pub reason: String,
    /// Text for people.
    #[serde(skip_serializing_if = "is_default")]
    pub message: String,
}

impl Condition {
    /// Makes a condition with a reason and a message, either of which may be empty.
    ///
    /// `now` is RFC 3339 in whole seconds.
    pub fn new(kind: &str, status: ConditionStatus, reason: &str, message: &str, now: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            status,
            severity: String::new(),
            last_transition_time: Some(now.to_owned()),
            reason: reason.to_owned(),
            message: message.to_owned(),
        }
    }

    /// Returns whether two conditions say the same, whenever they were written.
    pub fn says_the_same_as(&self, other: &Self) -> bool {
        (&self.kind, self.status, &self.severity, &self.reason, &self.message)
            == (
                &other.kind,
                other.status,
                &other.severity,
                &other.reason,
                &other.message,
            )
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody can tell yet.
    #[default]
    #[serde(other)]
    Unknown,
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}

/// Questions to a list of conditions.
pub trait Conditions {
    /// Returns the condition of that name.
    fn condition(&self, kind: &str) -> Option<&Condition>;

    /// Returns the status of the condition; an absent one is unknown.
    fn condition_status(&self, kind: &str) -> ConditionStatus {
        self.condition(kind)
            .map_or(ConditionStatus::Unknown, |condition| condition.status)
    }

    /// Returns the message of the condition, empty when it is absent.
    fn condition_message(&self, kind: &str) -> &str {
        self.condition(kind).map_or("", |condition| condition.message.as_str())
    }
}

impl Conditions for [Condition] {
    fn condition(&self, kind: &str) -> Option<&Condition> {
        self.iter().find(|condition| condition.kind == kind)
    }
}
