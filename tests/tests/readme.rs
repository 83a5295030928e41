//! The README, as a newcomer uses it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The fenced blocks of this language, in order.
fn blocks(markdown: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let mut rest = markdown;
    let mut blocks = Vec::new();
    while let Some((_, after)) = rest.split_once(&fence) {
        let (block, after) = after.split_once("\n```\n").expect("the block is closed");
        blocks.push(block.to_owned());
        rest = after;
    }
    blocks
}

/// The host as it stands in names of variables: `X86_64_UNKNOWN_LINUX_GNU`.
fn host() -> String {
    let version = Command::new("rustc").arg("-vV").output().expect("rustc can be started");
    let version = String::from_utf8(version.stdout).expect("rustc writes text");
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("rustc names its host").to_uppercase().replace('-', "_")
}

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).expect("there is a README")
}

#[test]
fn it_opens_with_the_two_commands() {
    let readme = readme();
    assert_eq!(blocks(&readme, "sh"), ["cargo demo", "cargo test --workspace"]);
    let first = readme.find("```").expect("there are blocks");
    assert!(readme[first..].starts_with("```sh\ncargo demo\n```\n"));
    assert!(!readme[..first].contains("\n## "), "a heading comes before them");
}

#[test]
#[ignore = "builds the release programs and all tests: `.ci/run readme` runs it"]
fn its_shell_blocks_run_in_order_as_they_stand() {
    // The tests that `cargo test --workspace` would run are running already, or run beside this: each test program is
    // built and started, and lists what it has.
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("list-tests");
    let runner = format!("CARGO_TARGET_{}_RUNNER", host());
    for block in blocks(&readme(), "sh") {
        let mut shell = Command::new("bash");
        shell.args(["-euc", &block]).current_dir(root());
        if block.contains("cargo test") {
            shell.env(&runner, &list);
        }
        let status = shell.status().expect("there is bash");
        assert!(status.success(), "{block}: {status}");
    }
}
