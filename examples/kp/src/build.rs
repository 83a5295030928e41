//! `kp build`: what was built, and how it went.

use std::cmp::Ordering;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{
    cluster::{BUILD, Cluster},
    image::Namespace,
    logs,
    print::{Block, Table, out},
    resource::{condition, condition_status, text},
};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List builds
    List {
        /// only those of this image resource
        image: Option<String>,
        #[command(flatten)]
        namespace: Namespace,
        /// of all namespaces
        #[arg(short = 'A', long)]
        all_namespaces: bool,
    },
    /// Display the status of a build of an image resource
    Status(Chosen),
    /// Follow the logs of a build of an image resource
    Logs {
        #[command(flatten)]
        chosen: Chosen,
        /// begin each line with its time
        #[arg(short, long)]
        timestamps: bool,
        /// follow the log, which is what this command always does
        #[arg(short, long, hide = true)]
        follow: bool,
    },
}

#[derive(Args)]
pub(crate) struct Chosen {
    image: String,
    #[command(flatten)]
    namespace: Namespace,
    /// the number of the build; by default the newest
    #[arg(short, long, default_value = "", hide_default_value = true)]
    build: String,
}

pub(crate) fn run(command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    match command {
        Command::List {
            image,
            namespace,
            all_namespaces,
        } => {
            let namespace = if all_namespaces {
                ""
            } else {
                cluster.namespace(&namespace.namespace)
            };
            list(&cluster, namespace, image.as_deref())
        }
        Command::Status(chosen) => status(&find(&cluster, &chosen)?),
        Command::Logs { chosen, timestamps, .. } => {
            let build = find(&cluster, &chosen)?;
            logs::stream_build(&cluster, &build, timestamps)
        }
    }
}

/// The builds of an image, oldest first.
pub(crate) fn of_image(cluster: &Cluster, namespace: &str, image: &str) -> anyhow::Result<Vec<Value>> {
    let mut builds = cluster.list(BUILD, namespace, &format!("image.kpack.io/image={image}"))?;
    builds.sort_by(by_age);
    Ok(builds)
}

fn by_age(a: &Value, b: &Value) -> Ordering {
    let time = |build: &Value| text(build, "/metadata/creationTimestamp").to_owned();
    // Two builds of one second are told apart by their numbers.
    time(a)
        .cmp(&time(b))
        .then_with(|| number(a).parse::<u64>().ok().cmp(&number(b).parse::<u64>().ok()))
}

/// The build's number, as its label says.
pub(crate) fn number(build: &Value) -> &str {
    build["metadata"]["labels"]["image.kpack.io/buildNumber"]
        .as_str()
        .unwrap_or_default()
}

/// The build's reasons, comma separated.
pub(crate) fn reasons(build: &Value) -> &str {
    build["metadata"]["annotations"]["image.kpack.io/reason"]
        .as_str()
        .unwrap_or_default()
}

fn find(cluster: &Cluster, chosen: &Chosen) -> anyhow::Result<Value> {
    let builds = of_image(cluster, cluster.namespace(&chosen.namespace.namespace), &chosen.image)?;
    choose(builds, &chosen.build)
}

/// The build with a number; without one, the newest.
fn choose(builds: Vec<Value>, wanted: &str) -> anyhow::Result<Value> {
    if builds.is_empty() {
        bail!("no builds found");
    }
    if wanted.is_empty() {
        return builds.into_iter().next_back().ok_or_else(|| anyhow!("no builds found"));
    }
    if wanted.parse::<i64>().is_err() {
        bail!("build number should be an integer: {wanted}");
    }
    let found = builds.into_iter().find(|build| number(build) == wanted);
    found.ok_or_else(|| anyhow!("build \"{wanted}\" not found"))
}

fn state(build: &Value) -> &'static str {
    match condition_status(build, "Succeeded") {
        "True" => "SUCCESS",
        "False" => "FAILURE",
        _ => "BUILDING",
    }
}

fn short_reason(build: &Value) -> String {
    let reasons: Vec<_> = reasons(build).split(',').filter(|reason| !reason.is_empty()).collect();
    match reasons[..] {
        [] => "UNKNOWN".to_owned(),
        [reason] => reason.to_owned(),
        _ => {
            let important = ["CONFIG", "COMMIT", "BUILDPACK"]
                .into_iter()
                .find(|reason| reasons.contains(reason));
            format!("{}+", important.unwrap_or(reasons[0]))
        }
    }
}

fn list(cluster: &Cluster, namespace: &str, image: Option<&str>) -> anyhow::Result<()> {
    let mut builds = match image {
        Some(image) => of_image(cluster, namespace, image)?,
        None => cluster.list(BUILD, namespace, "")?,
    };
    if builds.is_empty() {
        bail!("no builds found");
    }
    let image = |build: &Value| {
        build["metadata"]["labels"]["image.kpack.io/image"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    builds.sort_by(|a, b| image(b).cmp(&image(a)).then_with(|| by_age(a, b)));
    let mut table = Table::new(&["build", "status", "built image", "reason", "image resource"]);
    for build in &builds {
        let built = text(build, "/status/latestImage").to_owned();
        table.row([
            number(build).to_owned(),
            state(build).to_owned(),
            built,
            short_reason(build),
            image(build),
        ]);
    }
    out(&table.render());
    Ok(())
}

fn local_time(timestamp: &str) -> String {
    let Ok(timestamp) = timestamp.parse::<jiff::Timestamp>() else {
        return String::new();
    };
    timestamp
        .to_zoned(jiff::tz::TimeZone::system())
        .strftime("%Y-%m-%d %H:%M:%S")
        .to_string()
}

fn status(build: &Value) -> anyhow::Result<()> {
    let succeeded = condition(build, "Succeeded");
    let changes = build["metadata"]["annotations"]["image.kpack.io/buildChanges"]
        .as_str()
        .unwrap_or_default();
    let mut reason = reasons(build).to_owned();
    for line in rebuild_policy::change_lines(changes).unwrap_or_default() {
        reason += &format!("\n{line}");
    }
    let mut head = Block::new()
        .pair("Image", text(build, "/status/latestImage"))
        .pair("Status", state(build))
        .pair("Reason", reason);
    for (key, field) in [("Status Reason", "/reason"), ("Status Message", "/message")] {
        match succeeded.map_or("", |condition| text(condition, field)) {
            "" => {}
            value => head = head.pair(key, value),
        }
    }
    out(&head.render());
    let finished = succeeded.filter(|condition| text(condition, "/status") != "Unknown");
    let finished = finished.map_or("", |condition| text(condition, "/lastTransitionTime"));
    let started = local_time(text(build, "/metadata/creationTimestamp"));
    out(&Block::new()
        .pair("Started", started)
        .pair("Finished", local_time(finished))
        .render());
    out(&Block::new().pair("Pod Name", text(build, "/status/podName")).render());
    let builder = Block::new().pair("Builder", text(build, "/spec/builder/image"));
    out(&builder
        .pair("Run Image", text(build, "/status/stack/runImage"))
        .render());
    out(&source(build).render());
    let mut table = Table::new(&["buildpack id", "buildpack version", "homepage"]);
    for buildpack in build["status"]["buildMetadata"].as_array().into_iter().flatten() {
        table.row([
            text(buildpack, "/id"),
            text(buildpack, "/version"),
            text(buildpack, "/homepage"),
        ]);
    }
    out(&table.render());
    Ok(())
}

fn source(build: &Value) -> Block {
    let source = &build["spec"]["source"];
    if source["git"].is_object() {
        Block::new()
            .pair("Source", "GitUrl")
            .pair("Url", text(source, "/git/url"))
            .pair("Revision", text(source, "/git/revision"))
    } else if source["blob"].is_object() {
        Block::new()
            .pair("Source", "Blob")
            .pair("Url", text(source, "/blob/url"))
    } else {
        Block::new().pair("Source", "Local Source")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_integer_asks_for_a_build_and_what_is_none_is_refused_as_such() {
        let build = |number: &str| json!({"metadata": {"labels": {"image.kpack.io/buildNumber": number}}});
        for (wanted, answer) in [
            ("", "2"),
            ("1", "1"),
            ("-1", "build \"-1\" not found"),
            ("99", "build \"99\" not found"),
            ("1.0", "build number should be an integer: 1.0"),
        ] {
            let chosen = choose(vec![build("1"), build("2")], wanted);
            let said = chosen.map_or_else(|error| error.to_string(), |build| number(&build).to_owned());
            assert_eq!(said, answer);
        }
    }
}
