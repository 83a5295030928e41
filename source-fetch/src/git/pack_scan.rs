//! A pack as it comes, of which commits, tags and trees are kept and files are passed over; stores nothing itself.

use std::{collections::HashMap, io};

use flate2::{Decompress, FlushDecompress, Status};
use git2::{ObjectType, Oid};

use super::{
    delta::{self, MAX_OBJECT},
    protocol::malformed,
};

/// Where objects are kept.
pub(crate) trait Keep {
    /// Keeps an object; returns its id.
    fn keep(&mut self, kind: ObjectType, content: &[u8]) -> io::Result<Oid>;

    /// Returns whether an object is kept.
    fn has(&mut self, id: Oid) -> bool;

    /// Returns an object that is kept.
    fn content(&mut self, id: Oid) -> io::Result<(ObjectType, Vec<u8>)>;
}

/// Takes a pack in pieces of any size.
///
/// What it holds at a time is one object and the places of those that are kept: files cost nothing, however large
/// they are. An object that is a difference to one that is not kept is taken for a file.
pub(crate) struct PackScan<K> {
    keep: K,
    state: State,
    /// Where in the pack the next byte is.
    offset: u64,
    objects: u32,
    kept: HashMap<u64, Oid>,
    /// Whether something was passed over that may have been a tree.
    doubtful: bool,
    inflate: Decompress,
    scratch: Vec<u8>,
    /// Bytes of all objects, inflated and put together.
    inflated: u64,
    /// How many there may be.
    allowed: u64,
}

enum State {
    /// `PACK`, the version, and how many objects there are.
    Head(Vec<u8>),
    /// The kind and size of an object that begins at `at`, and its base.
    Entry { at: u64, bytes: Vec<u8> },
    /// The deflated bytes of an object, of which `size` must come.
    Content {
        at: u64,
        what: What,
        size: u64,
        done: u64,
        bytes: Vec<u8>,
    },
    /// The digest of all that was before, so many bytes of which are missing.
    Trailer(usize),
}

#[derive(Clone, Copy)]
enum What {
    Object(ObjectType),
    Difference(Oid),
    PassedOver,
}

/// How large the pieces are in which objects are inflated.
const PIECE: usize = 32 << 10;
const TRAILER: usize = 20;

impl<K: Keep> PackScan<K> {
    pub(crate) fn new(keep: K) -> Self {
        Self {
            keep,
            state: State::Head(Vec::new()),
            offset: 0,
            objects: 0,
            kept: HashMap::new(),
            doubtful: false,
            inflate: Decompress::new(true),
            scratch: vec![0; PIECE],
            inflated: 0,
            allowed: u64::MAX,
        }
    }

    /// Ends the scan with an error as soon as there are more bytes of objects than that.
    pub(crate) fn allow(&mut self, inflated: u64) {
        self.allowed = inflated;
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> io::Result<()> {
        while !piece.is_empty() {
            let used = match &mut self.state {
                State::Head(bytes) => {
                    bytes.push(piece[0]);
                    if bytes.len() == 12 {
                        self.objects = count(bytes)?;
                        self.next(self.offset + 1);
                    }
                    1
                }
                State::Entry { .. } => {
                    self.entry(piece[0])?;
                    1
                }
                State::Content { .. } => self.inflate(piece)?,
                State::Trailer(0) => return Err(malformed("the pack does not end where it says")),
                State::Trailer(missing) => {
                    let used = piece.len().min(*missing);
                    *missing -= used;
                    used
                }
            };
            self.offset += used as u64;
            piece = &piece[used..];
        }
        Ok(())
    }

    /// Bytes of all objects so far, inflated and put together.
    pub(crate) fn inflated(&self) -> u64 {
        self.inflated
    }

    /// Ends the scan; returns whether all commits, tags and trees were kept, for all that is known.
    pub(crate) fn finish(self) -> io::Result<bool> {
        match self.state {
            State::Trailer(0) => Ok(!self.doubtful),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the pack breaks off")),
        }
    }

    /// Goes to the next object, which begins at `at`, or to the end.
    fn next(&mut self, at: u64) {
        self.state = match self.objects.checked_sub(1) {
            Some(left) => {
                self.objects = left;
                let bytes = Vec::new();
                State::Entry { at, bytes }
            }
            None => State::Trailer(TRAILER),
        };
    }

    /// Takes one byte of what is before an object.
    fn entry(&mut self, byte: u8) -> io::Result<()> {
        let State::Entry { at, bytes } = &mut self.state else {
            return Ok(());
        };
        bytes.push(byte);
        let Some(entry) = Entry::read(bytes)? else {
            return Ok(());
        };
        let at = *at;
        let what = match entry.kind {
            Kind::Blob => What::PassedOver,
            Kind::Object(kind) => What::Object(kind),
            Kind::At(distance) => {
                let base = at.checked_sub(distance).and_then(|base| self.kept.get(&base));
                base.map_or(What::PassedOver, |base| What::Difference(*base))
            }
            Kind::Of(base) if self.keep.has(base) => What::Difference(base),
            Kind::Of(_) => {
                self.doubtful = true;
                What::PassedOver
            }
        };
        if !matches!(what, What::PassedOver) && entry.size > MAX_OBJECT {
            return Err(malformed("a tree of more than 64 MiB"));
        }
        self.inflate.reset(true);
        self.state = State::Content {
            at,
            what,
            size: entry.size,
            done: 0,
            bytes: Vec::new(),
        };
        Ok(())
    }

    /// Inflates some of an object; returns how many bytes were used.
    fn inflate(&mut self, piece: &[u8]) -> io::Result<usize> {
        let State::Content {
            at,
            what,
            size,
            done,
            bytes,
        } = &mut self.state
        else {
            return Ok(0);
        };
        let (used, made) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self
            .inflate
            .decompress(piece, &mut self.scratch, FlushDecompress::None)
            .map_err(|_| malformed("an object of the pack is damaged"))?;
        let used = usize::try_from(self.inflate.total_in() - used).map_err(io::Error::other)?;
        let made = usize::try_from(self.inflate.total_out() - made).map_err(io::Error::other)?;
        *done += made as u64;
        self.inflated += made as u64;
        if *done > *size {
            return Err(malformed("an object of the pack is larger than it says"));
        }
        if !matches!(what, What::PassedOver) {
            bytes.extend_from_slice(&self.scratch[..made]);
        }
        match status {
            Status::StreamEnd if *done < *size => {
                return Err(malformed("an object of the pack is smaller than it says"));
            }
            Status::StreamEnd => {
                let (at, what, bytes) = (*at, *what, std::mem::take(bytes));
                let id = match what {
                    What::Object(kind) => Some(self.keep.keep(kind, &bytes)?),
                    What::Difference(base) => {
                        let (kind, base) = self.keep.content(base)?;
                        let object = delta::apply(&base, &bytes)?;
                        // A few bytes of difference can stand for an object as large as its base.
                        self.inflated += object.len() as u64;
                        Some(self.keep.keep(kind, &object)?)
                    }
                    What::PassedOver => None,
                };
                if self.inflated > self.allowed {
                    return Err(malformed("the objects of the pack are larger than is allowed"));
                }
                self.kept.extend(id.map(|id| (at, id)));
                self.next(self.offset + used as u64);
            }
            _ if used == 0 && made == 0 => return Err(malformed("an object of the pack does not end")),
            _ => {}
        }
        Ok(used)
    }
}

/// How many objects a pack says it has.
fn count(head: &[u8]) -> io::Result<u32> {
    match head {
        [b'P', b'A', b'C', b'K', 0, 0, 0, 2 | 3, count @ ..] => {
            let count = count.try_into().map_err(io::Error::other)?;
            Ok(u32::from_be_bytes(count))
        }
        _ => Err(malformed("what the server sent is no pack")),
    }
}

/// What is before an object.
struct Entry {
    kind: Kind,
    /// Bytes of what follows, inflated.
    size: u64,
}

enum Kind {
    Blob,
    Object(ObjectType),
    /// A difference to what is so many bytes before.
    At(u64),
    /// A difference to an object of that id.
    Of(Oid),
}

/// No size and no distance takes more bytes.
const MAX_NUMBER: usize = 9;

impl Entry {
    /// Reads what is before an object; `None` when more must come.
    fn read(bytes: &[u8]) -> io::Result<Option<Self>> {
        let Some(length) = bytes.iter().position(|byte| byte & 0x80 == 0) else {
            return match bytes.len() > MAX_NUMBER {
                true => Err(malformed("an object of the pack has no size")),
                false => Ok(None),
            };
        };
        let (head, base) = bytes.split_at(length + 1);
        let mut size = u64::from(head[0] & 0xf);
        for (position, byte) in head[1..].iter().enumerate() {
            size |= u64::from(byte & 0x7f) << (4 + 7 * position);
        }
        let kind = match head[0] >> 4 & 7 {
            1 => Kind::Object(ObjectType::Commit),
            2 => Kind::Object(ObjectType::Tree),
            3 => Kind::Blob,
            4 => Kind::Object(ObjectType::Tag),
            6 => match distance(base)? {
                Some(distance) => Kind::At(distance),
                None => return Ok(None),
            },
            7 if base.len() < TRAILER => return Ok(None),
            7 => Kind::Of(Oid::from_bytes(base).map_err(io::Error::other)?),
            _ => return Err(malformed("an object of the pack is of no kind that git has")),
        };
        Ok(Some(Self { kind, size }))
    }
}

/// How far before a base is: groups of seven bits, the highest first, each but the first counted from one.
fn distance(bytes: &[u8]) -> io::Result<Option<u64>> {
    let mut distance = 0_u64;
    for (position, byte) in bytes.iter().enumerate() {
        if position == MAX_NUMBER {
            return Err(malformed("an object of the pack has a base that is nowhere"));
        }
        if position > 0 {
            distance += 1;
        }
        distance = distance << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Ok(Some(distance));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use git2::{Repository, Signature};
    use proptest::prelude::*;

    use super::{super::fuzzing::Kept, *};

    /// A repository of commits that change a few of many files, and the pack of all of it.
    fn pack(commits: usize) -> (tempfile::TempDir, Vec<u8>) {
        let dir = tempfile::tempdir().expect("a directory");
        let repository = Repository::init_bare(dir.path()).expect("made");
        let author = Signature::new("a", "a@x", &git2::Time::new(0, 0)).expect("valid");
        let mut builder = repository.packbuilder().expect("made");
        let mut parent = None;
        for number in 0..commits {
            let mut inner = repository.treebuilder(None).expect("made");
            for file in 0..60 {
                let changed = if file == number { number } else { 1000 };
                let blob = repository.blob(format!("{file} {changed}").repeat(50).as_bytes());
                inner
                    .insert(format!("file-{file}"), blob.expect("made"), 0o100_644)
                    .expect("inserted");
            }
            let mut root = repository.treebuilder(None).expect("made");
            root.insert("dir", inner.write().expect("written"), 0o040_000)
                .expect("inserted");
            let tree = repository.find_tree(root.write().expect("written")).expect("there");
            let parents: Vec<&git2::Commit<'_>> = parent.iter().collect();
            let id = repository
                .commit(None, &author, &author, "m", &tree, &parents)
                .expect("made");
            builder.insert_commit(id).expect("inserted");
            parent = Some(repository.find_commit(id).expect("there"));
        }
        let mut pack = git2::Buf::new();
        builder.write_buf(&mut pack).expect("written");
        let bytes = pack.to_vec();
        drop((builder, parent));
        drop(repository);
        (dir, bytes)
    }

    fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>, memory: &mut Kept) -> io::Result<bool> {
        let mut scan = PackScan::new(memory);
        for piece in pieces {
            scan.push(piece)?;
        }
        scan.finish()
    }

    /// Every object of the repository but its files.
    fn expected(dir: &tempfile::TempDir) -> HashMap<Oid, (ObjectType, Vec<u8>)> {
        let repository = Repository::open_bare(dir.path()).expect("opened");
        let odb = repository.odb().expect("there");
        let mut found = HashMap::new();
        odb.foreach(|id| {
            let object = odb.read(*id).expect("readable");
            if object.kind() != ObjectType::Blob {
                found.insert(*id, (object.kind(), object.data().to_owned()));
            }
            true
        })
        .expect("listed");
        found
    }

    #[test]
    fn commits_and_trees_are_kept_however_the_pack_is_cut_and_files_are_not() {
        let (dir, pack) = pack(6);
        let expected = expected(&dir);
        assert_eq!(expected.len(), 18);
        for size in [1, 2, 7, 4096, pack.len()] {
            let mut memory = Kept::default();
            assert!(scan(pack.chunks(size), &mut memory).expect("valid"), "pieces of {size}");
            assert_eq!(memory.0, expected, "pieces of {size}");
        }
    }

    #[test]
    fn packs_that_git_makes_are_read_with_differences_by_place_and_by_id() {
        let (dir, _) = pack(6);
        let pack_objects = |options: &[&str]| {
            let output = std::process::Command::new("git")
                .args(["pack-objects", "--quiet", "--stdout", "--all", "--keep-unreachable"])
                .args(["--pack-loose-unreachable"])
                .args(options)
                .current_dir(dir.path())
                .stdin(std::process::Stdio::null())
                .output()
                .expect("git runs");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let plain = pack_objects(&["--window=0"]);
        for option in ["--delta-base-offset", "--no-delta-base-offset"] {
            let pack = pack_objects(&["--window=20", option]);
            assert!(pack.len() < plain.len(), "there are differences");
            let mut memory = Kept::default();
            scan(pack.chunks(100), &mut memory).expect("valid");
            assert_eq!(memory.0, expected(&dir), "{option}");
        }
    }

    #[test]
    fn a_pack_that_breaks_off_is_told_from_one_that_is_damaged() {
        let (_dir, pack) = pack(1);
        for end in [0, 5, 12, 13, pack.len() / 2, pack.len() - 20, pack.len() - 1] {
            let error = scan(std::iter::once(&pack[..end]), &mut Kept::default()).expect_err("it breaks off");
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "after {end} bytes: {error}");
        }
        let mut longer = pack.clone();
        longer.push(0);
        for bytes in [&longer[..], &b"PACX\0\0\0\x02\0\0\0\0"[..]] {
            let error = scan(std::iter::once(bytes), &mut Kept::default()).expect_err("it is damaged");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        }
    }

    #[test]
    fn many_small_differences_to_a_large_tree_end_where_they_go_beyond_what_is_allowed() {
        let deflated = |bytes: &[u8]| {
            let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut deflated, bytes).expect("written");
            deflated.finish().expect("written")
        };
        // A tree of 16 KiB, and 200 differences of 11 bytes, each of which is all of it but for its last byte.
        let tree = [7; 16 << 10];
        let mut bytes = b"PACK\0\0\0\x02\0\0\0\xc9".to_vec();
        bytes.extend([2 << 4 | 0x80, 0x80, 8]);
        bytes.extend(deflated(&tree));
        let base = Oid::hash_object(ObjectType::Tree, &tree).expect("hashed");
        for number in 8..208 {
            bytes.push(0x7b);
            bytes.extend(base.as_bytes());
            bytes.extend(deflated(&[0x80, 0x80, 1, 0x80, 0x80, 1, 0xb0, 0xff, 0x3f, 1, number]));
        }
        bytes.extend([0; 20]);
        let mut memory = Kept::default();
        assert!(scan(std::iter::once(&bytes[..]), &mut memory).expect("valid"));
        assert_eq!(memory.0.len(), 201);

        let mut memory = Kept::default();
        let mut limited = PackScan::new(&mut memory);
        limited.allow(100 << 10);
        let error = limited.push(&bytes).expect_err("too much");
        assert!(error.to_string().contains("larger than is allowed"), "{error}");
        assert_eq!(memory.0.len(), 7);
    }

    #[test]
    fn a_difference_to_what_comes_later_makes_the_answer_doubtful() {
        // A tree as a difference to an object that nobody has.
        let mut bytes = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
        bytes.push(7 << 4 | 2);
        bytes.extend([9; 20]);
        let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut deflated, &[0, 0]).expect("written");
        bytes.extend(deflated.finish().expect("written"));
        bytes.extend([0; 20]);
        assert!(!scan(std::iter::once(&bytes[..]), &mut Kept::default()).expect("valid"));
    }

    proptest! {
        #[test]
        fn no_damage_makes_it_panic_or_keep_what_is_not_there(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            size in 1..500_usize,
        ) {
            static PACK: std::sync::LazyLock<(tempfile::TempDir, Vec<u8>)> = std::sync::LazyLock::new(|| pack(3));
            let mut bytes = PACK.1.clone();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let mut memory = Kept::default();
            let _ = scan(bytes.chunks(size), &mut memory);
            for (id, (kind, content)) in &memory.0 {
                prop_assert_eq!(Oid::hash_object(*kind, content).expect("hashed"), *id);
            }
        }
    }
}
