//! [`LogReader`]: reads a log, also while it is written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::feed::{Feed, News};
use super::line::Record;

/// Which part of a log is read, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// Waits at the end for more until the log is closed.
    pub follow: bool,
    /// Puts the time and a blank before each line.
    pub timestamps: bool,
    /// Begins with so many lines before the end that the log has when it is opened.
    pub tail_lines: Option<u64>,
    /// Leaves out what was written before.
    pub since: Option<SystemTime>,
    /// Ends after so many bytes.
    pub limit_bytes: Option<u64>,
    /// How long a read waits; then it fails with [`io::ErrorKind::TimedOut`] and can be repeated. `None`: for ever.
    pub patience: Option<Duration>,
}

/// The text of a log; reading blocks while it waits for more.
#[derive(Debug)]
pub struct LogReader {
    file: BufReader<File>,
    feed: Option<Arc<Feed>>,
    options: ReadOptions,
    /// Bytes of the file that are read.
    seen: u64,
    /// The record that is read, without its end so far.
    record: Vec<u8>,
    /// Text that is ready.
    ready: VecDeque<u8>,
    /// Whether the next text begins a line.
    at_line_start: bool,
    /// Bytes that may still be given.
    left: u64,
    ended: bool,
}

impl LogReader {
    pub(super) fn new(file: File, feed: Option<Arc<Feed>>, options: &ReadOptions) -> io::Result<Self> {
        let mut file = BufReader::new(file);
        let seen = match options.tail_lines {
            Some(lines) => start_of_tail(&mut file, lines)?,
            None => 0,
        };
        file.seek(SeekFrom::Start(seen))?;
        Ok(Self {
            file,
            feed: feed.filter(|_| options.follow),
            options: options.clone(),
            seen,
            record: Vec::new(),
            ready: VecDeque::new(),
            at_line_start: true,
            left: options.limit_bytes.unwrap_or(u64::MAX),
            ended: false,
        })
    }

    /// Makes text ready, or notes the end.
    fn advance(&mut self) -> io::Result<()> {
        while self.ready.is_empty() && !self.ended {
            let read = self.file.read_until(b'\n', &mut self.record)?;
            self.seen += read as u64;
            if self.record.ends_with(b"\n") {
                self.record.pop();
                self.take_record();
            } else {
                self.wait_for_more()?;
            }
        }
        Ok(())
    }

    fn take_record(&mut self) {
        let record = Record::parse(&self.record);
        let wanted = self
            .options
            .since
            .is_none_or(|since| record.time().is_none_or(|time| time >= since));
        if wanted {
            if self.options.timestamps && self.at_line_start {
                self.ready.extend(record.time);
                self.ready.push_back(b' ');
            }
            self.ready.extend(record.text);
            if record.complete {
                self.ready.push_back(b'\n');
            }
            self.at_line_start = record.complete;
        }
        self.record.clear();
    }

    fn wait_for_more(&mut self) -> io::Result<()> {
        let Some(feed) = &self.feed else {
            self.ended = true;
            return Ok(());
        };
        match feed.wait(self.seen, self.options.patience) {
            News::More => Ok(()),
            News::Closed => {
                self.ended = true;
                Ok(())
            }
            News::Nothing => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Read for LogReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        self.advance()?;
        let read = self.ready.read(&mut buffer[..room])?;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Returns where the last `lines` complete or begun lines start.
fn start_of_tail(file: &mut BufReader<File>, lines: u64) -> io::Result<u64> {
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    let mut starts = VecDeque::new();
    let (mut at, mut begins) = (0, true);
    let mut record = Vec::new();
    loop {
        record.clear();
        let read = file.read_until(b'\n', &mut record)?;
        if read == 0 || !record.ends_with(b"\n") {
            break;
        }
        if begins {
            starts.push_back(at);
        }
        if starts.len() > lines {
            starts.pop_front();
        }
        record.pop();
        begins = Record::parse(&record).complete;
        at += read as u64;
    }
    Ok(starts.front().copied().unwrap_or(at))
}
