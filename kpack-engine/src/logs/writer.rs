//! [`LogWriter`]: appends what a container prints.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::SystemTime;

use super::feed::Feed;
use super::{LogName, LogStore, line};

/// Longer lines are written in pieces.
const MAX_LINE: usize = 16 << 10;
/// A kubelet takes so much of the log's end as a termination message.
const TAIL_BYTES: usize = 2048;
const TAIL_LINES: usize = 80;

/// Appends a container's output to its log, line by line; dropping it closes the log.
///
/// Never holds more than one line of at most 16 KiB. Of output beyond the store's limit one last line tells;
/// the rest is dropped, so that a flood fills neither memory nor disk and does not block the container.
#[derive(Debug)]
pub struct LogWriter {
    store: LogStore,
    name: LogName,
    file: File,
    feed: Arc<Feed>,
    clock: fn() -> SystemTime,
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// How much output may still be kept.
    left: u64,
    limit: u64,
    cut: bool,
    tail: VecDeque<u8>,
}

impl LogWriter {
    pub(super) fn new(
        store: LogStore,
        name: LogName,
        file: File,
        feed: Arc<Feed>,
        limit: u64,
        clock: fn() -> SystemTime,
    ) -> Self {
        Self {
            store,
            name,
            file,
            feed,
            clock,
            line: Vec::new(),
            left: limit,
            limit,
            cut: false,
            tail: VecDeque::new(),
        }
    }

    /// Returns the last 80 lines or 2048 bytes of the output, whichever is less, also beyond the limit.
    ///
    /// # Specification
    /// Kubernetes, `terminationMessagePolicy: FallbackToLogsOnError`.
    pub fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].concat()
    }

    fn keep_tail(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        let too_many = (self.tail.len() + bytes.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..too_many);
        self.tail.extend(bytes);
    }

    /// Splits `bytes` into records; what has no line break yet stays in `self.line`.
    fn records(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let now = (self.clock)();
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let room = MAX_LINE - self.line.len();
            let window = &bytes[..bytes.len().min(room)];
            if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
                self.line.extend_from_slice(&window[..end]);
                line::write(&mut out, now, &self.line, true);
                self.line.clear();
                bytes = &bytes[end + 1..];
                continue;
            }
            self.line.extend_from_slice(window);
            bytes = &bytes[window.len()..];
            if self.line.len() == MAX_LINE {
                line::write(&mut out, now, &self.line, false);
                self.line.clear();
            }
        }
        out
    }

    fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if records.is_empty() {
            return Ok(());
        }
        self.file.write_all(records)?;
        self.feed.grew(records.len() as u64);
        Ok(())
    }

    /// Writes the line that has no line break, as it is.
    fn append_rest(&mut self) -> io::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        line::write(&mut out, (self.clock)(), &self.line, false);
        self.line.clear();
        self.append(&out)
    }
}

impl Write for LogWriter {
    /// Takes all of `bytes`, also those that are not kept.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.keep_tail(bytes);
        let kept = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= kept as u64;
        let records = self.records(&bytes[..kept]);
        self.append(&records)?;
        if kept < bytes.len() && !self.cut {
            self.cut = true;
            let note = format!(
                "[the log is cut here: {} printed more than {} bytes]\n",
                self.name, self.limit
            );
            let separator: &[u8] = if self.line.is_empty() { b"" } else { b"\n" };
            let records = self.records(&[separator, note.as_bytes()].concat());
            self.append(&records)?;
        }
        Ok(bytes.len())
    }

    /// Does nothing: a line is written when it is complete.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        // The disk may be full; there is nobody left to tell.
        let _ = self.append_rest();
        self.feed.close();
        self.store.closed(&self.name, &self.feed);
    }
}
