//! `kp image list`.

use anyhow::{anyhow, bail};
use clap::Args;
use serde_json::Value;

use super::Namespace;
use crate::{
    cluster::{Cluster, IMAGE},
    print::{Table, out},
    resource::{condition_status, list_sorted, text},
};

#[derive(Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    namespace: Namespace,
    /// of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// only those that match builder=, clusterbuilder=, latest-reason= or ready=; may be repeated
    #[arg(long)]
    filter: Vec<String>,
}

/// What an image must have one of: names as they are, reasons and states in lower case.
enum Filter {
    Builder(Vec<String>),
    ClusterBuilder(Vec<String>),
    Reason(Vec<String>),
    Ready(Vec<String>),
}

impl Filter {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let invalid = || anyhow!("invalid filter argument \"{text}\"");
        let (key, values) = text.split_once('=').ok_or_else(invalid)?;
        let names = || values.split(',').map(str::to_owned).collect();
        let words = || values.split(',').map(str::to_lowercase).collect();
        match key {
            "builder" => Ok(Self::Builder(names())),
            "clusterbuilder" => Ok(Self::ClusterBuilder(names())),
            "latest-reason" => Ok(Self::Reason(words())),
            "ready" => Ok(Self::Ready(words())),
            _ => Err(invalid()),
        }
    }

    fn accepts(&self, image: &Value) -> bool {
        let has = |words: &[String], text: &str| words.contains(&text.to_lowercase());
        let builder = |kind: &str, names: &[String]| {
            let name = text(image, "/spec/builder/name");
            text(image, "/spec/builder/kind") == kind && names.iter().any(|wanted| wanted == name)
        };
        match self {
            Self::Builder(names) => builder("Builder", names),
            Self::ClusterBuilder(names) => builder("ClusterBuilder", names),
            Self::Reason(reasons) => text(image, "/status/latestBuildReason")
                .split(',')
                .any(|reason| has(reasons, reason)),
            Self::Ready(states) => has(states, condition_status(image, "Ready")),
        }
    }
}

pub(super) fn run(cluster: &Cluster, flags: &Flags) -> anyhow::Result<()> {
    let filters = flags
        .filter
        .iter()
        .map(|text| Filter::parse(text))
        .collect::<Result<Vec<_>, _>>()?;
    let namespace = if flags.all_namespaces {
        ""
    } else {
        cluster.namespace(&flags.namespace.namespace)
    };
    let nothing = "no image resources found";
    let mut table = Table::new(&["name", "ready", "latest reason", "latest image", "namespace"]);
    for image in list_sorted(cluster, IMAGE, namespace, nothing)? {
        if filters.iter().all(|filter| filter.accepts(&image)) {
            table.row([
                text(&image, "/metadata/name"),
                condition_status(&image, "Ready"),
                text(&image, "/status/latestBuildReason"),
                text(&image, "/status/latestImage"),
                text(&image, "/metadata/namespace"),
            ]);
        }
    }
    if table.is_empty() {
        bail!("{nothing}");
    }
    out(&table.render());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn builders_are_compared_with_case_and_reasons_and_states_without() {
        let image = json!({
            "spec": {"builder": {"kind": "ClusterBuilder", "name": "web"}},
            "status": {"latestBuildReason": "COMMIT,STACK", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        for (filter, accepted) in [
            ("clusterbuilder=other,web", true),
            ("clusterbuilder=Web", false),
            ("builder=web", false),
            ("latest-reason=Stack", true),
            ("ready=TRUE", true),
            ("ready=false", false),
        ] {
            let parsed = Filter::parse(filter).expect(filter);
            assert_eq!(parsed.accepts(&image), accepted, "{filter}");
        }
    }
}
