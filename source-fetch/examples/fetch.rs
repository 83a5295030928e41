//! Puts a source into a directory, with a progress bar, and prints what it was.
//!
//! ```console
//! $ cargo run -p source-fetch --example fetch -- https://github.com/owner/app --revision main /tmp/app
//! $ cargo run -p source-fetch --example fetch -- https://github.com/owner/mono --sub-path apps/web --only /tmp/web
//! $ cargo run -p source-fetch --example fetch -- https://example.com/app.tar.gz --strip 1 /tmp/app
//! $ cargo run -p source-fetch --example fetch -- image:registry.example.com/team/app-source /tmp/app
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::{
    error::Error,
    io::Write as _,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use registry_auth::AnonymousKeychain;
use registry_client::{Client, Http, HttpPolicy};
use source_fetch::{
    Access, BlobSource, Fetched, GitSource, Limits, Progress, ResolvedGit, Source, Step, fetch, fetch_git_sub_path,
};

const USAGE: &str = "usage: fetch URL|image:NAME [--revision R] [--sub-path P [--only]] [--strip N] DIR";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fetch: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut places, mut only) = (Vec::new(), false);
    let (mut revision, mut sub_path, mut strip) = ("HEAD".to_owned(), String::new(), 0);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--revision" => revision = value()?,
            "--sub-path" => sub_path = value()?,
            "--strip" => strip = value()?.parse()?,
            "--only" => only = true,
            option if option.starts_with('-') => return Err(USAGE.into()),
            _ => places.push(argument),
        }
    }
    let [url, dir] = places.as_slice() else {
        return Err(USAGE.into());
    };
    let is_archive = |url: &str| {
        [".zip", ".jar", ".war", ".tar", ".tar.gz", ".tgz"]
            .iter()
            .any(|end| url.ends_with(end))
    };
    let source = match url.strip_prefix("image:") {
        Some(image) => Source::Image(image.to_owned()),
        None if is_archive(url) => Source::Blob(BlobSource {
            url: url.clone(),
            strip_components: strip,
            ..BlobSource::default()
        }),
        None => Source::Git(GitSource::new(url, revision).with_sub_path(sub_path).with_submodules()),
    };
    let access = Access {
        allow_file: true,
        limits: Limits {
            progress: bar(),
            ..Limits::default()
        },
        registry: Some(Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain))?),
        ..Access::new(Http::new(&HttpPolicy::default())?)
    };
    std::fs::create_dir_all(dir)?;
    let dir = Path::new(dir);
    if let (Source::Git(git), true) = (&source, only) {
        let fetched = fetch_git_sub_path(&ResolvedGit::unasked(git), dir, &access, &std::env::temp_dir())?;
        println!(
            "\r\u{1b}[Kcommit {}, {} bytes received",
            fetched.commit, fetched.received
        );
        return Ok(());
    }
    let fetched: Fetched = fetch(&source, dir, &access, &mut |line| println!("\r\u{1b}[K{line}"))?;
    print!("{}", fetched.project_metadata());
    Ok(())
}

/// A line on the terminal that is written anew each time something visible has happened.
fn bar() -> Progress {
    let last = AtomicU64::new(u64::MAX);
    Progress::new(move |step| {
        let (shown, text) = match step {
            Step::Received { bytes, of: Some(of) } => (bytes * 40 / of.max(1), gauge(bytes, of, "of the bytes")),
            Step::Received { bytes, of: None } => (bytes >> 20, format!("{:.1} MB received", mega(bytes))),
            Step::Objects { count, of } => (count * 40 / of.max(1), gauge(count, of, "of the objects")),
            Step::Written { entries, bytes } => {
                (entries >> 6, format!("{entries} files, {:.1} MB written", mega(bytes)))
            }
            _ => return,
        };
        if last.swap(shown, Ordering::Relaxed) != shown {
            eprint!("\r\u{1b}[K{text}");
            let _ = std::io::stderr().flush();
        }
    })
}

fn gauge(done: u64, of: u64, what: &str) -> String {
    let filled = usize::try_from(done * 40 / of.max(1)).unwrap_or(40).min(40);
    format!(
        "[{}{}] {}% {what}",
        "#".repeat(filled),
        " ".repeat(40 - filled),
        done * 100 / of.max(1)
    )
}

#[allow(clippy::cast_precision_loss, reason = "a figure for people")]
fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
