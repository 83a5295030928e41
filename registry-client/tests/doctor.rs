//! The example `doctor` against real registries: it tells who answered and what may be done, and never a secret.

mod example;

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use test_support::{Registry, RegistryOptions, TokenServer};

fn auths(host: &str, auth: &str) -> String {
    format!(r#"{{"auths": {{"{host}": {{"auth": "{auth}"}}}}}}"#)
}

fn diagnose(host: &str, auth: &str) -> (bool, String) {
    let home = tempfile::tempdir().expect("a directory");
    diagnose_at(home.path(), host, &auths(host, auth), &[])
}

/// Runs it with `config` as docker's configuration, and helpers in the same directory.
fn diagnose_at(home: &Path, host: &str, config: &str, variables: &[(&str, &str)]) -> (bool, String) {
    fs::write(home.join("config.json"), config).expect("it is written");
    let output = Command::new(example::built("doctor"))
        .arg(format!("{host}/team/app"))
        .env_clear()
        .env("DOCKER_CONFIG", home)
        .env("PATH", home)
        .envs(variables.iter().copied())
        .output()
        .expect("the example runs");
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

#[test]
fn a_date_that_cannot_be_is_not_compared_with_the_clock() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let host = listener.local_addr().expect("it is bound").to_string();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let head = BufReader::new(&connection).lines().map_while(Result::ok);
            if head.take_while(|line| !line.is_empty()).count() > 0 {
                let answer = "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 9999999999999999:00:00 GMT\r\n\
                              Content-Length: 0\r\nConnection: close\r\n\r\n";
                // Who asked may have gone.
                let _ = (&connection).write_all(answer.as_bytes());
            }
        }
    });
    let (_, report) = diagnose(&host, "dXNlcjpwYXNz");
    assert_lines(&report, &["credential  docker config "]);
    assert!(!report.contains("clock"), "{report}");
}

#[test]
fn a_helper_that_hangs_is_told_as_slow_and_asked_once() {
    let registry = Registry::with_basic_auth("user", "pass").expect("docker-registry starts");
    let home = tempfile::tempdir().expect("a directory");
    let helper = home.path().join("docker-credential-slow");
    let script = format!(
        "#!/bin/sh\necho >> {}/runs\nexec /bin/sleep 60\n",
        home.path().display()
    );
    fs::write(&helper, script).expect("it is written");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("it is made a program");
    example::built("doctor");
    let started = Instant::now();
    let (good, report) = diagnose_at(home.path(), &registry.host(), r#"{"credsStore": "slow"}"#, &[]);
    assert!(started.elapsed() < Duration::from_secs(3), "{report}");
    assert!(!good);
    assert_lines(
        &report,
        &[
            "FAIL   credential  docker config ",
            "docker-credential-slow does not answer: it took longer than 0.8 seconds",
            "-> run docker-credential-slow get by hand",
        ],
    );
    assert!(!report.contains("install"), "{report}");
    assert_eq!(fs::read(home.path().join("runs")).expect("it was run"), b"\n");
}

#[test]
fn the_variable_docker_auth_config_goes_before_the_file() {
    let registry = Registry::with_basic_auth("user", "pass").expect("docker-registry starts");
    let (host, home) = (registry.host(), tempfile::tempdir().expect("a directory"));
    // user:pass and user:wrong
    let variable = auths(&host, "dXNlcjpwYXNz");
    let file = auths(&host, "dXNlcjp3cm9uZw==");
    let (_, report) = diagnose_at(home.path(), &host, &file, &[("DOCKER_AUTH_CONFIG", &variable)]);
    assert_lines(
        &report,
        &[
            "config.json with DOCKER_AUTH_CONFIG: user",
            "write       an upload can be begun",
        ],
    );
}
