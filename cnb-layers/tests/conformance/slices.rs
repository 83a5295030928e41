//! Slices of the application, and hashes of layers.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use cnb_layers::tar::{EntryKind, TarReader};
use cnb_layers::{DiffId, LayerContent, LayerError, Parents, diff_id, slice_layers};
use proptest::prelude::*;

/// The application of the reference's own tests, in the directory `workspace`.
fn application() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("there is room");
    let app = root.path().join("workspace");
    for dir in ["other-dir", "some-dir"] {
        fs::create_dir_all(app.join(dir)).expect("there is room");
    }
    for file in [
        "file.txt",
        "other-dir/other-file.md",
        "other-dir/other-file.txt",
        "some-dir/file.md",
        "some-dir/some-file.txt",
    ] {
        fs::write(app.join(file), file).expect("there is room");
    }
    symlink("some-dir", app.join("dir-link")).expect("there is room");
    symlink("file.txt", app.join("file-link.txt")).expect("there is room");
    fs::create_dir_all(root.path().join("dir-to-exclude")).expect("there is room");
    root
}

/// What each slice holds: names from the application directory on, which is `.`, and kinds.
fn slices(slices: &[&[&str]]) -> Vec<BTreeMap<String, EntryKind>> {
    let root = application();
    let slices: Vec<Vec<String>> = slices
        .iter()
        .map(|slice| slice.iter().map(|&pattern| pattern.to_owned()).collect())
        .collect();
    let parents = Parents::Given(&|_| (0o755, 0, 0));
    let layers = slice_layers(root.path(), Path::new("/workspace"), &slices, &parents, 1, 2);
    let listed = |layer| {
        let mut tar = Vec::new();
        LayerContent::write_tar(layer, &mut tar).expect("memory takes all");
        let (mut reader, mut found) = (TarReader::new(&tar[..]), BTreeMap::new());
        while let Some(header) = reader.next().expect("it is a tar") {
            let name = String::from_utf8(header.name).expect("text");
            let inside = name.strip_prefix("/workspace").expect("it lies in the application");
            let inside = inside.trim_matches('/');
            found.insert(if inside.is_empty() { "." } else { inside }.to_owned(), header.kind);
        }
        found
    };
    layers.expect("the patterns are good").iter().map(listed).collect()
}

fn names(slice: &BTreeMap<String, EntryKind>) -> Vec<&str> {
    slice.keys().map(String::as_str).collect()
}

// rows 11.2/L6 11.2/L7 11.2/L8 11.2/L9 11.2/L10
#[test]
fn each_slice_takes_what_no_earlier_one_has_and_never_what_lies_behind_a_link_or_outside() {
    let found = slices(&[
        &["*.txt", "**/*.txt"],
        &["other-dir"],
        &["dir-link/*"],
        &["../**/dir-to-exclude"],
    ]);
    let expected: [&[&str]; 5] = [
        &[
            ".",
            "file-link.txt",
            "file.txt",
            "other-dir",
            "other-dir/other-file.txt",
            "some-dir",
            "some-dir/some-file.txt",
        ],
        &[".", "other-dir", "other-dir/other-file.md"],
        &[],
        &[],
        &[".", "dir-link", "some-dir", "some-dir/file.md"],
    ];
    assert_eq!(found.iter().map(names).collect::<Vec<_>>(), expected);
    assert_eq!(found[0]["file-link.txt"], EntryKind::Symlink);
    assert_eq!(found[4]["dir-link"], EntryKind::Symlink);
}

#[test]
fn a_malformed_pattern_is_refused_on_the_first_path_of_a_walk_that_it_is_tried_on() {
    let root = tempfile::tempdir().expect("there is room");
    fs::create_dir_all(root.path().join("workspace/a")).expect("there is room");
    for file in ["a/b", "a.b", "c"] {
        fs::write(root.path().join("workspace").join(file), "").expect("there is room");
    }
    let slices = |pattern: &str| {
        let parents = Parents::Given(&|_| (0o755, 0, 0));
        let slices = [vec![pattern.to_owned()]];
        slice_layers(root.path(), Path::new("/workspace"), &slices, &parents, 1, 2).map(|layers| layers.len())
    };
    // In the order of bytes, a.b comes before a/b.
    let error = slices("a[^x]b*[").expect_err("both begin so");
    assert_eq!(error.to_string(), "failed to check if 'a/b' matches 'a[^x]b*['");
    assert_eq!(slices("d*[").expect("nothing begins so"), 2);
}

// rows 11.2/L3 11.2/L12
#[test]
fn without_slices_all_is_in_one_layer_and_a_slash_at_the_end_of_a_pattern_means_nothing() {
    let [all] = &slices(&[])[..] else {
        panic!("it is one layer")
    };
    assert_eq!(all.len(), 10, "{all:?}");
    assert_eq!(all["dir-link"], EntryKind::Symlink);
    assert_eq!(all["some-dir/file.md"], EntryKind::File);
    let (without, with) = (slices(&[&["some-dir"]]), slices(&[&["some-dir/"]]));
    assert_eq!(without, with);
    assert_eq!(
        names(&with[0]),
        [".", "some-dir", "some-dir/file.md", "some-dir/some-file.txt"]
    );
}

/// Writes its parts one by one.
struct InParts(Vec<Vec<u8>>);

impl LayerContent for InParts {
    fn write_tar(&self, out: &mut dyn Write) -> Result<(), LayerError> {
        let mut parts = self.0.iter();
        parts.try_for_each(|part| out.write_all(part).map_err(LayerError::Write))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // row 11.2/L18
    #[test]
    fn a_layer_written_in_any_parts_has_the_hash_of_the_whole(sizes in proptest::collection::vec(0_usize..400_000, 0..6), seed in any::<u8>()) {
        let part = |(number, size): (usize, &usize)| {
            let byte = |at: usize| u8::try_from((at * 31 + number + usize::from(seed)) % 251).expect("it is small");
            (0..*size).map(byte).collect::<Vec<u8>>()
        };
        let parts: Vec<_> = sizes.iter().enumerate().map(part).collect();
        let whole = parts.concat();
        let (found, size) = diff_id(&InParts(parts)).expect("nothing fails");
        prop_assert_eq!(found, DiffId::of(&whole));
        prop_assert_eq!(size, whole.len() as u64);
    }
}
