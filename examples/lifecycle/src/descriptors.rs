//! Descriptors that this program was started with.

use std::fs;

/// Closes all but the standard streams, so that buildpacks inherit nothing else. What is opened later is closed when a
/// program starts anyway.
pub(crate) fn close_inherited() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return;
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let inherited: Vec<i32> = numbers.filter(|number| *number > 2).collect();
    for number in inherited {
        // The directory that was just read is among them, and closed by now.
        let _ = nix::unistd::close(number);
    }
}
