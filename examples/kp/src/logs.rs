//! Following the containers of a build, one after the other.

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    cluster::{BUILD, Cluster, IMAGE, POD},
    print::out,
    resource::{condition, condition_status, text},
};

const STEPS: &[&str] = &[
    "prepare",
    "analyze",
    "detect",
    "restore",
    "build",
    "export",
    "rebase",
    "completion",
];

/// Streams the logs of a build until its pod ends. A build that failed is no failure of this.
///
/// Fails with the build's own message when it ended without ever having a pod.
pub(crate) fn stream_build(cluster: &Cluster, build: &Value, timestamps: bool) -> anyhow::Result<()> {
    let labels = &build["metadata"]["labels"];
    let label = |name: &str| labels[name].as_str().unwrap_or_default();
    let image = label("image.kpack.io/image");
    let number = label("image.kpack.io/buildNumber");
    let query = Cluster::by_labels(&[("image.kpack.io/image", image), ("image.kpack.io/buildNumber", number)]);
    let namespace = text(build, "/metadata/namespace");
    match without_pod(cluster, namespace, text(build, "/metadata/name"), &query)? {
        Some(ended) => Err(no_logs(&ended)),
        None => stream_pods(cluster, namespace, &query, timestamps),
    }
}

/// Waits until a build has a pod, and returns the build if it ended without one.
fn without_pod(cluster: &Cluster, namespace: &str, name: &str, pods: &str) -> anyhow::Result<Option<Value>> {
    loop {
        // The watch begins with the build as it is; the pods are read after it, so that none is missed.
        for event in cluster.watch(BUILD, namespace, &Cluster::by_name(name), None)? {
            let (event, build) = event?;
            if event == "DELETED" {
                bail!("build {name} was deleted");
            }
            if !cluster.list_by(POD, namespace, pods)?.is_empty() {
                return Ok(None);
            }
            if condition_status(&build, "Succeeded") != "Unknown" {
                return Ok(Some(build));
            }
        }
    }
}

/// Why there is nothing to show of a build that ended.
fn no_logs(build: &Value) -> anyhow::Error {
    let name = text(build, "/metadata/name");
    let succeeded = condition(build, "Succeeded");
    let field = |pointer: &str| succeeded.map_or("", |condition| text(condition, pointer));
    let why = [field("/message"), field("/reason")]
        .into_iter()
        .find(|text| !text.is_empty());
    let failed = field("/status") == "False";
    match (text(build, "/status/podName"), failed) {
        ("", true) => anyhow::anyhow!(
            "build {name} failed before it had a pod: {}",
            why.unwrap_or("no reason is given")
        ),
        (_, true) => anyhow::anyhow!(
            "the pod of build {name} is gone, and its logs with it; the build failed: {}",
            why.unwrap_or("no reason is given")
        ),
        (_, false) => anyhow::anyhow!("the pod of build {name} is gone, and its logs with it"),
    }
}

fn stream_pods(cluster: &Cluster, namespace: &str, query: &str, timestamps: bool) -> anyhow::Result<()> {
    let mut streamed = BTreeSet::new();
    // Without a version the watch begins with the pods that are there; when the server ends it, it
    // is begun anew, and what was streamed is not streamed again.
    loop {
        for event in cluster.watch(POD, namespace, query, None)? {
            let (event, pod) = event?;
            if event == "DELETED" {
                bail!("pod {} was deleted", text(&pod, "/metadata/name"));
            }
            for container in started(&pod) {
                if streamed.insert(container.to_owned()) {
                    stream_container(cluster, &pod, container, timestamps)?;
                }
            }
            if matches!(text(&pod, "/status/phase"), "Succeeded" | "Failed") {
                // What started between this event and the one before it has been streamed above.
                return Ok(());
            }
        }
    }
}

/// The build steps of a pod that have begun, in order, up to the first that is still waiting.
fn started(pod: &Value) -> Vec<&str> {
    let list = |pointer: &str| {
        pod.pointer(pointer)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let mut names = Vec::new();
    for (specs, statuses) in [
        ("/spec/initContainers", "/status/initContainerStatuses"),
        ("/spec/containers", "/status/containerStatuses"),
    ] {
        for name in list(specs)
            .iter()
            .map(|container| text(container, "/name"))
            .filter(|name| STEPS.contains(name))
        {
            let status = list(statuses).iter().find(|status| text(status, "/name") == name);
            let Some(state) = status.map(|status| &status["state"]) else {
                return names;
            };
            if !state["running"].is_object() && !state["terminated"].is_object() {
                return names;
            }
            names.push(name);
        }
    }
    names
}

fn stream_container(cluster: &Cluster, pod: &Value, container: &str, timestamps: bool) -> anyhow::Result<()> {
    out(&format!("\u{1b}[0;36m===> {}\n\u{1b}[0m", container.to_uppercase()));
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    let log = BufReader::new(cluster.logs(namespace, name, container, timestamps)?);
    show_lines(log, out).with_context(|| format!("the log of {container} broke off"))
}

/// Shows each line as it is, up to where the log breaks off; the last gets a line break if it has none, for what follows.
fn show_lines(mut log: impl BufRead, mut show: impl FnMut(&[u8])) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = log.read_until(b'\n', &mut line);
        if line.last().is_some_and(|last| *last != b'\n') {
            line.push(b'\n');
        }
        if !line.is_empty() {
            show(&line);
        }
        if read? == 0 {
            return Ok(());
        }
    }
}

/// What the engine made of one generation of an image.
#[derive(Debug, PartialEq, Eq)]
enum Processed {
    /// It scheduled this build.
    Build(String),
    /// No build was needed.
    Nothing,
    /// No build could be made, for this reason.
    Failed(String),
    /// Another change came before it got there.
    Overtaken,
}

/// What the engine made of `generation`; `None` while it has not decided.
///
/// # Specification
/// kpack 0.17.2, "Log client", the waiter for images (kpack.md §7.3).
fn processed(image: &Value, generation: i64) -> Option<Processed> {
    let number = |pointer: &str| image.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    match number("/status/observedGeneration") {
        seen if seen > generation => return Some(Processed::Overtaken),
        seen if seen < generation => return None,
        _ => {}
    }
    // The build that the status names may still be that of an earlier generation.
    if number("/status/latestBuildImageGeneration") == generation {
        return Some(Processed::Build(text(image, "/status/latestBuildRef").to_owned()));
    }
    match condition_status(image, "Ready") {
        "Unknown" => None,
        "False" => {
            let message = condition(image, "Ready").map_or("", |condition| text(condition, "/message"));
            Some(Processed::Failed(message.to_owned()))
        }
        _ => Some(Processed::Nothing),
    }
}

/// Waits until the engine has dealt with this generation of an image: streams the build that it
/// scheduled, and fails when that fails or when none can be made.
pub(crate) fn wait_for_image(cluster: &Cluster, image: &Value) -> anyhow::Result<()> {
    let (namespace, name) = (text(image, "/metadata/namespace"), text(image, "/metadata/name"));
    let generation = image["metadata"]["generation"].as_i64().unwrap_or(1);
    let build = match wait_until(cluster, namespace, name, |image| processed(image, generation))? {
        Processed::Build(build) => build,
        Processed::Nothing => return Ok(()),
        Processed::Failed(message) => bail!("update to image failed: {message}"),
        Processed::Overtaken => bail!("image \"{name}\" was updated by somebody else while waiting"),
    };
    let pods = Cluster::by_labels(&[("kpack.io/build", &build)]);
    if without_pod(cluster, namespace, &build, &pods)?.is_none() {
        stream_pods(cluster, namespace, &pods, false)?;
    }
    let ended = loop {
        let object = cluster.get(BUILD, namespace, &build)?;
        if condition_status(&object, "Succeeded") != "Unknown" {
            break object;
        }
        let watch = cluster.watch(BUILD, namespace, &Cluster::by_name(&build), None)?;
        for event in watch {
            if condition_status(&event?.1, "Succeeded") != "Unknown" {
                break;
            }
        }
    };
    if condition_status(&ended, "Succeeded") == "False" {
        bail!(
            "build failed: {}",
            condition(&ended, "Succeeded").map_or("", |condition| text(condition, "/message"))
        );
    }
    Ok(())
}

fn wait_until<T>(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    found: impl Fn(&Value) -> Option<T>,
) -> anyhow::Result<T> {
    loop {
        for event in cluster.watch(IMAGE, namespace, &Cluster::by_name(name), None)? {
            let (event, image) = event?;
            if event == "DELETED" {
                bail!("image \"{name}\" was deleted while waiting");
            }
            if let Some(value) = found(&image) {
                return Ok(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(observed: i64, built: i64, ready: &str) -> Option<Processed> {
        let image = json!({"status": {
            "observedGeneration": observed, "latestBuildImageGeneration": built, "latestBuildRef": "app-build-1",
            "conditions": [{"type": "Ready", "status": ready, "message": "why"}],
        }});
        processed(&image, 2)
    }

    /// Breaks off.
    struct Broken;

    impl io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }

    #[test]
    fn lines_are_shown_as_they_are_and_what_follows_the_last_begins_a_new_one() {
        let mut shown = Vec::new();
        show_lines(&b"one\r\n\xff\n\nlast"[..], |line| shown.extend_from_slice(line)).expect("it ends");
        assert_eq!(shown, b"one\r\n\xff\n\nlast\n");

        let mut shown = Vec::new();
        let log = BufReader::new(io::Read::chain(&b"one\ntw"[..], Broken));
        let error = show_lines(log, |line| shown.extend_from_slice(line)).expect_err("it breaks off");
        assert_eq!(
            (error.kind(), &*shown),
            (io::ErrorKind::ConnectionReset, &b"one\ntw\n"[..])
        );
    }

    #[test]
    fn a_build_of_an_earlier_generation_is_not_taken_for_that_of_this_one() {
        let build = || Some(Processed::Build("app-build-1".to_owned()));
        for (observed, built, ready, expected) in [
            (1, 1, "True", None),
            (2, 1, "Unknown", None),
            (2, 1, "True", Some(Processed::Nothing)),
            (2, 1, "False", Some(Processed::Failed("why".to_owned()))),
            (2, 2, "Unknown", build()),
            (2, 2, "True", build()),
            (2, 2, "False", build()),
            (3, 2, "True", Some(Processed::Overtaken)),
        ] {
            assert_eq!(after(observed, built, ready), expected, "{observed} {built} {ready}");
        }
    }
}
