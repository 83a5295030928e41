//! One measurement: a process of its own that does one thing and tells what it took.

use std::env;
use std::fs;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};

use crate::work;

/// What one measurement took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    /// Seconds that passed.
    pub(crate) wall: f64,
    /// Seconds of processor time of the process.
    pub(crate) cpu: f64,
    /// Seconds of processor time of the registry.
    pub(crate) registry: f64,
    /// Peak of resident memory, in bytes.
    pub(crate) memory: f64,
    /// Bytes read by system calls, from files.
    pub(crate) read: f64,
    /// Bytes written by system calls, to files.
    pub(crate) written: f64,
    /// Requests sent.
    pub(crate) requests: f64,
    /// Bytes of tar that were dealt with.
    pub(crate) bytes: f64,
    /// Bytes of blobs that came of them.
    pub(crate) blobs: f64,
}

/// What a piece of work tells of itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
    pub(crate) blobs: u64,
}

/// Runs a measurement in a process of its own.
pub(crate) fn measured(arguments: &[String], registry: Option<u32>) -> Taken {
    let registry_before = registry.map_or(0.0, processor_time);
    let output = Command::new(env::current_exe().expect("this program exists"))
        .arg("--measure")
        .args(arguments)
        .stderr(std::process::Stdio::inherit())
        .output()
        .expect("this program can be started");
    assert!(output.status.success(), "{arguments:?} failed");
    let told: Value = serde_json::from_slice(&output.stdout).expect("it tells what it took");
    let number = |name: &str| told[name].as_f64().expect("it tells what it took");
    Taken {
        wall: number("wall"),
        cpu: number("cpu"),
        registry: registry.map_or(0.0, processor_time) - registry_before,
        memory: number("memory"),
        read: number("read"),
        written: number("written"),
        requests: number("requests"),
        bytes: number("bytes"),
        blobs: number("blobs"),
    }
}

/// Does what the arguments say and prints what it took.
pub(crate) fn child(arguments: &[String]) {
    let work = work::prepare(arguments);
    // From here on the peak counts.
    fs::write("/proc/self/clear_refs", "5").expect("it can be reset");
    let (before, cpu) = (io(), processor_time(std::process::id()));
    let start = Instant::now();
    let done = work();
    let wall = start.elapsed().as_secs_f64();
    let after = io();
    let told = json!({
        "wall": wall,
        "cpu": processor_time(std::process::id()) - cpu,
        "memory": peak(),
        "read": after.0 - before.0,
        "written": after.1 - before.1,
        "requests": done.requests,
        "bytes": done.bytes,
        "blobs": done.blobs,
    });
    println!("{told}");
}

/// Returns the bytes that this process has read and written so far.
fn io() -> (f64, f64) {
    let text = fs::read_to_string("/proc/self/io").expect("it is readable");
    (field(&text, "rchar:"), field(&text, "wchar:"))
}

fn peak() -> f64 {
    let text = fs::read_to_string("/proc/self/status").expect("it is readable");
    field(&text, "VmHWM:") * 1024.0
}

fn field(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .expect("the field is there")
}

/// Returns the processor time of a process and its threads, in seconds, in steps of a hundredth.
pub(crate) fn processor_time(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).expect("it is readable");
    let (_, rest) = text.rsplit_once(')').expect("it has a name");
    let ticks = rest.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<f64>().expect("a number")).sum::<f64>() / 100.0
}
