//! What every place for images has to do, for all of them: in memory, in a directory, in a registry.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use cnb_layers::{
    BaseImage, Compression, CopyError, CopyEvent, Descriptor, Image, ImageError, ImageSource, ImageTarget,
    LayerBuilder, LayoutStore, MemoryStore, Platform, Reference, RegistryStore, copy_image, digest_of, media_type,
    push_image, unpack, validate,
};
use registry_auth::AnonymousKeychain;
use registry_client::{Client, HttpPolicy};

/// A place under test, and the host under which it is addressed.
trait Place: ImageSource + ImageTarget {}
impl<T: ImageSource + ImageTarget> Place for T {}

fn reference(text: &str) -> Reference {
    Reference::parse(text).expect("a reference")
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..length).map(|_| next()).collect()
}

fn push_sample(place: &dyn Place, tag: &Reference, content: &[u8]) -> Image {
    BaseImage::new(Platform::linux_amd64())
        .layer("small", LayerBuilder::new().file("etc/motd", 0o644, 0, 0, "hello\n"))
        .layer("large", LayerBuilder::new().file("data", 0o644, 0, 0, content))
        .label("a", "<b>")
        .push(place, std::slice::from_ref(tag), Compression::default())
        .expect("pushed")
}

fn suite(place: &dyn Place, host: &str, mounts: bool) {
    let amd64 = Platform::linux_amd64();
    let tag = reference(&format!("{host}/team/app:1"));
    assert!(
        place.image(&tag, &amd64).expect("asked").is_none(),
        "nothing is there yet"
    );
    assert!(place.manifest_digest(&tag).expect("asked").is_none());

    // More than a buffer, so that it is sent while it is being made.
    let image = push_sample(place, &tag, &noise(3 << 20));
    assert_eq!(
        place.manifest_digest(&tag).expect("asked").as_ref(),
        Some(image.digest())
    );
    for found in [tag.clone(), tag.with_digest(image.digest())] {
        let found = place.image(&found, &amd64).expect("asked").expect("there");
        assert_eq!((found.digest(), found.label("a")), (image.digest(), Some("<b>")));
    }
    let faults = validate(place, &tag, &image);
    assert!(faults.is_empty(), "{faults:?}");
    let dir = tempfile::tempdir().expect("temp dir");
    let options = cnb_layers::UnpackOptions {
        owners: cnb_layers::UnpackOwners::Caller,
        ..Default::default()
    };
    unpack(place, &tag, &image, dir.path(), &options).expect("unpacked");
    assert_eq!(std::fs::read(dir.path().join("etc/motd")).expect("there"), b"hello\n");

    copying(place, host, &tag, &image, mounts);
    blobs(place, host);
    indexes(place, host, &image);
}

fn copying(place: &dyn Place, host: &str, tag: &Reference, image: &Image, mounts: bool) {
    let events = Mutex::new(Vec::new());
    let note = |event: CopyEvent| events.lock().expect("no panic").push(event);
    let tags = [
        reference(&format!("{host}/other/app:1")),
        reference(&format!("{host}/other/app:2")),
    ];
    let copied = copy_image(place, tag, place, &tags, &note).expect("copied");
    assert_eq!(copied, *image.digest());
    let copied = place
        .image(&tags[1], &Platform::linux_amd64())
        .expect("asked")
        .expect("there");
    assert_eq!(copied.manifest_json(), image.manifest_json());
    assert!(validate(place, &tags[1], &copied).is_empty());
    let happened = std::mem::take(&mut *events.lock().expect("no panic"));
    // Where blobs can be mounted, the config is as well as the two layers.
    assert_eq!(happened.len(), if mounts { 3 } else { 2 });
    assert!(
        !mounts || happened.iter().all(|event| matches!(event, CopyEvent::Mounted(_))),
        "{happened:?}"
    );
    copy_image(place, tag, place, &tags, &note).expect("copied again");
    let happened = events.into_inner().expect("no panic");
    assert!(
        happened.iter().all(|event| matches!(event, CopyEvent::Present(_))),
        "{happened:?}"
    );

    let missing = copy_image(place, &reference(&format!("{host}/team/none:1")), place, &tags, &|_| {});
    assert!(matches!(missing, Err(CopyError::NotFound { .. })));
    let scattered = [tags[0].clone(), reference(&format!("{host}/third/app:1"))];
    assert!(matches!(
        copy_image(place, tag, place, &scattered, &|_| {}),
        Err(CopyError::Tags { .. })
    ));
}

fn blobs(place: &dyn Place, host: &str) {
    let tag = reference(&format!("{host}/blobs/x:1"));
    let (bytes, repository) = (noise(100_000), tag.repository());
    let digest = digest_of(&bytes);
    assert!(!place.has_blob(repository, &digest).expect("asked"));

    // Unfinished: nothing remains.
    let mut blob = place.start_blob(repository).expect("started");
    blob.write_all(&bytes).expect("written");
    drop(blob);
    assert!(!place.has_blob(repository, &digest).expect("asked"));

    // Other bytes than promised: refused.
    let mut blob = place.start_blob(repository).expect("started");
    blob.write_all(b"other").expect("written");
    assert!(blob.finish(&digest).is_err());
    assert!(!place.has_blob(repository, &digest).expect("asked"));

    place
        .push_blob(repository, &digest, bytes.len() as u64, &mut || {
            Ok(Box::new(std::io::Cursor::new(bytes.clone())))
        })
        .expect("pushed");
    assert!(place.has_blob(repository, &digest).expect("asked"));
    let layer = Descriptor::new(media_type::OCI_LAYER, digest.clone(), bytes.len() as u64);
    let mut back = Vec::new();
    place
        .layer(&tag, &layer)
        .expect("opened")
        .read_to_end(&mut back)
        .expect("read");
    assert_eq!(back, bytes);

    let missing = Descriptor::new(media_type::OCI_LAYER, digest_of(b"nothing"), 7);
    assert!(place.layer(&tag, &missing).is_err());
}

fn indexes(place: &dyn Place, host: &str, image: &Image) {
    let tag = reference(&format!("{host}/team/app:index"));
    let entry = |architecture: &str, digest| {
        serde_json::json!({"mediaType": image.media_type(), "size": image.manifest_json().len(), "digest": digest,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": media_type::OCI_INDEX,
        "manifests": [entry("amd64", image.digest().as_str())]});
    let json = serde_json::to_vec(&index).expect("JSON");
    place.put_manifest(&tag, media_type::OCI_INDEX, &json).expect("pushed");
    let found = place
        .image(&tag, &Platform::linux_amd64())
        .expect("asked")
        .expect("there");
    assert_eq!(found.digest(), image.digest(), "the digest is the child's");
    let error = place.image(&tag, &Platform::linux("arm64")).expect_err("no such child");
    assert!(matches!(error, ImageError::Invalid { .. }), "{error}");
}

#[test]
fn memory_is_a_place_for_images() {
    suite(&MemoryStore::new(), "registry.example", true);
}

#[test]
fn a_directory_is_a_place_for_images() {
    let dir = tempfile::tempdir().expect("temp dir");
    suite(
        &LayoutStore::create(dir.path().join("new/layout")).expect("created"),
        "registry.example",
        false,
    );
}

#[test]
fn a_registry_is_a_place_for_images() {
    let registry = test_support::Registry::start().expect("docker-registry runs");
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("a client");
    suite(&RegistryStore::new(client), &registry.host(), true);
}

#[test]
fn a_blob_of_a_layout_that_changed_on_disk_is_noticed() {
    let dir = tempfile::tempdir().expect("temp dir");
    let store = LayoutStore::create(dir.path()).expect("created");
    let tag = reference("registry.example/team/app:1");
    let image = push_sample(&store, &tag, b"content");
    let layer = &image.layers()[1].descriptor;
    let path = dir.path().join("blobs/sha256").join(layer.digest.hex());
    let mut bytes = std::fs::read(&path).expect("there");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).expect("written");
    let error = std::io::copy(&mut store.layer(&tag, layer).expect("opened"), &mut std::io::sink());
    assert_eq!(error.expect_err("other bytes").kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(validate(&store, &tag, &image).len(), 1);
}

#[test]
fn a_directory_with_other_files_is_not_made_a_layout() {
    let dir = tempfile::tempdir().expect("temp dir");
    std::fs::write(dir.path().join("precious"), "").expect("written");
    assert!(matches!(
        LayoutStore::create(dir.path()),
        Err(ImageError::NotALayout { .. })
    ));
    assert!(matches!(
        LayoutStore::open(dir.path()),
        Err(ImageError::NotALayout { .. })
    ));
}

#[test]
fn tags_of_several_writers_are_all_kept() {
    let dir = tempfile::tempdir().expect("temp dir");
    let first = LayoutStore::create(dir.path()).expect("created");
    let image = push_sample(&first, &reference("registry.example/team/app:0"), b"content");
    std::thread::scope(|scope| {
        for number in 1..5 {
            let (image, dir) = (&image, dir.path());
            scope.spawn(move || {
                // Opened anew, as another process would.
                let store = LayoutStore::open(dir).expect("opened");
                let tag = reference(&format!("registry.example/team/app:{number}"));
                push_image(&store, image, tag.repository(), std::slice::from_ref(&tag)).expect("pushed");
            });
        }
    });
    assert_eq!(first.index().expect("readable").manifests.len(), 5);
}
