//! What this client pushes, skopeo understands, and the other way round.

use std::{fs, path::Path, process::Command};

use registry_auth::Repository;
use registry_client::Client;
use serde_json::Value;
use test_support::{Authority, Program, Registry, RegistryOptions, TokenServer, require};

use crate::image::{
    MANIFEST, anonymous, at, client_of, digest, policy, pull_image, push, push_image, read, tagged, try_push_image,
};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn skopeo(arguments: &[&str]) -> String {
    require(&[Program::new("skopeo", "skopeo")]).expect("skopeo is there");
    let output = Command::new("skopeo").args(arguments).output().expect("skopeo starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {words}");
    String::from_utf8(output.stdout).expect("it is text")
}

fn plain_copy(more: &[&str], from: &str, to: &str) {
    let always = [
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--preserve-digests",
    ];
    skopeo(&[&always, more, &[from, to]].concat());
}

fn config_of(client: &Client, repository: &Repository, tag: &str) -> Value {
    let manifest = client
        .manifest(&tagged(repository, tag))
        .expect("it answers")
        .expect("it is there");
    let document: Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
    let digest = document["config"]["digest"]
        .as_str()
        .expect("a text")
        .parse()
        .expect("a digest");
    serde_json::from_slice(&read(client, repository, &digest)).expect("JSON")
}

#[test]
fn an_image_goes_from_this_client_through_skopeo_and_back() {
    let registry = Registry::start().expect("docker-registry starts");
    let (ours, theirs) = (at(&registry.host(), "team/ours"), at(&registry.host(), "team/theirs"));
    let pushed = push_image(&anonymous(), &ours, "v1");
    let (from, to) = (format!("docker://{ours}:v1"), format!("docker://{theirs}:v1"));
    let shown: Value = serde_json::from_str(&skopeo(&["inspect", "--tls-verify=false", &from])).expect("JSON");
    assert_eq!(
        (&shown["Digest"], &shown["Labels"]["made"]),
        (&pushed.to_string().into(), &"here".into())
    );
    plain_copy(&[], &from, &to);
    let copied = anonymous()
        .head(&tagged(&theirs, "v1"))
        .expect("it answers")
        .expect("it is there");
    assert_eq!(copied.digest, pushed);
    assert!(pull_image(&anonymous(), &tagged(&theirs, "v1")).is_ok());
    assert_eq!(
        config_of(&anonymous(), &theirs, "v1"),
        config_of(&anonymous(), &ours, "v1")
    );
}

#[test]
fn a_streamed_layer_and_a_mounted_one_are_what_skopeo_reads() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, base, app) = (
        anonymous(),
        at(&registry.host(), "base/run"),
        at(&registry.host(), "team/app"),
    );
    // Three parts of an upload; a tar may end in as many empty blocks as it likes.
    let layer = vec![0; 2 * (1 << 20) + 512];
    let mut upload = client.start_upload(&base).expect("an upload");
    std::io::Write::write_all(&mut upload, &layer).expect("it is taken");
    upload.finish(&digest(&layer)).expect("it is closed");
    assert!(client.mount_blob(&base, &app, &digest(&layer)).expect("it answers"));
    let image = try_push_image(&client, &app, "v1", &layer).expect("it is pushed");
    let folder = tempfile::tempdir().expect("a directory");
    plain_copy(
        &[],
        &format!("docker://{app}:v1"),
        &format!("oci:{}:v1", folder.path().display()),
    );
    let blob = folder.path().join("blobs/sha256").join(digest(&layer).hex());
    assert!(fs::read(blob).expect("it is there") == layer);
    assert!(folder.path().join("blobs/sha256").join(image.hex()).exists());
}

/// Writes an OCI layout of an index with an image for each architecture.
fn layout(folder: &Path) -> String {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory");
    let put = |bytes: &[u8]| {
        let digest = digest(bytes);
        fs::write(blobs.join(digest.hex()), bytes).expect("it is written");
        (digest, bytes.len())
    };
    let mut children = Vec::new();
    for arch in ["amd64", "arm64"] {
        let mut layer = vec![0; 1024];
        layer.resize(if arch == "amd64" { 1024 } else { 2048 }, 0);
        let (layer, size) = put(&layer);
        let config =
            format!(r#"{{"architecture":"{arch}","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer}"]}}}}"#);
        let (config, config_size) = put(config.as_bytes());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{config_size},"digest":"{config}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{size},"digest":"{layer}"}}]}}"#
        );
        let (manifest, size) = put(manifest.as_bytes());
        children.push(format!(
            r#"{{"mediaType":"{MANIFEST}","size":{size},"digest":"{manifest}","platform":{{"architecture":"{arch}","os":"linux"}}}}"#
        ));
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
        children.join(",")
    );
    let (index, size) = put(index.as_bytes());
    let top = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"{INDEX}","size":{size},"digest":"{index}","annotations":{{"org.opencontainers.image.ref.name":"v1"}}}}]}}"#
    );
    fs::write(folder.join("index.json"), top).expect("it is written");
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("it is written");
    index.to_string()
}

#[test]
fn an_index_that_skopeo_pushes_is_pulled_child_by_child() {
    let registry = Registry::start().expect("docker-registry starts");
    let folder = tempfile::tempdir().expect("a directory");
    let index = layout(folder.path());
    let repository = at(&registry.host(), "team/many");
    plain_copy(
        &["--all"],
        &format!("oci:{}:v1", folder.path().display()),
        &format!("docker://{repository}:v1"),
    );
    let found = anonymous()
        .manifest(&tagged(&repository, "v1"))
        .expect("it answers")
        .expect("it is there");
    assert_eq!((found.media_type.as_str(), found.digest.to_string()), (INDEX, index));
    let document: Value = serde_json::from_slice(&found.bytes).expect("JSON");
    for child in document["manifests"].as_array().expect("there are children") {
        let digest = child["digest"].as_str().expect("a text").parse().expect("a digest");
        assert!(pull_image(&anonymous(), &tagged(&repository, "v1").with_digest(&digest)).is_ok());
    }
}

#[test]
fn an_index_that_this_client_pushes_is_copied_whole_by_skopeo() {
    let registry = Registry::start().expect("docker-registry starts");
    let (client, from, to) = (
        anonymous(),
        at(&registry.host(), "team/from"),
        at(&registry.host(), "team/to"),
    );
    let mut children = Vec::new();
    for size in [1024, 2048] {
        let digest = try_push_image(&client, &from, "part", &vec![0; size]).expect("it is pushed");
        let manifest = client
            .head(&tagged(&from, "part"))
            .expect("it answers")
            .expect("it is there");
        let arch = if size == 1024 { "amd64" } else { "arm64" };
        children.push(format!(
            r#"{{"mediaType":"{MANIFEST}","size":{},"digest":"{digest}","platform":{{"architecture":"{arch}","os":"linux"}}}}"#,
            manifest.size.expect("a size")
        ));
    }
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#,
        children.join(",")
    );
    let pushed = client
        .push_manifest(&tagged(&from, "v1"), INDEX, index.as_bytes())
        .expect("it is pushed");
    plain_copy(&["--all"], &format!("docker://{from}:v1"), &format!("docker://{to}:v1"));
    let copied = client
        .manifest(&tagged(&to, "v1"))
        .expect("it answers")
        .expect("it is there");
    assert_eq!((copied.digest, copied.bytes.as_slice()), (pushed, index.as_bytes()));
}

#[test]
fn with_tokens_and_tls_both_get_on_with_the_registry_and_with_each_other() {
    let authority = Authority::new().expect("an authority");
    let tokens = TokenServer::with_options(&test_support::TokenServerOptions {
        tls: Some(&authority),
        ..Default::default()
    });
    let tokens = tokens.expect("a token server");
    let registry = Registry::with_options(&RegistryOptions {
        tls: Some(&authority),
        token_server: Some(&tokens),
        ..RegistryOptions::default()
    });
    let registry = registry.expect("docker-registry starts");
    let folder = tempfile::tempdir().expect("a directory");
    fs::write(folder.path().join("ca.crt"), authority.pem()).expect("it is written");
    let certificates = folder.path().display().to_string();
    let (ours, theirs) = (at(&registry.host(), "team/ours"), at(&registry.host(), "team/theirs"));
    let policy = registry_client::HttpPolicy {
        extra_ca_pems: vec![authority.pem().as_bytes().to_vec()],
        ..policy()
    };
    let client = client_of(policy, &ours, "user", "pass");
    let image = push_image(&client, &ours, "v1");
    let login = ["--src-creds=user:pass", "--dest-creds=user:pass"];
    let trust = [
        format!("--src-cert-dir={certificates}"),
        format!("--dest-cert-dir={certificates}"),
    ];
    let (from, to) = (format!("docker://{ours}:v1"), format!("docker://{theirs}:v1"));
    skopeo(&[
        "copy",
        login[0],
        login[1],
        &trust[0],
        &trust[1],
        "--preserve-digests",
        &from,
        &to,
    ]);
    let copied = client
        .head(&tagged(&theirs, "v1"))
        .expect("it answers")
        .expect("it is there");
    assert_eq!(copied.digest, image);
    assert!(pull_image(&client, &tagged(&theirs, "v1")).is_ok());
    assert!(!push(&client, &theirs, b"more").hex().is_empty());
}
