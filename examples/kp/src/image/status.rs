//! `kp image status`.

use serde_json::Value;

use crate::{
    build,
    cluster::{Cluster, IMAGE},
    print::{Block, Table, out},
    resource::{condition, condition_status, text},
};

pub(super) fn run(cluster: &Cluster, namespace: &str, name: &str) -> anyhow::Result<()> {
    let image = cluster.get(IMAGE, namespace, name)?;
    let builds = build::of_image(cluster, namespace, name)?;
    let last = |status: &str| {
        builds
            .iter()
            .rev()
            .find(|build| condition_status(build, "Succeeded") == status)
    };
    let success = last("True");
    out(&overview(&image).render());
    out(&source(&image).render());
    let builder = Block::headed("Builder Ref");
    out(&builder
        .pair("Name", text(&image, "/spec/builder/name"))
        .pair("Kind", text(&image, "/spec/builder/kind"))
        .render());
    out(&last_build("Last Successful Build", success).render());
    if let Some(build) = success {
        let mut table = Table::new(&["buildpack id", "buildpack version", "homepage"]);
        for buildpack in build["status"]["buildMetadata"].as_array().into_iter().flatten() {
            table.row([
                text(buildpack, "/id"),
                text(buildpack, "/version"),
                text(buildpack, "/homepage"),
            ]);
        }
        out(&table.render());
    }
    out(&last_build("Last Failed Build", last("False")).render());
    Ok(())
}

fn overview(image: &Value) -> Block {
    let builder_ready = condition(image, "BuilderReady");
    let builder_failed = builder_ready.is_some_and(|condition| text(condition, "/status") != "True");
    let status = match condition(image, "Ready").map(|condition| text(condition, "/status")) {
        _ if builder_failed => "Not Ready",
        Some("True") => "Ready",
        Some("Unknown") => "Building",
        Some("False") => "Not Ready",
        _ => "Unknown",
    };
    let name = text(image, "/spec/builder/name");
    let ready = condition(image, "Ready").map_or("", |condition| text(condition, "/reason"));
    let message = match ready {
        "BuilderNotFound" => format!("Builder '{name}' not found"),
        _ if builder_failed => format!("Builder '{name}' is not ready"),
        _ => String::new(),
    };
    // As the reference has it: while the builder is not ready, the image that is there is not shown.
    let latest = match builder_failed {
        true => "",
        false => text(image, "/status/latestImage"),
    };
    Block::new()
        .pair("Status", status)
        .pair("Message", message)
        .pair("LatestImage", latest)
}

fn source(image: &Value) -> Block {
    let source = &image["spec"]["source"];
    let block = Block::headed("Source");
    if source["git"].is_object() {
        block
            .pair("Type", "GitUrl")
            .pair("Url", text(source, "/git/url"))
            .pair("Revision", text(source, "/git/revision"))
    } else if source["blob"].is_object() {
        block.pair("Type", "Blob").pair("Url", text(source, "/blob/url"))
    } else {
        block.pair("Type", "Local Source")
    }
}

fn last_build(heading: &str, build: Option<&Value>) -> Block {
    let block = Block::headed(heading);
    let Some(build) = build else {
        return block.pair("Id", "").pair("Build Reason", "");
    };
    let block = block
        .pair("Id", build::number(build))
        .pair("Build Reason", build::reasons(build));
    match text(build, "/spec/source/git/revision") {
        "" => block,
        revision => block.pair("Git Revision", revision),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_image_that_is_there_is_shown_unless_the_builder_is_not_ready() {
        for (builder, page) in [
            (
                "True",
                "Status:         Not Ready\nMessage:        --\nLatestImage:    reg.example/app@sha256:1\n\n",
            ),
            (
                "False",
                "Status:         Not Ready\nMessage:        Builder 'b' is not ready\nLatestImage:    --\n\n",
            ),
        ] {
            let image = json!({
                "spec": {"builder": {"name": "b"}},
                "status": {
                    "latestImage": "reg.example/app@sha256:1",
                    "conditions": [{"type": "Ready", "status": "False"}, {"type": "BuilderReady", "status": builder}],
                },
            });
            assert_eq!(overview(&image).render(), page);
        }
    }
}
