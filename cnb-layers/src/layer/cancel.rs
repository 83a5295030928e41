use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{LayerContent, LayerError};
use crate::DiffId;

/// A layer of which no more is written once a flag is set.
pub(crate) struct Cancellable<'a> {
    pub(crate) content: &'a dyn LayerContent,
    pub(crate) cancel: &'a AtomicBool,
}

impl LayerContent for Cancellable<'_> {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        self.content.write_tar(&mut Checked {
            out,
            cancel: self.cancel,
        })
    }

    fn known_diff_id(&self) -> Option<DiffId> {
        let is_cancelled = self.cancel.load(Ordering::Relaxed);
        if is_cancelled {
            None
        } else {
            self.content.known_diff_id()
        }
    }
}

struct Checked<'a> {
    out: &'a mut dyn Write,
    cancel: &'a AtomicBool,
}

impl Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other("it was cancelled"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
