//! Small images to push and pull, and who does it.

use std::{
    io::{self, Read},
    sync::Arc,
};

use registry_auth::{AnonymousKeychain, Credential, Digest, Reference, Repository, StaticKeychain};
use registry_client::{Client, HttpPolicy, RegistryError, RetryPolicy};
use sha2::{Digest as _, Sha256};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Tries nothing again, so that a failure is seen as it is.
pub(crate) fn policy() -> HttpPolicy {
    HttpPolicy {
        retry: RetryPolicy::never(),
        upload_chunk: 1 << 20,
        ..HttpPolicy::default()
    }
}

pub(crate) fn anonymous() -> Client {
    Client::new(policy(), Arc::new(AnonymousKeychain)).expect("the policy is good")
}

/// A client that is `user` at the registry of `repository`.
pub(crate) fn client_of(policy: HttpPolicy, repository: &Repository, user: &str, password: &str) -> Client {
    let credential = Credential::basic(user, password);
    let keychain = StaticKeychain::new().with(repository.registry().clone(), credential);
    Client::new(policy, Arc::new(keychain)).expect("the policy is good")
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

/// Returns repository `path` on a registry.
pub(crate) fn at(host: &str, path: &str) -> Repository {
    format!("{host}/{path}").parse().expect("a repository")
}

pub(crate) fn tagged(repository: &Repository, tag: &str) -> Reference {
    Reference::tagged(repository, tag).expect("a tag")
}

pub(crate) fn try_push(client: &Client, to: &Repository, bytes: &[u8]) -> Result<Digest, RegistryError> {
    let digest = digest(bytes);
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    client.push_blob(to, &digest, bytes.len() as u64, &mut open)?;
    Ok(digest)
}

pub(crate) fn push(client: &Client, to: &Repository, bytes: &[u8]) -> Digest {
    try_push(client, to, bytes).expect("the blob is pushed")
}

pub(crate) fn read(client: &Client, from: &Repository, digest: &Digest) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut blob = client.blob(from, digest).expect("the blob is there");
    blob.read_to_end(&mut bytes).expect("the blob is whole");
    bytes
}

/// Pushes an image whose one layer is `layer` (a tar, not compressed) and returns its digest.
pub(crate) fn try_push_image(
    client: &Client,
    repository: &Repository,
    tag: &str,
    layer: &[u8],
) -> Result<Digest, RegistryError> {
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Labels":{{"made":"here"}}}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        digest(layer)
    );
    let layer_digest = try_push(client, repository, layer)?;
    let config_digest = try_push(client, repository, config.as_bytes())?;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{config_digest}"}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","size":{},"digest":"{layer_digest}"}}]}}"#,
        config.len(),
        layer.len()
    );
    client.push_manifest(&tagged(repository, tag), MANIFEST, manifest.as_bytes())
}

pub(crate) fn push_image(client: &Client, repository: &Repository, tag: &str) -> Digest {
    // Two empty blocks are an empty tar.
    try_push_image(client, repository, tag, &[0; 1024]).expect("the image is pushed")
}

/// Reads a whole image, whose every part is checked against its digest, and returns how many bytes it has.
pub(crate) fn pull_image(client: &Client, reference: &Reference) -> Result<u64, RegistryError> {
    let manifest = client.manifest(reference)?.expect("it is there");
    let document: serde_json::Value = serde_json::from_slice(&manifest.bytes).expect("JSON");
    let mut size = manifest.bytes.len() as u64;
    let layers = document["layers"].as_array().expect("there are layers");
    for part in layers.iter().chain([&document["config"]]) {
        let digest = part["digest"].as_str().expect("a text").parse().expect("a digest");
        let mut blob = client.blob(reference.repository(), &digest)?;
        let read = io::copy(&mut blob, &mut io::sink()).map_err(|error| {
            let error = error.downcast::<RegistryError>();
            error.expect("it is the client's")
        })?;
        assert_eq!(Some(read), part["size"].as_u64());
        size += read;
    }
    Ok(size)
}
