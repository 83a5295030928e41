//! When a failed request is sent again.

use std::time::{Duration, SystemTime};

use crate::{clock::Clock, policy::RetryPolicy, terms::RequestTerms};

/// Counts the attempts of one operation and the time spent waiting between them.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    policy: &'a RetryPolicy,
    clock: &'a dyn Clock,
    terms: RequestTerms,
    made: u32,
    waited: Duration,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(policy: &'a RetryPolicy, clock: &'a dyn Clock, terms: RequestTerms) -> Self {
        Self {
            policy,
            clock,
            terms,
            made: 1,
            waited: Duration::ZERO,
        }
    }

    /// Waits for the next attempt, for `asked` if the server said how long; `false` when there is none left.
    ///
    /// A wait that does not fit into what is left of the budget or of the operation's time is not begun. `tell`
    /// hears of it before.
    pub(crate) fn wait(&mut self, asked: Option<Duration>, tell: impl FnOnce(Duration)) -> bool {
        if self.made >= self.policy.attempts {
            return false;
        }
        let wait = asked.unwrap_or_else(|| self.next_wait());
        if self.waited.saturating_add(wait) > self.policy.budget {
            return false;
        }
        match self.terms.time_left("", self.clock) {
            Ok(left) if left.is_none_or(|left| left > wait) => tell(wait),
            _ => return false,
        }
        if self.terms.wait("", self.clock, wait).is_err() {
            return false;
        }
        self.made += 1;
        self.waited += wait;
        true
    }

    /// Three times as long each time, and up to a tenth more so that many clients do not come back together.
    fn next_wait(&self) -> Duration {
        let base = self
            .policy
            .first_wait
            .saturating_mul(3_u32.saturating_pow(self.made - 1));
        let now = self
            .clock
            .now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        base.saturating_add(base / 1000 * (now.subsec_micros() % 100))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<Duration>>);

    impl Clock for Recorder {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH
        }

        fn sleep(&self, time: Duration) {
            self.0.lock().expect("no test panics here").push(time);
        }
    }

    #[test]
    fn waits_grow_threefold_until_the_attempts_are_used_up() {
        let (policy, clock) = (RetryPolicy::default(), Recorder::default());
        let mut attempts = Attempts::new(&policy, &clock, RequestTerms::default());
        assert!(
            attempts.wait(None, |_| ())
                && attempts.wait(None, |_| ())
                && attempts.wait(None, |_| ())
                && !attempts.wait(None, |_| ())
        );
        let waits: Vec<_> = clock
            .0
            .lock()
            .expect("no test panics here")
            .iter()
            .map(Duration::as_millis)
            .collect();
        assert_eq!(waits, [500, 1500, 4500]);
    }

    #[test]
    fn a_wait_for_ever_is_not_begun() {
        let (policy, clock) = (RetryPolicy::default(), Recorder::default());
        let mut attempts = Attempts::new(&policy, &clock, RequestTerms::default());
        assert!(attempts.wait(Some(Duration::from_secs(1)), |_| ()));
        assert!(!attempts.wait(Some(Duration::MAX), |_| ()));
    }

    #[test]
    fn a_wait_that_the_server_asks_for_is_kept_if_the_budget_allows_it() {
        let (policy, clock) = (RetryPolicy::default(), Recorder::default());
        let mut attempts = Attempts::new(&policy, &clock, RequestTerms::default());
        assert!(attempts.wait(Some(Duration::from_secs(100)), |_| ()));
        assert!(!attempts.wait(Some(Duration::from_secs(30)), |_| ()));
        assert_eq!(
            *clock.0.lock().expect("no test panics here"),
            [Duration::from_secs(100)]
        );
    }
}
