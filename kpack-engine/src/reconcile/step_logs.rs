//! [`StepLogs`]: what a step printed.

use std::io::Read;

use crate::Object;
use crate::logs::{LogName, LogStore, ReadOptions};

/// Reads what a container of a pod printed.
pub trait StepLogs: Send + Sync {
    /// Returns the whole log, or `None` when there is none.
    fn read(&self, pod: &Object, container: &str) -> Option<Vec<u8>>;
}

/// Most bytes of a log that are read to quote its last line.
const READ: u64 = 8 << 20;

impl StepLogs for LogStore {
    fn read(&self, pod: &Object, container: &str) -> Option<Vec<u8>> {
        let name = LogName::new(pod.namespace().unwrap_or_default(), pod.name(), pod.uid(), container).ok()?;
        let mut log = Vec::new();
        let reader = self.reader(&name, &ReadOptions::default()).ok()?;
        reader.take(READ).read_to_end(&mut log).ok()?;
        Some(log)
    }
}

/// No logs at all.
impl StepLogs for () {
    fn read(&self, _pod: &Object, _container: &str) -> Option<Vec<u8>> {
        None
    }
}
