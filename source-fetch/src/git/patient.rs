//! A connection that is read from for as long as something comes and nobody cancels.

use std::{
    io::{self, Read},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits::Limits;

/// A connection that is given up when nothing comes for too long, or when somebody cancels.
pub(super) struct Patient<R> {
    inner: R,
    idle: Duration,
    cancel: Arc<AtomicBool>,
}

/// How long it takes at most until a cancellation is noticed.
const STEP: Duration = Duration::from_millis(200);

impl<R> Patient<R> {
    pub(super) fn new(inner: R, limits: &Limits) -> Self {
        Self {
            inner,
            idle: limits.idle,
            cancel: Arc::clone(&limits.cancel),
        }
    }
}

impl<R: Read + AsFd> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut left = self.idle;
        loop {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(io::Error::other("cancelled"));
            }
            let step = left.min(STEP);
            let timeout = Timespec::try_from(step).map_err(io::Error::other)?;
            let ready = poll(&mut [PollFd::new(&self.inner, PollFlags::IN)], Some(&timeout));
            match ready {
                Ok(0) if left <= STEP => {
                    let words = format!("nothing came for {} seconds", self.idle.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, words));
                }
                Ok(0) => left = left.saturating_sub(step),
                Ok(_) => return self.inner.read(buffer),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn patient(limits: &Limits) -> (UnixStream, Patient<UnixStream>) {
        let (far, near) = UnixStream::pair().expect("a pair");
        (far, Patient::new(near, limits))
    }

    #[test]
    fn a_server_that_says_nothing_is_given_up() {
        let limits = Limits {
            idle: Duration::from_millis(1),
            ..Limits::default()
        };
        let (_far, mut near) = patient(&limits);
        let error = near.read(&mut [0]).expect_err("nothing comes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_cancelled_read_ends_although_nothing_comes() {
        let limits = Limits::default();
        let (_far, mut near) = patient(&limits);
        limits.cancel.store(true, Ordering::Relaxed);
        assert_eq!(near.read(&mut [0]).expect_err("cancelled").to_string(), "cancelled");
    }

    #[test]
    fn what_comes_is_read() {
        let (mut far, mut near) = patient(&Limits::default());
        io::Write::write_all(&mut far, b"x").expect("written");
        drop(far);
        let mut text = String::new();
        near.read_to_string(&mut text).expect("read");
        assert_eq!(text, "x");
    }
}
