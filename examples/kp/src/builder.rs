//! `kp builder` and `kp clusterbuilder`: a stack, a store and an order, made into an image to build with.

mod command;

use anyhow::{Context as _, bail};
use rebuild_policy::OrderEntry;
use serde_json::{Value, json};

use crate::{
    arguments::given,
    cluster::{Cluster, Kind},
    files::read_file,
    print::{Block, Printer, Table, out},
    relocate::{Registries, TlsFlags},
    resource::{condition, create_ready, delete, list_sorted, new, patch_ready, remember_as_applied, text},
    settings::Settings,
};

pub(crate) use command::{ClusterCommand, Command};
use command::{Flags, Parts};

/// Runs a command for `kind`: Builder or ClusterBuilder.
pub(crate) fn run(kind: Kind, command: Command) -> anyhow::Result<()> {
    let cluster = Cluster::from_environment()?;
    let place = |namespace: &str| match kind.namespaced {
        true => cluster.namespace(namespace).to_owned(),
        false => String::new(),
    };
    match command {
        Command::Create(parts) if kind.namespaced && parts.flags.tag.is_none() => {
            bail!("required flag(s) \"tag\" not set")
        }
        Command::Create(parts) => create_builder(&cluster, kind, &place(&parts.namespace.namespace), &parts),
        Command::Save(parts) => {
            let namespace = place(&parts.namespace.namespace);
            match cluster.find(kind, &namespace, &parts.name)? {
                None => create_builder(&cluster, kind, &namespace, &parts),
                Some(existing) => patch_builder(&cluster, kind, &existing, &parts),
            }
        }
        Command::Patch(parts) => {
            let existing = cluster.get(kind, &place(&parts.namespace.namespace), &parts.name)?;
            patch_builder(&cluster, kind, &existing, &parts)
        }
        Command::List { namespace } => list(&cluster, kind, &place(&namespace.namespace)),
        Command::Status { name, namespace } => {
            let builder = cluster.get(kind, &place(&namespace.namespace), &name)?;
            out(&status(kind, &builder));
            Ok(())
        }
        Command::Delete { name, namespace } => delete(&cluster, kind, &place(&namespace.namespace), &name),
    }
}

/// The order that the flags give, if they give one.
fn order(flags: &Flags) -> anyhow::Result<Option<Value>> {
    let named: Vec<_> = [
        ("--order", given(flags.order.as_ref()).is_some()),
        ("--buildpack", !flags.buildpack.is_empty()),
        ("--order-from", given(flags.order_from.as_ref()).is_some()),
    ]
    .into_iter()
    .filter_map(|(flag, is_given)| is_given.then_some(flag))
    .collect();
    if named.len() > 1 {
        bail!("cannot use {} together", named.join(" and "));
    }
    if let Some(file) = given(flags.order.as_ref()) {
        return read_order(file).map(Some);
    }
    if let Some(image) = given(flags.order_from.as_ref()) {
        return order_of_builder(image, &flags.tls).map(Some);
    }
    if flags.buildpack.is_empty() {
        return Ok(None);
    }
    let entry = |name: &String| match name.split_once('@') {
        Some((id, version)) => json!({"id": id, "version": version}),
        None => json!({"id": name}),
    };
    Ok(Some(
        json!([{"group": flags.buildpack.iter().map(entry).collect::<Vec<_>>()}]),
    ))
}

fn read_order(file: &str) -> anyhow::Result<Value> {
    let text = read_file(file)?;
    let order: Value = serde_saphyr::from_str(&text).with_context(|| format!("the order file {file} is not YAML"))?;
    known_order(&order, &format!("the order file {file}"))
}

/// Returns an order as its type has it: without unknown keys, and without what means the same when it is left out.
pub(crate) fn known_order(order: &Value, place: &str) -> anyhow::Result<Value> {
    check_order(order, place)?;
    let groups = order.as_array().into_iter().flatten();
    let groups: Vec<OrderEntry> = groups
        .map(|group| match group {
            Value::Null => Ok(OrderEntry::default()),
            group => rebuild_policy::decode(group),
        })
        .collect::<Result<_, _>>()
        .with_context(|| format!("{place} is not understood"))?;
    Ok(serde_json::to_value(groups)?)
}

/// Checks that this is a list of groups, with versions that are texts. As in the reference, unknown keys are nothing,
/// and a group may be empty.
fn check_order(order: &Value, place: &str) -> anyhow::Result<()> {
    let wrong = match order {
        Value::Null | Value::Array(_) => None,
        Value::Object(_) => Some("object"),
        Value::String(_) => Some("string"),
        Value::Number(_) => Some("number"),
        Value::Bool(_) => Some("bool"),
    };
    if let Some(wrong) = wrong {
        bail!(
            "error unmarshaling JSON: json: cannot unmarshal {wrong} into Go value of type []v1alpha2.BuilderOrderEntry"
        );
    }
    for group in order.as_array().into_iter().flatten() {
        let entries = match group {
            Value::Null => &Value::Null,
            Value::Object(group) => group.get("group").unwrap_or(&Value::Null),
            _ => bail!("each element of {place} must be a table with a list named group"),
        };
        let entries = match entries {
            Value::Null => &[],
            Value::Array(entries) => &entries[..],
            _ => bail!("each group of {place} must be a list"),
        };
        // A version such as 1.10 is text, whatever YAML makes of it.
        let number = entries
            .iter()
            .find(|entry| !entry["version"].is_null() && !entry["version"].is_string());
        if let Some(entry) = number {
            bail!("the version of {} in {place} must be quoted", entry["id"]);
        }
    }
    Ok(())
}

/// The order of an existing builder image, as its label says.
fn order_of_builder(image: &str, tls: &TlsFlags) -> anyhow::Result<Value> {
    const LABEL: &str = "io.buildpacks.buildpack.order";
    let found = Registries::new(tls, [image])?.find(image)?;
    let label = found.image.label(LABEL);
    let label = label.with_context(|| format!("image {image} is no builder: it has no label {LABEL}"))?;
    let order: Value =
        serde_json::from_str(label).with_context(|| format!("the label {LABEL} of {image} is not JSON"))?;
    check_order(&order, &format!("the label {LABEL} of {image}"))?;
    let entry = |entry: &Value| {
        let mut reference = json!({"id": entry["id"]});
        for field in ["version", "optional"] {
            if entry[field].is_string() || entry[field] == true {
                reference[field] = entry[field].clone();
            }
        }
        reference
    };
    let group = |group: &Value| {
        let entries = group["group"].as_array().into_iter().flatten();
        json!({"group": entries.map(entry).collect::<Vec<_>>()})
    };
    Ok(order.as_array().into_iter().flatten().map(group).collect())
}

fn create_builder(cluster: &Cluster, kind: Kind, namespace: &str, parts: &Parts) -> anyhow::Result<()> {
    let printer = Printer::new(&parts.flags.output)?;
    let settings = Settings::read(cluster);
    let tag = match given(parts.flags.tag.as_ref()) {
        Some(tag) => tag.to_owned(),
        None if kind.namespaced => bail!("--tag is required to create the resource"),
        None => format!("{}:clusterbuilder-{}", settings.repository()?, parts.name),
    };
    let mut spec = json!({
        "tag": tag,
        "stack": {"kind": "ClusterStack", "name": given(parts.flags.stack.as_ref()).unwrap_or("default")},
        "order": order(&parts.flags)?.unwrap_or_else(|| json!([])),
    });
    if let Some(store) = given(parts.flags.store.as_ref()) {
        spec["store"] = json!({"kind": "ClusterStore", "name": store});
    }
    if kind.namespaced {
        spec["serviceAccountName"] = json!(given(parts.service_account.as_ref()).unwrap_or("default"));
    } else {
        spec["serviceAccountRef"] = settings.account_reference();
    }
    let mut object = new(kind, namespace, &parts.name, spec);
    remember_as_applied(&mut object)?;
    create_ready(cluster, &printer, kind, &object)
}

fn patch_builder(cluster: &Cluster, kind: Kind, existing: &Value, parts: &Parts) -> anyhow::Result<()> {
    let printer = Printer::new(&parts.flags.output)?;
    let mut updated = existing.clone();
    let spec = &mut updated["spec"];
    if let Some(tag) = given(parts.flags.tag.as_ref()) {
        spec["tag"] = json!(tag);
    }
    if let Some(stack) = given(parts.flags.stack.as_ref()) {
        spec["stack"]["name"] = json!(stack);
    }
    if let Some(store) = given(parts.flags.store.as_ref()) {
        spec["store"]["name"] = json!(store);
    }
    if let Some(order) = order(&parts.flags)? {
        spec["order"] = order;
    }
    if let Some(account) = given(parts.service_account.as_ref()).filter(|_| kind.namespaced) {
        spec["serviceAccountName"] = json!(account);
    }
    patch_ready(cluster, &printer, kind, existing, updated, "patched")
}

fn list(cluster: &Cluster, kind: Kind, namespace: &str) -> anyhow::Result<()> {
    let mut table = Table::new(&["name", "ready", "stack", "image"]);
    for item in list_sorted(cluster, kind, namespace, &format!("no {} found", kind.plural))? {
        let ready =
            condition(&item, "Ready").map_or("unknown".into(), |condition| text(condition, "/status").to_lowercase());
        let cell = |pointer: &str| text(&item, pointer).to_owned();
        table.row([
            cell("/metadata/name"),
            ready,
            cell("/status/stack/id"),
            cell("/status/latestImage"),
        ]);
    }
    out(&table.render());
    Ok(())
}

fn status(kind: Kind, builder: &Value) -> String {
    match condition(builder, "Ready").map(|condition| (text(condition, "/status"), text(condition, "/message"))) {
        Some(("True", _)) => ready_status(kind, builder),
        Some(("False", message)) => Block::new()
            .pair("Status", "Not Ready")
            .pair("Reason", message)
            .render(),
        _ => Block::new().pair("Status", "Unknown").render(),
    }
}

fn ready_status(kind: Kind, builder: &Value) -> String {
    let mut page = Block::new()
        .pair("Status", "Ready")
        .pair("Image", text(builder, "/status/latestImage"))
        .pair("Stack ID", text(builder, "/status/stack/id"))
        .pair("Run Image", text(builder, "/status/stack/runImage"))
        .render();
    let references = Block::new()
        .pair("Stack Ref", " ")
        .pair("  Name", text(builder, "/spec/stack/name"))
        .pair("  Kind", text(builder, "/spec/stack/kind"))
        .pair("Store Ref", " ")
        .pair("  Name", text(builder, "/spec/store/name"))
        .pair("  Kind", text(builder, "/spec/store/kind"));
    page += &references.render();
    let mut buildpacks = Table::new(&["buildpack id", "version", "homepage"]);
    for buildpack in builder["status"]["builderMetadata"].as_array().into_iter().flatten() {
        buildpacks.row([
            text(buildpack, "/id"),
            text(buildpack, "/version"),
            text(buildpack, "/homepage"),
        ]);
    }
    page += &buildpacks.render();
    page + &referenced_buildpacks(kind, builder) + &detection_order(&builder["status"]["order"], true)
}

/// The order entries that name a Buildpack or ClusterBuildpack resource; the reference ends this
/// table once per group.
fn referenced_buildpacks(kind: Kind, builder: &Value) -> String {
    let word = if kind.namespaced {
        "BUILDPACK"
    } else {
        "CLUSTERBUILDPACK"
    };
    // The first group stands in one table with the heading, each further one in its own.
    let mut table = Table::new(&[&format!("{word} NAME"), &format!("     {word} KIND")]);
    let mut tables = String::from("\n");
    for group in builder["spec"]["order"].as_array().into_iter().flatten() {
        for entry in group["group"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|entry| entry["kind"].is_string())
        {
            table.row([text(entry, "/name"), text(entry, "/kind")]);
        }
        tables += &std::mem::replace(&mut table, Table::headless()).render();
    }
    tables
}

/// The groups of an order, as detection tries them.
pub(crate) fn detection_order(order: &Value, with_versions: bool) -> String {
    let mut table = Table::new(&["detection order", ""]);
    for (position, group) in order.as_array().into_iter().flatten().enumerate() {
        table.row([format!("Group #{}", position + 1), String::new()]);
        for entry in group["group"].as_array().into_iter().flatten() {
            let optional = if entry["optional"] == true { "(Optional)" } else { "" };
            let version = if with_versions { text(entry, "/version") } else { "" };
            let name = if version.is_empty() {
                text(entry, "/id").to_owned()
            } else {
                format!("{}@{version}", text(entry, "/id"))
            };
            table.row([format!("  {name}"), optional.to_owned()]);
        }
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("it can be written");
        let path = file.path().display().to_string();
        read_order(&path).map_err(|error| format!("{error:#}").replace(&path, "order.yaml"))
    }

    #[test]
    fn an_order_file_may_have_empty_groups_and_keys_that_are_not_known() {
        for (text, order) in [
            ("", json!([])),
            (
                "- {}\n- group:\n- group: []\n- grup:\n  - id: a\n",
                json!([{}, {}, {}, {}]),
            ),
            (
                "- group:\n  - id: a\n    version: '1.10'\n    why: not\n  note: x\n",
                json!([{"group": [{"id": "a", "version": "1.10"}]}]),
            ),
        ] {
            assert_eq!(read(text), Ok(order), "{text}");
        }
        for (text, words) in [
            ("- group: a\n", "each group of the order file order.yaml must be a list"),
            ("- a\n", "each element of the order file order.yaml must be a table"),
            ("- group:\n  - id: a\n    version: 1.10\n", "must be quoted"),
            ("- group:\n  - a\n", "the order file order.yaml is not understood"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
