//! [`WorkQueue`]: which key is worked on next.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Key;

/// Keys that wait to be worked on.
///
/// - A key that is added while it waits is worked on once; one that is added while it is worked on is worked on again
///   afterwards, never by two at a time.
/// - A key that failed comes back after a delay that doubles from [`WorkQueue::FIRST_DELAY`] to
///   [`WorkQueue::LONGEST_DELAY`] until it succeeds.
/// - Keys are worked on in the order in which they became due.
#[derive(Debug, Default)]
pub struct WorkQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Key>,
    /// What is in `ready`.
    queued: HashSet<Key>,
    working: HashSet<Key>,
    /// Keys that were added while they were worked on.
    again: HashSet<Key>,
    delayed: BTreeSet<(Instant, Key)>,
    due: BTreeMap<Key, Instant>,
    failures: HashMap<Key, u32>,
    stopped: bool,
}

impl WorkQueue {
    /// Delay after the first failure.
    pub const FIRST_DELAY: Duration = Duration::from_millis(200);
    /// Delay after many failures.
    pub const LONGEST_DELAY: Duration = Duration::from_secs(300);

    /// Makes an empty queue.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key, to be worked on as soon as possible.
    pub fn add(&self, key: Key) {
        let mut state = self.lock();
        state.add(key);
        drop(state);
        self.changed.notify_one();
    }

    /// Adds a key, to be worked on after `delay`. Of several delays of one key the shortest counts.
    pub fn add_after(&self, key: Key, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.lock();
        match state.due.get(&key).copied() {
            Some(earlier) if earlier <= at => return,
            Some(later) => {
                state.delayed.remove(&(later, key.clone()));
            }
            None => {}
        }
        state.due.insert(key.clone(), at);
        state.delayed.insert((at, key));
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for a key to work on; `None` after [`WorkQueue::stop`]. Call [`WorkQueue::done`] with it afterwards.
    pub fn next(&self) -> Option<Key> {
        let mut state = self.lock();
        loop {
            if state.stopped {
                return None;
            }
            state.move_due(Instant::now());
            if let Some(key) = state.ready.pop_front() {
                state.queued.remove(&key);
                state.working.insert(key.clone());
                return Some(key);
            }
            let wait = state
                .delayed
                .first()
                .map(|(at, _)| at.saturating_duration_since(Instant::now()));
            state = match wait {
                Some(wait) => {
                    let waited = self.changed.wait_timeout(state, wait);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Says that a key has been worked on.
    pub fn done(&self, key: &Key, success: bool) {
        let retry = {
            let mut state = self.lock();
            state.working.remove(key);
            let again = state.again.remove(key);
            if again {
                state.add(key.clone());
            }
            if success {
                state.failures.remove(key);
                None
            } else {
                let failures = state.failures.entry(key.clone()).or_default();
                *failures += 1;
                Some(Self::delay(*failures))
            }
        };
        self.changed.notify_one();
        if let Some(delay) = retry {
            self.add_after(key.clone(), delay);
        }
    }

    /// Ends the queue: every [`WorkQueue::next`] returns `None` from now on.
    pub fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Returns how many keys wait or are worked on, those that wait for a delay excepted.
    pub fn len(&self) -> usize {
        let state = self.lock();
        state.ready.len() + state.working.len()
    }

    /// Returns whether nothing waits and nothing is worked on.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn delay(failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        (Self::FIRST_DELAY * 2_u32.pow(doublings)).min(Self::LONGEST_DELAY)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn add(&mut self, key: Key) {
        if self.working.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn move_due(&mut self, now: Instant) {
        while self.delayed.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, key)) = self.delayed.pop_first() else {
                break;
            };
            self.due.remove(&key);
            self.add(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    fn key(name: &str) -> Key {
        Key::new(Kind::Image, Some("demo"), name)
    }

    #[test]
    fn a_key_that_waits_is_worked_on_once() {
        let queue = WorkQueue::new();
        queue.add(key("a"));
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(queue.next(), Some(key("a")));
        assert_eq!(queue.next(), Some(key("b")));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_key_that_is_added_while_it_is_worked_on_comes_again() {
        let queue = WorkQueue::new();
        queue.add(key("a"));
        let first = queue.next().unwrap();
        queue.add(key("a"));
        queue.add(key("b"));
        assert_eq!(queue.next(), Some(key("b")), "never by two at a time");
        queue.done(&first, true);
        assert_eq!(queue.next(), Some(key("a")));
    }

    #[test]
    fn a_key_that_failed_comes_back_later_and_later() {
        assert_eq!(WorkQueue::delay(1), WorkQueue::FIRST_DELAY);
        assert_eq!(WorkQueue::delay(2), WorkQueue::FIRST_DELAY * 2);
        assert_eq!(WorkQueue::delay(99), WorkQueue::LONGEST_DELAY);
        let queue = WorkQueue::new();
        queue.add(key("a"));
        let failed = queue.next().unwrap();
        queue.done(&failed, false);
        assert!(queue.is_empty());
        assert_eq!(queue.next(), Some(key("a")));
    }

    #[test]
    fn of_two_delays_the_shorter_counts() {
        let queue = WorkQueue::new();
        queue.add_after(key("a"), Duration::from_secs(3600));
        queue.add_after(key("a"), Duration::ZERO);
        queue.add_after(key("a"), Duration::from_secs(60));
        assert_eq!(queue.next(), Some(key("a")));
    }

    #[test]
    fn stopping_wakes_those_who_wait() {
        let queue = std::sync::Arc::new(WorkQueue::new());
        let waiter = std::thread::spawn({
            let queue = queue.clone();
            move || queue.next()
        });
        queue.stop();
        assert_eq!(waiter.join().unwrap(), None);
    }
}
