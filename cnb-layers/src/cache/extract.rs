//! Extracting a layer into its own directory, and nowhere else.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};

use crate::DiffId;
use crate::outline::{Outline, Outlined};
use crate::tar::{EntryKind, TarError, TarReader};

/// Files are copied through a buffer of this size.
const BUFFER: usize = 256 * 1024;
/// The type flag of a file that is to lie in one piece on the disk: a file like others.
const CONTIGUOUS: u8 = b'7';

/// Why a layer could not be extracted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The tar is not the one it should be.
    #[error("expected layer contents to have SHA '{expected}'; found '{found}'")]
    WrongBytes {
        /// What it should be.
        expected: DiffId,
        /// What it is.
        found: DiffId,
    },
    /// An entry would leave the layer's directory, go through a link, or lie too deep to be removed again.
    #[error(
        "entry {name:?} does not belong into the layer's directory, or lies too deep in it; nothing of the layer is used"
    )]
    Escapes {
        /// The entry's name.
        name: String,
    },
    /// An entry is neither a file nor a directory nor a symbolic link.
    #[error("unknown file type in tar {kind} ({name:?})")]
    Kind {
        /// The entry's name.
        name: String,
        /// The type flag of the entry.
        kind: u8,
    },
    /// The tar cannot be read.
    #[error("error extracting from archive")]
    Tar(#[source] io::Error),
    /// A file could not be made.
    #[error("failed to write {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Where a layer belongs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerPlace<'a> {
    /// The layers directory on disk.
    pub(crate) disk: &'a Path,
    /// The layers directory as the tar names it.
    pub(crate) image: &'a Path,
    /// The names of the directories that lead from there to the layer.
    pub(crate) within: &'a [&'a str],
}

impl LayerPlace<'_> {
    /// Returns the layer's directory on disk.
    pub(crate) fn dir(&self) -> PathBuf {
        let names = self.within.iter();
        names.fold(self.disk.to_owned(), |path, name| path.join(name))
    }
}

/// Extracts a tar whose diff id is known. When anything is wrong, nothing of the layer remains.
///
/// In `outline`, if it is asked for, comes that of the tar, with the files as they were made.
pub(crate) fn extract_layer(
    tar: &mut dyn Read,
    expected: &DiffId,
    place: LayerPlace<'_>,
    outline: Option<&mut Outline>,
) -> Result<(), ExtractError> {
    let outline = outline.map(Outlined::new);
    let mut tar = Hashing {
        inner: tar,
        hash: Sha256::new(),
        outline: outline.as_ref(),
    };
    let extracted = extract(&mut tar, place, false, outline.as_ref());
    let drained = io::copy(&mut tar, &mut io::sink());
    let found = DiffId::from_sha256_bytes(tar.hash.finalize().into());
    let outcome = match (drained, extracted) {
        (Err(error), _) => Err(ExtractError::Tar(error)),
        (Ok(_), _) if found != *expected => Err(ExtractError::WrongBytes {
            expected: expected.clone(),
            found,
        }),
        // Only now: what is read-only could not be removed.
        (Ok(_), extracted) => extracted.and_then(Target::finish),
    };
    if outcome.is_err() {
        remove(place);
    }
    outcome
}

/// Extracts the bills of materials of a build, beside others that may be there already. Their directories get no modes:
/// they will be removed again.
pub(crate) fn extract_sbom(tar: &mut dyn Read, place: LayerPlace<'_>) -> Result<(), ExtractError> {
    extract(tar, place, true, None).map(|_| ())
}

fn remove(place: LayerPlace<'_>) {
    let path = place.dir();
    // There is nothing else to do about what the system does not let go.
    let _ = match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path),
        Ok(_) => std::fs::remove_file(&path),
        Err(_) => Ok(()),
    };
}

/// Extracts a tar; the directories do not have their modes yet.
fn extract<'a>(
    tar: &mut dyn Read,
    place: LayerPlace<'a>,
    replace: bool,
    outline: Option<&Outlined<'_>>,
) -> Result<Target<'a>, ExtractError> {
    let mut target = Target::open(place)?;
    let mut archive = TarReader::new(tar);
    let mut buffer = vec![0; BUFFER];
    while let Some(entry) = archive.next().map_err(unreadable)? {
        let (name, kind) = (entry.name, entry.kind);
        if kind == EntryKind::PaxGlobal {
            continue;
        }
        let shown = || String::from_utf8_lossy(&name).into_owned();
        let escapes = || ExtractError::Escapes { name: shown() };
        let mode = u32::try_from(entry.mode & 0o7777).unwrap_or_default();
        let inside = match locate(&name, place) {
            Some(Located::Above) if kind == EntryKind::Directory => continue,
            Some(Located::Inside(path)) => path,
            _ => return Err(escapes()),
        };
        if inside.is_empty() && !matches!(kind, EntryKind::Directory | EntryKind::Symlink) {
            return Err(escapes());
        }
        match kind {
            EntryKind::Directory => target
                .directory(&inside, mode)
                .map_err(|error| target.error(&inside, error, &shown()))?,
            EntryKind::File | EntryKind::Other(CONTIGUOUS) => {
                let (mut file, is_new) = target
                    .file(&inside, mode, replace)
                    .map_err(|error| target.error(&inside, error, &shown()))?;
                let mut fill = |file: &mut File| copy(&mut archive, file, &mut buffer);
                let filled = match outline {
                    Some(outline) => outline.file(&mut file, is_new, fill),
                    None => fill(&mut file),
                };
                filled.map_err(|source| ExtractError::File {
                    path: target.path(&inside),
                    source,
                })?;
            }
            EntryKind::Symlink => {
                target
                    .link(&inside, &entry.link)
                    .map_err(|error| target.error(&inside, error, &shown()))?;
            }
            other => {
                return Err(ExtractError::Kind {
                    name: shown(),
                    kind: other.flag(),
                });
            }
        }
    }
    Ok(target)
}

fn unreadable(error: TarError) -> ExtractError {
    ExtractError::Tar(match error {
        TarError::Read(source) => source,
        damaged @ TarError::Damaged { .. } => io::Error::new(io::ErrorKind::InvalidData, damaged),
    })
}

/// Copies the rest of an entry; that it ends too early is an error of its reader.
fn copy(from: &mut dyn Read, to: &mut File, buffer: &mut [u8]) -> io::Result<()> {
    loop {
        match from.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Where an entry lies, seen from the layer's directory.
enum Located {
    /// It is a directory that leads to the layer's.
    Above,
    /// The path within the layer; empty for the layer's directory itself.
    Inside(Vec<Vec<u8>>),
}

/// How deep in a layer its entries may be: removing directories takes an open one for each level.
const DEEPEST: usize = 500;

/// Resolves a name by its text alone; `None` when it lies somewhere else, or too deep.
fn locate(name: &[u8], place: LayerPlace<'_>) -> Option<Located> {
    if name.contains(&0) || name.iter().all(|byte| *byte == b'/') {
        return None;
    }
    let mut path: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                path.pop()?;
            }
            part => path.push(part),
        }
    }
    let image = place
        .image
        .as_os_str()
        .as_bytes()
        .split(|byte| *byte == b'/')
        .filter(|part| !part.is_empty());
    let root: Vec<&[u8]> = image.chain(place.within.iter().map(|name| name.as_bytes())).collect();
    let common = root.iter().zip(&path).take_while(|(a, b)| a == b).count();
    if path.len() > root.len() + DEEPEST {
        None
    } else if common == root.len() {
        Some(Located::Inside(
            path[common..].iter().map(|part| part.to_vec()).collect(),
        ))
    } else if common == path.len() {
        Some(Located::Above)
    } else {
        None
    }
}

/// The layer's directory while files are made in it.
struct Target<'a> {
    place: LayerPlace<'a>,
    /// The directory that the layer's directory is in, and its name there.
    parent: OwnedFd,
    root: Option<OwnedFd>,
    /// The directory of the last entry: entries of one directory follow each other.
    last: Option<(Vec<Vec<u8>>, OwnedFd)>,
    /// Directories made for their own entry, whose mode is set at the end.
    made: Vec<(Vec<Vec<u8>>, u32)>,
    /// Links made.
    links: BTreeSet<Vec<Vec<u8>>>,
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl<'a> Target<'a> {
    fn open(place: LayerPlace<'a>) -> Result<Self, ExtractError> {
        let failed = |path: &Path, error: Errno| ExtractError::File {
            path: path.to_owned(),
            source: error.into(),
        };
        std::fs::create_dir_all(place.disk).map_err(|source| ExtractError::File {
            path: place.disk.to_owned(),
            source,
        })?;
        let mut parent = rustix::fs::openat(CWD, place.disk, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| failed(place.disk, error))?;
        let ancestors = place.within.len().saturating_sub(1);
        for name in &place.within[..ancestors] {
            parent = enter_or_make(&parent, OsStr::new(name)).map_err(|error| failed(Path::new(name), error))?;
        }
        Ok(Self {
            place,
            parent,
            root: None,
            last: None,
            made: Vec::new(),
            links: BTreeSet::new(),
        })
    }

    fn name(&self) -> &OsStr {
        OsStr::new(self.place.within.last().copied().unwrap_or("."))
    }

    fn root(&mut self) -> Result<&OwnedFd, Errno> {
        if self.root.is_none() {
            let root = enter_or_make(&self.parent, self.name())?;
            self.root = Some(root);
        }
        self.root.as_ref().ok_or(Errno::NOENT)
    }

    /// Opens the directory that an entry is in, making what is missing.
    fn enter(&mut self, path: &[Vec<u8>]) -> Result<&OwnedFd, Errno> {
        if path.is_empty() {
            return self.root();
        }
        if self.last.as_ref().is_none_or(|(last, _)| last != path) {
            let mut dir = self.root()?.try_clone().map_err(|_| Errno::MFILE)?;
            for name in path {
                dir = enter_or_make(&dir, OsStr::from_bytes(name))?;
            }
            self.last = Some((path.to_vec(), dir));
        }
        self.last.as_ref().map(|(_, dir)| dir).ok_or(Errno::NOENT)
    }

    fn directory(&mut self, path: &[Vec<u8>], permissions: u32) -> Result<(), Errno> {
        let fresh = if let Some((name, above)) = path.split_last() {
            let dir = self.enter(above)?;
            make(dir, OsStr::from_bytes(name))?
        } else {
            make(&self.parent, self.name())?
        };
        if fresh {
            self.made.push((path.to_vec(), permissions));
        }
        Ok(())
    }

    /// Opens a file to be filled, and returns whether it is a new one.
    fn file(&mut self, path: &[Vec<u8>], mode: u32, replace: bool) -> Result<(File, bool), Errno> {
        let (name, above) = path.split_last().ok_or(Errno::ISDIR)?;
        let (parent, name) = (self.enter(above)?, OsStr::from_bytes(name));
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(parent, name, create, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST) if replace => {
                rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
                rustix::fs::openat(parent, name, create, Mode::RUSR | Mode::WUSR)?
            }
            Err(Errno::EXIST) => {
                let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = rustix::fs::openat(parent, name, flags, Mode::empty())?;
                return Ok((file.into(), false));
            }
            other => other?,
        };
        // Before the content: who may not give away such rights loses them again by writing.
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
        Ok((fd.into(), true))
    }

    /// Makes a link. One that was there before is replaced, one that this tar has made is not.
    fn link(&mut self, path: &[Vec<u8>], to: &[u8]) -> Result<(), Errno> {
        let is_first = self.links.insert(path.to_vec());
        let to = OsStr::from_bytes(to);
        let (name, parent) = match path.split_last() {
            Some((name, above)) => (OsStr::from_bytes(name).to_owned(), self.enter(above)?),
            None => (self.name().to_owned(), &self.parent),
        };
        match rustix::fs::symlinkat(to, parent, &name) {
            Err(Errno::EXIST) if is_first => {
                rustix::fs::unlinkat(parent, &name, AtFlags::empty())?;
                rustix::fs::symlinkat(to, parent, &name)
            }
            other => other,
        }
    }

    /// Gives the directories that were made their modes, the deepest first.
    fn finish(mut self) -> Result<(), ExtractError> {
        let mut made = std::mem::take(&mut self.made);
        made.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        for (path, mode) in made {
            let set = self
                .enter(&path)
                .and_then(|dir| rustix::fs::fchmod(dir.as_fd(), Mode::from_raw_mode(mode)));
            set.map_err(|error| ExtractError::File {
                path: self.path(&path),
                source: error.into(),
            })?;
        }
        Ok(())
    }

    fn path(&self, inside: &[Vec<u8>]) -> PathBuf {
        let names = inside.iter();
        names.fold(self.place.dir(), |path, name| path.join(OsStr::from_bytes(name)))
    }

    fn error(&self, inside: &[Vec<u8>], error: Errno, name: &str) -> ExtractError {
        match error {
            // A link is where a directory or file should be.
            Errno::LOOP | Errno::NOTDIR => ExtractError::Escapes { name: name.to_owned() },
            error => ExtractError::File {
                path: self.path(inside),
                source: error.into(),
            },
        }
    }
}

fn make(dir: &OwnedFd, name: &OsStr) -> Result<bool, Errno> {
    match rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(0o777)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => {
            rustix::fs::openat(dir, name, DIRECTORY | OFlags::PATH, Mode::empty())?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn enter_or_make(dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(dir, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => {
            make(dir, name)?;
            rustix::fs::openat(dir, name, DIRECTORY, Mode::empty())
        }
        other => other,
    }
}

struct Hashing<'a> {
    inner: &'a mut dyn Read,
    hash: Sha256,
    outline: Option<&'a Outlined<'a>>,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        if let Some(outline) = self.outline {
            outline.read(&buffer[..count])?;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use tar::EntryType;

    #[derive(Clone, Copy)]
    enum Make<'a> {
        Dir(&'a str, u32),
        File(&'a str, u32, &'a str),
        Link(&'a str, &'a str),
        Hard(&'a str, &'a str),
    }

    fn tar(entries: &[Make<'_>]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for entry in entries {
            let (name, kind, mode, content, link) = match *entry {
                Make::Dir(name, mode) => (name, EntryType::Directory, mode, "", None),
                Make::File(name, mode, content) => (name, EntryType::Regular, mode, content, None),
                Make::Link(name, link) => (name, EntryType::Symlink, 0o777, "", Some(link)),
                Make::Hard(name, link) => (name, EntryType::Link, 0o644, "", Some(link)),
            };
            let mut header = tar::Header::new_ustar();
            header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_size(content.len() as u64);
            if let Some(link) = link {
                header.set_link_name_literal(link).expect("it is short");
            }
            header.set_cksum();
            builder.append(&header, content.as_bytes()).expect("memory takes all");
        }
        builder.into_inner().expect("memory takes all")
    }

    fn restore(dir: &Path, tar: &[u8]) -> Result<(), ExtractError> {
        let place = LayerPlace {
            disk: dir,
            image: Path::new("/layers"),
            within: &["acme", "c"],
        };
        extract_layer(&mut &tar[..], &DiffId::of(tar), place, None)
    }

    use Make::{Dir, File, Hard, Link};

    // row 11.1/A8: the layers directory lies below another root
    #[test]
    fn files_directories_and_links_come_back_with_their_modes() {
        let dir = tempfile::tempdir().expect("there is room");
        let layer = tar(&[
            Dir("/layers", 0o755),
            Dir("/layers/acme", 0o755),
            Dir("/layers/acme/c", 0o750),
            Dir("/layers/acme/c/ro", 0o555),
            File("/layers/acme/c/ro/f", 0o640, "x"),
            Link("/layers/acme/c/ln", "/etc/passwd"),
            File("layers/acme//c/a/../g", 0o755, "g"),
        ]);
        restore(dir.path(), &layer).expect("it is a good layer");
        let mode = |path: &str| {
            fs::symlink_metadata(dir.path().join(path))
                .expect("it is there")
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(
            (mode("acme/c"), mode("acme/c/ro"), mode("acme/c/ro/f"), mode("acme/c/g")),
            (0o750, 0o555, 0o640, 0o755)
        );
        assert_eq!(
            fs::read_link(dir.path().join("acme/c/ln")).expect("it is a link"),
            Path::new("/etc/passwd")
        );
    }

    #[test]
    fn whatever_leaves_the_layer_is_refused_and_nothing_remains() {
        let outside = tempfile::tempdir().expect("there is room");
        let outside = outside.path().to_str().expect("it is text");
        for hostile in [
            vec![File("/etc/evil", 0o644, "x")],
            vec![File("../../evil", 0o644, "x")],
            vec![File("/layers/acme/c/../other/f", 0o644, "x")],
            vec![File("/layers/acme/c.toml", 0o644, "x")],
            vec![File("/layers/group.toml", 0o644, "x")],
            vec![Link("/layers/acme/c", outside), File("/layers/acme/c/f", 0o644, "x")],
            vec![
                Link("/layers/acme/c/ln", outside),
                File("/layers/acme/c/ln/f", 0o644, "x"),
            ],
            vec![
                Dir("/layers/acme/c/real", 0o755),
                Link("/layers/acme/c/ln", "real"),
                File("/layers/acme/c/ln/f", 0o644, "x"),
            ],
            vec![Link("/layers/acme/c/ln", "../x"), File("/layers/acme/c/ln", 0o644, "x")],
            vec![Hard("/layers/acme/c/h", "/etc/passwd")],
            vec![Dir("/home", 0o777)],
            vec![Dir("/", 0o777), File("/layers/acme/c/f", 0o644, "x")],
        ] {
            let dir = tempfile::tempdir().expect("there is room");
            let error = restore(dir.path(), &tar(&hostile)).expect_err("it is hostile");
            assert!(!dir.path().join("acme/c").exists(), "{error}");
            assert_eq!(fs::read_dir(outside).expect("it is there").count(), 0, "{error}");
            let beside: Vec<_> = fs::read_dir(dir.path())
                .expect("it is there")
                .map(|e| e.expect("it is there").file_name())
                .collect();
            assert!(beside.iter().all(|name| name == "acme"), "{error}: {beside:?}");
        }
    }

    /// Hands out a tar block by block and, before one of them, puts a link in the place of a directory.
    struct Swapping<'a> {
        tar: &'a [u8],
        until: usize,
        victim: &'a Path,
        outside: &'a Path,
        swapped: bool,
    }

    impl Read for Swapping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.until == 0 && fs::symlink_metadata(self.victim).is_ok_and(|found| found.is_dir()) {
                fs::rename(self.victim, self.victim.with_extension("away"))?;
                std::os::unix::fs::symlink(self.outside, self.victim)?;
                self.swapped = true;
            }
            self.until = self.until.saturating_sub(1);
            let count = buffer.len().min(512).min(self.tar.len());
            let (now, later) = self.tar.split_at(count);
            buffer[..count].copy_from_slice(now);
            self.tar = later;
            Ok(count)
        }
    }

    #[test]
    fn a_link_that_takes_the_place_of_a_directory_meanwhile_is_never_followed() {
        let layer = tar(&[
            Dir("/layers/acme/c", 0o755),
            Dir("/layers/acme/c/d", 0o700),
            File("/layers/acme/c/d/one", 0o644, "1"),
            File("/layers/acme/c/other", 0o644, "2"),
            Dir("/layers/acme/c/d/e", 0o711),
            File("/layers/acme/c/d/e/two", 0o644, "3"),
            Link("/layers/acme/c/d/link", "one"),
            File("/layers/acme/c/d/three", 0o600, "4"),
        ]);
        let mut swapped = 0;
        for victim in ["acme", "acme/c", "acme/c/d", "acme/c/d/e"] {
            for until in 0..layer.len() / 512 {
                let (dir, outside) = (
                    tempfile::tempdir().expect("there is room"),
                    tempfile::tempdir().expect("there is room"),
                );
                // Where a followed link would let files be made, or modes be changed.
                for name in ["c", "d", "e"] {
                    fs::create_dir(outside.path().join(name)).expect("there is room");
                }
                let seen = || -> Vec<(PathBuf, u32)> {
                    let mut found = Vec::new();
                    let mut waiting = vec![outside.path().to_owned()];
                    while let Some(path) = waiting.pop() {
                        let mode = fs::metadata(&path).expect("it is there").permissions().mode();
                        if let Ok(entries) = fs::read_dir(&path) {
                            waiting.extend(entries.flatten().map(|entry| entry.path()));
                        }
                        found.push((path, mode));
                    }
                    found.sort();
                    found
                };
                let before = seen();
                let victim_path = dir.path().join(victim);
                let mut reader = Swapping {
                    tar: &layer,
                    until,
                    victim: &victim_path,
                    outside: outside.path(),
                    swapped: false,
                };
                let place = LayerPlace {
                    disk: dir.path(),
                    image: Path::new("/layers"),
                    within: &["acme", "c"],
                };
                // Whether it fails depends on what was open already.
                let _ = extract_layer(&mut reader, &DiffId::of(&layer), place, None);
                assert_eq!(seen(), before, "{victim} swapped before block {until}");
                swapped += usize::from(reader.swapped);
            }
        }
        assert!(swapped > 40, "only {swapped} swaps");
    }

    fn header(name: &str, flag: u8, size: u64) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.as_mut_bytes()[156] = flag;
        header.set_mode(0o750);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn an_old_entry_whose_name_ends_in_a_slash_is_a_directory() {
        let dir = tempfile::tempdir().expect("there is room");
        let layer = [header("layers/acme/c/d/", 0, 0), header("layers/acme/c/f", 0, 0)].concat();
        restore(dir.path(), &layer).expect("it is a good layer");
        assert!(dir.path().join("acme/c/d").is_dir());
        assert!(dir.path().join("acme/c/f").is_file());
    }

    /// Gives `head`, then `left` bytes, and counts these.
    struct Endless {
        head: Vec<u8>,
        left: u64,
        given: u64,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if !self.head.is_empty() {
                let count = buffer.len().min(self.head.len());
                buffer[..count].copy_from_slice(&self.head[..count]);
                self.head.drain(..count);
                return Ok(count);
            }
            let count = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
            buffer[..count].fill(b'a');
            self.left -= count as u64;
            self.given += count as u64;
            Ok(count)
        }
    }

    #[test]
    fn names_and_records_of_hundreds_of_megabytes_are_refused_before_they_are_read() {
        for flag in [b'L', b'K', b'x', b'g'] {
            let size = 600 << 20;
            let mut tar = Endless {
                head: header("././@LongLink", flag, size),
                left: size,
                given: 0,
            };
            let dir = tempfile::tempdir().expect("there is room");
            let place = LayerPlace {
                disk: dir.path(),
                image: Path::new("/layers"),
                within: &["sbom"],
            };
            let error = extract_sbom(&mut tar, place).expect_err("nobody needs such names");
            let text = crate::phase::with_causes(&error);
            assert!(text.contains("longer than 1 MiB"), "{text}");
            assert_eq!(tar.given, 0, "{}", char::from(flag));
        }
    }

    #[test]
    fn a_layers_directory_that_is_missing_is_made() {
        let dir = tempfile::tempdir().expect("there is room");
        let disk = dir.path().join("a/layers");
        restore(&disk, &tar(&[File("/layers/acme/c/f", 0o644, "x")])).expect("it is a good layer");
        assert_eq!(fs::read(disk.join("acme/c/f")).expect("it is there"), b"x");
    }

    #[test]
    fn other_bytes_than_promised_are_refused_and_nothing_remains() {
        let dir = tempfile::tempdir().expect("there is room");
        let layer = tar(&[File("/layers/acme/c/f", 0o644, "x")]);
        let expected = DiffId::of(b"something else");
        let place = LayerPlace {
            disk: dir.path(),
            image: Path::new("/layers"),
            within: &["acme", "c"],
        };
        let error = extract_layer(&mut &layer[..], &expected, place, None).expect_err("these are other bytes");
        assert!(matches!(error, ExtractError::WrongBytes { .. }), "{error}");
        assert!(!dir.path().join("acme/c").exists());
    }

    #[test]
    fn of_other_bytes_nothing_remains_though_their_directories_are_read_only() {
        let dir = tempfile::tempdir().expect("there is room");
        let layer = tar(&[
            Dir("/layers/acme/c", 0o755),
            Dir("/layers/acme/c/ro", 0o555),
            File("/layers/acme/c/ro/f", 0o644, "x"),
        ]);
        let place = LayerPlace {
            disk: dir.path(),
            image: Path::new("/layers"),
            within: &["acme", "c"],
        };
        // Root can remove anything. The thread alone becomes another user.
        let user = 1000;
        let is_root = rustix::process::getuid().is_root();
        if is_root {
            std::os::unix::fs::chown(dir.path(), Some(user), None).expect("root may");
        }
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if is_root {
                    let user = rustix::process::Uid::from_raw(user);
                    rustix::thread::set_thread_res_uid(user, user, user).expect("root may");
                }
                let expected = DiffId::of(b"something else");
                extract_layer(&mut &layer[..], &expected, place, None).expect_err("these are other bytes");
            });
        });
        assert!(!dir.path().join("acme/c").exists());
    }

    #[test]
    fn what_is_too_deep_to_be_removed_again_is_refused() {
        let place = LayerPlace {
            disk: Path::new("/disk"),
            image: Path::new("/layers"),
            within: &["acme", "c"],
        };
        let name = |depth| format!("/layers/acme/c/{}", "d/".repeat(depth));
        assert!(locate(name(DEEPEST).as_bytes(), place).is_some());
        assert!(locate(name(DEEPEST + 1).as_bytes(), place).is_none());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn garbage_never_panics_and_never_leaves_the_directory(mut bytes in proptest::collection::vec(0_u8.., 0..3000), keep in 0_usize..3) {
            let good = tar(&[Dir("/layers/acme/c", 0o755), File("/layers/acme/c/f", 0o644, "x")]);
            if keep > 0 {
                for (at, byte) in good.iter().enumerate().take(keep * 512) {
                    if at < bytes.len() && at % 97 != 0 { bytes[at] = *byte; }
                }
            }
            let dir = tempfile::tempdir().expect("there is room");
            let _ = restore(dir.path(), &bytes);
            for entry in fs::read_dir(dir.path()).expect("it is there") {
                proptest::prop_assert_eq!(entry.expect("it is there").file_name(), "acme");
            }
        }
    }
}
