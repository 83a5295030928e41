//! Random histories, about which git itself is asked.

mod support;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Command, Stdio},
};

use proptest::prelude::*;
use registry_client::{Http, HttpPolicy};
use source_fetch::{Access, FetchError, GitSource, fetch_git, fetch_git_sub_path, resolve_git_with_tree};
use support::repositories::Server;

/// What one commit does to one path.
#[derive(Clone, Debug)]
enum Change {
    File(String, bool),
    Link(String),
    Remove,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => ("[a-z\\n]{0,20}", any::<bool>()).prop_map(|(text, executable)| Change::File(text, executable)),
        1 => "[a-z./]{1,10}".prop_map(Change::Link),
        1 => Just(Change::Remove),
    ]
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "app", "b-c", "ä"]), 1..4)
        .prop_map(|parts| parts.join("/"))
}

fn git(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=A", "-c", "user.email=a@x", "-c", "core.quotepath=off"])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .stdin(Stdio::null())
        .output()
        .expect("git runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn apply(work: &Path, path: &str, change: &Change) {
    let place = work.join(path);
    // A file where a directory must be, or the other way round, gives way.
    let mut above = work.to_owned();
    for part in Path::new(path).parent().into_iter().flat_map(Path::components) {
        above.push(part);
        if fs::symlink_metadata(&above).is_ok_and(|found| !found.is_dir()) {
            fs::remove_file(&above).expect("removed");
        }
    }
    match fs::symlink_metadata(&place) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(&place).expect("removed"),
        Ok(_) => fs::remove_file(&place).expect("removed"),
        Err(_) => {}
    }
    if matches!(change, Change::Remove) {
        return;
    }
    fs::create_dir_all(place.parent().expect("a parent")).expect("made");
    match change {
        Change::File(text, executable) => {
            fs::write(&place, text).expect("written");
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(&place, fs::Permissions::from_mode(mode)).expect("set");
        }
        Change::Link(target) => symlink(target, &place).expect("a link"),
        Change::Remove => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn resolution_tree_ids_and_checkouts_agree_with_git(
        commits in prop::collection::vec(prop::collection::vec((path(), change()), 0..5), 1..4),
        annotated: bool,
        version_2: bool,
        filters: bool,
        sub_path in path(),
    ) {
        let server = Server::start(version_2);
        let work = tempfile::tempdir().expect("a directory");
        git(work.path(), &["init", "--quiet", "--initial-branch=main"]);
        for (position, changes) in commits.iter().enumerate() {
            for (path, change) in changes {
                apply(work.path(), path, change);
            }
            git(work.path(), &["add", "--all"]);
            git(work.path(), &["commit", "--quiet", "--allow-empty", "--message", "m"]);
            let name = format!("t{position}");
            if annotated {
                git(work.path(), &["tag", "-a", "-m", "m", &name]);
            } else {
                git(work.path(), &["tag", &name]);
            }
        }
        let bare = server.root.path().join("r.git");
        git(work.path(), &["clone", "--quiet", "--bare", ".", bare.to_str().expect("text")]);
        git(&bare, &["config", "uploadpack.allowFilter", &filters.to_string()]);
        let access = Access::new(Http::new(&HttpPolicy::default()).expect("valid"));
        let scratch = tempfile::tempdir().expect("a directory");
        for revision in ["main", "t0", "HEAD"] {
            // A sub path that is a file or missing is for resolving only.
            let source = GitSource::new(format!("{}/r.git", server.url()), revision).with_sub_path(&sub_path);
            let mut found = resolve_git_with_tree(&source, &access, scratch.path()).expect("it resolves");
            prop_assert_eq!(&found.revision, &git(&bare, &["rev-parse", revision]));
            let tree = git(&bare, &["rev-parse", "--quiet", "--verify", &format!("{revision}:{sub_path}")]);
            prop_assert_eq!(found.tree.take().unwrap_or_default(), tree);
            // The files of the sub path alone are those of the whole checkout.
            let alone = tempfile::tempdir().expect("dir");
            let cut_out = fetch_git_sub_path(&found, alone.path(), &access, scratch.path());
            found.sub_path.clear();
            let (ours, theirs) = (tempfile::tempdir().expect("dir"), tempfile::tempdir().expect("dir"));
            let fetched = fetch_git(&found, ours.path(), &access, &mut |_| ()).expect("fetched");
            prop_assert_eq!(fetched.commit, git(&bare, &["rev-parse", &format!("{revision}^{{commit}}")]));
            git(theirs.path(), &["clone", "--quiet", "--no-checkout", bare.to_str().expect("text"), "."]);
            git(theirs.path(), &["checkout", "--quiet", "--detach", revision]);
            fs::remove_dir_all(theirs.path().join(".git")).expect("removed");
            prop_assert_eq!(support::tree_of(ours.path()), support::tree_of(theirs.path()));
            prop_assert_eq!(git(ours.path(), &["status", "--porcelain"]), "");
            let is_directory = fs::symlink_metadata(ours.path().join(&sub_path)).is_ok_and(|found| found.is_dir());
            match cut_out {
                Ok(_) => prop_assert_eq!(
                    support::tree_of(&alone.path().join(&sub_path)),
                    support::tree_of(&ours.path().join(&sub_path))
                ),
                Err(error) => prop_assert!(!is_directory && matches!(error, FetchError::NoSuchSubPath { .. }), "{}", error),
            }
        }
    }
}
