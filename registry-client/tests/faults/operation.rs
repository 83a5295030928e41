//! Every operation of the client: what it needs, what it asks, and whether what it gave is right.

use std::io::{self, Read, Write};

use registry_auth::{Digest, Reference, Repository};
use registry_client::{Client, RegistryError};
use test_support::Request;

use crate::place::{at, digest};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// A repository that is only asked for to become known to the registry.
pub(crate) const ELSEWHERE: &str = "no/such";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Head,
    Manifest,
    Blob,
    HasBlob,
    PushBlob,
    StartUpload,
    Stream,
    /// The request that closes a stream.
    Finish,
    PushNew,
    Mount,
    PushManifest,
    Tags,
    Referrers,
    Delete,
    CheckRead,
    CheckWrite,
}

use Operation::{
    Blob, CheckRead, CheckWrite, Delete, Finish, HasBlob, Head, Manifest, Mount, PushBlob, PushManifest, PushNew,
    Referrers, StartUpload, Stream, Tags,
};

pub(crate) const ALL: [Operation; 16] = [
    Head,
    Manifest,
    Blob,
    HasBlob,
    PushBlob,
    StartUpload,
    Stream,
    Finish,
    PushNew,
    Mount,
    PushManifest,
    Tags,
    Referrers,
    Delete,
    CheckRead,
    CheckWrite,
];

/// What one operation works on: bytes that nobody else has, in repositories of its own.
pub(crate) struct Subject {
    blob: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    path: String,
}

impl Subject {
    pub(crate) fn new(name: &str) -> Self {
        // Four parts of an upload.
        let blob: Vec<u8> = name.bytes().cycle().take(3500).collect();
        let config = format!(r#"{{"architecture":"amd64","os":"linux","author":"{name}"}}"#);
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","size":{},"digest":"{}"}},"layers":[]}}"#,
            config.len(),
            digest(config.as_bytes())
        );
        Self {
            blob,
            config: config.into_bytes(),
            manifest: manifest.into_bytes(),
            path: format!("{name}/app"),
        }
    }

    fn base(&self) -> String {
        format!("{}-base", self.path)
    }

    fn index(&self) -> String {
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{MANIFEST}","size":{},"digest":"{}"}}]}}"#,
            self.manifest.len(),
            digest(&self.manifest)
        )
    }

    /// Puts in place what `operation` finds.
    pub(crate) fn prepare(&self, operation: Operation, client: &Client, host: &str) -> Result<(), RegistryError> {
        let repository = at(host, &self.path);
        let image = || -> Result<(), RegistryError> {
            push(client, &repository, &self.config)?;
            client.push_manifest(&tagged(&repository, "v1"), MANIFEST, &self.manifest)?;
            Ok(())
        };
        match operation {
            Head | Manifest | Tags | Delete | CheckRead => image(),
            Blob | HasBlob => push(client, &repository, &self.blob),
            Mount => push(client, &at(host, &self.base()), &self.blob),
            PushManifest => push(client, &repository, &self.config),
            Referrers => {
                image()?;
                let tag = digest(&self.manifest).as_str().replace(':', "-");
                client.push_manifest(&tagged(&repository, &tag), INDEX, self.index().as_bytes())?;
                Ok(())
            }
            PushBlob | StartUpload | Stream | Finish | PushNew | CheckWrite => Ok(()),
        }
    }

    /// Does it, and fails when what is accepted is not what is there. What a registry says itself, without a digest,
    /// can't be checked: `told` is what another one told in its place.
    pub(crate) fn run(&self, operation: Operation, client: &Client, host: &str) -> Result<&'static str, RegistryError> {
        let repository = at(host, &self.path);
        let pinned = Reference::pinned(&repository, &digest(&self.manifest));
        match operation {
            Head => {
                let found = client.head(&pinned)?.expect("it is there");
                assert_eq!(found.digest, digest(&self.manifest));
            }
            Manifest => {
                let found = client.manifest(&pinned)?.expect("it is there");
                assert!(found.bytes == self.manifest, "other bytes are accepted");
            }
            Blob => {
                let found = read(client, &repository, &digest(&self.blob))?;
                assert!(found == self.blob, "other bytes are accepted");
            }
            HasBlob => assert!(client.has_blob(&repository, &digest(&self.blob))?.is_some()),
            PushBlob => push(client, &repository, &self.blob)?,
            StartUpload => {
                let mut upload = client.start_upload(&repository)?;
                upload.write_all(&self.blob).map_err(of_client)?;
                upload.finish(&digest(&self.blob))?;
            }
            Stream | Finish => {
                let upload = client.stream_blob(&repository, io::Cursor::new(self.blob.clone()))?;
                upload.finish(&digest(&self.blob))?;
            }
            PushNew => {
                let (blob, size) = (&self.blob, self.blob.len() as u64);
                let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(blob.clone()))) };
                client.push_new_blob(&repository, &digest(blob), size, &mut open)?;
            }
            Mount => {
                if !client.mount_blob(&at(host, &self.base()), &repository, &digest(&self.blob))? {
                    push(client, &repository, &self.blob)?;
                }
            }
            PushManifest => {
                let pushed = client.push_manifest(&tagged(&repository, "v1"), MANIFEST, &self.manifest)?;
                assert_eq!(pushed, digest(&self.manifest));
            }
            Tags => match client.tags(&repository)?.as_slice() {
                [tag] if tag == "strange" => return Ok("told"),
                tags => assert_eq!(tags, ["v1"]),
            },
            Referrers => {
                let found = client.referrers(&repository, &digest(&self.manifest))?;
                if found == ["strange"] {
                    return Ok("told");
                }
                assert_eq!(found[0]["digest"], digest(&self.manifest).as_str());
            }
            Delete => client.delete(&pinned)?,
            CheckRead => client.check_read(&pinned)?,
            CheckWrite => client.check_write(&repository)?,
        }
        Ok("ok")
    }

    /// Fails when the registry, asked directly, has other than what an operation that ended so should leave there.
    pub(crate) fn check(&self, operation: Operation, succeeded: bool, client: &Client, host: &str) {
        let repository = at(host, &self.path);
        match operation {
            PushBlob | StartUpload | Stream | Finish | PushNew | Mount => {
                let is_there = client
                    .has_blob(&repository, &digest(&self.blob))
                    .expect("it answers")
                    .is_some();
                assert!(is_there || !succeeded, "a blob that was taken is not there");
                if is_there {
                    let found = read(client, &repository, &digest(&self.blob)).expect("it can be read");
                    assert!(found == self.blob, "other bytes were taken");
                }
            }
            PushManifest => {
                let found = client.manifest(&tagged(&repository, "v1")).expect("it answers");
                assert!(found.is_some() || !succeeded, "a manifest that was taken is not there");
                assert!(found.is_none_or(|found| found.bytes == self.manifest));
            }
            Delete if succeeded => {
                let pinned = Reference::pinned(&repository, &digest(&self.manifest));
                assert_eq!(client.head(&pinned).expect("it answers"), None);
            }
            _ => {}
        }
    }
}

impl Operation {
    /// Returns whether a request is the one that the operation is about, and carries a credential.
    pub(crate) fn is_asked_by(self, request: &Request) -> bool {
        let (method, part) = match self {
            Head => ("HEAD", "/manifests/"),
            Manifest | CheckRead => ("GET", "/manifests/sha256:"),
            Blob => ("GET", "/blobs/"),
            HasBlob => ("HEAD", "/blobs/"),
            PushBlob | Finish => ("PUT", "digest="),
            StartUpload | Stream => ("PATCH", "/uploads/"),
            PushNew | Mount => ("POST", "mount="),
            PushManifest => ("PUT", "/manifests/"),
            Tags => ("GET", "/tags/list"),
            // This registry has no referrers; the tag is asked for.
            Referrers => ("GET", "/manifests/sha256-"),
            Delete => ("DELETE", "/manifests/"),
            CheckWrite => ("POST", "/uploads/"),
        };
        request.method == method
            && request.target.contains(part)
            && !request.target.contains(ELSEWHERE)
            && request.header("authorization").is_some()
    }
}

fn tagged(repository: &Repository, tag: &str) -> Reference {
    Reference::tagged(repository, tag).expect("a tag")
}

fn push(client: &Client, repository: &Repository, bytes: &[u8]) -> Result<(), RegistryError> {
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    client.push_blob(repository, &digest(bytes), bytes.len() as u64, &mut open)
}

fn read(client: &Client, repository: &Repository, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
    let mut bytes = Vec::new();
    let mut blob = client.blob(repository, digest)?;
    blob.read_to_end(&mut bytes).map_err(of_client)?;
    Ok(bytes)
}

fn of_client(error: io::Error) -> RegistryError {
    error.downcast::<RegistryError>().expect("it is the client's")
}
