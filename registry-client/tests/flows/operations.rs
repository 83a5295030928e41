//! The recorded operations, composed of those of the client.

use std::io::{self, Read};

use registry_auth::{Digest, Reference, Repository};
use registry_client::{Client, RegistryError};
use serde_json::{Value, json};

use crate::{
    documents::{Documents, Image, digest, media_type},
    stage::Stage,
};

/// What was read, as in the recorded results; or why not.
pub(crate) type Outcome = Result<Value, Failure>;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Option<u64>,
    pub(crate) codes: Vec<String>,
    pub(crate) text: String,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self {
            status: error.status().map(u64::from),
            codes: error.codes().into_iter().map(str::to_owned).collect(),
            text: error.to_string(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            status: None,
            codes: Vec::new(),
            text: error.to_string(),
        }
    }
}

fn not_found() -> Failure {
    Failure {
        status: Some(404),
        codes: Vec::new(),
        text: "not found".to_owned(),
    }
}

fn push_blob(client: &Client, to: &Repository, bytes: &[u8], streamed: bool) -> Result<(), RegistryError> {
    if streamed {
        let upload = client.stream_blob(to, io::Cursor::new(bytes.to_vec()))?;
        return upload.finish(&digest(bytes));
    }
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    client.push_blob(to, &digest(bytes), bytes.len() as u64, &mut open)
}

/// Pushes an image as the reference does: nothing if it is there, else blobs, then the manifest.
///
/// `streamed` blobs go in a `PATCH`, as those of unknown size do.
fn write(client: &Client, reference: &Reference, image: &Image, streamed: bool) -> Outcome {
    let wanted = digest(image.manifest.as_bytes());
    // Whoever may push may have no right to look.
    match client.head(reference) {
        Ok(Some(found)) if found.digest == wanted => return Ok(json!({})),
        Ok(_) => {}
        Err(error) if error.status() == Some(403) => {}
        Err(error) => return Err(error.into()),
    }
    for blob in image.blobs() {
        push_blob(client, reference.repository(), blob.as_bytes(), streamed)?;
    }
    put(client, reference, &image.manifest)
}

fn put(client: &Client, reference: &Reference, document: &str) -> Outcome {
    let pushed = client.push_manifest(reference, &media_type(document), document.as_bytes())?;
    Ok(json!({"digest": pushed}))
}

/// Pushes an index with the images that it holds, each under its digest.
fn write_index(client: &Client, reference: &Reference, images: &[&Image], index: &str) -> Outcome {
    let wanted = digest(index.as_bytes());
    if client.head(reference)?.is_some_and(|found| found.digest == wanted) {
        return Ok(json!({}));
    }
    for image in images {
        write(
            client,
            &reference.with_digest(&digest(image.manifest.as_bytes())),
            image,
            false,
        )?;
    }
    put(client, reference, index)
}

/// Adds a layer to an image of `from`; what it has is mounted, or copied when it can't be.
fn append(client: &Client, from: &Reference, to: &Reference, layer: &str, documents: &Documents) -> Outcome {
    let base = client.manifest(from)?.ok_or_else(not_found)?;
    let base = String::from_utf8(base.bytes).expect("a manifest is text");
    let document: Value = serde_json::from_str(&base).map_err(io::Error::from)?;
    let config = document["config"]["digest"].as_str().ok_or_else(not_found)?;
    read(client, from.repository(), config)?;
    let image = documents.appended(&base, layer);
    for part in document["layers"].as_array().into_iter().flatten() {
        take(client, from.repository(), to.repository(), part)?;
    }
    let inherited = |blob: &str| base.contains(digest(blob.as_bytes()).as_str());
    for blob in image.blobs().into_iter().filter(|blob| !inherited(blob)) {
        push_blob(client, to.repository(), blob.as_bytes(), false)?;
    }
    put(client, to, &image.manifest)
}

/// Makes a blob of one repository one of another.
fn take(client: &Client, from: &Repository, to: &Repository, part: &Value) -> Result<(), Failure> {
    let digest: Digest = part["digest"].as_str().expect("a text").parse().expect("a digest");
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(client.blob(from, &digest)?)) };
    let size = part["size"].as_u64().expect("a size");
    if from.registry() != to.registry() {
        return Ok(client.push_new_blob(to, &digest, size, &mut open)?);
    }
    if client.has_blob(to, &digest)?.is_some() || client.mount_blob(from, to, &digest)? {
        return Ok(());
    }
    Ok(client.push_blob(to, &digest, size, &mut open)?)
}

/// Writes as kpack does: nothing when the tag holds it, else the image, and a second tag that tells when.
fn kpack_save(client: &Client, reference: &Reference, image: &Image) -> Outcome {
    let wanted = digest(image.manifest.as_bytes());
    if client.head(reference)?.is_none_or(|found| found.digest != wanted) {
        write(client, reference, image, false)?;
        put(
            client,
            &reference.with_tag("20260101000000").expect("a tag"),
            &image.manifest,
        )?;
    }
    Ok(json!({"identifier": format!("{reference}@{wanted}")}))
}

fn read(client: &Client, repository: &Repository, digest: &str) -> Result<usize, Failure> {
    let mut bytes = Vec::new();
    let mut blob = client.blob(repository, &digest.parse().expect("a digest"))?;
    blob.read_to_end(&mut bytes)?;
    Ok(bytes.len())
}

fn image(client: &Client, reference: &Reference, step: &Value) -> Outcome {
    let mut manifest = client.manifest(reference)?.ok_or_else(not_found)?;
    let mut document: Value = serde_json::from_slice(&manifest.bytes).map_err(io::Error::from)?;
    if let Some(children) = document["manifests"].as_array() {
        let arch = step["arch"].as_str().unwrap_or("amd64");
        let child = children
            .iter()
            .find(|child| child["platform"]["architecture"] == arch)
            .ok_or_else(not_found)?;
        let child = child["digest"].as_str().expect("a text").parse().expect("a digest");
        manifest = client.manifest(&reference.with_digest(&child))?.ok_or_else(not_found)?;
        document = serde_json::from_slice(&manifest.bytes).map_err(io::Error::from)?;
    }
    read(
        client,
        reference.repository(),
        document["config"]["digest"].as_str().ok_or_else(not_found)?,
    )?;
    let mut size = 0;
    for layer in document["layers"].as_array().into_iter().flatten() {
        if step["read_layers"] == true {
            let digest = layer["digest"].as_str().expect("a text");
            size += read(client, reference.repository(), digest)?;
        }
    }
    Ok(json!({"digest": manifest.digest, "layer_bytes": size}))
}

fn copy(client: &Client, from: &Reference, to: &Reference) -> Outcome {
    let manifest = client.manifest(from)?.ok_or_else(not_found)?;
    let document: Value = serde_json::from_slice(&manifest.bytes).map_err(io::Error::from)?;
    let layers = document["layers"].as_array().into_iter().flatten();
    for part in layers.chain([&document["config"]]) {
        take(client, from.repository(), to.repository(), part)?;
    }
    let pushed = client.push_manifest(to, &manifest.media_type, &manifest.bytes)?;
    Ok(json!({"digest": pushed}))
}

/// Does one recorded step.
pub(crate) fn run(client: &Client, step: &Value, stage: &Stage, documents: &Documents) -> Outcome {
    let name = stage.fill(step["ref"].as_str().unwrap_or_default());
    let op = step["op"].as_str().unwrap_or_default();
    if op == "list" {
        let repository = name.parse().expect("a repository");
        let tags = match step["page_size"].as_u64().map(u32::try_from) {
            Some(size) => client.tags_by(&repository, size.expect("it is small"))?,
            None => client.tags(&repository)?,
        };
        return Ok(json!({"tags": tags}));
    }
    if op == "catalog" {
        return Ok(json!({"repositories": client.repositories(&name.parse().expect("a registry"))?}));
    }
    if op == "multi_write" {
        let (refs, images) = (step["refs"].as_array(), step["images"].as_array());
        for (name, image) in refs.into_iter().flatten().zip(images.into_iter().flatten()) {
            let name = stage.fill(name.as_str().expect("a text"));
            write(
                client,
                &Reference::parse(&name).expect("a name"),
                documents.image(image),
                false,
            )?;
        }
        return Ok(json!({}));
    }
    let reference = Reference::parse(&name).map_err(io::Error::other)?;
    let from = || Reference::parse(&stage.fill(step["from"].as_str().unwrap_or_default())).expect("a name");
    let known = || documents.image(&step["image"]);
    match op {
        "head" => {
            let found = client.head(&reference)?.ok_or_else(not_found)?;
            Ok(json!({"digest": found.digest, "size": found.size, "media_type": found.media_type}))
        }
        "get" | "index" => {
            let found = client.manifest(&reference)?.ok_or_else(not_found)?;
            if op == "index" && !found.is_index() {
                return Err(io::Error::other(format!("{} is no index", found.media_type)).into());
            }
            Ok(json!({"digest": found.digest, "size": found.bytes.len(), "media_type": found.media_type}))
        }
        "image" => image(client, &reference, step),
        "layer" => {
            let size = read(client, reference.repository(), reference.identifier().as_str())?;
            Ok(json!({"bytes": size}))
        }
        "delete" => Ok(client.delete(&reference).map(|()| json!({}))?),
        "verify_write" => Ok(client.check_write(reference.repository()).map(|()| json!({}))?),
        "verify_read" => Ok(client.check_read(&reference).map(|()| json!({}))?),
        "write" => write(client, &reference, known(), step["streamed"] == true),
        "put" | "tag" => put(client, &reference, &known().manifest),
        "write_layer" => {
            let layer = step["layer"].as_str().expect("a text");
            Ok(push_blob(client, reference.repository(), layer.as_bytes(), false).map(|()| json!({}))?)
        }
        "copy" => copy(client, &from(), &reference),
        "append" => {
            let layer = step["layer"].as_str().expect("a text");
            append(client, &from(), &reference, layer, documents)
        }
        "write_index" => {
            let images = step["images"].as_array().into_iter().flatten();
            let images: Vec<_> = images.map(|image| documents.image(image)).collect();
            write_index(client, &reference, &images, documents.index(&images))
        }
        "referrers" => {
            let subject = reference.digest().expect("a digest");
            Ok(json!({"count": client.referrers(reference.repository(), subject)?.len()}))
        }
        "kpack_save" => kpack_save(client, &reference, known()),
        "kpack_fetch" => {
            let found = client.manifest(&reference)?.ok_or_else(not_found)?;
            Ok(json!({"identifier": format!("{}@{}", reference.repository(), found.digest)}))
        }
        other => panic!("unknown operation {other}"),
    }
}
