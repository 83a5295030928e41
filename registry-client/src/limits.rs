//! How much one host is asked for at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, SystemTime},
};

use http::Method;

use crate::{
    clock::Clock,
    http_error::{HttpError, HttpErrorKind},
    policy::HttpPolicy,
    session::lock,
    terms::RequestTerms,
};

/// How much one host is asked for, by all that share one [`Http`](crate::Http), clones of a client too.
///
/// # Examples
/// ```
/// use registry_client::{HostLimits, HttpPolicy};
///
/// let polite = HostLimits { requests_per_second: Some(20), in_flight: Some(8), ..HostLimits::default() };
/// let policy = HttpPolicy { limits: vec![("registry.example.com".to_owned(), polite)], ..HttpPolicy::default() };
/// # drop(policy);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostLimits {
    /// The most requests begun in one second, on average; as many may be begun at once after a pause.
    pub requests_per_second: Option<u32>,
    /// The most requests whose answer has not been read to its end or dropped.
    ///
    /// Requests that read (`GET`, `HEAD`) and others are counted apart, so that a blob which is sent to the host it
    /// is being read from does not wait for itself.
    pub in_flight: Option<u32>,
}

/// Lets requests through, host by host.
#[derive(Debug)]
pub(crate) struct Limiter {
    clock: Arc<dyn Clock>,
    patience: Duration,
    hosts: Mutex<HashMap<String, Arc<Gate>>>,
}

#[derive(Debug, Default)]
struct Gate {
    limits: HostLimits,
    state: Mutex<State>,
    left: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reading: u32,
    writing: u32,
    /// When the bucket of requests would be full again.
    full_at: Option<SystemTime>,
    /// The host asked to be left alone until then.
    paused_until: Option<SystemTime>,
}

/// The right to have a request under way.
#[derive(Debug)]
pub(crate) struct Permit {
    gate: Arc<Gate>,
    reads: bool,
}

impl Limiter {
    pub(crate) fn new(policy: &HttpPolicy) -> Self {
        Self {
            clock: Arc::clone(&policy.clock),
            patience: policy.operation_timeout,
            hosts: Mutex::default(),
        }
    }

    /// Waits until a request to `host` may be sent.
    pub(crate) fn enter(
        &self,
        policy: &HttpPolicy,
        host: &str,
        method: &Method,
        terms: &RequestTerms,
    ) -> Result<Permit, HttpError> {
        let gate = Arc::clone(lock(&self.hosts).entry(host.to_owned()).or_insert_with(|| {
            let limits = policy.limits.iter();
            let own = limits.clone().find(|(name, _)| name.eq_ignore_ascii_case(host));
            let named = own.or_else(|| {
                limits
                    .clone()
                    .find(|(name, _)| HttpPolicy::lists(std::slice::from_ref(name), host))
            });
            let everyone = named.or_else(|| limits.clone().find(|(name, _)| name == "*"));
            Arc::new(Gate {
                limits: everyone.map(|(_, limits)| *limits).unwrap_or_default(),
                ..Gate::default()
            })
        }));
        let permit = self.take_place(gate, host, matches!(*method, Method::GET | Method::HEAD), terms)?;
        let wait = permit.gate.turn(self.clock.now());
        if wait > Duration::ZERO {
            terms.wait(host, &*self.clock, wait)?;
        }
        Ok(permit)
    }

    fn take_place(&self, gate: Arc<Gate>, host: &str, reads: bool, terms: &RequestTerms) -> Result<Permit, HttpError> {
        const SLICE: Duration = Duration::from_millis(100);
        let mut state = lock(&gate.state);
        let mut waited = Duration::ZERO;
        loop {
            let place = if reads { &mut state.reading } else { &mut state.writing };
            if gate.limits.in_flight.is_none_or(|most| *place < most.max(1)) {
                *place += 1;
                drop(state);
                return Ok(Permit { gate, reads });
            }
            terms.time_left(host, &*self.clock)?;
            if waited >= self.patience {
                return Err(HttpError::new(host, HttpErrorKind::Deadline)
                    .because("too many other requests to this host are under way"));
            }
            let (next, slept) = gate
                .left
                .wait_timeout(state, SLICE)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            state = next;
            waited += if slept.timed_out() { SLICE } else { Duration::ZERO };
        }
    }

    /// Leaves a host alone for as long as it asks for: everyone's requests wait, not only the one that was refused.
    pub(crate) fn pause(&self, permit: &Permit, time: Duration) {
        let mut state = lock(&permit.gate.state);
        // Longer than anyone's patience: whoever comes next finds out by asking.
        let until = self.clock.now() + time.min(Duration::from_secs(60));
        state.paused_until = state.paused_until.max(Some(until));
    }
}

impl Gate {
    /// Takes the next turn; returns how long it is until then.
    fn turn(&self, now: SystemTime) -> Duration {
        let mut state = lock(&self.state);
        let pause = state.paused_until.and_then(|until| until.duration_since(now).ok());
        let pause = pause.unwrap_or_default();
        let Some(rate) = self.limits.requests_per_second else {
            return pause;
        };
        let rate = rate.max(1);
        let start = now + pause;
        let full = state.full_at.unwrap_or(start).max(start) + Duration::from_secs(1) / rate;
        state.full_at = Some(full);
        // A second's worth of requests may go at once.
        let own = (full - Duration::from_secs(1)).duration_since(now).unwrap_or_default();
        own.max(pause)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = lock(&self.gate.state);
        let place = if self.reads {
            &mut state.reading
        } else {
            &mut state.writing
        };
        *place -= 1;
        drop(state);
        self.gate.left.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(requests_per_second: u32) -> Gate {
        Gate {
            limits: HostLimits {
                requests_per_second: Some(requests_per_second),
                in_flight: None,
            },
            ..Gate::default()
        }
    }

    #[test]
    fn a_second_s_worth_goes_at_once_and_then_one_after_the_other() {
        let (gate, now) = (gate(4), SystemTime::UNIX_EPOCH);
        let waits: Vec<_> = (0..6).map(|_| gate.turn(now).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 250, 500]);
        assert_eq!(gate.turn(now + Duration::from_secs(10)), Duration::ZERO);
    }

    #[test]
    fn in_no_second_more_than_twice_the_rate_is_begun() {
        let (gate, start) = (gate(7), SystemTime::UNIX_EPOCH);
        let begun: Vec<_> = (0..100)
            .map(|at| {
                let now = start + Duration::from_millis(at * 37 % 900);
                now + gate.turn(now)
            })
            .collect();
        for moment in &begun {
            let within = begun
                .iter()
                .filter(|other| *other >= moment && **other < *moment + Duration::from_secs(1));
            assert!(within.count() <= 14);
        }
    }

    #[test]
    fn a_pause_holds_for_everyone() {
        let limiter = Limiter::new(&HttpPolicy::default());
        let policy = HttpPolicy::default();
        let permit = limiter.enter(&policy, "reg.test:443", &Method::GET, &RequestTerms::default());
        let permit = permit.expect("nothing is limited");
        limiter.pause(&permit, Duration::from_secs(7));
        assert!(permit.gate.turn(limiter.clock.now()) > Duration::from_secs(5));
    }

    #[test]
    fn a_place_is_free_again_when_its_permit_is_dropped() {
        let limits = HostLimits {
            in_flight: Some(1),
            ..HostLimits::default()
        };
        let policy = HttpPolicy {
            limits: vec![("*".to_owned(), limits)],
            operation_timeout: Duration::ZERO,
            ..HttpPolicy::default()
        };
        let limiter = Limiter::new(&policy);
        let enter = |method| limiter.enter(&policy, "reg.test:443", &method, &RequestTerms::default());
        let first = enter(Method::GET).expect("there is a place");
        let second = enter(Method::PUT).expect("writing is counted apart");
        let refused = enter(Method::HEAD).expect_err("there is none");
        assert_eq!(refused.kind, HttpErrorKind::Deadline);
        drop(first);
        let third = enter(Method::HEAD).expect("there is one again");
        drop((second, third));
    }
}
