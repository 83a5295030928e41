//! An image whose one layer is a local source.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek as _, Write},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use cap_std::fs::Dir;
use flate2::{Compression, GzBuilder, write::GzEncoder};
use registry_auth::{Digest, Reference, Repository};
use registry_client::Client;
use sha2::{Digest as _, Sha256};

use super::{
    LocalError,
    ignored::{IgnoreFiles, Patterns},
    tar_writer::{self, Entry, WriteError},
    walk::{Sink, Walk, relative},
    zipped,
};
use crate::{
    archive::ArchiveKind,
    limits::{Limits, Spent},
};

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// How a local source is packed.
#[derive(Clone, Debug, Default)]
pub struct LocalOptions {
    /// Which files stay where they are. Of a zip none do.
    pub ignore: IgnoreFiles,
    /// Bounds on files, bytes and path lengths, and cancellation.
    pub limits: Limits,
}

/// An image whose one layer is a directory or zip of this machine, packed and ready to be pushed.
///
/// Equal content gives an equal digest: owners and times are not kept, names are sorted.
///
/// # Examples
/// ```no_run
/// use std::sync::Arc;
/// use registry_auth::{AnonymousKeychain, Reference};
/// use registry_client::{Client, HttpPolicy};
/// use source_fetch::{LocalImage, LocalOptions};
///
/// let image = LocalImage::pack("./web".as_ref(), &LocalOptions::default(), "/tmp".as_ref())?;
/// let destination = Reference::parse("registry.example.com/team/web-source")?;
/// println!("uploading {}", image.reference(&destination));
/// let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain))?;
/// image.push(&client, &destination, &["latest"])?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Specification
/// kp 0.17.1, "Local source upload" (kp.md §4.4). [`fetch_image`](crate::fetch_image) is the way back.
///
/// # Deviation
/// A path that is a link to a directory means that directory; the reference packs nothing then.
#[derive(Debug)]
pub struct LocalImage {
    layer: Arc<File>,
    diff_id: Digest,
    layer_digest: Digest,
    layer_size: u64,
    config: Vec<u8>,
    manifest: Vec<u8>,
    digest: Digest,
    entries: u64,
    left_out: u64,
}

impl LocalImage {
    /// Packs the directory or zip at `path`. The layer is kept in a nameless file of `scratch`.
    ///
    /// # Errors
    /// As [`LocalError`] says; never [`LocalError::Registry`].
    pub fn pack(path: &Path, options: &LocalOptions, scratch: &Path) -> Result<Self, LocalError> {
        let missing = |source| LocalError::Missing {
            path: path.to_owned(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(missing)?;
        let spool = tempfile::tempfile_in(scratch).map_err(LocalError::Spool)?;
        let mut layer = LayerWriter::new(spool);
        let mut left_out = 0;
        if metadata.is_dir() {
            let dir = Dir::open_ambient_dir(path, cap_std::ambient_authority()).map_err(missing)?;
            let mut walk = Walk {
                files: &options.ignore,
                top: path,
                spent: Spent::new(&options.limits),
                sink: &mut layer,
                left_out: 0,
            };
            walk.directory(&dir, Path::new(""), &Patterns::default(), 0)?;
            left_out = walk.left_out;
        } else {
            let is_zip = |file: &mut File| ArchiveKind::of(file).is_ok_and(|kind| kind == Some(ArchiveKind::Zip));
            let mut file = match metadata.is_file() {
                true => File::open(path).map_err(missing)?,
                false => return Err(LocalError::Kind { path: path.to_owned() }),
            };
            if !is_zip(&mut file) {
                return Err(LocalError::Kind { path: path.to_owned() });
            }
            zipped::entries(&mut file, path, &mut Spent::new(&options.limits), &mut layer)?;
        }
        layer.finish(left_out).map_err(LocalError::Spool)
    }

    /// Returns the digest of the image's manifest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the bytes of the image's manifest, a Docker schema 2 one.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Returns the digest of the layer before it was compressed.
    pub fn diff_id(&self) -> &Digest {
        &self.diff_id
    }

    /// Returns how many files, directories and links it holds.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Returns how many were left out: ignored ones, with all that is in them as one, and sockets, pipes and devices.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns the size of the compressed layer in bytes.
    pub fn size(&self) -> u64 {
        self.layer_size
    }

    /// Returns what names the image in `destination`'s repository: its digest.
    pub fn reference(&self, destination: &Reference) -> Reference {
        destination.with_digest(&self.digest)
    }

    /// Pushes the image to `destination`'s repository, whose tag does not count, and gives it `tags`.
    ///
    /// What is there already is not sent again.
    ///
    /// # Errors
    /// [`LocalError::Registry`], or [`LocalError::Tag`].
    pub fn push(&self, client: &Client, destination: &Reference, tags: &[&str]) -> Result<Reference, LocalError> {
        let repository = destination.repository();
        self.push_blobs(client, repository)?;
        let reference = self.reference(destination);
        client.push_manifest(&reference, MANIFEST, &self.manifest)?;
        for tag in tags {
            let tagged = destination.with_tag(tag)?;
            client.push_manifest(&tagged, MANIFEST, &self.manifest)?;
        }
        Ok(reference)
    }

    fn push_blobs(&self, client: &Client, repository: &Repository) -> Result<(), LocalError> {
        let mut layer = || {
            let file = Arc::clone(&self.layer);
            Ok(Box::new(Reader { file, position: 0 }) as Box<dyn Read + Send>)
        };
        client.push_blob(repository, &self.layer_digest, self.layer_size, &mut layer)?;
        let mut config = || Ok(Box::new(io::Cursor::new(self.config.clone())) as Box<dyn Read + Send>);
        let (digest, size) = (digest_of(&self.config), self.config.len() as u64);
        client.push_blob(repository, &digest, size, &mut config)?;
        Ok(())
    }
}

/// Reads a file from its start, whoever else reads it.
struct Reader {
    file: Arc<File>,
    position: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_sha256_bytes(Sha256::digest(bytes).into())
}

/// The layer, compressed and stored while it is made, with both of its digests.
struct LayerWriter {
    tar: Hashing<GzEncoder<Hashing<BufWriter<File>>>>,
    entries: u64,
}

struct Hashing<W> {
    hash: Sha256,
    written: u64,
    out: W,
}

impl<W: Write> Hashing<W> {
    fn new(out: W) -> Self {
        Self {
            hash: Sha256::new(),
            written: 0,
            out,
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Sink for LayerWriter {
    fn entry(&mut self, entry: &Entry, content: Option<&mut dyn Read>) -> Result<(), LocalError> {
        self.entries += 1;
        tar_writer::write(&mut self.tar, entry, content).map_err(|error| match error {
            WriteError::Out(source) => LocalError::Spool(source),
            WriteError::Content(source) => LocalError::Read {
                path: relative(&entry.name),
                source,
            },
        })
    }
}

impl LayerWriter {
    fn new(spool: File) -> Self {
        let compressed = Hashing::new(BufWriter::with_capacity(64 << 10, spool));
        let gzip = GzBuilder::new().write(compressed, Compression::fast());
        Self {
            tar: Hashing::new(gzip),
            entries: 0,
        }
    }

    fn finish(mut self, left_out: u64) -> io::Result<LocalImage> {
        tar_writer::end(&mut self.tar)?;
        let diff_id = Digest::from_sha256_bytes(self.tar.hash.finalize().into());
        let compressed = self.tar.out.finish()?;
        let layer_digest = Digest::from_sha256_bytes(compressed.hash.finalize().into());
        let layer_size = compressed.written;
        let mut layer = compressed.out.into_inner().map_err(io::IntoInnerError::into_error)?;
        layer.rewind()?;
        // Byte by byte what the reference writes, so that equal layers are equal images.
        let config = format!(
            r#"{{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{{"created":"0001-01-01T00:00:00Z"}}],"os":"","rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}},"config":{{}}}}"#
        )
        .into_bytes();
        let (config_size, config_digest) = (config.len(), digest_of(&config));
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","size":{config_size},"digest":"{config_digest}"}},"layers":[{{"mediaType":"{LAYER}","size":{layer_size},"digest":"{layer_digest}"}}]}}"#
        )
        .into_bytes();
        Ok(LocalImage {
            layer: Arc::new(layer),
            diff_id,
            layer_digest,
            layer_size,
            digest: digest_of(&manifest),
            config,
            manifest,
            entries: self.entries,
            left_out,
        })
    }
}
