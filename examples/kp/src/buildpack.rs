//! `kp buildpack` and `kp clusterbuildpack`: one buildpackage each.

mod command;

use serde_json::{Value, json};

use crate::{
    arguments::given,
    cluster::{Cluster, Kind},
    print::{Block, Printer, Table, out},
    resource::{condition, create_ready, delete, list_sorted, new, patch_ready, remember_as_applied, text},
    settings::Settings,
};

pub(crate) use command::{ClusterCommand, Command};
use command::{New, Parts, Place};

/// Runs a command for `kind`: Buildpack or ClusterBuildpack.
pub(crate) fn run(kind: Kind, command: Command) -> anyhow::Result<()> {
    let (Command::Create(New {
        place: Place { namespace, .. },
        ..
    })
    | Command::Save(Parts {
        place: Place { namespace, .. },
        ..
    })
    | Command::Patch(Parts {
        place: Place { namespace, .. },
        ..
    })
    | Command::List { namespace }
    | Command::Delete { namespace, .. }
    | Command::Status { namespace, .. }) = &command;
    let cluster = Cluster::from_environment()?;
    let namespace = match kind.namespaced {
        true => cluster.namespace(&namespace.namespace).to_owned(),
        false => String::new(),
    };
    match command {
        Command::Create(New { image, place }) => create(&cluster, kind, &namespace, &image, &place),
        Command::Save(Parts { image, place }) => match cluster.find(kind, &namespace, &place.name)? {
            None => create(&cluster, kind, &namespace, &image.unwrap_or_default(), &place),
            Some(existing) => patch(&cluster, kind, &existing, given(image.as_ref()), &place),
        },
        Command::Patch(Parts { image, place }) => {
            let existing = cluster.get(kind, &namespace, &place.name)?;
            patch(&cluster, kind, &existing, given(image.as_ref()), &place)
        }
        Command::List { .. } => list(&cluster, kind, &namespace),
        Command::Status { name, .. } => {
            out(&status(&cluster.get(kind, &namespace, &name)?));
            Ok(())
        }
        Command::Delete { name, .. } => delete(&cluster, kind, &namespace, &name),
    }
}

fn create(cluster: &Cluster, kind: Kind, namespace: &str, image: &str, place: &Place) -> anyhow::Result<()> {
    let printer = Printer::new(&place.output)?;
    let mut spec = json!({"image": image});
    if kind.namespaced {
        spec["serviceAccountName"] = json!(given(place.service_account.as_ref()).unwrap_or("default"));
    } else {
        spec["serviceAccountRef"] = Settings::read(cluster).account_reference();
    }
    let mut object = new(kind, namespace, &place.name, spec);
    remember_as_applied(&mut object)?;
    create_ready(cluster, &printer, kind, &object)
}

fn patch(cluster: &Cluster, kind: Kind, existing: &Value, image: Option<&str>, place: &Place) -> anyhow::Result<()> {
    let printer = Printer::new(&place.output)?;
    let mut updated = existing.clone();
    if let Some(image) = image {
        updated["spec"]["image"] = json!(image);
    }
    if let Some(account) = given(place.service_account.as_ref()).filter(|_| kind.namespaced) {
        updated["spec"]["serviceAccountName"] = json!(account);
    }
    patch_ready(cluster, &printer, kind, existing, updated, "patched")
}

fn list(cluster: &Cluster, kind: Kind, namespace: &str) -> anyhow::Result<()> {
    let nothing = match kind.namespaced {
        true => "no buildpacks found",
        false => "no cluster buildpacks found",
    };
    let mut table = Table::new(&["name", "ready", "image"]);
    for item in list_sorted(cluster, kind, namespace, nothing)? {
        let ready = condition(&item, "Ready");
        let ready = ready.map_or("unknown".into(), |condition| text(condition, "/status").to_lowercase());
        table.row([
            text(&item, "/metadata/name").to_owned(),
            ready,
            text(&item, "/spec/image").to_owned(),
        ]);
    }
    out(&table.render());
    Ok(())
}

fn status(buildpack: &Value) -> String {
    let ready = condition(buildpack, "Ready");
    match ready.map(|condition| (text(condition, "/status"), text(condition, "/message"))) {
        Some(("True", _)) => {
            let head = Block::new()
                .pair("Status", "Ready")
                .pair("Source", text(buildpack, "/spec/image"));
            let mut table = Table::new(&["buildpack id", "version", "homepage"]);
            let mut held: Vec<_> = buildpack["status"]["buildpacks"]
                .as_array()
                .into_iter()
                .flatten()
                .collect();
            held.sort_by_key(|entry| text(entry, "/id"));
            for entry in held {
                table.row([text(entry, "/id"), text(entry, "/version"), text(entry, "/homepage")]);
            }
            head.render() + &table.render()
        }
        Some(("False", message)) => Block::new()
            .pair("Status", "Not Ready")
            .pair("Reason", message)
            .render(),
        _ => Block::new().pair("Status", "Unknown").render(),
    }
}
