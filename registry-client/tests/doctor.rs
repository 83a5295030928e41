//! The example `doctor` against real registries: it tells who answered and what may be done, and never a secret.

use std::{
    env,
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    thread,
};

use test_support::{Registry, RegistryOptions, TokenServer};

/// Returns the example as its source is now: `cargo test --test doctor` alone does not build it.
fn doctor() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let test = env::current_exe().expect("the test has a path");
        // `…/debug/deps/doctor-0123`: examples are beside `deps`, and the profile is the folder's name.
        let profile = test.ancestors().nth(2).expect("it is beneath a profile's folder");
        // Started without cargo, it is what was built along with the tests.
        if let Some(cargo) = env::var_os("CARGO") {
            let name = match profile.file_name().and_then(OsStr::to_str) {
                Some("debug") | None => "dev",
                Some(name) => name,
            };
            let mut build = Command::new(cargo);
            // What cargo tells this test of its package would make build scripts run again.
            let told = |name: &OsStr| {
                let name = name.to_string_lossy().into_owned();
                ["CARGO_PKG_", "CARGO_MANIFEST_"]
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
            };
            for (name, _) in env::vars_os().filter(|(name, _)| told(name)) {
                build.env_remove(name);
            }
            let built = build
                .args([
                    "build",
                    "--offline",
                    "--quiet",
                    "--example",
                    "doctor",
                    "--profile",
                    name,
                ])
                .arg("--target-dir")
                .arg(profile.parent().expect("it is beneath the target folder"))
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .status();
            assert!(built.is_ok_and(|status| status.success()), "the example is not built");
        }
        profile.join("examples/doctor")
    })
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
