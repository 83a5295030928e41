//! Recorded revisions resolve, and recorded repositories are fetched, as the reference does or better.

mod support;

use std::{collections::BTreeMap, fs, path::Path};

use registry_auth::KubernetesSecret;
use registry_client::{Http, HttpPolicy, RetryPolicy};
use serde_json::Value;
use source_fetch::{
    Access, Fetched, GitKeychain, GitSource, ResolvedGit, RevisionKind, Source, fetch, process_project_descriptor,
    resolve_git, resolve_git_with_tree,
};
use support::{
    repositories::{Server, build_all},
    sshd::{Sshd, ssh},
};

fn access() -> Access {
    let policy = HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    Access {
        allow_file: true,
        ..Access::new(Http::new(&policy).expect("the policy is valid"))
    }
}

fn server(version_2: bool) -> Server {
    let server = Server::start(version_2);
    build_all(
        &support::recorded("source/repositories.json"),
        server.root.path(),
        &server.url(),
    );
    server
}

fn place(server: &Server) -> impl Fn(&str) -> String {
    let blobs = format!("localhost:{}", server.port);
    let root = server.root.path().display().to_string();
    move |text: &str| {
        text.replace("<git>", &server.url())
            .replace("<blobs>", &blobs)
            .replace("<gitroot>", &root)
    }
}

/// A kind, an id and a tree, as the recorded status has them.
fn outcome(found: &ResolvedGit) -> (String, String, Option<String>) {
    (
        found.kind.as_str().to_owned(),
        found.revision.clone(),
        found.tree.clone(),
    )
}

/// Where ours does better than what was recorded, and what it does.
fn better(case: &Value, found: &ResolvedGit) -> bool {
    let revision = case["revision"].as_str().unwrap_or_default();
    let is_id = found.revision.len() == 40 && !found.revision.bytes().all(|byte| byte == b'0');
    match revision {
        // Full names and HEAD resolve.
        "HEAD" => is_id && found.kind == RevisionKind::Branch,
        _ if revision.starts_with("refs/heads/") => is_id && found.kind == RevisionKind::Branch,
        _ if revision.starts_with("refs/tags/") => is_id && found.kind == RevisionKind::Tag,
        _ if revision.starts_with("refs/") => is_id && found.kind == RevisionKind::Unknown,
        // No server is asked about a commit's id, so that one which can't be reached does no harm.
        _ if case["list"]["type"] == "Unknown" && revision.len() == 40 => found.kind == RevisionKind::Commit,
        // A detached head, and a slash at the end of a url, hinder nothing.
        _ => {
            let url = case["url"].as_str().unwrap_or_default();
            (url.ends_with('/') && is_id) || url.ends_with("detached.git")
        }
    }
}

fn check_resolutions(version_2: bool) {
    let server = server(version_2);
    let place = place(&server);
    let scratch = tempfile::tempdir().expect("a directory");
    let mut problems = Vec::new();
    let cases = support::recorded("source/git-resolve.json");
    for case in cases["cases"].as_array().expect("cases") {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let url = place(text("url"));
        assert!(!url.contains('<'), "a server that is not there: {url}");
        let mut source = GitSource::new(&url, text("revision")).with_sub_path(text("sub_path"));
        if case["submodules"] == true {
            source = source.with_submodules();
        }
        let mut access = access();
        if case["user"].is_string() {
            let secret = KubernetesSecret::new("s", "kubernetes.io/basic-auth")
                .with_annotation("kpack.io/git", format!("http://localhost:{}", server.port))
                .with_data("username", text("user"))
                .with_data("password", text("password"));
            access.git = GitKeychain::from_secrets([&secret]);
        }
        let found = resolve_git(&source, &access).unwrap_or_else(|_| ResolvedGit::unasked(&source));
        let recorded = &case["list"];
        // What the reference picks at random is a list of what it may be.
        let is = |key: &str, value: &str| match &recorded[key]["any_of"] {
            Value::Array(values) => values.iter().any(|other| other == value),
            _ => recorded[key] == value,
        };
        let fits = is("type", found.kind.as_str()) && is("revision", &found.revision);
        let depends_on_url = found.revision.len() == 40 && url.contains("super-");
        if !fits && !better(case, &found) && !depends_on_url {
            problems.push(format!("{}: {:?} instead of {recorded}", case["name"], outcome(&found)));
        }
        // The sub path's tree: where the reference knows it, ours knows the same.
        let shallow = &case["shallow"];
        if let Some(tree) = shallow["tree"].as_str() {
            let found = resolve_git_with_tree(&source, &access, scratch.path());
            let found = found.map(|found| found.tree);
            if !matches!(&found, Ok(Some(found)) if found == tree) && !depends_on_url {
                problems.push(format!("{}: tree {found:?} instead of {tree}", case["name"]));
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} problems\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn recorded_revisions_resolve_with_protocol_version_2() {
    check_resolutions(true);
}

#[test]
fn recorded_revisions_resolve_with_the_older_protocol() {
    check_resolutions(false);
}

fn secrets_of(case: &Value, sshd: &Sshd, place: impl Fn(&str) -> String) -> Vec<KubernetesSecret> {
    let arguments = case["args"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let annotated = arguments.filter_map(|argument| {
        let basic = argument.strip_prefix("-basic-git=").map(|rest| ("basic-auth", rest));
        let (kind, rest) = basic.or_else(|| Some(("ssh-auth", argument.strip_prefix("-ssh-git=")?)))?;
        let (name, host) = rest.split_once('=')?;
        Some((kind, name, host))
    });
    let secret = |(kind, name, host): (&str, &str, &str)| {
        let found = case["secrets"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|secret| secret["name"] == name);
        let data = found.and_then(|secret| secret["data"].as_object());
        let secret =
            KubernetesSecret::new(name, format!("kubernetes.io/{kind}")).with_annotation("kpack.io/git", place(host));
        let with = |secret: KubernetesSecret, (key, value): (&String, &Value)| {
            let value = place(value.as_str().unwrap_or_default());
            // The recorded host key was the recording server's: here it is ours, where it was right.
            let is_right = case["name"] == "ssh-known-host-accepted" && key == "known_hosts";
            let value = match value.as_str() {
                "<key:key-a>" => sshd.key("key-a"),
                "<key:key-b>" => sshd.key("key-b"),
                _ if is_right => format!("[localhost]:{} {}", sshd.port, sshd.key("host.pub")),
                _ => value,
            };
            secret.with_data(key, value)
        };
        data.into_iter().flatten().fold(secret, with)
    };
    annotated.map(secret).collect()
}

/// Cases that the reference fails and ours can do, and why.
const BETTER: &[(&str, &str)] = &[
    ("app-nested", "a tag of a tag leads to its commit"),
    ("app-head", "HEAD is a revision"),
    ("app-refs-heads-main", "full names resolve"),
    ("app-refs-tags-v2-0-0", "full names resolve"),
    ("plain-main", "a server need not allow commit ids"),
    ("plain-commit-c1", "a server need not allow commit ids"),
    ("plain-commit-c2", "a server need not allow commit ids"),
    ("tip-commit-c1", "a server need not allow commit ids"),
    ("super-rel-with-init", "relative submodules"),
    ("super-nested-with-init", "relative submodules"),
    (
        "super-no-gitlink-with-init",
        "as git does, what the tree does not hold is passed over",
    ),
    ("detached-main", "a detached head hinders nothing"),
    ("detached-head", "a detached head hinders nothing"),
    ("sub-path-missing", "found out about before the build, not in it"),
];

/// Cases about other steps of `prepare` than its source.
const ELSEWHERE: &[&str] = &[
    "bad-secret-argument",
    "docker-secret-missing-directory",
    "basic-docker-secret-missing",
    "bad-docker-argument",
    "no-source",
    "write-access-refused",
    "bad-image-tag",
    "run-image-missing",
];

fn compare(dir: &Path, case: &Value, fetched: &Fetched, place: &dyn Fn(&str) -> String) -> Vec<String> {
    let recorded = &case["out"];
    let expected = support::recorded_tree(&recorded["tree"], place);
    let mut problems = support::differences(&expected, &support::tree_of(dir));
    // The reference puts the directory in front of absolute links; git leaves them as they are.
    problems.retain(|line| !line.starts_with("link-abs: "));
    let depends_on_url = case["url"].as_str().is_some_and(|url| url.contains("super-"));
    let git = &recorded["git_dir"];
    let read = |name: &str| fs::read_to_string(dir.join(".git").join(name)).unwrap_or_default();
    if read("config") != place(git["config"].as_str().unwrap_or_default()) {
        problems.push(format!("config {}", read("config")));
    }
    if !depends_on_url {
        if read("HEAD").trim() != git["head"].as_str().unwrap_or_default() {
            problems.push(format!("HEAD {} instead of {}", read("HEAD"), git["head"]));
        }
        let shallow: Vec<_> = git["shallow"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        // The reference counts a first commit as cut off, too.
        if !read("shallow").is_empty() && read("shallow").lines().collect::<Vec<_>>() != shallow {
            problems.push(format!("shallow {} instead of {shallow:?}", read("shallow")));
        }
        let refs = git["refs"].as_array().into_iter().flatten().filter_map(Value::as_str);
        if refs.clone().any(|name| !dir.join(".git").join(name).is_file()) {
            problems.push(format!("no refs {:?}", refs.collect::<Vec<_>>()));
        }
        let metadata = recorded["project_metadata"].as_str().map(place);
        if metadata.is_some_and(|metadata| metadata != fetched.project_metadata()) {
            problems.push(fetched.project_metadata());
        }
    }
    problems
}

fn check_fetches(version_2: bool) {
    let server = server(version_2);
    let sshd = Sshd::start();
    let over_http = place(&server);
    let (user, port) = (Sshd::user(), sshd.port.to_string());
    let place = |text: &str| {
        let text = text.replace("ssh://git@localhost", &format!("ssh://{user}@localhost"));
        over_http(&text.replace("<sshport>", &port))
    };
    let scratch = tempfile::tempdir().expect("a directory");
    let mut problems = Vec::new();
    let cases = support::recorded("source/git-fetch.json");
    let mut elsewhere = 0;
    for case in cases["cases"].as_array().expect("cases") {
        let text = |key: &str| case[key].as_str().unwrap_or_default();
        let name = text("name");
        let recorded = &case["out"];
        let env = |key: &str| case["env"][key].as_str().unwrap_or_default();
        // What ends or begins with another step of `prepare` is replayed by that program's own test.
        if ELSEWHERE.contains(&name) {
            elsewhere += 1;
            continue;
        }
        let mut source = GitSource::new(place(text("url")), text("revision")).with_sub_path(env("SOURCE_SUB_PATH"));
        if matches!(env("GIT_INITIALIZE_SUBMODULES"), "true" | "1") {
            source = source.with_submodules();
        }
        let mut access = access();
        access.git = GitKeychain::from_secrets(&secrets_of(case, &sshd, place));
        let arguments = case["args"].as_array().into_iter().flatten();
        let strict = arguments
            .clone()
            .any(|argument| argument == "-insecure-ssh-trust-unknown-hosts=false");
        access.ssh = Some(ssh(scratch.path(), !strict));
        let outside = tempfile::tempdir().expect("a directory");
        let dir = outside.path().join("workspace");
        fs::create_dir(&dir).expect("a directory");
        server.seen.lock().expect("a lock").clear();
        let mut log = Vec::new();
        let result = fetch(&Source::Git(source), &dir, &access, &mut |line| {
            log.push(line.to_owned());
        });
        // As `prepare` does, the descriptor is followed, and variables of the build are written over its own.
        let platform = tempfile::tempdir().expect("a directory");
        let env_dir = platform.path().join("env");
        let result = result.map_err(|error| format!("{error:?}")).and_then(|fetched| {
            let sub_path = env("SOURCE_SUB_PATH").parse().map_err(|error| format!("{error:?}"))?;
            let path = Some(env("PROJECT_DESCRIPTOR_PATH")).filter(|path| !path.is_empty());
            let followed = process_project_descriptor(&dir, &sub_path, path, &env_dir);
            followed.map(|_| fetched).map_err(|error| error.to_string())
        });
        let mut variables: BTreeMap<String, String> = fs::read_dir(&env_dir)
            .into_iter()
            .flatten()
            .flatten()
            .map(|file| {
                let value = fs::read_to_string(file.path()).expect("text");
                (file.file_name().to_string_lossy().into_owned(), value)
            })
            .collect();
        for (name, value) in case["env"].as_object().into_iter().flatten() {
            if let Some(name) = name.strip_prefix("PLATFORM_ENV_") {
                variables.insert(name.to_owned(), value.as_str().unwrap_or_default().to_owned());
            }
        }
        let hostile =
            case["hostile"] == true || text("url").contains("super-escape") || text("url").contains("dash-url");
        let better = BETTER.iter().any(|(better, _)| *better == name);
        let mut problem = |text: String| problems.push(format!("{name}: {text}"));
        if fs::read_dir(outside.path()).expect("readable").count() != 1 {
            problem("it escaped".into());
        }
        match &result {
            Ok(fetched) if recorded["any_of"].is_array() => {
                // The raw outputs hold the ends of lines that others lack.
                let outputs = recorded["any_of"].as_array().into_iter().flatten().cloned();
                let fits = |mut output: Value| {
                    let head = output["git_dir"]["head"].as_str().unwrap_or_default().trim().to_owned();
                    output["git_dir"]["shallow"] = serde_json::json!([head]);
                    output["git_dir"]["head"] = head.into();
                    let case = serde_json::json!({"url": case["url"], "out": output});
                    compare(&dir, &case, fetched, &place).is_empty()
                };
                if !outputs.into_iter().any(fits) {
                    problem("is none of what was recorded".into());
                }
            }
            Ok(fetched) if recorded["exit"] == 0 => {
                let expected = recorded["platform_env"].as_object().into_iter().flatten();
                let expected =
                    expected.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()));
                if variables != expected.collect() {
                    problem(format!(
                        "variables {variables:?} instead of {}",
                        recorded["platform_env"]
                    ));
                }
                for line in compare(&dir, case, fetched, &place) {
                    problem(line);
                }
                let path = format!("\"{}\"", dir.display());
                let lines = recorded["log"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str);
                let own = ["Cloning", "Updating", "Successfully"];
                let lines = lines.filter(|line| own.iter().any(|word| line.starts_with(word)));
                let lines: Vec<_> = lines.map(|line| place(line).replace("\"/workspace\"", &path)).collect();
                // That a file is a pointer is said here and not by the reference.
                log.retain(|line| name != "file-kinds" || !line.starts_with("warning: model.lfs "));
                if lines != log {
                    problem(format!("log {log:?} instead of {lines:?}"));
                }
            }
            Ok(_) if !better => problem("not refused".into()),
            Err(error) if better && name != "sub-path-missing" && name != "super-no-gitlink-with-init" => {
                problem(format!("no better: {error}"));
            }
            Err(error) if (recorded["exit"] == 0 || recorded["any_of"].is_array()) && !better && !hostile => {
                problem(format!("refused: {error}"));
            }
            Err(error) => {
                // Where the message is about the descriptor, it is the same one.
                let last = recorded["log"]
                    .as_array()
                    .and_then(|log| log.last()?.as_str())
                    .unwrap_or_default();
                if last.contains("project descriptor") && !last.contains(error) {
                    problem(format!("message {error}, not {last}"));
                }
            }
            Ok(_) => {}
        }
        if recorded["auth_seen"].is_array() {
            let sent = server.seen.lock().expect("a lock");
            let recorded = recorded["auth_seen"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str);
            let recorded: std::collections::BTreeSet<_> = recorded.collect();
            // The same credentials and no others, if not as often.
            if !sent.iter().all(|(_, header)| recorded.contains(header.as_str())) {
                problem(format!("sent {sent:?} instead of {recorded:?}"));
            }
        }
    }
    assert_eq!(elsewhere, ELSEWHERE.len());
    let left = fs::read_dir(scratch.path()).expect("readable").count();
    assert_eq!(left, 0, "a key stays behind");
    assert!(
        problems.is_empty(),
        "{} problems\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn recorded_repositories_are_fetched_with_protocol_version_2() {
    check_fetches(true);
}

#[test]
fn recorded_repositories_are_fetched_with_the_older_protocol() {
    check_fetches(false);
}
