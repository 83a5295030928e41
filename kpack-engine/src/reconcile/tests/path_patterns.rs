//! Which paths of a repository count, from the object to the server.

use std::time::Duration;

use proptest::prelude::*;
use rebuild_policy::{AdmissionContext, Operation, SourceConfig, admit};
use registry_client::{Http, HttpPolicy};
use serde_json::{Value, json};
use source_fetch::PathFilter;
use test_support::GitServer;

use crate::reconcile::{Account, SourceFetcher, SourceReader as _};

fn image(git: &Value) -> Value {
    json!({
        "apiVersion": "kpack.io/v1alpha2",
        "kind": "Image",
        "metadata": {"name": "app", "namespace": "default"},
        "spec": {
            "tag": "registry.example.com/app",
            "builder": {"kind": "ClusterBuilder", "name": "b"},
            "source": {"git": git},
        },
    })
}

fn with_patterns(patterns: &[&str]) -> Value {
    image(&json!({"url": "https://git.example.com/r", "revision": "main", "paths": {"exclude": patterns}}))
}

#[test]
fn patterns_are_kept_and_a_wrong_one_is_refused_with_its_path() {
    let object = with_patterns(&["*.md", "docs/"]);
    let admission = admit(&object, Operation::Create, AdmissionContext::default()).unwrap();
    assert_eq!(admission.object["spec"]["source"], object["spec"]["source"]);
    assert_eq!(admission.warnings, [""; 0]);
    let wrong = with_patterns(&["*.md", "a{"]);
    let refusal = admit(&wrong, Operation::Create, AdmissionContext::default()).unwrap_err();
    let words = refusal.to_string();
    assert!(
        words.contains("invalid value: \"a{\": spec.source.git.paths.exclude[1]")
            && words.contains("must be a pattern like a line of a .gitignore, but leaves a brace open"),
        "{words}"
    );
}

proptest! {
    #[test]
    fn what_is_admitted_is_understood(pattern in r"([!#/\\\\*?{}\[\],a-c :^-]|[ -~]){0,12}") {
        let admitted = admit(&with_patterns(&[&pattern]), Operation::Create, AdmissionContext::default()).is_ok();
        if admitted {
            prop_assert!(PathFilter::new([&pattern], [&pattern]).is_ok(), "{:?}", pattern);
        }
    }
}

#[test]
fn a_commit_outside_of_the_paths_that_count_has_the_same_tree() {
    let server = GitServer::start().unwrap();
    let repository = server.create_repository("mono").unwrap();
    repository
        .commit(&[("app/a", "a"), ("libs/b", "b"), ("docs/c", "c")], "one")
        .unwrap();
    let mirrors = tempfile::tempdir().unwrap();
    let http = Http::new(&HttpPolicy::default()).unwrap();
    let fetcher = SourceFetcher::new(http, mirrors.path().to_owned(), Duration::ZERO);
    let source: SourceConfig = serde_json::from_value(json!({
        "git": {"url": server.url("mono"), "revision": "main", "paths": {"include": ["libs/"], "exclude": ["*.md"]}},
        "subPath": "app",
    }))
    .unwrap();
    let tree = || fetcher.resolve(&source, &Account::default()).unwrap().git.unwrap().tree;
    let first = tree();
    assert!(!first.is_empty());
    repository
        .commit(&[("docs/c", "d"), ("app/README.md", "d")], "docs")
        .unwrap();
    assert_eq!(tree(), first);
    repository.commit(&[("libs/b", "c")], "library").unwrap();
    assert_ne!(tree(), first);
}
