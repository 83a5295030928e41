//! A lower bound on speed: a server that sends a byte now and then is as useless as one that sends none.

use std::{
    io::{self, Read},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    cancellation::{self, Cancellation},
    clock::Clock,
    patience,
};

/// Adds up the time that the other side took, and what was moved in it.
#[derive(Debug)]
pub(crate) struct Pace {
    clock: Arc<dyn Clock>,
    window: Duration,
    rate: u64,
    waited: Duration,
    moved: u64,
}

impl Pace {
    /// Asks for `rate` bytes a second, on average over each `window`.
    pub(crate) fn new(clock: &Arc<dyn Clock>, window: Duration, rate: u64) -> Self {
        Self {
            clock: Arc::clone(clock),
            window,
            rate,
            waited: Duration::ZERO,
            moved: 0,
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Takes in that `bytes` were moved since `start`.
    pub(crate) fn moved(&mut self, start: SystemTime, bytes: usize) -> io::Result<()> {
        // A clock that was set back counts as no time.
        self.waited += self.now().duration_since(start).unwrap_or_default();
        self.moved += bytes as u64;
        if self.waited < self.window {
            return Ok(());
        }
        let (waited, moved) = (self.waited.as_secs_f64(), self.moved);
        (self.waited, self.moved) = (Duration::ZERO, 0);
        #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
        let slow = (moved as f64) < self.rate as f64 * waited;
        if slow {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("only {moved} bytes came or went in {waited:.1} seconds"),
            ));
        }
        Ok(())
    }
}

/// Reads an answer's body at a bearable speed, until it is cancelled.
pub(crate) struct Paced<R> {
    pub(crate) reader: R,
    pub(crate) pace: Pace,
    pub(crate) cancellation: Option<Cancellation>,
}

impl<R: Read> Read for Paced<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = self.pace.now();
        let (reader, cancellation) = (&mut self.reader, self.cancellation.as_ref());
        let count = patience::reading(self.pace.window, || {
            cancellation::within(cancellation, || reader.read(buffer))
        })?;
        if count > 0 {
            self.pace.moved(start, count)?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Each look at it takes half a second.
    #[derive(Debug, Default)]
    struct Ticking(Mutex<u64>);

    impl Clock for Ticking {
        fn now(&self) -> SystemTime {
            let mut ticks = self.0.lock().expect("no test panics here");
            *ticks += 1;
            SystemTime::UNIX_EPOCH + Duration::from_millis(*ticks * 500)
        }

        fn sleep(&self, _: Duration) {}
    }

    fn read(rate: u64) -> io::Result<u64> {
        let clock: Arc<dyn Clock> = Arc::new(Ticking::default());
        let mut paced = Paced {
            reader: io::repeat(1).take(1000),
            pace: Pace::new(&clock, Duration::from_secs(5), rate),
            cancellation: None,
        };
        let (mut buffer, mut sum) = ([0; 10], 0);
        loop {
            match paced.read(&mut buffer)? {
                0 => return Ok(sum),
                count => sum += count as u64,
            }
        }
    }

    #[test]
    fn a_drip_below_the_rate_is_a_timeout_and_a_slow_stream_above_it_is_not() {
        // Ten bytes each half second.
        assert_eq!(read(20).ok(), Some(1000));
        assert_eq!(read(21).err().map(|error| error.kind()), Some(io::ErrorKind::TimedOut));
    }
}
