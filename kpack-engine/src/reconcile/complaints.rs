//! [`Complaints`]: what has been logged about each object, so that a retry that fails as before says nothing new.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::Key;

/// The last complaint about each object that is not as it should be.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<Key, String>>);

impl Complaints {
    /// Returns whether this message is another one than the last about this object.
    pub(super) fn is_news(&self, key: &Key, message: &str) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(key).is_some_and(|known| known == message) {
            return false;
        }
        last.insert(key.clone(), message.to_owned());
        true
    }

    /// Forgets the object: whatever is wrong with it next is news.
    pub(super) fn settle(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    #[test]
    fn a_message_is_news_once_until_another_one_or_success_comes_between() {
        let complaints = Complaints::default();
        let (a, b) = (
            Key::new(Kind::Image, Some("demo"), "a"),
            Key::new(Kind::Image, Some("demo"), "b"),
        );
        assert!(complaints.is_news(&a, "no such buildpack"));
        assert!(!complaints.is_news(&a, "no such buildpack"));
        assert!(complaints.is_news(&b, "no such buildpack"), "it is another object");
        assert!(complaints.is_news(&a, "no such stack"));
        assert!(complaints.is_news(&a, "no such buildpack"));
        complaints.settle(&a);
        assert!(complaints.is_news(&a, "no such buildpack"));
        assert!(!complaints.is_news(&b, "no such buildpack"));
    }
}
