//! The image in a tar file as `docker save` writes it.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufReader, BufWriter, Read, Seek as _, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context as _, bail, ensure};
use cnb_layers::{BlobWriter, Descriptor, ImageTarget as _, LayoutStore, Manifest, media_type};
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use registry_auth::{Digest, Reference};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// The entry that lists the images of such a file.
const LIST: &str = "manifest.json";
/// What a list or configuration may have, in bytes.
const DOCUMENT_LIMIT: u64 = 4 << 20;
/// How many entries a file may have: a layer takes three of them.
const ENTRY_LIMIT: usize = 16_384;
/// How many layers may share one entry by links to links.
const LINK_LIMIT: usize = 8;

/// A tar file whose entries can be read by name; nothing is unpacked, so that no name is a path of this machine.
pub(super) struct SavedTar {
    file: File,
    entries: BTreeMap<String, Entry>,
}

enum Entry {
    Bytes { at: u64, size: u64 },
    Link(String),
}

/// An image of the list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl SavedTar {
    /// Lists the entries of a tar file.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut archive = tar::Archive::new(File::open(path)?);
        let mut entries = BTreeMap::new();
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let Ok(name) = String::from_utf8(entry.path_bytes().into_owned()) else {
                continue;
            };
            // What leads out of the file is no name that an image could use.
            let Some(name) = within("", &name) else { continue };
            let link = || {
                entry
                    .link_name_bytes()
                    .map(|link| String::from_utf8_lossy(&link).into_owned())
            };
            let kind = entry.header().entry_type();
            let held = if kind.is_file() {
                Some(Entry::Bytes {
                    at: entry.raw_file_position(),
                    size: entry.size(),
                })
            } else if kind.is_symlink() {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                link().and_then(|link| within(folder, &link)).map(Entry::Link)
            } else if kind.is_hard_link() {
                link().and_then(|link| within("", &link)).map(Entry::Link)
            } else {
                None
            };
            if let Some(held) = held {
                entries.entry(name).or_insert(held);
            }
            ensure!(entries.len() <= ENTRY_LIMIT, "it has more than {ENTRY_LIMIT} entries");
        }
        let file = archive.into_inner();
        Ok(Self { file, entries })
    }

    /// Whether an entry is there.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whether docker, or a program like it, has saved images here.
    pub(super) fn is_saved_image(&self) -> bool {
        self.has(LIST)
    }

    /// Writes the one image that is there as an OCI layout into `folder`; layers without compression are compressed.
    pub(super) fn write_layout(&self, folder: &Path) -> anyhow::Result<LayoutStore> {
        let list: Vec<Listed> =
            serde_json::from_slice(&self.document(LIST)?).context("its manifest.json is not one")?;
        let [listed] = &list[..] else {
            bail!("it must hold one image, and holds {}", list.len())
        };
        let config_json = self.document(&listed.config)?;
        let config: Config = serde_json::from_slice(&config_json).context("its image has no configuration")?;
        let diff_ids = config.rootfs.diff_ids;
        let (wanted, found) = (diff_ids.len(), listed.layers.len());
        ensure!(
            wanted == found,
            "its configuration has {wanted} layers, and its list {found}"
        );

        let layout = LayoutStore::create(folder)?;
        let reference: Reference = "local/image:latest".parse()?;
        let mut layers = Vec::with_capacity(found);
        for (name, diff_id) in listed.layers.iter().zip(&diff_ids) {
            let mut blob = Hashed::new(layout.start_blob(reference.repository())?);
            let actual = self
                .write_layer(name, &mut blob)
                .with_context(|| format!("cannot read its layer {name}"))?;
            ensure!(actual == *diff_id, "its layer {name} is not {diff_id}, but {actual}");
            layers.push(blob.finish(media_type::DOCKER_LAYER_GZIP)?);
        }
        let mut blob = Hashed::new(layout.start_blob(reference.repository())?);
        blob.write_all(&config_json)?;
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::DOCKER_MANIFEST.to_owned(),
            config: blob.finish(media_type::DOCKER_CONFIG)?,
            layers,
            annotations: BTreeMap::new(),
            subject: None,
            artifact_type: String::new(),
            unknown: BTreeMap::new(),
        };
        layout.put_manifest(&reference, media_type::DOCKER_MANIFEST, &manifest.to_json())?;
        Ok(layout)
    }

    /// Writes a layer as gzip, as it is if it is that already, and returns its diff id.
    fn write_layer(&self, name: &str, blob: &mut impl Write) -> anyhow::Result<Digest> {
        let mut start = Vec::new();
        self.entry(name)?.take(2).read_to_end(&mut start)?;
        let mut content = Hashed::new(io::sink());
        if start == [0x1f, 0x8b] {
            io::copy(&mut self.entry(name)?, blob)?;
            io::copy(
                &mut MultiGzDecoder::new(BufReader::new(self.entry(name)?)),
                &mut content,
            )?;
        } else {
            let mut gzip = GzEncoder::new(BufWriter::new(blob), Compression::default());
            let mut tar = self.entry(name)?;
            let mut block = vec![0; 64 << 10];
            loop {
                let read = tar.read(&mut block)?;
                if read == 0 {
                    break;
                }
                content.write_all(&block[..read])?;
                gzip.write_all(&block[..read])?;
            }
            gzip.finish()?.flush()?;
        }
        Ok(content.digest())
    }

    fn document(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let entry = self.entry(name)?;
        ensure!(
            entry.left <= DOCUMENT_LIMIT,
            "its {name} is larger than {DOCUMENT_LIMIT} bytes"
        );
        let mut document = Vec::new();
        let mut entry = entry;
        entry
            .read_to_end(&mut document)
            .with_context(|| format!("cannot read its {name}"))?;
        Ok(document)
    }

    /// The content of an entry that the list or a configuration names.
    fn entry(&self, name: &str) -> anyhow::Result<Content<'_>> {
        let mut place = within("", name).with_context(|| format!("it names {name:?}, which is outside of it"))?;
        for _ in 0..LINK_LIMIT {
            match self.entries.get(&place) {
                Some(Entry::Bytes { at, size }) => {
                    return Ok(Content {
                        file: &self.file,
                        at: *at,
                        left: *size,
                    });
                }
                Some(Entry::Link(target)) => place.clone_from(target),
                None => bail!("it names {name:?}, which it does not hold"),
            }
        }
        bail!("its entry {name:?} is a link without end")
    }
}

/// The name that `path` has when seen from `folder`; `None` when it leads out of the file.
fn within(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The bytes of an entry; a file that ends before them is an error.
struct Content<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        self.file.seek(SeekFrom::Start(self.at))?;
        let read = self.file.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

/// Hashes and counts what is written.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W> Hashed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
    }

    fn digest(&self) -> Digest {
        Digest::from_sha256_bytes(self.hash.clone().finalize().into())
    }
}

impl Hashed<Box<dyn BlobWriter>> {
    fn finish(self, media_type: &str) -> anyhow::Result<Descriptor> {
        let digest = self.digest();
        self.inner.finish(&digest)?;
        Ok(Descriptor::new(media_type, digest, self.size))
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Found, local};
    use super::*;

    const LAYER: &[u8] = b"a layer that is no tar";

    fn sha256(bytes: &[u8]) -> String {
        Digest::from_sha256_bytes(Sha256::digest(bytes).into()).to_string()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bytes).expect("memory has room");
        gzip.finish().expect("memory has room")
    }

    /// A configuration of two layers with this content.
    fn config(diff_id: &str) -> Vec<u8> {
        let config = json!({
            "os": "linux", "architecture": "amd64", "config": {"Labels": {"io.buildpacks.stack.id": "acme"}},
            "rootfs": {"type": "layers", "diff_ids": [diff_id, diff_id]},
        });
        config.to_string().into_bytes()
    }

    /// The image in a file with these entries and links beside an empty list of what else there is.
    fn saved(list: &Value, entries: &[(&str, &[u8])], links: &[(&str, &str)]) -> anyhow::Result<Found> {
        let file = tempfile::NamedTempFile::new()?;
        let mut tar = tar::Builder::new(file.reopen()?);
        let list = list.to_string().into_bytes();
        for (name, bytes) in entries.iter().chain([&("manifest.json", &list[..])]) {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, *bytes)?;
        }
        for (name, target) in links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, name, target)?;
        }
        tar.into_inner()?.flush()?;
        local(file.path())
    }

    fn says(found: anyhow::Result<Found>) -> String {
        match found {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn an_image_that_docker_saved_is_read_with_plain_compressed_and_linked_layers() {
        let (config, gzip) = (config(&sha256(LAYER)), gzip(LAYER));
        let list = json!([{"Config": "c.json", "RepoTags": null, "Layers": ["a/layer.tar", "b/layer.tar"]}]);
        let plain = saved(
            &list,
            &[("c.json", &config), ("a/layer.tar", LAYER)],
            &[("b/layer.tar", "../a/layer.tar")],
        );
        let compressed = saved(
            &list,
            &[("c.json", &config), ("a/layer.tar", &gzip), ("b/layer.tar", &gzip)],
            &[],
        );
        for found in [plain, compressed] {
            let found = found.expect("it is an image");
            assert_eq!(found.image.label("io.buildpacks.stack.id"), Some("acme"));
            let layers = &found.image.manifest().layers;
            assert_eq!(layers.len(), 2);
            for layer in layers {
                let blob = found.source.layer(&found.reference, layer).expect("the blob is there");
                let mut content = Vec::new();
                MultiGzDecoder::new(blob).read_to_end(&mut content).expect("it is gzip");
                assert_eq!(content, LAYER);
            }
        }
        let found = saved(
            &list,
            &[("c.json", &config), ("a/layer.tar", &gzip), ("b/layer.tar", &gzip)],
            &[],
        );
        let found = found.expect("it is an image");
        assert_eq!(
            found.image.manifest().layers[0].digest.to_string(),
            sha256(&gzip),
            "it stays as it is"
        );
    }

    #[test]
    fn a_saved_image_that_names_what_is_not_its_own_is_refused() {
        let good = config(&sha256(LAYER));
        let list = |layer: &str| json!([{"Config": "c.json", "Layers": ["a", layer]}]);
        let entries: &[(&str, &[u8])] = &[("c.json", &good), ("a", LAYER)];
        for (layer, links, words) in [
            ("../a", &[][..], "which is outside of it"),
            ("/etc/hostname", &[], "which is outside of it"),
            ("b", &[], "which it does not hold"),
            ("b", &[("b", "/etc/hostname")], "which it does not hold"),
            ("b", &[("b", "../etc/hostname")], "which it does not hold"),
            ("b", &[("b", "b")], "is a link without end"),
        ] {
            let said = says(saved(&list(layer), entries, links));
            assert!(said.contains(words), "{layer} {links:?}: {said}");
        }
    }

    #[test]
    fn a_saved_image_must_be_one_and_what_its_configuration_says() {
        let (good, wrong) = (config(&sha256(LAYER)), config(&sha256(b"")));
        let one = json!({"Config": "c.json", "Layers": ["a", "a"]});
        let large = vec![b' '; usize::try_from(DOCUMENT_LIMIT).expect("it fits") + 1];
        for (list, config, words) in [
            (json!([one]), &good, "accepted"),
            (json!([one, one]), &good, "holds 2"),
            (json!([]), &good, "holds 0"),
            (json!({}), &good, "manifest.json is not one"),
            (json!([one]), &wrong, "is not sha256:"),
            (json!([one]), &large, "is larger than"),
            (
                json!([{"Config": "c.json", "Layers": ["a"]}]),
                &good,
                "has 2 layers, and its list 1",
            ),
        ] {
            let said = says(saved(&list, &[("c.json", config), ("a", LAYER)], &[]));
            assert!(said.contains(words), "{list}: {said}");
        }
    }
}
