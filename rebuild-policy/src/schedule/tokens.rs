//! [`Tokens`]: how many requests may be sent.

/// A bucket that fills with time. Counted in thousandths of a request, so that nothing is lost to rounding.
#[derive(Clone, Debug)]
pub(super) struct Tokens {
    per_second: u64,
    capacity: i128,
    level: i128,
    at: u64,
}

impl Tokens {
    /// Full at the beginning. No rate means no limit.
    pub(super) fn new(per_second: u64, burst: u64) -> Self {
        let capacity = i128::from(burst.max(1)) * 1000;
        Self {
            per_second,
            capacity,
            level: capacity,
            at: 0,
        }
    }

    pub(super) fn advance(&mut self, now: u64) {
        let passed = i128::from(now.saturating_sub(self.at));
        self.at = self.at.max(now);
        self.level = self.capacity.min(self.level + passed * i128::from(self.per_second));
    }

    /// What must be there before that many requests may begin: all of them, but never more than fits.
    fn needed(&self, requests: u64) -> i128 {
        (i128::from(requests) * 1000).min(self.capacity)
    }

    pub(super) fn has(&self, requests: u64) -> bool {
        self.per_second == 0 || self.level >= self.needed(requests)
    }

    /// Takes all of them, so that a job that is larger than the bucket is paid for afterwards.
    pub(super) fn take(&mut self, requests: u64) {
        if self.per_second > 0 {
            self.level -= i128::from(requests) * 1000;
        }
    }

    /// When [`Tokens::has`] will hold, if nothing is taken.
    pub(super) fn when(&self, requests: u64) -> u64 {
        let missing = self.needed(requests) - self.level;
        let rate = i128::from(self.per_second.max(1));
        let wait = (missing + rate - 1) / rate;
        self.at.saturating_add(u64::try_from(wait).unwrap_or(0))
    }
}
