//! What is measured.

use std::{
    fs,
    io::{self, Read},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use registry_auth::{AnonymousKeychain, Digest, Reference, Repository};
use registry_client::{Client, HttpPolicy};
use sha2::{Digest as _, Sha256};
use ureq::SendBody;

pub(crate) const SIZE: u64 = 1 << 30;
pub(crate) const PATTERN: usize = 1 << 20;
pub(crate) const MANIFESTS: u64 = 10_000;
const THREADS: u64 = 4;

/// A mebibyte without a rhythm.
pub(crate) fn pattern() -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(PATTERN).collect()
}

pub(crate) fn manifest() -> Vec<u8> {
    format!(r#"{{"schemaVersion":2,"layers":[],"padding":"{}"}}"#, "x".repeat(400)).into_bytes()
}

/// Does one transfer and tells how long it took.
pub(crate) fn run(kind: &str, address: &str, path: &str, digest: &str) -> Duration {
    let digest: Digest = digest.parse().expect("a digest");
    let policy = HttpPolicy {
        plain_http_hosts: vec![address.to_owned()],
        ..HttpPolicy::default()
    };
    let client = Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is good");
    let repository: Repository = format!("{address}/{path}").parse().expect("a repository");
    let agent = ureq::Agent::new_with_defaults();
    let started = Instant::now();
    match kind {
        "pull-bare" | "pull-hashed" => {
            let answer = agent.get(format!("http://{address}/v2/{path}/blobs/{digest}")).call();
            let body = answer.expect("it answers").into_body();
            let reader = body.into_with_config().limit(u64::MAX).reader();
            if kind == "pull-bare" {
                drain(&mut { reader });
            } else {
                let mut hashed = Hashed(reader, Sha256::new());
                drain(&mut hashed);
                assert_eq!(Digest::from_sha256_bytes(hashed.1.finalize().into()), digest);
            }
        }
        "pull" => drain(&mut client.blob(&repository, &digest).expect("it answers")),
        "push-bare" => {
            let begun = agent
                .post(format!("http://{address}/v2/{path}/blobs/uploads/"))
                .send_empty();
            let begun = begun.expect("it answers");
            let place = begun.headers()["location"].to_str().expect("an address");
            let place = match place.strip_prefix('/') {
                Some(rest) => format!("http://{address}/{rest}"),
                None => place.to_owned(),
            };
            let sign = if place.contains('?') { '&' } else { '?' };
            let request = agent
                .put(format!("{place}{sign}digest={digest}"))
                .header("content-length", SIZE.to_string());
            request
                .send(SendBody::from_owned_reader(Repeated::new()))
                .expect("it is taken");
        }
        "push" => {
            let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(Repeated::new())) };
            client
                .push_blob(&repository, &digest, SIZE, &mut open)
                .expect("it is taken");
        }
        "manifests" => {
            let wanted = Digest::from_sha256_bytes(Sha256::digest(manifest()).into());
            let reference = Reference::pinned(&repository, &wanted);
            thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        for _ in 0..MANIFESTS / THREADS {
                            client.manifest(&reference).expect("it answers").expect("it is there");
                        }
                    });
                }
            });
        }
        other => panic!("there is no transfer {other}"),
    }
    started.elapsed()
}

fn drain(reader: &mut dyn Read) {
    let mut buffer = vec![0; 128 << 10];
    let mut sum = 0;
    loop {
        match reader.read(&mut buffer).expect("it comes") {
            0 => break,
            count => sum += count as u64,
        }
    }
    assert_eq!(sum, SIZE);
}

/// Hashes what is read as it comes, as everyone must who wants to know what it was.
struct Hashed<R>(R, Sha256);

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.update(&buffer[..count]);
        Ok(count)
    }
}

/// The pattern again and again, up to the size.
struct Repeated {
    pattern: Vec<u8>,
    at: u64,
}

impl Repeated {
    fn new() -> Self {
        Self {
            pattern: pattern(),
            at: 0,
        }
    }
}

impl Read for Repeated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let start = usize::try_from(self.at % PATTERN as u64).expect("it is less than the pattern");
        let left = usize::try_from(SIZE - self.at).unwrap_or(usize::MAX);
        let count = buffer.len().min(PATTERN - start).min(left);
        buffer[..count].copy_from_slice(&self.pattern[start..start + count]);
        self.at += count as u64;
        Ok(count)
    }
}

/// The most memory that this process has had, in bytes.
pub(crate) fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// How long processors have worked for this process, all threads together, in milliseconds.
pub(crate) fn work() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // Time in the program and in the system, each in hundredths of a second.
    fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum::<u64>()
        * 10
}
