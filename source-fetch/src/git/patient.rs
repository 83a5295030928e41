//! A connection that is used for as long as something moves, the time is not over, and nobody cancels.

use std::{
    io::{self, Read, Write},
    os::fd::AsFd,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::limits::Limits;

/// A connection that is given up when nothing moves for too long, when the time is over, or when somebody cancels.
pub(super) struct Patient<R> {
    inner: R,
    limits: Limits,
}

/// How long it takes at most until a cancellation is noticed.
const STEP: Duration = Duration::from_millis(200);
/// So many bytes are taken at once by a pipe that can take any.
const PIECE: usize = 4096;

impl<R: AsFd> Patient<R> {
    pub(super) fn new(inner: R, limits: &Limits) -> Self {
        Self {
            inner,
            limits: limits.clone(),
        }
    }

    fn wait(&self, what: PollFlags) -> io::Result<()> {
        let idle = self.limits.idle;
        let mut left = idle;
        loop {
            self.limits.check().map_err(io::Error::other)?;
            let step = left.min(STEP).min(self.limits.time.left().unwrap_or(STEP));
            let timeout = Timespec::try_from(step).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&self.inner, what)], Some(&timeout)) {
                Ok(0) if left <= step => {
                    let words = format!("nothing moved for {} seconds", idle.as_secs());
                    return Err(io::Error::new(io::ErrorKind::TimedOut, words));
                }
                Ok(0) => left = left.saturating_sub(step),
                Ok(_) => return Ok(()),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl<R: Read + AsFd> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.wait(PollFlags::IN)?;
        self.inner.read(buffer)
    }
}

impl<W: Write + AsFd> Write for Patient<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(PollFlags::OUT)?;
        self.inner.write(&bytes[..bytes.len().min(PIECE)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
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
        limits.cancel.cancel();
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
