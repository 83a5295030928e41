//! Copies an image, or an index with all its images, from one registry to another:
//! `cargo run -p registry-client --example copy -- FROM TO`.

#[path = "../shared/machine.rs"]
mod machine;

use std::{
    collections::HashSet,
    env,
    io::{self, Read},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, channel},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use registry_auth::{Digest, Reference};
use registry_client::{Client, Progress, RawManifest};
use serde::Deserialize;

/// How many blobs are copied at a time.
const AT_ONCE: usize = 4;
/// How many indexes may be one within the other; nobody makes more than two or three.
const DEEPEST: usize = 8;

fn main() -> Result<()> {
    let names: Vec<String> = env::args().skip(1).collect();
    let [from, to] = names.as_slice() else {
        bail!("usage: copy FROM TO");
    };
    if let Some(option) = names.iter().find(|name| name.starts_with('-')) {
        bail!("unknown option '{option}'; usage: copy FROM TO");
    }
    let (from, to) = (Reference::parse(from)?, Reference::parse(to)?);
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{spinner} {bytes}/{total_bytes} {bar:30} {bytes_per_sec} {msg}",
    )?);
    let shown = bar.clone();
    let moved = Mutex::new(Moved::default());
    let client = Client::new(machine::policy(), Arc::new(machine::keychain(Duration::from_secs(30))?))?.with_progress(
        move |progress| {
            if let Ok(mut moved) = moved.lock() {
                moved.take(progress, &shown);
            }
        },
    );
    let mut copied = Copied {
        client: &client,
        bar: &bar,
        images: HashSet::new(),
    };
    let digest = copied.copy(&from, &to, 0)?;
    bar.finish();
    eprintln!("{to} is {digest}");
    Ok(())
}

/// What is there already and what was moved.
#[derive(Default)]
struct Moved {
    blobs: Vec<(Digest, u64)>,
    without: u64,
}

impl Moved {
    fn take(&mut self, progress: Progress<'_>, bar: &ProgressBar) {
        match progress {
            Progress::Sent {
                digest: Some(digest),
                bytes,
                ..
            } => {
                let before = match self.blobs.iter_mut().find(|(known, _)| known == digest) {
                    Some((_, before)) => std::mem::replace(before, bytes),
                    None => {
                        self.blobs.push((digest.clone(), bytes));
                        0
                    }
                };
                // Fewer than before means that the blob is sent again.
                bar.set_position((bar.position() + bytes).saturating_sub(before));
            }
            Progress::Present { .. } | Progress::Mounted { .. } => {
                self.without += 1;
                bar.set_message(format!("{} blobs needed no bytes", self.without));
            }
            Progress::Waiting { wait, .. } => bar.set_message(format!("next attempt in {wait:.1?}")),
            _ => {}
        }
    }
}

#[derive(Deserialize)]
struct Document {
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
    #[serde(default)]
    manifests: Vec<Part>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    digest: Digest,
    size: u64,
    #[serde(default)]
    media_type: String,
}

/// What was copied so far, so that nothing is copied twice that an index names twice.
struct Copied<'a> {
    client: &'a Client,
    bar: &'a ProgressBar,
    images: HashSet<Digest>,
}

impl Copied<'_> {
    /// Copies an image, or an index with all that is in it; `depth` is how many indexes it is in.
    fn copy(&mut self, from: &Reference, to: &Reference, depth: usize) -> Result<Digest> {
        ensure!(
            depth <= DEEPEST,
            "{from} is within more than {DEEPEST} indexes, which is too deep"
        );
        let manifest = self.client.manifest(from)?;
        let manifest = manifest.with_context(|| format!("there is no {from}"))?;
        let document: Document = serde_json::from_slice(&manifest.bytes).context("the manifest is not understood")?;
        for child in &document.manifests {
            if !self.images.contains(&child.digest) {
                self.copy(
                    &from.with_digest(&child.digest),
                    &to.with_digest(&child.digest),
                    depth + 1,
                )?;
                self.images.insert(child.digest.clone());
            }
        }
        let mut seen = HashSet::new();
        let parts: Vec<Part> = document.layers.into_iter().chain(document.config).collect();
        let parts = parts.into_iter();
        let parts = parts.filter(|part| !part.is_foreign() && seen.insert(part.digest.clone()));
        copy_blobs(self.client, from, to, parts.collect(), self.bar)?;
        let RawManifest { media_type, bytes, .. } = &manifest;
        Ok(self.client.push_manifest(to, media_type, bytes)?)
    }
}

impl Part {
    /// A registry need not hold foreign layers; whoever runs the image fetches them from their addresses.
    fn is_foreign(&self) -> bool {
        self.media_type.contains("foreign") || self.media_type.contains("nondistributable")
    }
}

fn copy_blobs(client: &Client, from: &Reference, to: &Reference, parts: Vec<Part>, bar: &ProgressBar) -> Result<()> {
    let (give, take) = channel();
    for part in parts {
        bar.inc_length(part.size);
        give.send(part)?;
    }
    drop(give);
    let work = Mutex::new(take);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    while let Some(part) = next(&work) {
                        copy_blob(client, from, to, &part)?;
                    }
                    Ok(())
                })
            })
            .collect();
        let results = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")));
        results.collect()
    })
}

fn next(work: &Mutex<Receiver<Part>>) -> Option<Part> {
    work.lock().ok()?.try_recv().ok()
}

fn copy_blob(client: &Client, from: &Reference, to: &Reference, part: &Part) -> Result<()> {
    let (source, target) = (from.repository(), to.repository());
    if source.registry() == target.registry() && client.mount_blob(source, target, &part.digest)? {
        return Ok(());
    }
    // Each attempt reads the blob anew; nothing of it is kept here.
    let mut open = || -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(client.blob(source, &part.digest)?.expecting(part.size)?))
    };
    Ok(client.push_new_blob(target, &part.digest, part.size, &mut open)?)
}
