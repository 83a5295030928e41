//! The straight way: one thread walks, tars, hashes, compresses, hashes, writes, for one layer after the other.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use cnb_layers::{BlobWriter, Digest, Repository};
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

/// Hashes what passes.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    size: u64,
}

impl<W: Write> Hashed<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hash: Sha256::new(),
            size: 0,
        }
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

/// Sends a directory through tar, SHA-256, gzip at level 1 and SHA-256 into `sink`.
/// Returns the sink, the digest, and the sizes of tar and blob.
pub(crate) fn layer<W: Write>(dir: &Path, name: &str, sink: W) -> (W, Digest, u64, u64) {
    let blob = BufWriter::with_capacity(256 * 1024, Hashed::new(sink));
    let tar = Hashed::new(GzEncoder::new(blob, flate2::Compression::new(1)));
    let mut archive = tar::Builder::new(BufWriter::with_capacity(256 * 1024, tar));
    archive.follow_symlinks(false);
    archive.append_dir_all(name, dir).expect("the files are readable");
    let tar = archive.into_inner().expect("the sink takes it");
    let tar = tar
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .expect("the sink takes it");
    let blob = tar.inner.finish().expect("the sink takes it");
    let blob = blob
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .expect("the sink takes it");
    let digest = Digest::from_sha256_bytes(blob.hash.finalize().into());
    (blob.inner, digest, tar.size, blob.size)
}

/// Tars and hashes a directory. Returns the size of the tar.
pub(crate) fn hash(dir: &Path, name: &str) -> u64 {
    let tar = Hashed::new(io::sink());
    let mut archive = tar::Builder::new(BufWriter::with_capacity(256 * 1024, tar));
    archive.follow_symlinks(false);
    archive.append_dir_all(name, dir).expect("the files are readable");
    let tar = archive.into_inner().expect("a sink takes all");
    let tar = tar
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .expect("a sink takes all");
    tar.size
}

/// Compresses into a file and sends that: what is done without streaming.
pub(crate) fn spool(dir: &Path, name: &str, file: &Path) -> (Digest, u64, u64) {
    let (file, digest, tar, blob) = layer(dir, name, File::create(file).expect("there is room"));
    drop(file);
    (digest, tar, blob)
}

/// Sends a layer while it is made.
pub(crate) fn upload(
    dir: &Path,
    name: &str,
    target: &dyn cnb_layers::ImageTarget,
    repository: &Repository,
) -> (u64, u64) {
    let sink: Box<dyn BlobWriter> = target.start_blob(repository).expect("the registry takes it");
    let (sink, digest, tar, blob) = layer(dir, name, sink);
    sink.finish(&digest).expect("the registry takes it");
    (tar, blob)
}

/// Hashes a tar and extracts it, read twice as a cache that is not trusted.
pub(crate) fn restore(tar: &Path, to: &Path) -> u64 {
    let mut hashed = Hashed::new(io::sink());
    io::copy(&mut File::open(tar).expect("it is there"), &mut hashed).expect("it is readable");
    extract(File::open(tar).expect("it is there"), to);
    hashed.size
}

/// Extracts a tar.
pub(crate) fn extract(tar: impl Read, to: &Path) {
    fs::create_dir_all(to).expect("there is room");
    tar::Archive::new(tar).unpack(to).expect("there is room");
}
