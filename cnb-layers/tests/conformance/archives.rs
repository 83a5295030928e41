//! What the archive of a cached layer becomes on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cnb_layers::DiffId;
use cnb_layers::cache::{Cache as _, CachedLayer, VolumeCache};
use cnb_layers::metadata::{Analyzed, BuildpackLayers, CacheMetadata, Data, LayerMetadata};
use cnb_layers::phase::{LogLevel, MemoryLog};
use tar::EntryType;

use crate::build::Build;
use crate::{Bytes, lines};

enum Make<'a> {
    Dir(&'a str, u32),
    File(&'a str, u32, &'a str),
    Link(&'a str, &'a str),
    Global,
}

use Make::{Dir, File, Global, Link};

/// An archive of entries below the directory of the layer `name` of `acme/one`.
fn archive(name: &str, entries: &[Make<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let (path, kind, mode, content, link) = match *entry {
            Dir(path, mode) => (path, EntryType::Directory, mode, "", None),
            File(path, mode, content) => (path, EntryType::Regular, mode, content, None),
            Link(path, link) => (path, EntryType::Symlink, 0o777, "", Some(link)),
            Global => ("", EntryType::XGlobalHeader, 0o644, "20 comment=anything\n", None),
        };
        let mut header = tar::Header::new_ustar();
        let path = format!("/layers/acme_one/{name}/{path}");
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
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

struct Restored {
    dir: tempfile::TempDir,
    warnings: Vec<String>,
}

impl Restored {
    fn path(&self, inside: &str) -> PathBuf {
        self.dir.path().join("layers/acme_one").join(inside)
    }

    fn mode(&self, inside: &str) -> u32 {
        let found = fs::symlink_metadata(self.path(inside)).expect("it is there");
        found.permissions().mode() & 0o7777
    }
}

/// Restores cached layers into a layers directory that `before` has prepared.
fn restored(layers: &[(&str, &[Make<'_>])], before: impl FnOnce(&Path)) -> Restored {
    let dir = tempfile::tempdir().expect("there is room");
    let mut build = Build::new(dir.path(), "acme/one", "registry.example/app", "registry.example/run");
    build.compression.threads = layers.len();
    let place = dir.path().join("cache");
    fs::create_dir(&place).expect("there is room");
    let cache = VolumeCache::open(&place).expect("it is a directory");
    let mut known = BuildpackLayers {
        key: "acme/one".to_owned(),
        ..BuildpackLayers::default()
    };
    for (name, entries) in layers {
        let content = Bytes(archive(name, entries));
        let diff_id = DiffId::of(&content.0);
        let layer = CachedLayer {
            diff_id: &diff_id,
            content: &content,
            placed: None,
        };
        cache.add(&layer).expect("there is room");
        let metadata = LayerMetadata {
            sha: diff_id.to_string(),
            data: Data::Null,
            build: false,
            launch: false,
            cache: true,
        };
        known.layers.insert((*name).to_owned(), metadata);
    }
    let metadata = CacheMetadata {
        sbom: String::new(),
        buildpacks: Some(vec![known]),
    };
    cache.commit(&metadata).expect("there is room");
    let there = dir.path().join("layers/acme_one");
    fs::create_dir_all(&there).expect("there is room");
    before(&there);
    let log = MemoryLog::default();
    let cache = VolumeCache::open(&place).expect("it is a directory");
    build.restore(dir.path(), &Analyzed::default(), &cache, &log);
    Restored {
        dir,
        warnings: lines(&log, LogLevel::Warn),
    }
}

/// The mode that the process's umask leaves of a new directory's.
fn ordinary_mode(dir: &Path) -> u32 {
    let path = dir.join("ordinary");
    fs::create_dir(&path).expect("there is room");
    fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777
}

// row 11.1/A10
#[test]
fn directories_without_write_permission_get_their_contents_and_their_modes() {
    let layer = [
        Dir("", 0o755),
        Dir("closed", 0o500),
        Dir("closed/inner", 0o500),
        File("closed/inner/file", 0o444, "x"),
        File("closed/file", 0o444, "y"),
    ];
    let found = restored(&[("l", &layer)], |_| ());
    assert_eq!(found.warnings, Vec::<String>::new());
    let modes = [
        "l",
        "l/closed",
        "l/closed/inner",
        "l/closed/inner/file",
        "l/closed/file",
    ]
    .map(|path| found.mode(path));
    assert_eq!(modes, [0o755, 0o500, 0o500, 0o444, 0o444]);
    assert_eq!(fs::read(found.path("l/closed/inner/file")).expect("it is a file"), b"x");
}

// rows 11.1/A11 11.1/A12
#[test]
fn a_directory_that_no_entry_has_made_first_has_the_mode_of_any_new_one() {
    let layer = [
        Dir("", 0o755),
        File("no-entry/file", 0o644, "x"),
        File("later-entry/file", 0o644, "x"),
        Dir("later-entry", 0o700),
        Dir("first-entry", 0o700),
        File("first-entry/file", 0o644, "x"),
    ];
    let found = restored(&[("l", &layer)], |_| ());
    let ordinary = ordinary_mode(found.dir.path());
    assert_ne!(ordinary, 0o700);
    let modes = ["l/no-entry", "l/later-entry", "l/first-entry"].map(|path| found.mode(path));
    assert_eq!(modes, [ordinary, ordinary, 0o700]);
}

// rows 11.1/A13 11.1/A14
#[test]
fn links_are_made_as_they_are_and_a_global_header_is_passed_over() {
    let targets = ["/nowhere/at/all", "../../../outside", "missing"];
    let layer = [
        Global,
        Dir("", 0o755),
        Link("absolute", targets[0]),
        Link("relative", targets[1]),
        Link("dangling", targets[2]),
    ];
    let found = restored(&[("l", &layer)], |_| ());
    assert_eq!(found.warnings, Vec::<String>::new());
    let links = ["l/absolute", "l/relative", "l/dangling"].map(|path| fs::read_link(found.path(path)).expect("a link"));
    assert_eq!(links, targets.map(PathBuf::from));
    assert_eq!(fs::read_dir(found.path("l")).expect("a directory").count(), 3);
}

// row 11.1/A15
#[test]
fn a_file_in_the_place_of_a_directory_is_refused_and_the_layer_made_anew() {
    let layer = [Dir("", 0o755), File("d", 0o644, "x"), File("d/file", 0o644, "y")];
    let found = restored(&[("l", &layer)], |_| ());
    assert!(
        matches!(&found.warnings[..], [only] if only.starts_with("Skipping restore for layer acme/one:l: ") && only.contains("/d/file")),
        "{:?}",
        found.warnings
    );
    assert!(!found.path("l").exists());
}

// row 11.1/A16
#[test]
fn a_directory_that_is_there_keeps_its_mode() {
    let layer = [Dir("", 0o755), Dir("old", 0o755), Dir("new", 0o755)];
    let found = restored(&[("l", &layer)], |there| {
        fs::create_dir_all(there.join("l/old")).expect("there is room");
        fs::set_permissions(there.join("l/old"), fs::Permissions::from_mode(0o744)).expect("it is ours");
    });
    assert_eq!(["l/old", "l/new"].map(|path| found.mode(path)), [0o744, 0o755]);
}

// row 11.1/A17
#[test]
fn layers_extracted_at_once_are_all_there_and_leave_the_umask_alone() {
    let layer: &[Make<'_>] = &[Dir("", 0o777), Dir("d", 0o777), File("d/file", 0o666, "x")];
    let before = tempfile::tempdir().expect("there is room");
    let ordinary = ordinary_mode(before.path());
    let found = restored(&[("a", layer), ("b", layer), ("c", layer)], |_| ());
    assert_eq!(found.warnings, Vec::<String>::new());
    for name in ["a", "b", "c"] {
        let modes = ["", "/d", "/d/file"].map(|path| found.mode(&format!("{name}{path}")));
        assert_eq!(modes, [0o777, 0o777, 0o666], "{name}");
    }
    assert_eq!(ordinary_mode(found.dir.path()), ordinary);
}
