//! [`History`]: the last changes of all objects, from which watches read.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Change, Object, ResourceVersion, WatchEvent, WatchFilter};

/// How many changes are remembered.
const WINDOW: usize = 8192;

/// One change of one object.
pub(super) struct Entry {
    pub(super) revision: u64,
    /// The state before; `None` for a creation.
    pub(super) old: Option<Arc<Object>>,
    /// The state after; for a deletion the last one.
    pub(super) new: Arc<Object>,
    pub(super) deleted: bool,
}

/// The last changes, oldest first.
pub(super) struct History {
    entries: VecDeque<Entry>,
    /// The revision that a reader must at least know to miss nothing.
    start: u64,
    window: usize,
}

/// The reader knows less than what is remembered.
pub(super) struct TooOld {
    pub(super) start: u64,
}

impl History {
    pub(super) fn new(start: u64) -> Self {
        Self {
            entries: VecDeque::new(),
            start,
            window: WINDOW,
        }
    }

    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() >= self.window
            && let Some(oldest) = self.entries.pop_front()
        {
            self.start = oldest.revision;
        }
        self.entries.push_back(entry);
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the first event after `position` that `filter` lets through, and moves `position` behind
    /// everything that was looked at.
    pub(super) fn next(&self, position: &mut u64, filter: &WatchFilter) -> Result<Option<WatchEvent>, TooOld> {
        if *position < self.start {
            return Err(TooOld { start: self.start });
        }
        let from = self.entries.partition_point(|entry| entry.revision <= *position);
        for entry in self.entries.range(from..) {
            *position = entry.revision;
            if let Some(event) = entry.seen_through(filter) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }
}

impl Entry {
    /// An object that begins or ceases to match is added or deleted for the watcher.
    fn seen_through(&self, filter: &WatchFilter) -> Option<WatchEvent> {
        let before = self.old.as_ref().is_some_and(|old| filter.matches(old));
        let after = !self.deleted && filter.matches(&self.new);
        let (change, object) = match (before, after) {
            (false, false) => return None,
            (false, true) => (Change::Added, (*self.new).clone()),
            (true, true) => (Change::Modified, (*self.new).clone()),
            (true, false) => (Change::Deleted, self.last_matching()),
        };
        Some(WatchEvent { change, object })
    }

    /// The last state that matched, at the revision of the change, as Kubernetes delivers it.
    fn last_matching(&self) -> Object {
        let mut last = (**self.old.as_ref().unwrap_or(&self.new)).clone();
        let revision = ResourceVersion::new(self.revision).to_string();
        last.metadata_mut()
            .insert("resourceVersion".to_owned(), revision.into());
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn object(revision: u64, label: &str) -> Arc<Object> {
        let mut object = Object::new(Kind::ConfigMap, Some("demo"), "c");
        object.set_label("l", label);
        object
            .metadata_mut()
            .insert("resourceVersion".to_owned(), revision.to_string().into());
        Arc::new(object)
    }

    fn history(window: usize, changes: u64) -> History {
        let mut history = History {
            window,
            ..History::new(0)
        };
        for revision in 1..=changes {
            let old = (revision > 1).then(|| object(revision - 1, "a"));
            history.push(Entry {
                revision,
                old,
                new: object(revision, "a"),
                deleted: false,
            });
        }
        history
    }

    #[test]
    fn a_reader_gets_each_change_once_and_in_order() {
        let (history, mut position) = (history(8, 3), 0);
        let mut seen = Vec::new();
        while let Ok(Some(event)) = history.next(&mut position, &WatchFilter::default()) {
            seen.push((
                event.change.as_str(),
                event.object.resource_version().map(ResourceVersion::number),
            ));
        }
        assert_eq!(seen, [("ADDED", Some(1)), ("MODIFIED", Some(2)), ("MODIFIED", Some(3))]);
    }

    #[test]
    fn a_reader_that_missed_forgotten_changes_is_told() {
        let history = history(2, 5);
        assert!(matches!(
            history.next(&mut 2, &WatchFilter::default()),
            Err(TooOld { start: 3 })
        ));
        assert!(matches!(history.next(&mut 3, &WatchFilter::default()), Ok(Some(_))));
    }

    #[test]
    fn an_object_that_ceases_to_match_is_deleted_for_the_watcher() {
        let mut history = History::new(0);
        history.push(Entry {
            revision: 1,
            old: None,
            new: object(1, "a"),
            deleted: false,
        });
        history.push(Entry {
            revision: 2,
            old: Some(object(1, "a")),
            new: object(2, "b"),
            deleted: false,
        });
        let filter = WatchFilter {
            selector: crate::Selector::everything().with_label("l", "a"),
            ..WatchFilter::default()
        };
        let mut position = 0;
        let words: Vec<_> = std::iter::from_fn(|| history.next(&mut position, &filter).ok().flatten())
            .map(|event| (event.change, event.object.label("l").map(str::to_owned)))
            .collect();
        assert_eq!(
            words,
            [
                (Change::Added, Some("a".to_owned())),
                (Change::Deleted, Some("a".to_owned()))
            ]
        );
    }
}
