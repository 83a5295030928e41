//! What this client pushes, skopeo understands, and the other way round.

use std::{
    io::{self, Read},
    process::Command,
    sync::Arc,
};

use registry_auth::{AnonymousKeychain, Digest, Reference, Repository};
use registry_client::{Client, HttpPolicy};
use sha2::{Digest as _, Sha256};
use test_support::{Program, Registry, require};

fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new("skopeo").args(arguments).output().expect("skopeo starts");
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {words}");
    String::from_utf8(output.stdout).expect("it is text")
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

fn push(client: &Client, to: &Repository, bytes: &[u8]) -> Digest {
    let digest = digest(bytes);
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    client
        .push_blob(to, &digest, bytes.len() as u64, &mut open)
        .expect("the blob is pushed");
    digest
}

#[test]
fn an_image_goes_from_this_client_through_skopeo_and_back() {
    require(&[Program::new("skopeo", "skopeo")]).expect("skopeo is there");
    let registry = Registry::start().expect("docker-registry starts");
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("the policy is good");
    let ours: Repository = format!("{}/team/ours", registry.host()).parse().expect("a repository");

    // Two empty blocks are an empty tar.
    let layer = vec![0; 1024];
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"made":"here"}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        digest(&layer)
    );
    let (layer_digest, config_digest) = (push(&client, &ours, &layer), push(&client, &ours, config.as_bytes()));
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{config_digest}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":1024,"digest":"{layer_digest}"}}]}}"#,
        config.len()
    );
    let reference = Reference::tagged(&ours, "v1").expect("a tag");
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let pushed = client
        .push_manifest(&reference, media_type, manifest.as_bytes())
        .expect("the manifest is pushed");

    let (from, to) = (
        format!("docker://{ours}:v1"),
        format!("docker://{}/team/theirs:v1", registry.host()),
    );
    let shown = skopeo(&["inspect", "--tls-verify=false", &from]);
    assert!(
        shown.contains(pushed.as_str()) && shown.contains("\"made\": \"here\""),
        "{shown}"
    );
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--dest-compress=false",
        &from,
        &to,
    ]);

    let theirs: Repository = format!("{}/team/theirs", registry.host())
        .parse()
        .expect("a repository");
    let copied = client.manifest(&Reference::tagged(&theirs, "v1").expect("a tag"));
    let copied = copied.expect("it answers").expect("it is there");
    let document: serde_json::Value = serde_json::from_slice(&copied.bytes).expect("JSON");
    let config_digest = document["config"]["digest"]
        .as_str()
        .expect("a text")
        .parse()
        .expect("a digest");
    let mut found = String::new();
    let blob = client.blob(&theirs, &config_digest);
    blob.expect("it is there")
        .read_to_string(&mut found)
        .expect("it is whole");
    assert_eq!(found, config);
    for layer in document["layers"].as_array().expect("there are layers") {
        let digest = layer["digest"].as_str().expect("a text").parse().expect("a digest");
        let read = io::copy(
            &mut client.blob(&theirs, &digest).expect("it is there"),
            &mut io::sink(),
        );
        assert_eq!(read.ok(), layer["size"].as_u64());
    }
}
