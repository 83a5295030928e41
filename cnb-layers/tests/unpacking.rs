//! Layers become files: laws, whiteouts, and archives that are made to do harm.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use cnb_layers::tar::{EntryKind, Header, TarReader, TarWriter};
use cnb_layers::{
    BaseImage, Compression, HardLinks, ImageSource, LayerBuilder, LayerContent, LayerError, LayoutStore, MemoryStore,
    Modes, Order, Owners, Platform, Reference, Tree, UnpackError, UnpackOptions, UnpackOwners, compress_layer, diff_id,
    unpack, unpack_tar, validate,
};
use proptest::prelude::*;

fn options() -> UnpackOptions {
    let owners = if support::am_root() {
        UnpackOwners::Keep
    } else {
        UnpackOwners::Caller
    };
    UnpackOptions {
        owners,
        ..UnpackOptions::default()
    }
}

/// A tar in a tiny notation: `name` a file, `name/` a directory, `name>target` a link, `name=other` a hard link.
fn tar(entries: &str) -> Vec<u8> {
    let mut archive = TarWriter::new(Vec::new());
    for entry in entries.split_whitespace() {
        let (kind, name, link) = if let Some((name, target)) = entry.split_once('>') {
            (EntryKind::Symlink, name, target)
        } else if let Some((name, target)) = entry.split_once('=') {
            (EntryKind::HardLink, name, target)
        } else if entry.ends_with('/') {
            (EntryKind::Directory, entry, "")
        } else {
            (EntryKind::File, entry, "")
        };
        let mut header = Header::new(kind, name).owned(if kind == EntryKind::Directory { 0o755 } else { 0o644 }, 0, 0);
        header.link = link.as_bytes().to_vec();
        let content: &[u8] = if kind == EntryKind::File { entry.as_bytes() } else { b"" };
        header.size = i64::try_from(content.len()).expect("small");
        archive.bytes(&header, content).expect("in memory");
    }
    archive.finish().expect("in memory")
}

fn apply(layers: &[&str]) -> Result<tempfile::TempDir, UnpackError> {
    let outer = tempfile::tempdir().expect("temp dir");
    fs::create_dir(outer.path().join("root")).expect("made");
    fs::write(outer.path().join("outside"), "untouched").expect("written");
    for layer in layers {
        unpack_tar(&mut tar(layer).as_slice(), &outer.path().join("root"), &options())?;
    }
    Ok(outer)
}

/// What is in a tree, in the notation of [`tar`], sorted.
fn listing(dir: &Path) -> String {
    let mut names = Vec::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(here) = waiting.pop() {
        for entry in fs::read_dir(here).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path.strip_prefix(dir).expect("below").display().to_string();
            if path.is_symlink() {
                names.push(format!("{name}>{}", fs::read_link(&path).expect("a link").display()));
            } else if path.is_dir() {
                names.push(format!("{name}/"));
                waiting.push(path);
            } else {
                names.push(name);
            }
        }
    }
    names.sort();
    names.join(" ")
}

fn check(layers: &[&str], expected: &str) {
    let made = apply(layers).expect("harmless");
    assert_eq!(listing(&made.path().join("root")), expected);
}

#[test]
fn whiteouts_remove_what_lower_layers_made() {
    check(&["a/ a/x a/y b", "a/.wh.x .wh.b"], "a/ a/y");
    check(&["a/ a/x a/d/ a/d/z", ".wh.a"], "");
    check(&["a", ".wh.nothing a/../b".split(' ').next().expect("one")], "a");
}

#[test]
fn an_opaque_directory_keeps_what_its_own_layer_put_there() {
    check(&["a/ a/x a/d/ a/d/old", "a/ a/.wh..wh..opq a/y"], "a/ a/y");
    check(
        &["a/ a/x a/d/ a/d/old", "a/ a/y a/d/ a/d/new a/.wh..wh..opq"],
        "a/ a/d/ a/d/new a/y",
    );
}

#[test]
fn later_layers_replace_files_by_directories_and_the_reverse() {
    check(&["a", "a/ a/x"], "a/ a/x");
    check(&["a/ a/x a/d/ a/d/y", "a"], "a");
    check(&["a/ a/x", "a/"], "a/ a/x");
    check(&["a>b b/ b/x", "a/ a/y"], "a/ a/y b/ b/x");
}

#[test]
fn links_in_the_image_lead_within_the_root() {
    check(
        &["usr/ usr/lib/ lib>usr/lib", "lib/x"],
        "lib>usr/lib usr/ usr/lib/ usr/lib/x",
    );
    check(
        &["usr/ usr/lib/ lib>/usr/lib", "lib/x"],
        "lib>/usr/lib usr/ usr/lib/ usr/lib/x",
    );
    check(&["up>../../.. etc/", "up/etc/passwd"], "etc/ etc/passwd up>../../..");
}

#[test]
fn nothing_is_written_outside_of_the_root() {
    for layers in [
        vec!["../outside"],
        vec!["a/../../outside"],
        vec!["/../outside"],
        vec!["l>../outside l=l l"],
        vec!["l>.. l/outside"],
        vec!["l>/ l/../outside"],
        vec!["h=../outside h"],
        vec!["h=/../outside"],
        vec!["l>../outside h=l"],
        vec!["d/ d/l>../../outside", "d/l"],
        vec![".wh..."],
        vec![".wh..", "a"],
        vec!["../.wh.outside"],
        vec!["l>.. ", "l/.wh.outside"],
        vec!["a>b b>a a/x"],
    ] {
        let outer = tempfile::tempdir().expect("temp dir");
        let root = outer.path().join("root");
        fs::create_dir(&root).expect("made");
        fs::write(outer.path().join("outside"), "untouched").expect("written");
        for layer in &layers {
            // Refused or harmless, both are right.
            let _ = unpack_tar(&mut tar(layer).as_slice(), &root, &options());
        }
        assert_eq!(
            fs::read_to_string(outer.path().join("outside")).expect("still there"),
            "untouched",
            "{layers:?}"
        );
        assert_eq!(fs::read_dir(outer.path()).expect("readable").count(), 2, "{layers:?}");
    }
}

#[test]
fn hostile_entries_are_refused_with_a_reason() {
    for (layer, problem) in [
        ("../x", "leads out of a directory"),
        (".wh.. ", "whiteout of nothing"),
        ("h=/", "hard link to the root"),
        ("d/ h=d", "hard link to a directory"),
    ] {
        let error = apply(&[layer]).expect_err(layer).to_string();
        assert!(error.contains(problem), "{layer}: {error}");
    }
}

#[test]
fn what_an_image_may_hold_is_limited() {
    let limited = UnpackOptions {
        max_bytes: 5,
        ..options()
    };
    let dir = tempfile::tempdir().expect("temp dir");
    let error = unpack_tar(&mut tar("abc def").as_slice(), dir.path(), &limited).expect_err("six bytes");
    assert!(matches!(error, UnpackError::TooMuch { what: "bytes", .. }));
    let limited = UnpackOptions {
        max_entries: 1,
        ..options()
    };
    assert!(unpack_tar(&mut tar("abc def").as_slice(), dir.path(), &limited).is_err());
}

#[test]
fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let store = MemoryStore::new();
    let tag = Reference::parse("registry.example/a/b:1").expect("a reference");
    let layer = |text: &str| LayerBuilder::new().file("f", 0o644, 0, 0, text);
    let image = BaseImage::new(Platform::linux_amd64())
        .layer("one", layer("one"))
        .push(&store, std::slice::from_ref(&tag), Compression::default())
        .expect("pushed");
    let mut draft = cnb_layers::ImageDraft::of(&image);
    let mut layers = draft.layers();
    layers[0].diff_id = diff_id(&layer("two")).expect("hashed").0;
    draft.set_layers(layers);
    let dir = tempfile::tempdir().expect("temp dir");
    let error = unpack(&store, &tag, &draft.finish(), dir.path(), &options()).expect_err("another layer");
    assert!(matches!(error, UnpackError::WrongLayer { .. }), "{error}");
}

#[test]
fn a_root_file_system_goes_through_an_image_and_comes_back() {
    let from = tempfile::tempdir().expect("temp dir");
    let root = from.path();
    for dir in ["bin", "proc", "var/empty", "tmp"] {
        fs::create_dir_all(root.join(dir)).expect("made");
    }
    fs::write(root.join("bin/tool"), "x".repeat(300_000)).expect("written");
    fs::hard_link(root.join("bin/tool"), root.join("bin/same")).expect("linked");
    fs::write(root.join("proc/secret"), "not in the image").expect("written");
    std::os::unix::fs::symlink("bin", root.join("sbin")).expect("linked");
    fs::set_permissions(root.join("bin/tool"), fs::Permissions::from_mode(0o4755)).expect("chmod");
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).expect("chmod");
    fs::set_permissions(root.join("var/empty"), fs::Permissions::from_mode(0o555)).expect("chmod");

    let layout = tempfile::tempdir().expect("temp dir");
    let store = LayoutStore::create(layout.path()).expect("created");
    let tag = Reference::parse("registry.example/base/run:1").expect("a reference");
    let image = BaseImage::new(Platform::linux_amd64())
        .root_directory(root)
        .push(&store, std::slice::from_ref(&tag), Compression::default())
        .expect("pushed");
    let found = LayoutStore::open(layout.path())
        .expect("opened")
        .image(&tag, &Platform::linux_amd64());
    assert_eq!(found.expect("readable").expect("there").digest(), image.digest());
    assert!(validate(&store, &tag, &image).is_empty());

    let to = tempfile::tempdir().expect("temp dir");
    unpack(&store, &tag, &image, to.path(), &options()).expect("unpacked");
    assert_eq!(
        listing(to.path()),
        "bin/ bin/same bin/tool dev/ proc/ sbin>bin sys/ tmp/ var/ var/empty/"
    );
    let metadata = |name: &str| fs::metadata(to.path().join(name)).expect("there");
    assert_eq!(metadata("bin/tool").mode() & 0o7777, 0o4755);
    assert_eq!(metadata("bin/tool").ino(), metadata("bin/same").ino());
    assert_eq!(metadata("bin/tool").len(), 300_000);
    assert_eq!(metadata("tmp").mode() & 0o7777, 0o1777);
    assert_eq!(metadata("var/empty").mode() & 0o7777, 0o555);
    let times = |root: &Path| fs::metadata(root.join("bin/tool")).expect("there").mtime();
    assert_eq!(times(to.path()), times(root));
}

/// A tree: directories, files with content and mode, links. Names from a small set, to make them collide.
#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>, u32),
    Link(String),
    Directory(Vec<(String, Node)>),
}

fn any_tree() -> impl Strategy<Value = Node> {
    let name = proptest::sample::select(vec![
        "a",
        "a-b",
        "a.txt",
        "é",
        "x y",
        "longer-name-0123456789012345678901234567890123456789",
    ]);
    let content = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..1500),
        (0..200_000usize).prop_map(|length| b"text ".repeat(length / 5)),
    ];
    let leaf = prop_oneof![
        (content, proptest::sample::select(vec![0o644, 0o755, 0o600, 0o400]))
            .prop_map(|(content, mode)| Node::File(content, mode)),
        "[a-z/.]{1,120}".prop_map(Node::Link),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        proptest::collection::vec((name.clone().prop_map(str::to_owned), inner), 0..5).prop_map(Node::Directory)
    })
}

fn make(path: &Path, node: &Node) {
    if path.symlink_metadata().is_ok() {
        return;
    }
    match node {
        Node::File(content, mode) => {
            fs::write(path, content).expect("written");
            fs::set_permissions(path, fs::Permissions::from_mode(*mode)).expect("chmod");
        }
        Node::Link(target) => std::os::unix::fs::symlink(target, path).expect("linked"),
        Node::Directory(children) => {
            fs::create_dir(path).expect("made");
            for (name, child) in children {
                make(&path.join(name), child);
            }
        }
    }
}

fn layer_of(dir: &Path, order: Order) -> LayerBuilder {
    LayerBuilder::new().tree(Tree {
        owners: Owners::OnDisk,
        modes: Modes::OnDisk,
        order,
        hard_links: HardLinks::Copies,
        ..Tree::new(dir, "", 0, 0)
    })
}

fn bytes_of(layer: &dyn LayerContent) -> Vec<u8> {
    let mut tar = Vec::new();
    layer.write_tar(&mut tar).expect("written");
    tar
}

/// A tar that is written in pieces of these sizes, in turn.
struct Chunked {
    tar: Vec<u8>,
    sizes: Vec<usize>,
}

impl LayerContent for Chunked {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        let (mut rest, mut sizes) = (self.tar.as_slice(), self.sizes.iter().cycle());
        while !rest.is_empty() {
            let size = rest.len().min(*sizes.next().expect("there are sizes"));
            out.write_all(&rest[..size]).map_err(LayerError::Write)?;
            rest = &rest[size..];
        }
        Ok(())
    }
}

/// Small trees fit into one block; only many blocks show whether it matters which thread takes which.
#[test]
fn a_layer_of_many_blocks_has_the_same_bytes_for_any_number_of_threads() {
    let mut state = 7u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::from(state.to_le_bytes()[7])
    };
    let words: Vec<String> = (0..256).map(|_| format!("{:x}{:x}", next() * next(), next())).collect();
    let mut content = Vec::new();
    while content.len() < 6 << 20 {
        let (pick, often) = (next(), next() % 4 != 0);
        content.extend_from_slice(words[if often { pick % 11 } else { pick }].as_bytes());
    }
    let layer = LayerBuilder::new().file("large", 0o644, 0, 0, content);
    let compress = |threads| {
        let mut blob = Vec::new();
        let made = compress_layer(
            &layer,
            Compression {
                level: 2,
                threads,
                ..Compression::default()
            },
            &mut blob,
        )
        .expect("compressed");
        (made, blob)
    };
    let alone = compress(1);
    for threads in [1, 2, 2, 3, 8, 8] {
        assert!(compress(threads) == alone, "{threads} threads");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_archived_and_unpacked_is_the_same_tree(tree in any_tree()) {
        let (from, to) = (tempfile::tempdir()?, tempfile::tempdir()?);
        make(&from.path().join("t"), &tree);
        for order in [Order::Walk, Order::Path] {
            let tar = bytes_of(&layer_of(from.path(), order));
            unpack_tar(&mut tar.as_slice(), to.path(), &options()).expect("unpacked");
            prop_assert_eq!(bytes_of(&layer_of(to.path(), order)), tar);
        }
    }

    #[test]
    fn a_layer_has_the_same_bytes_for_any_number_of_threads(tree in any_tree(), level in 1..4u32) {
        let from = tempfile::tempdir()?;
        make(&from.path().join("t"), &tree);
        let layer = layer_of(from.path(), Order::Walk);
        let compress = |threads| {
            let mut blob = Vec::new();
            let made = compress_layer(&layer, Compression { level, threads, ..Compression::default() }, &mut blob).expect("compressed");
            (made, blob)
        };
        let (made, blob) = compress(1);
        prop_assert_eq!(&compress(2), &(made.clone(), blob.clone()));
        prop_assert_eq!(&compress(7), &(made.clone(), blob.clone()));
        prop_assert_eq!((&made.diff_id, made.tar_size), (&diff_id(&layer).expect("hashed").0, bytes_of(&layer).len() as u64));
        // However the bytes come, and whatever else is beside them.
        for sizes in [vec![1], vec![511, 1, 4096], vec![70_000], vec![usize::MAX]] {
            let chunked = Chunked { tar: bytes_of(&layer), sizes };
            prop_assert_eq!(&diff_id(&chunked).expect("hashed").0, &made.diff_id);
            let mut again = Vec::new();
            let compression = Compression { level, threads: 3, ..Compression::default() };
            let made = compress_layer(&chunked, compression, &mut again).expect("compressed");
            prop_assert_eq!((made, &again), (compress(1).0, &blob));
        }
        let mut inflated = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(blob.as_slice()), &mut inflated)?;
        prop_assert_eq!(inflated, bytes_of(&layer));
    }

    #[test]
    fn the_tar_reader_never_fails_otherwise_than_with_an_error(mut bytes in proptest::collection::vec(any::<u8>(), 0..4096), at in 0..3000usize, value in any::<u8>()) {
        let read = |bytes: &[u8]| {
            let mut tar = TarReader::new(bytes);
            while let Ok(Some(_)) = tar.next() {}
        };
        read(&bytes);
        bytes = tar("a/ a/b c>d é=ü some-long-name/with/many/parts");
        if let Some(byte) = bytes.get_mut(at) {
            *byte = value;
        }
        read(&bytes);
    }
}
