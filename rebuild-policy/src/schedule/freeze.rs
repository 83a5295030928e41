//! [`Freeze`]: a time in which nothing starts.

use crate::change::Priority;

/// What is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    /// What nobody waits for.
    Background,
    /// Everything.
    Everything,
}

/// A time in which nothing starts, such as a weekend. What runs goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Its name.
    pub name: String,
    /// The namespace it is for; `None` = all.
    pub namespace: Option<String>,
    /// What is frozen.
    pub what: Frozen,
    /// When it begins, in milliseconds.
    pub from: u64,
    /// When it ends, in milliseconds; this moment is outside. No freeze is for ever: it expires.
    pub until: u64,
}

impl Freeze {
    /// Returns whether it holds back such work at that time.
    pub fn holds(&self, namespace: &str, priority: Priority, now: u64) -> bool {
        self.from <= now
            && now < self.until
            && self.namespace.as_deref().is_none_or(|only| only == namespace)
            && (self.what == Frozen::Everything || priority == Priority::Low)
    }
}
