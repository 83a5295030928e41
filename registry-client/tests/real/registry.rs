//! A registry that anyone may use, and one that asks for a password.

use std::io::{self, Read};
use std::{io::Write, sync::Arc};

use registry_auth::{AnonymousKeychain, Credential, Keychain, Reference, Repository, StaticKeychain};
use registry_client::{Client, HttpPolicy};
use test_support::Registry;

use crate::image::{MANIFEST, anonymous, at, digest, policy, push, push_image, read};

fn repository(registry: &Registry, path: &str) -> Repository {
    at(&registry.host(), path)
}

#[test]
fn what_is_pushed_comes_back_byte_for_byte() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, repository) = (anonymous(), repository(&registry, "team/app"));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let blob = push(&client, &repository, &bytes);
    assert_eq!(
        client.has_blob(&repository, &blob).expect("it answers"),
        Some(3_000_000)
    );
    assert_eq!(read(&client, &repository, &blob), bytes);

    let image = push_image(&client, &repository, "v1");
    let reference = Reference::tagged(&repository, "v1").expect("a tag");
    let head = client.head(&reference).expect("it answers").expect("it is there");
    let manifest = client.manifest(&reference).expect("it answers").expect("it is there");
    assert_eq!((&head.digest, &manifest.digest), (&image, &image));
    assert_eq!(head.size, Some(manifest.bytes.len() as u64));
    assert_eq!(manifest.media_type, MANIFEST);
    let pinned = reference.with_digest(&image);
    assert_eq!(client.manifest(&pinned).expect("it answers"), Some(manifest));
    client.check_read(&reference).expect("it can be read");
    client.check_write(&repository).expect("it can be written");
}

#[test]
fn what_is_not_there_is_none_for_questions_and_an_error_for_reads() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, repository) = (anonymous(), repository(&registry, "team/none"));
    let (reference, nothing) = (Reference::tagged(&repository, "v1").expect("a tag"), digest(b"nothing"));
    assert_eq!(client.head(&reference).expect("it answers"), None);
    assert_eq!(client.manifest(&reference).expect("it answers"), None);
    assert_eq!(client.has_blob(&repository, &nothing).expect("it answers"), None);
    let error = client.blob(&repository, &nothing).expect_err("there is no such blob");
    assert!(error.is_not_found() && !error.is_retryable(), "{error}");
    let error = client.check_read(&reference).expect_err("there is no such image");
    assert_eq!((error.status(), error.codes()), (Some(404), vec!["MANIFEST_UNKNOWN"]));
    assert!(
        client
            .tags(&repository)
            .expect_err("there is no such repository")
            .is_not_found()
    );
}

#[test]
fn a_blob_of_unknown_size_is_streamed_in_parts_or_sent_at_once() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, repository) = (anonymous(), repository(&registry, "team/app"));
    for size in [0, 1, 1_000_000, (1 << 20), (1 << 20) + 1, 3_500_000] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at % 241) as u8).collect();
        let mut upload = client.start_upload(&repository).expect("an upload");
        for part in bytes.chunks(70_001) {
            upload.write_all(part).expect("it is taken");
        }
        upload.finish(&digest(&bytes)).expect("it is closed");
        assert_eq!(read(&client, &repository, &digest(&bytes)), bytes, "{size}");
    }
}

#[test]
fn an_upload_with_another_digest_is_refused() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, repository) = (anonymous(), repository(&registry, "team/app"));
    let mut upload = client.start_upload(&repository).expect("an upload");
    upload.write_all(&vec![7; 2_500_000]).expect("it is taken");
    let error = upload.finish(&digest(b"other")).expect_err("the bytes are others");
    assert_eq!(error.codes(), ["DIGEST_INVALID"], "{error}");
}

#[test]
fn a_blob_is_mounted_from_another_repository_or_else_pushed() {
    let registry = Registry::start().expect("docker-registry starts");
    let client = anonymous();
    let (from, to) = (repository(&registry, "base/run"), repository(&registry, "team/app"));
    let blob = push(&client, &from, b"layer");
    assert!(client.mount_blob(&from, &to, &blob).expect("it answers"));
    assert_eq!(read(&client, &to, &blob), b"layer");
    assert!(!client.mount_blob(&from, &to, &digest(b"missing")).expect("it answers"));
    let blob = push(&client, &to, b"missing");
    assert_eq!(read(&client, &to, &blob), b"missing");
}

#[test]
fn tags_are_listed_and_manifests_deleted() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, repository) = (anonymous(), repository(&registry, "team/app"));
    let image = push_image(&client, &repository, "v1");
    push_image(&client, &repository, "v2");
    let mut tags = client.tags(&repository).expect("it answers");
    tags.sort();
    assert_eq!(tags, ["v1", "v2"]);
    let reference = Reference::pinned(&repository, &image);
    client.delete(&reference).expect("it is deleted");
    assert_eq!(client.head(&reference).expect("it answers"), None);
}

#[test]
fn referrers_are_found_under_their_tag_where_the_registry_cannot_tell() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, repository) = (anonymous(), repository(&registry, "team/app"));
    let image = push_image(&client, &repository, "v1");
    assert!(client.referrers(&repository, &image).expect("it answers").is_empty());
    let manifest = client
        .manifest(&Reference::pinned(&repository, &image))
        .expect("it answers")
        .expect("it is there");
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"mediaType":"{}","size":{},"digest":"{image}"}}]}}"#,
        manifest.media_type,
        manifest.bytes.len()
    );
    let tag = Reference::tagged(&repository, &image.as_str().replace(':', "-")).expect("a tag");
    let media_type = "application/vnd.oci.image.index.v1+json";
    client
        .push_manifest(&tag, media_type, index.as_bytes())
        .expect("it is pushed");
    let found = client.referrers(&repository, &image).expect("it answers");
    assert_eq!(found[0]["digest"], image.as_str());
}

#[test]
fn a_password_is_sent_when_the_registry_asks_for_it() {
    let registry = Registry::with_basic_auth("user", "pass").expect("docker-registry starts");
    let repository = repository(&registry, "team/app");
    let client = |keychain: Arc<dyn Keychain>| Client::new(policy(), keychain).expect("the policy is good");
    let with = |password| {
        let keychain = StaticKeychain::new();
        client(Arc::new(
            keychain.with(repository.registry().clone(), Credential::basic("user", password)),
        ))
    };
    let image = push_image(&with("pass"), &repository, "v1");
    let reference = Reference::pinned(&repository, &image);
    assert!(with("pass").head(&reference).expect("it answers").is_some());
    for wrong in [with("wrong"), anonymous()] {
        let error = wrong
            .check_read(&reference)
            .expect_err("the password is wrong or missing");
        assert!(error.is_unauthorized() && error.codes() == ["UNAUTHORIZED"], "{error}");
        assert!(
            wrong
                .check_write(&repository)
                .expect_err("it is not allowed")
                .is_unauthorized()
        );
    }
}

#[test]
fn a_registry_that_is_down_is_tried_again() {
    let mut registry = Registry::start().expect("docker-registry starts");
    let repository = repository(&registry, "team/app");
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("the policy is good");
    let blob = push(&client, &repository, b"one");
    registry.pause();
    let error = anonymous().has_blob(&repository, &blob).expect_err("it is down");
    assert!(error.is_retryable(), "{error}");
    let waiting = std::thread::spawn(move || client.has_blob(&repository, &blob));
    std::thread::sleep(std::time::Duration::from_millis(300));
    registry.resume().expect("docker-registry starts again");
    assert_eq!(waiting.join().expect("no panic").expect("it is up again"), Some(3));
}

#[test]
fn a_stream_of_unknown_size_becomes_a_blob_and_other_bytes_do_not() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, repository) = (anonymous(), repository(&registry, "team/stream"));
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 241) as u8).collect();
    let streamed = client
        .stream_blob(&repository, io::Cursor::new(bytes.clone()))
        .expect("the registry takes it");
    streamed.finish(&digest(&bytes)).expect("its name fits");
    assert_eq!(read(&client, &repository, &digest(&bytes)), bytes);
    let streamed = client
        .stream_blob(&repository, io::Cursor::new(b"one".to_vec()))
        .expect("the registry takes it");
    let error = streamed.finish(&digest(b"two")).expect_err("these are other bytes");
    assert_eq!(error.codes(), vec!["DIGEST_INVALID"]);
}

#[test]
fn a_new_blob_is_sent_once_and_then_known_to_be_there() {
    let registry = Registry::start().expect("docker-registry starts");
    let (bytes, repository) = (b"content".to_vec(), repository(&registry, "team/new"));
    let mut opened = 0;
    for _ in 0..2 {
        let mut open = || -> io::Result<Box<dyn Read + Send>> {
            opened += 1;
            Ok(Box::new(io::Cursor::new(bytes.clone())))
        };
        anonymous()
            .push_new_blob(&repository, &digest(&bytes), bytes.len() as u64, &mut open)
            .expect("the blob is pushed");
    }
    assert_eq!(opened, 1);
    assert_eq!(read(&anonymous(), &repository, &digest(&bytes)), bytes);
}
