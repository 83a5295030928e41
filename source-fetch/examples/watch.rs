//! Prints a line for each change of a directory in a git repository; commits elsewhere are passed over.
//!
//! ```console
//! $ cargo run -p source-fetch --example watch -- https://github.com/owner/app --revision main --sub-path app
//! $ cargo run -p source-fetch --example watch -- https://github.com/owner/mono --sub-path app --include libs/shared/ --exclude '*.md'
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints")]

use std::{
    error::Error,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use registry_client::{Http, HttpPolicy};
use source_fetch::{Access, GitSource, PathFilter, Resolver};

const USAGE: &str =
    "usage: watch URL [--revision R] [--sub-path P] [--include PATTERN] [--exclude PATTERN] [--every SECONDS]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("watch: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn with_causes(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn run() -> Result<(), Box<dyn Error>> {
    let (mut url, mut revision, mut sub_path, mut seconds) = (None, "main".to_owned(), String::new(), 10);
    let (mut include, mut exclude) = (Vec::new(), Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} wants a value"));
        match argument.as_str() {
            "--revision" => revision = value()?,
            "--sub-path" => sub_path = value()?,
            "--include" => include.push(value()?),
            "--exclude" => exclude.push(value()?),
            "--every" => seconds = value()?.parse()?,
            option if option.starts_with('-') => return Err(USAGE.into()),
            _ => url = Some(argument),
        }
    }
    let url = url.ok_or(USAGE)?;
    let access = Access {
        allow_file: true,
        ..Access::new(Http::new(&HttpPolicy::default())?)
    };
    let paths = PathFilter::new(include, exclude)?;
    let source = GitSource::new(url, revision).with_sub_path(sub_path).with_paths(paths);
    let mirrors = std::env::temp_dir().join("source-fetch-mirrors");
    let resolver = Resolver::new(mirrors, Duration::from_secs(seconds) / 2);
    let mut last = None;
    loop {
        match resolver.resolve(&source, &access, Instant::now()) {
            Ok(found) => {
                let now = found.tree.clone().unwrap_or_else(|| found.revision.clone());
                if last.as_ref() != Some(&now) {
                    println!(
                        "{} {} tree {}",
                        found.kind.as_str(),
                        found.revision,
                        found.tree.as_deref().unwrap_or("-")
                    );
                    last = Some(now);
                }
            }
            Err(error) if error.is_retryable() => println!("{}; trying again", with_causes(&error)),
            Err(error) => return Err(error.into()),
        }
        thread::sleep(Duration::from_secs(seconds));
    }
}
