//! The example `doctor` against real registries: it tells who answered and what may be done, and never a secret.

use std::{fs, path::PathBuf, process::Command};

use test_support::{Registry, RegistryOptions, TokenServer};

/// Examples are built along with tests, beside their folder.
fn doctor() -> PathBuf {
    let mut path = std::env::current_exe().expect("the test has a path");
    path.pop();
    path.pop();
    path.join("examples/doctor")
}

fn diagnose(host: &str, auth: &str) -> (bool, String) {
    let home = tempfile::tempdir().expect("a directory");
    let encoded = format!(r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}}}"#);
    fs::write(home.path().join("config.json"), encoded).expect("it is written");
    let output = Command::new(doctor())
        .arg(format!("{host}/team/app"))
        .env_clear()
        .env("DOCKER_CONFIG", home.path())
        .output()
        .expect("the example is built along with the tests");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[track_caller]
fn assert_lines(report: &str, expected: &[&str]) {
    for line in expected {
        assert!(report.contains(line), "{line} is missing in:\n{report}");
    }
}

#[test]
fn a_registry_with_tokens_is_explained_without_the_password() {
    let server = TokenServer::start().expect("the token server starts");
    let registry = Registry::with_options(&RegistryOptions {
        token_server: Some(&server),
        ..RegistryOptions::default()
    });
    let registry = registry.expect("docker-registry starts");
    // user:pass
    let (_, report) = diagnose(&registry.host(), "dXNlcjpwYXNz");
    assert_lines(
        &report,
        &[
            "credential  docker config ",
            "user \"user\" with password ****",
            "token       from http://127.0.0.1:",
            "write       an upload can be begun",
        ],
    );
    assert!(
        !report.contains("pass\"") && !report.contains("dXNlcjpwYXNz"),
        "{report}"
    );
}

#[test]
fn a_wrong_password_is_told_with_advice() {
    let registry = Registry::with_basic_auth("user", "pass").expect("docker-registry starts");
    // user:wrong
    let (good, report) = diagnose(&registry.host(), "dXNlcjp3cm9uZw==");
    assert!(!good);
    assert_lines(
        &report,
        &["FAIL   write", "401 Unauthorized", "-> log in: docker login"],
    );
    assert!(!report.contains("wrong"), "{report}");
}
