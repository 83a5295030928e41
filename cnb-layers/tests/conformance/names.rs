//! Names of run images, and the patience with those that are not there yet.

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use cnb_layers::analyze::{RunImageError, choose_run_image};
use cnb_layers::metadata::{RunImageNames, RunToml};
use cnb_layers::phase::{LogLevel, MemoryLog};
use cnb_layers::rebase::{NewBase, RebaseError};
use cnb_layers::{AllowAll, Compression, Descriptor, Image, ImageError, ImageSource, MemoryStore, Platform, Reference};

use crate::build::{reference, run_image};
use crate::lines;

// row 11.9/X1
#[test]
fn a_run_toml_without_images_names_none() {
    let run = RunToml::from_toml("").expect("an empty file is TOML");
    assert_eq!(run, RunToml::default());
    let chosen = choose_run_image(&run, &reference("registry.example/app"), &AllowAll);
    assert_eq!(chosen, Err(RunImageError::NoRunToml));
}

// row 11.9/X6
#[test]
fn the_mirror_on_the_registry_of_the_output_is_chosen() {
    let names = RunImageNames {
        image: "some.example/acme/run".to_owned(),
        mirrors: ["acme/run", "gcr.io/acme/run", "zonal.gcr.io/acme/run"]
            .map(str::to_owned)
            .to_vec(),
    };
    for (output, expected) in [
        ("index.docker.io/me/app", "acme/run"),
        ("me/app", "acme/run"),
        ("gcr.io/me/app", "gcr.io/acme/run"),
        ("zonal.gcr.io/me/app", "zonal.gcr.io/acme/run"),
        ("unknown.example/me/app", "some.example/acme/run"),
    ] {
        let chosen = names.choose(reference(output).registry(), &|_| true);
        assert_eq!(chosen.as_deref(), Some(expected), "{output}");
    }
}

// rows 11.7/B7 11.9/X2 11.9/X18
#[test]
fn names_are_compared_with_their_defaults_and_without_their_digests() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let known = |image: &str| RunImageNames {
        image: image.to_owned(),
        mirrors: Vec::new(),
    };
    let in_full = known("index.docker.io/library/some-repo:t");
    assert!(in_full.contain("index.docker.io/some-repo:t") && in_full.contain("some-repo:t"));
    assert!(in_full.contain(&format!("some-repo:t@{digest}")));
    assert!(!in_full.contain("some-repo") && !in_full.contain(&format!("some-repo@{digest}")));
    let latest = known("index.docker.io/library/some-repo:latest");
    assert!(latest.contain("some-repo") && latest.contain(&format!("index.docker.io/some-repo@{digest}")));
    assert!(!latest.contain(&format!("some-repo:t@{digest}")));
}

/// A source whose image appears after some attempts, or that fails.
struct Late {
    store: MemoryStore,
    missing: usize,
    fails: bool,
    calls: Mutex<usize>,
}

impl ImageSource for Late {
    fn image(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>, ImageError> {
        let mut calls = self.calls.lock().expect("nobody panics");
        *calls += 1;
        if self.fails {
            return Err(ImageError::TooLarge {
                what: "the manifest".to_owned(),
                limit: 1,
            });
        }
        match *calls {
            call if call <= self.missing => Ok(None),
            _ => self.store.image(reference, platform),
        }
    }

    fn layer(&self, reference: &Reference, layer: &Descriptor) -> Result<Box<dyn Read + Send>, ImageError> {
        self.store.layer(reference, layer)
    }
}

/// Opens an image that is missing at the first attempts: the outcome, the attempts, the waits and the log.
fn open(missing: usize, fails: bool) -> (Result<NewBase, RebaseError>, usize, Vec<Duration>, MemoryLog) {
    let store = MemoryStore::new();
    let name = "registry.example/run:1";
    let pushed = run_image("one").push(&store, &[reference(name)], Compression::default());
    pushed.expect("memory takes all");
    let late = Late {
        store,
        missing,
        fails,
        calls: Mutex::default(),
    };
    let (waits, log) = (Mutex::new(Vec::new()), MemoryLog::default());
    let wait = |time| waits.lock().expect("nobody panics").push(time);
    let opened = NewBase::open(name, &late, &Platform::linux_amd64(), &wait, &log);
    let calls = *late.calls.lock().expect("nobody panics");
    (opened, calls, waits.into_inner().expect("nobody panics"), log)
}

// row 11.9/X16
#[test]
fn an_image_that_is_not_there_yet_is_asked_for_again() {
    let (opened, calls, waits, log) = open(0, false);
    assert!(opened.is_ok() && calls == 1 && waits.is_empty() && log.lines().is_empty());
    let (opened, calls, waits, log) = open(2, false);
    assert!(opened.is_ok());
    assert_eq!((calls, waits), (3, [100, 200].map(Duration::from_millis).to_vec()));
    assert_eq!(lines(&log, LogLevel::Warn).len(), 2);
    assert_eq!(
        lines(&log, LogLevel::Info),
        ["Successfully opened remote image after 2 retries"]
    );
    let (opened, calls, waits, _) = open(6, false);
    assert!(opened.is_err());
    assert_eq!((calls, waits.len()), (6, 5));
}

// row 11.9/X17
#[test]
fn a_refusal_is_not_asked_for_again() {
    let (opened, calls, waits, _) = open(0, true);
    assert!(opened.is_err());
    assert_eq!((calls, waits.len()), (1, 0));
}
