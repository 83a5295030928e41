//! What kp printed against a real cluster with kpack, compared with what it prints here.
//!
//! Each suite starts a registry with the recorded images, a git server, and the store, API and reconcilers of
//! kpackd in this process. No pod runs: the recording had no kubelet either, what pods did is authored.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod case;
mod forward;
mod further;
mod kubelet;
mod normal;
mod suite;
mod world;

/// Cases that differ, and why.
const KP_COMMANDS: &[(&str, &str)] = &[
    (
        "builder patch dry run yaml",
        "the builder was assembled within the second in which it was patched, so its managers stand the other way round",
    ),
    (
        "clusterbuildpack output yaml fails after the write",
        "here the resource is printed, as for every other kind",
    ),
    (
        "image create local path with tag part",
        "a local source never goes to the app's own repository, whose tag `latest` it would move",
    ),
    (
        "image patch and wait for a failing build",
        "the recorded kubelet had not written the last line of the log when it was followed",
    ),
];

#[test]
fn every_command_prints_what_it_prints_with_a_real_cluster() {
    suite::replay("kp-commands", include_str!("../fixtures/kp-commands.json"), KP_COMMANDS);
}

#[test]
fn the_walk_through_prints_what_it_prints_with_a_real_cluster() {
    suite::replay("walkthrough", include_str!("../fixtures/walkthrough.json"), &[]);
}
