//! A directory or zip of this machine becomes an image, and that image is the directory again.

mod support;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::Arc,
};

use registry_auth::{AnonymousKeychain, Reference};
use registry_client::{Client, HttpPolicy};
use source_fetch::{IgnoreFiles, Limits, LocalError, LocalImage, LocalOptions, fetch_image};
use test_support::Registry;

fn pack(path: &Path) -> Result<LocalImage, LocalError> {
    pack_with(path, &LocalOptions::default())
}

fn pack_with(path: &Path, options: &LocalOptions) -> Result<LocalImage, LocalError> {
    LocalImage::pack(path, options, &std::env::temp_dir())
}

fn write(root: &Path, path: &str, text: &str) {
    let place = root.join(path);
    fs::create_dir_all(place.parent().expect("a parent")).expect("made");
    fs::write(&place, text).expect("written");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).expect("set");
}

/// What `archive/tar` of Go writes for the same entries, in the way that kp calls it.
#[test]
fn a_layer_is_byte_by_byte_what_the_reference_writes() {
    let (d, f, l) = ("d".repeat(90), "f".repeat(90), "l".repeat(120));
    let check = |fill: &dyn Fn(&Path), expected: &str| {
        let dir = tempfile::tempdir().expect("a directory");
        fill(dir.path());
        let image = pack(dir.path()).expect("packed");
        assert_eq!(image.diff_id().hex(), expected);
    };
    check(
        &|root| {
            write(root, "app.py", "x=1\n");
            write(root, "lib/a.txt", "a\n");
        },
        "714aad34e2212bb5a4ef4399376e0b7ff45b208036edd49cf2d3d68bb378e3a5",
    );
    check(
        &|root| {
            write(root, &format!("{d}/{f}"), "x");
            fs::set_permissions(root.join(format!("{d}/{f}")), fs::Permissions::from_mode(0o755)).expect("set");
        },
        "58eab843701ccb654aa2697e03eb91e9e1b41162cb94b2e98b659d47e103a4ea",
    );
    check(
        &|root| write(root, &l, "x"),
        "71de241e19609f8f6fdeb5afa8724e366c199c2880089a41834506b3757e9819",
    );
    check(
        &|root| write(root, "ä.txt", "x"),
        "fca24395e244300f8af12d801e24c000c811b9fe5f31cd26d4134b79fd1e3e02",
    );
    check(
        &|root| {
            symlink(&l, root.join("link")).expect("a link");
            symlink("ä", root.join("other")).expect("a link");
        },
        "fcf71cddcc99f85e3c16f3039a4f78aaa96098a51bb8895b29ed77db544e6702",
    );
    check(
        &|root| {
            fs::create_dir(root.join(&d)).expect("made");
            symlink(&l, root.join(&d).join(&f)).expect("a link");
        },
        "963f4e97d8c7870bf6a989e413d4132838938253726f5dee548825aa42966fa9",
    );
    check(
        &|root| write(root, &format!("{d}/{d}/x"), "x"),
        "c81890228deec88326eb621f361527ed619f29f31515d097c89794c6db0a2620",
    );
}

#[test]
fn what_was_pushed_is_fetched_as_it_was() {
    let registry = Registry::start().expect("a registry");
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("a client");
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "app.py", "x=1\n");
    write(dir.path(), "bin/run", "#!/bin/sh\n");
    fs::set_permissions(dir.path().join("bin/run"), fs::Permissions::from_mode(0o755)).expect("set");
    fs::create_dir(dir.path().join("empty")).expect("made");
    let image = pack(dir.path()).expect("packed");
    let destination = Reference::parse(&format!("{}/team/web-source:v9", registry.host())).expect("valid");
    let pushed = image
        .push(&client, &destination, &["latest", "20260101000000"])
        .expect("pushed");
    assert_eq!(pushed, image.reference(&destination));
    for tag in ["latest", "20260101000000"] {
        let tagged = destination.with_tag(tag).expect("a tag");
        let found = client.head(&tagged).expect("answered").expect("there");
        assert_eq!(found.digest, *image.digest());
    }
    assert!(
        client.head(&destination).expect("answered").is_none(),
        "its own tag does not count"
    );
    let into = tempfile::tempdir().expect("a directory");
    let fetched = fetch_image(&pushed.to_string(), into.path(), &client, &Limits::default()).expect("fetched");
    assert_eq!(fetched.digest, *image.digest());
    assert_eq!(support::tree_of(into.path()), support::tree_of(dir.path()));
    // Owners, times and the place of a directory do not count.
    let other = tempfile::tempdir().expect("a directory");
    for path in ["bin/run", "app.py"] {
        let text = fs::read_to_string(dir.path().join(path)).expect("text");
        write(other.path(), path, &text);
    }
    fs::set_permissions(other.path().join("bin/run"), fs::Permissions::from_mode(0o755)).expect("set");
    fs::create_dir(other.path().join("empty")).expect("made");
    assert_eq!(pack(other.path()).expect("packed").digest(), image.digest());
    write(other.path(), "app.py", "x=2\n");
    assert_ne!(pack(other.path()).expect("packed").digest(), image.digest());
}

#[test]
fn ignore_files_of_any_directory_leave_files_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path();
    write(root, ".kpackignore", "*.log\n/build/\n!keep.log\nnode_modules\n");
    write(root, ".gitignore", "*.tmp\n");
    write(root, "lib/.kpackignore", "!b.log\n/only-here\n");
    for path in [
        "a.log",
        "keep.log",
        "lib/a.log",
        "lib/b.log",
        "lib/only-here",
        "only-here",
        "build/x",
        "lib/build/x",
        "lib/node_modules/m/x",
        "x.tmp",
    ] {
        write(root, path, "x");
    }
    let left = |options: &LocalOptions| {
        let image = pack_with(root, options).expect("packed");
        (image.entries(), image.left_out())
    };
    // a.log, build, lib/a.log, lib/node_modules and lib/only-here.
    assert_eq!(left(&LocalOptions::default()), (10, 5));
    let with_git = LocalOptions {
        ignore: IgnoreFiles::default().and(".gitignore"),
        ..LocalOptions::default()
    };
    assert_eq!(left(&with_git), (9, 6));
    let all = LocalOptions {
        ignore: IgnoreFiles::none(),
        ..LocalOptions::default()
    };
    assert_eq!(left(&all), (18, 0));
    write(root, ".kpackignore", "a{\n");
    assert!(matches!(pack(root), Err(LocalError::Ignore { .. })));
}

#[test]
fn a_link_to_a_directory_is_that_directory_and_links_within_stay_links() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("src");
    write(&root, "a", "x");
    symlink("/etc", root.join("etc")).expect("a link");
    let place = dir.path().join("link");
    symlink(&root, &place).expect("a link");
    let image = pack(&place).expect("packed");
    assert_eq!(image.entries(), 2);
    assert_eq!(image.digest(), pack(&root).expect("packed").digest());
}

#[test]
fn sockets_and_pipes_stay_where_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a", "x");
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).expect("a socket");
    let image = pack(dir.path()).expect("packed");
    assert_eq!((image.entries(), image.left_out()), (1, 1));
}

#[test]
fn a_zip_is_the_same_image_as_its_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = dir.path().join("src");
    write(&root, "app.py", "x=1\n");
    write(&root, "lib/a.txt", "a\n");
    symlink("app.py", root.join("link")).expect("a link");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = |mode| zip::write::SimpleFileOptions::default().unix_permissions(mode);
    zip.start_file("app.py", options(0o644)).expect("a file");
    zip.write_all(b"x=1\n").expect("written");
    zip.add_directory("lib", options(0o755)).expect("a directory");
    zip.start_file("lib/a.txt", options(0o644)).expect("a file");
    zip.write_all(b"a\n").expect("written");
    zip.add_symlink("link", "app.py", options(0o777)).expect("a link");
    let path = dir.path().join("src.bin");
    fs::write(&path, zip.finish().expect("finished").into_inner()).expect("written");
    assert_eq!(
        pack(&path).expect("packed").digest(),
        pack(&root).expect("packed").digest()
    );
}

#[test]
fn what_is_no_source_is_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = pack(&dir.path().join("absent")).expect_err("nothing is there");
    assert!(matches!(&error, LocalError::Missing { .. }), "{error}");
    write(dir.path(), "text", "text");
    let error = pack(&dir.path().join("text")).expect_err("no source");
    assert_eq!(error.to_string(), "local path must be a directory or zip");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("../../x", zip::write::SimpleFileOptions::default())
        .expect("a file");
    fs::write(
        dir.path().join("slip.zip"),
        zip.finish().expect("finished").into_inner(),
    )
    .expect("written");
    let error = pack(&dir.path().join("slip.zip")).expect_err("it leads out");
    assert!(matches!(&error, LocalError::Zip { .. }), "{error}");
}

#[test]
fn limits_and_cancellation_end_packing() {
    let dir = tempfile::tempdir().expect("a directory");
    write(dir.path(), "a/b", "xxxx");
    let cancelled = Limits::default();
    cancelled.cancel.cancel();
    for limits in [
        Limits {
            unpacked: 3,
            ..Limits::default()
        },
        Limits {
            entries: 1,
            ..Limits::default()
        },
        cancelled,
    ] {
        let options = LocalOptions {
            limits,
            ..LocalOptions::default()
        };
        let error = pack_with(dir.path(), &options).expect_err("too much");
        assert!(matches!(&error, LocalError::TooLarge { .. }), "{error}");
    }
}
