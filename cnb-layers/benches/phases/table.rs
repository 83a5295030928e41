//! The table.

use crate::data::Set;
use crate::measure::Taken;

/// A measurement and the straight way to do the same.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) set: Set,
    pub(crate) ours: Option<Taken>,
    pub(crate) straight: Option<Taken>,
}

impl Row {
    /// Keeps the fastest round of each; of memory the largest.
    pub(crate) fn take(&mut self, ours: Taken, straight: Option<Taken>) {
        self.ours = Some(better(self.ours, ours));
        if let Some(straight) = straight {
            self.straight = Some(better(self.straight, straight));
        }
    }
}

fn better(known: Option<Taken>, new: Taken) -> Taken {
    let Some(known) = known else { return new };
    let fastest = if new.wall < known.wall { new } else { known };
    Taken {
        memory: known.memory.max(new.memory),
        ..fastest
    }
}

/// Prints the rows. Times in seconds, sizes in MB (memory in MiB).
pub(crate) fn print(rows: &[Row]) {
    println!(
        "| {:<18} | {:<6} | {:>6} | {:>5} | {:>5} | {:>8} | {:>6} | {:>6} | {:>7} | {:>6} | {:>8} | {:>8} | {:>12} | {:>14} | {:>5} |",
        "what",
        "data",
        "wall",
        "MB/s",
        "cpu",
        "registry",
        "MiB",
        "read",
        "written",
        "blobs",
        "requests",
        "straight",
        "straight cpu",
        "straight blobs",
        "times"
    );
    println!("|{}", "---|".repeat(15));
    for row in rows {
        let Some(ours) = row.ours else { continue };
        let (straight, cpu, blobs, times) = match row.straight {
            Some(straight) => (
                format!("{:.3}", straight.wall),
                format!("{:.2}", straight.cpu + straight.registry),
                format!("{:.1}", straight.blobs / 1e6),
                format!("{:.1}", straight.wall / ours.wall),
            ),
            None => Default::default(),
        };
        println!(
            "| {:<18} | {:<6} | {:>6.3} | {:>5.0} | {:>5.2} | {:>8.2} | {:>6.1} | {:>6.1} | {:>7.1} | {:>6.1} | {:>8} | {straight:>8} | {cpu:>12} | {blobs:>14} | {times:>5} |",
            row.name,
            row.set.name(),
            ours.wall,
            ours.bytes / 1e6 / ours.wall,
            ours.cpu,
            ours.registry,
            ours.memory / 1024.0 / 1024.0,
            ours.read / 1e6,
            ours.written / 1e6,
            ours.blobs / 1e6,
            ours.requests,
        );
    }
}
