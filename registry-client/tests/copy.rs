//! The example `copy` with indexes that somebody made to keep it busy.

mod example;

use std::{
    io::{self, Read},
    process::{Command, Output},
    sync::Arc,
};

use registry_auth::{AnonymousKeychain, Digest, Reference, Repository};
use registry_client::{Client, HttpPolicy};
use serde_json::{Value, json};
use test_support::{FaultProxy, Registry};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Source {
    registry: Registry,
    client: Client,
    repository: Repository,
}

impl Source {
    fn start() -> Self {
        let registry = Registry::start().expect("docker-registry starts");
        let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("the policy is good");
        let repository = format!("{}/team/app", registry.host()).parse().expect("a repository");
        Self {
            registry,
            client,
            repository,
        }
    }

    fn push(&self, media_type: &str, document: &Value) -> Value {
        let bytes = document.to_string().into_bytes();
        let tag = Reference::tagged(&self.repository, "v1").expect("a tag");
        let digest = self.client.push_manifest(&tag, media_type, &bytes);
        part(media_type, bytes.len(), &digest.expect("it is taken"))
    }

    /// Pushes an image within so many indexes, each of which names the next one twice.
    fn push_doubled(&self, indexes: usize) {
        let config = b"{}";
        let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let digest: Digest = digest.parse().expect("it is that of `{}`");
        let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(config))) };
        let pushed = self
            .client
            .push_blob(&self.repository, &digest, config.len() as u64, &mut open);
        pushed.expect("it is taken");
        let config = part("application/vnd.oci.image.config.v1+json", config.len(), &digest);
        let mut inner = self.push(
            IMAGE,
            &json!({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []}),
        );
        for _ in 0..indexes {
            inner = self.push(
                INDEX,
                &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [inner, inner]}),
            );
        }
    }
}

fn part(media_type: &str, size: usize, digest: &Digest) -> Value {
    json!({"mediaType": media_type, "size": size, "digest": digest.as_str()})
}

fn copy(from: &str, to: &str) -> Output {
    let output = Command::new(example::built("copy"))
        .args([format!("{from}/team/app:v1"), format!("{to}/team/copy:v1")])
        .env_clear()
        .output();
    output.expect("the example runs")
}

#[test]
fn what_an_index_names_twice_is_copied_once() {
    let source = Source::start();
    source.push_doubled(8);
    let proxy = FaultProxy::start(&source.registry.host()).expect("a port");
    let output = copy(&proxy.host(), &source.registry.host());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reads = proxy.requests();
    let reads = reads.iter().filter(|request| request.target.contains("/manifests/"));
    assert_eq!(reads.count(), 9, "the image and eight indexes");
}

#[test]
fn indexes_that_are_too_deep_are_refused() {
    let source = Source::start();
    source.push_doubled(9);
    let host = source.registry.host();
    let output = copy(&host, &host);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(
        told.contains("is within more than 8 indexes, which is too deep"),
        "{told}"
    );
}
