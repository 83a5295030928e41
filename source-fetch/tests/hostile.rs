//! Servers and repositories that mean harm, each test named after what it guards against.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
};

use git2::{ObjectType, Oid, Repository};
use registry_auth::KubernetesSecret;
use registry_client::{Http, HttpPolicy};
use source_fetch::{
    Access, FetchError, FetchedGit, GitKeychain, GitSource, LimitExceeded, ResolveError, ResolvedGit, TransportError,
    fetch_git, resolve_git, resolve_git_with_tree,
};
use support::repositories::Server;

fn access() -> Access {
    Access::new(Http::new(&HttpPolicy::default()).expect("the default policy is valid"))
}

/// Raw objects, as no git program would write them.
struct Raw(Repository);

impl Raw {
    fn new(server: &Server, name: &str) -> Self {
        Self(Repository::init_bare(server.root.path().join(name)).expect("a repository"))
    }

    fn write(&self, kind: ObjectType, bytes: &[u8]) -> Oid {
        let odb = self.0.odb().expect("objects");
        odb.write(kind, bytes).expect("an object is written")
    }

    /// Entries in the order given: mode, name, object.
    fn tree(&self, entries: &[(&str, &[u8], Oid)]) -> Oid {
        let mut bytes = Vec::new();
        for (mode, name, id) in entries {
            bytes.extend_from_slice(mode.as_bytes());
            bytes.push(b' ');
            bytes.extend_from_slice(name);
            bytes.push(0);
            bytes.extend_from_slice(id.as_bytes());
        }
        self.write(ObjectType::Tree, &bytes)
    }

    fn blob(&self, text: &str) -> Oid {
        self.write(ObjectType::Blob, text.as_bytes())
    }

    fn publish(&self, tree: Oid) -> Oid {
        let text = format!("tree {tree}\nauthor A <a@x> 0 +0000\ncommitter A <a@x> 0 +0000\n\n\u{1b}[31mred\n");
        let commit = self.write(ObjectType::Commit, text.as_bytes());
        fs::write(self.0.path().join("packed-refs"), format!("{commit} refs/heads/main\n")).expect("refs");
        fs::write(self.0.path().join("HEAD"), "ref: refs/heads/main\n").expect("a head");
        commit
    }
}

fn fetch(server: &Server, name: &str, dir: &Path, access: &Access) -> Result<FetchedGit, FetchError> {
    let source = GitSource::new(format!("{}/{name}", server.url()), "main").with_submodules();
    fetch_git(&ResolvedGit::unasked(&source), dir, access, &mut |_| ())
}

fn refused(tree: impl FnOnce(&Raw) -> Oid) -> (tempfile::TempDir, FetchError) {
    let server = Server::start(true);
    let raw = Raw::new(&server, "r.git");
    raw.publish(tree(&raw));
    let dir = tempfile::tempdir().expect("a directory");
    let inside = dir.path().join("inside");
    fs::create_dir(&inside).expect("a directory");
    let error = fetch(&server, "r.git", &inside, &access()).expect_err("it must be refused");
    assert_eq!(
        fs::read_dir(dir.path()).expect("readable").count(),
        1,
        "it escaped: {error}"
    );
    (dir, error)
}

#[test]
fn cve_2026_44471_and_cve_2024_35186_a_link_and_a_directory_of_one_name_are_refused() {
    let (dir, error) = refused(|raw| {
        let inner = raw.tree(&[("100644", b"post-checkout", raw.blob("#!/bin/sh\n"))]);
        raw.tree(&[("120000", b"hooks", raw.blob(".git/hooks")), ("40000", b"hooks", inner)])
    });
    assert!(matches!(error, FetchError::Write { .. }), "{error:?}");
    assert!(!dir.path().join("inside/.git/hooks/post-checkout").exists());
}

#[test]
fn cve_2023_49569_names_that_lead_elsewhere_are_refused() {
    for name in [
        &b".."[..],
        b".",
        b".git",
        b".GIT",
        b"git~1",
        b"a/b",
        "\u{200c}.git".as_bytes(),
    ] {
        let (_dir, error) = refused(|raw| {
            let inner = raw.tree(&[("100644", b"x", raw.blob("x"))]);
            raw.tree(&[("40000", name, inner)])
        });
        assert!(
            matches!(error, FetchError::Write { .. } | FetchError::Objects { .. }),
            "{}: {error:?}",
            String::from_utf8_lossy(name)
        );
    }
}

#[test]
fn cve_2024_32002_and_cve_2025_48384_a_submodule_brings_no_hooks() {
    let server = Server::start(true);
    let hook = Raw::new(&server, "hook.git");
    let inner = hook.tree(&[("100755", b"post-checkout", hook.blob("#!/bin/sh\ntouch /tmp/pwned\n"))]);
    let commit = hook.publish(hook.tree(&[("40000", b"hooks", inner)]));
    let raw = Raw::new(&server, "r.git");
    // On file systems that fold case, `a` would lead `A/modules/x` into git's own directory.
    let modules = "[submodule \"x\"]\n\tpath = A/modules/x\n\turl = ../hook.git\n[submodule \"y\"]\n\tpath = sub\\r\n\turl = ../hook.git\n";
    let x = raw.tree(&[("160000", b"x", commit)]);
    let modules_tree = raw.tree(&[("40000", b"modules", x)]);
    raw.publish(raw.tree(&[
        ("100644", b".gitmodules", raw.blob(modules)),
        ("40000", b"A", modules_tree),
        ("120000", b"a", raw.blob(".git")),
        ("160000", b"sub", commit),
    ]));
    let dir = tempfile::tempdir().expect("a directory");
    fetch(&server, "r.git", dir.path(), &access()).expect("its files are harmless");
    assert!(dir.path().join("A/modules/x/hooks/post-checkout").is_file());
    assert!(!dir.path().join(".git/modules/x/hooks").exists());
    assert!(!dir.path().join(".git/hooks").exists());
    assert!(dir.path().join("sub").read_dir().expect("readable").next().is_none());
}

#[test]
fn a_submodule_may_not_be_a_directory_of_the_machine() {
    for url in [
        "file:///etc",
        "/etc",
        "../../../../../../etc",
        "ssh://-oProxyCommand=x/y",
        "--upload-pack=x",
    ] {
        let (_dir, error) = refused(|raw| {
            let modules = format!("[submodule \"x\"]\n\tpath = x\n\turl = {url}\n");
            let commit = Oid::from_str("1234567890123456789012345678901234567890").expect("an id");
            raw.tree(&[("100644", b".gitmodules", raw.blob(&modules)), ("160000", b"x", commit)])
        });
        assert!(
            matches!(
                error,
                FetchError::Submodule { .. } | FetchError::SubmoduleRefused { .. }
            ),
            "{url}: {error:?}"
        );
    }
}

#[test]
fn cve_2024_23653_a_sub_path_that_leads_out_is_refused() {
    for sub_path in [
        "..",
        "a/../../b",
        "/etc",
        "/etc/passwd",
        ".git/objects",
        "out",
        "out/passwd",
    ] {
        let server = Server::start(true);
        let raw = Raw::new(&server, "r.git");
        raw.publish(raw.tree(&[("120000", b"out", raw.blob("/etc"))]));
        let source = GitSource::new(format!("{}/r.git", server.url()), "main").with_sub_path(sub_path);
        let dir = tempfile::tempdir().expect("a directory");
        let error = fetch_git(&ResolvedGit::unasked(&source), dir.path(), &access(), &mut |_| ());
        let error = error.expect_err("refused");
        assert!(
            matches!(error, FetchError::SubPath(_) | FetchError::NoSuchSubPath { .. }),
            "{sub_path}: {error:?}"
        );
    }
}

#[test]
fn names_that_are_not_utf_8_or_move_the_cursor_are_written_and_shown_harmlessly() {
    let server = Server::start(true);
    let raw = Raw::new(&server, "r.git");
    let blob = raw.blob("x");
    raw.publish(raw.tree(&[("100644", b"\x1b[31m", blob), ("100644", b"\xff\xfe", blob)]));
    let dir = tempfile::tempdir().expect("a directory");
    fetch(&server, "r.git", dir.path(), &access()).expect("they are names like others");
    assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 3);
    let mut small = access();
    small.limits.path = 3;
    let other = tempfile::tempdir().expect("a directory");
    let error = fetch(&server, "r.git", other.path(), &small).expect_err("too long");
    let shown = format!("{}", std::error::Error::source(&error).expect("a cause"));
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn cve_2025_22620_a_file_has_one_of_two_modes_and_others_may_not_write_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = Server::start(true);
    let raw = Raw::new(&server, "r.git");
    let blob = raw.blob("#!/bin/sh\n");
    let modes = ["100644", "100664", "100666", "100755", "100777", "104755", "102755"];
    let entries: Vec<_> = modes.iter().map(|mode| (*mode, mode.as_bytes(), blob)).collect();
    raw.publish(raw.tree(&entries));
    let dir = tempfile::tempdir().expect("a directory");
    fetch(&server, "r.git", dir.path(), &access()).expect("odd modes are harmless");
    for mode in modes {
        let found = fs::metadata(dir.path().join(mode)).expect("there").permissions().mode() & 0o7777;
        assert_eq!(found & !0o755, 0, "{mode} became {found:o}");
        // As git reads them: executable is what its owner may execute.
        let executable = u32::from_str_radix(mode, 8).expect("octal") & 0o100 != 0;
        assert_eq!(found & 0o111 != 0, executable, "{mode} became {found:o}");
    }
}

#[test]
fn case_folding_collisions_leave_both_files_or_none_of_the_second() {
    let server = Server::start(true);
    let raw = Raw::new(&server, "r.git");
    let hooks = raw.tree(&[("100644", b"x", raw.blob("inner"))]);
    raw.publish(raw.tree(&[
        ("100644", b"README", raw.blob("upper")),
        ("40000", b"dir", hooks),
        ("120000", b"DIR", raw.blob("/etc")),
        ("100644", b"readme", raw.blob("lower")),
    ]));
    let dir = tempfile::tempdir().expect("a directory");
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    match fetch(&server, "r.git", dir.path(), &access()) {
        Ok(_) => assert_eq!((read("README"), read("readme")), ("upper".into(), "lower".into())),
        // A file system that folds case: nothing was written over or through what is there.
        Err(error) => assert!(matches!(error, FetchError::Write { .. }), "{error:?}"),
    }
    assert_eq!(read("README"), "upper");
    assert!(!Path::new("/etc/x").exists());
}

#[test]
fn terminal_escapes_in_ref_names_and_commit_messages_reach_nobody() {
    let server = Server::start(true);
    let raw = Raw::new(&server, "r.git");
    // The message of this commit holds one, too.
    let commit = raw.publish(raw.tree(&[("100644", b"f", raw.blob("f"))]));
    let name = "a\u{1b}[31mb";
    let refs = format!("{commit} refs/heads/main\n{commit} refs/heads/{name}\n");
    fs::write(raw.0.path().join("packed-refs"), refs).expect("refs");
    let mut log = Vec::new();
    for revision in ["main", name, "no\u{1b}[2Jsuch", "no\nsuch\rbranch"] {
        let source = GitSource::new(format!("{}/r.git", server.url()), revision);
        let dir = tempfile::tempdir().expect("a directory");
        let fetched = source_fetch::fetch(&source_fetch::Source::Git(source), dir.path(), &access(), &mut |line| {
            log.push(line.to_owned());
        });
        match fetched {
            Ok(fetched) => log.push(fetched.project_metadata().replace('\n', " ")),
            Err(error) => log.push(format!("{error}")),
        }
    }
    assert!(log.len() >= 6, "{log:?}");
    assert!(log.iter().all(|line| !line.chars().any(char::is_control)), "{log:?}");
}

#[test]
fn a_git_bomb_of_trees_that_repeat_ends_at_a_limit() {
    let server = Server::start(true);
    let raw = Raw::new(&server, "r.git");
    // Ten levels of ten directories each, which are all the same: ten billion files in a kilobyte.
    let mut tree = raw.tree(&[("100644", b"f", raw.blob("x"))]);
    for _ in 0..10 {
        let names: Vec<_> = (0..10).map(|number| format!("d{number}")).collect();
        let entries: Vec<_> = names.iter().map(|name| ("40000", name.as_bytes(), tree)).collect();
        tree = raw.tree(&entries);
    }
    raw.publish(tree);
    let mut access = access();
    access.limits.entries = 1000;
    let dir = tempfile::tempdir().expect("a directory");
    let error = fetch(&server, "r.git", dir.path(), &access).expect_err("too many");
    assert!(
        matches!(
            error,
            FetchError::TooLarge {
                source: LimitExceeded::Entries { limit: 1000 },
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_file_kept_by_git_lfs_stays_a_pointer_and_a_warning_says_so() {
    let server = Server::start(true);
    let raw = Raw::new(&server, "r.git");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    let attributes = raw.blob("*.bin filter=lfs\n");
    raw.publish(raw.tree(&[
        ("100644", b".gitattributes", attributes),
        ("100644", b"a.bin", raw.blob(pointer)),
    ]));
    let dir = tempfile::tempdir().expect("a directory");
    let source = GitSource::new(format!("{}/r.git", server.url()), "main");
    let mut log = Vec::new();
    let fetched = fetch_git(&ResolvedGit::unasked(&source), dir.path(), &access(), &mut |line| {
        log.push(line.to_owned());
    });
    assert_eq!(fetched.expect("fetched").lfs_pointers, 1);
    assert_eq!(fs::read_to_string(dir.path().join("a.bin")).expect("there"), pointer);
    assert!(log.len() == 1 && log[0].starts_with("warning: a.bin of "), "{log:?}");
    // Git's own checks agree that the checkout is what was committed.
    assert!(
        server
            .seen
            .lock()
            .expect("a lock")
            .iter()
            .all(|(path, _)| !path.contains("lfs"))
    );
}

/// A server with one raw answer a path.
fn raw_server(answers: BTreeMap<&'static str, Vec<u8>>) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&seen);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut writer = stream.try_clone().expect("cloned");
            let mut reader = BufReader::new(stream);
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
                head.push_str(&line);
            }
            let _ = reader.by_ref().take(length).read_to_end(&mut Vec::new());
            let path = head
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .split('?')
                .next()
                .unwrap_or_default()
                .to_owned();
            log.lock().expect("a lock").push(head);
            // A client that goes away is what some of these tests are about.
            let _ = writer.write_all(
                answers
                    .get(path.as_str())
                    .map_or(b"HTTP/1.1 404 x\r\n\r\n", Vec::as_slice),
            );
        }
    });
    (port, seen)
}

fn answer(body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn packets(lines: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        bytes.extend_from_slice(format!("{:04x}", line.len() + 4).as_bytes());
        bytes.extend_from_slice(line);
    }
    bytes.extend_from_slice(b"0000");
    bytes
}

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

fn fetch_raw(greeting: &[u8], pack: &[u8]) -> FetchError {
    let answers = BTreeMap::from([("/r/info/refs", answer(greeting)), ("/r/git-upload-pack", answer(pack))]);
    let (port, _) = raw_server(answers);
    let source = GitSource::new(format!("http://127.0.0.1:{port}/r"), ID);
    let dir = tempfile::tempdir().expect("a directory");
    let mut access = access();
    access.limits.objects = 1000;
    fetch_git(&ResolvedGit::unasked(&source), dir.path(), &access, &mut |_| ()).expect_err("it must fail")
}

#[test]
fn cve_2023_49568_and_cve_2025_21614_what_a_server_announces_costs_no_memory() {
    let greeting = packets(&[b"version 2\n", b"fetch=shallow\n"]);
    // Four billion objects, says the header of the pack.
    let pack = packets(&[b"packfile\n", b"\x01PACK\0\0\0\x02\xff\xff\xff\xff"]);
    let error = fetch_raw(&greeting, &pack);
    assert!(
        matches!(
            error,
            FetchError::TooLarge {
                source: LimitExceeded::Objects { limit: 1000 },
                ..
            }
        ),
        "{error:?}"
    );
    // One object of a terabyte, of which nothing comes.
    let pack = packets(&[b"packfile\n", b"\x01PACK\0\0\0\x02\0\0\0\x01\xbf\xff\xff\xff\xff\x7f"]);
    let error = fetch_raw(&greeting, &pack);
    assert!(
        matches!(error, FetchError::Objects { .. } | FetchError::Transport(_)),
        "{error:?}"
    );
}

#[test]
fn cve_2023_49568_trees_that_a_server_announces_cost_no_memory_either() {
    let greeting = packets(&[b"version 2\n", b"fetch=shallow\n"]);
    let packs: [&[u8]; 3] = [
        b"\x01PACK\0\0\0\x02\xff\xff\xff\xff",
        // A tree of a terabyte, and one whose size does not end.
        b"\x01PACK\0\0\0\x02\0\0\0\x01\xaf\xff\xff\xff\xff\x7f",
        b"\x01PACK\0\0\0\x02\0\0\0\x01\xaf\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80",
    ];
    for (number, pack) in packs.into_iter().enumerate() {
        let pack = packets(&[b"packfile\n", pack]);
        let answers = BTreeMap::from([
            ("/r/info/refs", answer(&greeting)),
            ("/r/git-upload-pack", answer(&pack)),
        ]);
        let (port, _) = raw_server(answers);
        let source = GitSource::new(format!("http://127.0.0.1:{port}/r"), ID).with_sub_path("app");
        let mut access = access();
        access.limits.objects = 1000;
        let scratch = tempfile::tempdir().expect("a directory");
        let error = resolve_git_with_tree(&source, &access, scratch.path()).expect_err("it must fail");
        let is_limit = matches!(
            &error,
            ResolveError::Transport(TransportError::Limit {
                source: LimitExceeded::Objects { limit: 1000 },
                ..
            })
        );
        assert_eq!(is_limit, number == 0, "{error:?}");
        assert_eq!(std::fs::read_dir(scratch.path()).expect("readable").count(), 0);
    }
}

#[test]
fn answers_that_are_cut_off_are_errors_that_say_so() {
    let greeting = packets(&[b"version 2\n", b"fetch=shallow\n"]);
    for cut in [1, 5, 9, greeting.len() - 1] {
        let error = fetch_raw(&greeting[..cut], b"");
        assert!(
            matches!(error, FetchError::Transport(TransportError::Protocol { .. })),
            "{cut}: {error:?}"
        );
    }
    let pack = packets(&[b"packfile\n", b"\x01PACK\0\0\0\x02\0\0\0\0"]);
    for cut in 1..pack.len() - 1 {
        let error = fetch_raw(&greeting, &pack[..cut]);
        assert!(
            matches!(error, FetchError::Transport(TransportError::Protocol { .. })),
            "{cut}: {error:?}"
        );
    }
    let error = fetch_raw(b"<html>no git here</html>", b"");
    assert!(
        !error.is_retryable() && matches!(error, FetchError::Transport(_)),
        "{error:?}"
    );
}

#[test]
fn cve_2026_41506_a_git_credential_does_not_follow_a_redirect_to_another_origin() {
    let server = Server::start(true);
    let raw = Raw::new(&server, "r.git");
    let commit = raw.publish(raw.tree(&[("100644", b"f", raw.blob("f"))]));
    let location = format!("{}/r.git/info/refs?service=git-upload-pack", server.url());
    let redirect =
        format!("HTTP/1.1 301 Moved\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let (port, seen) = raw_server(BTreeMap::from([("/old/info/refs", redirect.into_bytes())]));
    let secret = KubernetesSecret::new("s", "kubernetes.io/basic-auth")
        .with_annotation("kpack.io/git", format!("127.0.0.1:{port}"))
        .with_data("username", "u")
        .with_data("password", "p");
    let access = Access {
        git: GitKeychain::from_secrets([&secret]),
        ..access()
    };
    let source = GitSource::new(format!("http://127.0.0.1:{port}/old"), "main");
    let found = resolve_git(&source, &access).expect("the redirect is followed");
    assert_eq!(found.revision, commit.to_string());
    let first = seen.lock().expect("a lock")[0].to_ascii_lowercase();
    assert!(first.contains("authorization: basic"), "{first}");
    let sent = server.seen.lock().expect("a lock");
    assert!(
        sent.len() == 2 && sent.iter().all(|(_, header)| header.is_empty()),
        "{sent:?}"
    );
}

#[test]
fn one_branch_of_a_hundred_thousand_refs_is_found_without_listing_them() {
    let sent = hundred_thousand_refs(true);
    assert!(sent < 4096, "{sent} bytes");
}

#[test]
fn an_older_server_lists_a_hundred_thousand_refs_and_is_understood() {
    let sent = hundred_thousand_refs(false);
    assert!(sent > 5_000_000, "{sent} bytes");
}

fn hundred_thousand_refs(version_2: bool) -> u64 {
    let server = Server::start(version_2);
    let raw = Raw::new(&server, "r.git");
    let commit = raw.publish(raw.tree(&[("100644", b"f", raw.blob("f"))]));
    let mut refs = String::new();
    for number in 0..100_000 {
        refs.push_str(&format!("{commit} refs/heads/b{number:06}\n"));
    }
    refs.push_str(&format!("{commit} refs/heads/main\n"));
    fs::write(raw.0.path().join("packed-refs"), refs).expect("refs");
    let source = GitSource::new(format!("{}/r.git", server.url()), "main");
    let found = resolve_git(&source, &access()).expect("it resolves");
    assert_eq!(found.revision, commit.to_string());
    *server.sent.lock().expect("a lock")
}
