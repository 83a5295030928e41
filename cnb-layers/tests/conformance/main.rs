//! Rows of the conformance table of the analyze, restore, export and rebase reference (docs/conformance-layers.md)
//! that no recorded case shows.

#[path = "../support/build.rs"]
mod build;

mod analyses;
mod archives;
mod caches;
mod exports;
mod names;
mod rebases;
mod restores;
mod slices;

use std::io::Write;

use cnb_layers::phase::{LogLevel, MemoryLog};
use cnb_layers::{LayerContent, LayerError};

/// A layer of any bytes.
struct Bytes(Vec<u8>);

impl LayerContent for Bytes {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        out.write_all(&self.0).map_err(LayerError::Write)
    }
}

/// The lines of a log at one level.
fn lines(log: &MemoryLog, level: LogLevel) -> Vec<String> {
    let lines = log.lines().into_iter().filter(|(of, _)| *of == level);
    lines.map(|(_, text)| text).collect()
}
