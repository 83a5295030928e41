//! Puts a source into a directory and prints what it was.
//!
//! ```console
//! $ cargo run -p source-fetch --example fetch -- https://github.com/owner/app main /tmp/app
//! $ cargo run -p source-fetch --example fetch -- https://example.com/app.tar.gz "" /tmp/app
//! ```
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::{error::Error, path::Path};

use registry_client::{Http, HttpPolicy};
use source_fetch::{Access, BlobSource, GitSource, Source, fetch};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, revision, dir] = arguments.as_slice() else {
        return Err("usage: fetch URL REVISION DIR (no revision for an archive)".into());
    };
    let source = match revision.as_str() {
        "" => Source::Blob(BlobSource {
            url: url.clone(),
            ..BlobSource::default()
        }),
        revision => Source::Git(GitSource::new(url, revision).with_submodules()),
    };
    let access = Access {
        allow_file: true,
        ..Access::new(Http::new(&HttpPolicy::default())?)
    };
    std::fs::create_dir_all(dir)?;
    let fetched = fetch(&source, Path::new(dir), &access, &mut |line| println!("{line}"))?;
    print!("{}", fetched.project_metadata());
    Ok(())
}
