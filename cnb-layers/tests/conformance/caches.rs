//! Caches in directories and registries.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use cnb_layers::cache::{Cache as _, CacheError, CacheImage, CachedLayer, DeleteImage, VolumeCache};
use cnb_layers::metadata::CacheMetadata;
use cnb_layers::phase::{LogLevel, MemoryLog};
use cnb_layers::{
    Compression, DiffId, ImageError, ImageSource as _, LayerContent, MemoryStore, Platform, Reference, RegistryStore,
};
use http::{Request, Response, StatusCode};
use registry_auth::AnonymousKeychain;
use registry_client::{AnswerBody, Body, Client, Http, HttpError, HttpPolicy, Transport};

use crate::build::reference;
use crate::{Bytes, lines};

fn open(dir: &Path) -> VolumeCache {
    VolumeCache::open(dir).expect("it is a directory")
}

fn add_as(cache: &VolumeCache, diff_id: &DiffId, content: &dyn LayerContent) -> Result<(), CacheError> {
    cache.add(&CachedLayer {
        diff_id,
        content,
        placed: None,
    })
}

fn add(cache: &VolumeCache, text: &str) -> DiffId {
    let diff_id = DiffId::of(text.as_bytes());
    add_as(cache, &diff_id, &Bytes(text.into())).expect("there is room");
    diff_id
}

fn content(cache: &VolumeCache, diff_id: &DiffId) -> Result<String, CacheError> {
    let mut text = String::new();
    cache.layer(diff_id)?.read_to_string(&mut text).expect("it is text");
    Ok(text)
}

fn named(sbom: &str) -> CacheMetadata {
    CacheMetadata {
        sbom: sbom.to_owned(),
        buildpacks: None,
    }
}

// row 11.4/C12
#[test]
fn a_layer_is_read_back_and_a_missing_one_is_named() {
    let dir = tempfile::tempdir().expect("there is room");
    let cache = open(dir.path());
    let one = add(&cache, "one");
    cache.commit(&named("")).expect("there is room");
    let cache = open(dir.path());
    assert_eq!(content(&cache, &one).expect("it is there"), "one");
    let missing = DiffId::of(b"missing");
    let error = content(&cache, &missing).expect_err("it is not there");
    assert_eq!(
        error.to_string(),
        format!("failed to find cache layer with SHA '{missing}'")
    );
}

// rows 11.4/C13 11.4/C15
#[test]
fn metadata_and_layers_change_with_the_commit_and_not_before() {
    let dir = tempfile::tempdir().expect("there is room");
    open(dir.path()).commit(&named("old")).expect("there is room");
    let cache = open(dir.path());
    let one = add(&cache, "one");
    assert_eq!(cache.metadata().expect("it is readable"), named("old"));
    assert!(content(&cache, &one).is_err());
    // A build that ends without a commit leaves nothing.
    drop(cache);
    let cache = open(dir.path());
    assert_eq!(cache.metadata().expect("it is readable"), named("old"));
    assert!(content(&cache, &one).is_err());
    cache.commit(&named("new")).expect("there is room");
    assert_eq!(open(dir.path()).metadata().expect("it is readable"), named("new"));
}

// row 11.4/C14
#[test]
fn after_the_commit_nothing_can_be_changed() {
    let dir = tempfile::tempdir().expect("there is room");
    let cache = open(dir.path());
    let one = add(&cache, "one");
    cache.commit(&named("first")).expect("there is room");
    for outcome in [
        add_as(&cache, &DiffId::of(b"two"), &Bytes(b"two".to_vec())),
        cache.keep(&one),
        cache.commit(&named("second")),
    ] {
        let error = outcome.expect_err("it is committed");
        assert_eq!(error.to_string(), "cache cannot be modified after commit");
    }
    assert_eq!(open(dir.path()).metadata().expect("it is readable"), named("first"));
}

// rows 11.4/C16 11.4/C17
#[test]
fn a_layer_that_is_staged_already_stays_as_it_is() {
    let dir = tempfile::tempdir().expect("there is room");
    let cache = open(dir.path());
    let one = add(&cache, "one");
    add_as(&cache, &one, &Bytes(b"other".to_vec())).expect("it is there already");
    cache.commit(&named("")).expect("there is room");
    let cache = open(dir.path());
    assert_eq!(content(&cache, &one).expect("it is there"), "one");
    for _ in 0..2 {
        cache.keep(&one).expect("it is whole");
    }
    cache.commit(&named("")).expect("there is room");
    assert_eq!(content(&open(dir.path()), &one).expect("it was kept"), "one");
}

// row 11.4/C18
#[test]
fn a_layer_that_is_missing_cannot_be_kept_but_the_others_can() {
    let dir = tempfile::tempdir().expect("there is room");
    let cache = open(dir.path());
    let one = add(&cache, "one");
    cache.commit(&named("")).expect("there is room");
    let cache = open(dir.path());
    let error = cache.keep(&DiffId::of(b"missing")).expect_err("it is not there");
    assert!(error.is_miss(), "{error}");
    cache.keep(&one).expect("it is whole");
    cache.commit(&named("")).expect("there is room");
    assert_eq!(content(&open(dir.path()), &one).expect("it was kept"), "one");
}

// rows 11.4/C9 11.4/C10
#[test]
fn opening_clears_away_what_was_not_committed_and_makes_what_is_missing() {
    let dir = tempfile::tempdir().expect("there is room");
    drop(open(dir.path()));
    for made in ["committed", "staging"] {
        assert_eq!(fs::read_dir(dir.path().join(made)).expect("it was made").count(), 0);
    }
    for stale in ["staging", "committed-backup"] {
        fs::create_dir_all(dir.path().join(stale)).expect("there is room");
        fs::write(dir.path().join(stale).join("stale"), "x").expect("there is room");
    }
    drop(open(dir.path()));
    assert_eq!(
        fs::read_dir(dir.path().join("staging")).expect("it is there").count(),
        0
    );
    assert!(!dir.path().join("committed-backup").exists());
}

/// What happens to the old cache image when a new one is written: the images deleted, whether the old one is there
/// still, and the warnings.
fn replace(
    new: &str,
    delete: Option<fn() -> Result<(), ImageError>>,
) -> (Vec<Reference>, Option<Reference>, Vec<String>) {
    let (store, log) = (MemoryStore::new(), MemoryLog::default());
    let name = reference("registry.example/acme/cache:latest");
    let open = || CacheImage::open(&name, &store, &store, Compression::default()).expect("it can be reached");
    open().commit(&named("old")).expect("memory takes all");
    let image = |name: &Reference| store.image(name, &Platform::linux_amd64()).expect("it is readable");
    let old = name.with_digest(image(&name).expect("it was written").digest());
    let deleted = Mutex::new(Vec::new());
    let (mut cache, noted) = (open(), &deleted);
    if let Some(delete) = delete {
        let deleting: Box<DeleteImage<'_>> = Box::new(move |image| {
            noted.lock().expect("nobody panics").push(image.clone());
            delete()
        });
        cache = cache.deleting_old(deleting, &log);
    }
    cache.commit(&named(new)).expect("memory takes all");
    drop(cache);
    let there = image(&old).is_some().then_some(old);
    let deleted = deleted.into_inner().expect("nobody panics");
    (deleted, there, lines(&log, LogLevel::Warn))
}

// row 11.4/C21
#[test]
fn the_old_cache_image_is_deleted_where_that_is_asked_for_and_another_takes_its_name() {
    let (deleted, old, warnings) = replace("new", Some(|| Ok(())));
    assert_eq!((deleted, warnings), (vec![old.expect("it was there")], Vec::new()));
    let (deleted, _, _) = replace("old", Some(|| Ok(())));
    assert_eq!(deleted, [], "it is the same image");
    let refuse = || {
        Err(ImageError::TooLarge {
            what: "the wish".to_owned(),
            limit: 1,
        })
    };
    let (deleted, old, warnings) = replace("new", Some(refuse));
    assert_eq!(deleted, [old.expect("it was there")]);
    let [warning] = &warnings[..] else {
        panic!("it is one warning: {warnings:?}")
    };
    assert!(warning.starts_with("Unable to delete cache image: "), "{warning}");
    let (deleted, old, warnings) = replace("new", None);
    assert!(deleted.is_empty() && old.is_some() && warnings.is_empty());
}

/// Gives every request the same answer.
struct Always(StatusCode, &'static str);

impl Transport for Always {
    fn send(&self, _request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let answer = Response::builder().status(self.0);
        let answer = answer.header("WWW-Authenticate", "Basic realm=\"cache\"");
        let body = AnswerBody::new(self.1.as_bytes());
        Ok(answer.body(body).expect("it is well formed"))
    }
}

#[test]
fn a_cache_image_that_the_registry_does_not_show_is_none_and_a_refusal_without_its_codes_is_an_error() {
    let errors = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    let open = |status: u16, body| {
        let status = StatusCode::from_u16(status).expect("it is a status");
        let http = Http::with_transport(&HttpPolicy::default(), Arc::new(Always(status, body)));
        let store = RegistryStore::new(Client::with_http(http, Arc::new(AnonymousKeychain)));
        let name = reference("registry.example/acme/cache:latest");
        let cache = CacheImage::open(&name, &store, &store, Compression::default());
        cache.map(|cache| (cache.notice(), cache.metadata().expect("it is empty")))
    };
    let empty = (Some("Layer cache not found".to_owned()), CacheMetadata::default());
    assert_eq!(open(401, errors).expect("it counts as missing"), empty);
    for (status, body) in [(401, ""), (401, "no"), (403, errors)] {
        let error = open(status, body).expect_err("it is a refusal");
        assert!(matches!(error, ImageError::Registry(_)), "{status} {body:?}: {error}");
    }
}
