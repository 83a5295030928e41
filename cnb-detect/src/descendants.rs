//! Ending a program with everything it started.

use std::collections::BTreeSet;
use std::fs;
use std::io::PipeReader;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// Returns the number that `/proc` knows a pipe by.
pub(crate) fn pipe_of(reader: &PipeReader) -> Option<u64> {
    rustix::fs::fstat(reader).ok().map(|found| found.st_ino)
}

/// How often new descendants are looked for: each look ends those found, which then start no more.
const MOST_LOOKS: usize = 20;

/// Ends the process group of `child`, all its descendants, and all processes that write to the pipe.
pub(crate) fn end_all(child: u32, pipe: Option<u64>) {
    let Some(group) = i32::try_from(child).ok().and_then(Pid::from_raw) else {
        return;
    };
    let mut ended = BTreeSet::new();
    for _ in 0..MOST_LOOKS {
        let found = belonging(child, pipe);
        let new: Vec<u32> = found.difference(&ended).copied().collect();
        // Children first: what loses its parent could not be recognised any more.
        for process in new.iter().rev().filter(|process| **process != child) {
            if let Some(pid) = i32::try_from(*process).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = kill_process_group(group, Signal::KILL);
        if new.is_empty() {
            return;
        }
        ended.extend(new);
    }
}

/// Returns the descendants of a process and those that write to the pipe, without this process.
fn belonging(child: u32, pipe: Option<u64>) -> BTreeSet<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let pids: Vec<u32> = pids.filter(|pid| *pid != std::process::id()).collect();
    let mut found: BTreeSet<u32> = [child].into();
    found.extend(
        pids.iter()
            .copied()
            .filter(|pid| pipe.is_some_and(|pipe| holds(*pid, pipe))),
    );
    let parents: Vec<(u32, u32)> = pids.iter().filter_map(|pid| Some((*pid, parent_of(*pid)?))).collect();
    loop {
        let before = found.len();
        for (pid, parent) in &parents {
            if found.contains(parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold anything.
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn holds(pid: u32, pipe: u64) -> bool {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| fs::metadata(entry.path()).is_ok_and(|found| found.ino() == pipe))
}
