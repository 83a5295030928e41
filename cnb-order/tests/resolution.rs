//! Resolution of builders' orders against what kpack did.

use cnb_order::{Catalog, CatalogObject, OrderEntry, OrderGroup, OwnerKind, StoredBuildpack, resolve_order};
use serde_json::{Value, json};

/// The catalogue that a builder of the namespace (or a cluster builder) with that store has.
fn catalog(objects: &[Value], namespace: Option<&str>, store: Option<&str>) -> Catalog {
    let mut catalog = Catalog::default();
    let kinds = [
        ("Buildpack", OwnerKind::Buildpack),
        ("ClusterBuildpack", OwnerKind::ClusterBuildpack),
        ("ClusterStore", OwnerKind::ClusterStore),
    ];
    for (name, kind) in kinds {
        for object in objects.iter().filter(|object| object["kind"] == name) {
            let metadata = &object["metadata"];
            let visible = match kind {
                OwnerKind::Buildpack => namespace.is_some() && metadata["namespace"].as_str() == namespace,
                OwnerKind::ClusterBuildpack => true,
                OwnerKind::ClusterStore => metadata["name"].as_str() == store,
            };
            if visible {
                let items = object["status"]["buildpacks"].clone();
                catalog.objects.push(CatalogObject {
                    kind,
                    name: metadata["name"].as_str().expect("a name").to_owned(),
                    buildpacks: serde_json::from_value::<Option<Vec<StoredBuildpack>>>(items)
                        .expect("items")
                        .unwrap_or_default(),
                });
            }
        }
    }
    catalog
}

fn check(wanted: &Value, catalog: &Catalog, namespace: Option<&str>) -> Result<(), String> {
    let entry: OrderEntry = serde_json::from_value(wanted["ref"].clone()).expect("an entry");
    let order = [OrderGroup {
        group: vec![entry.clone()],
    }];
    let result = resolve_order(&order, catalog);
    let error = wanted["error"].as_str().or(wanted["layersError"].as_str());
    // Image names and digests of items are looked at when layers are collected from registries, not here.
    if error.is_some_and(|error| {
        error.starts_with("unable to parse BAD REF") || error.starts_with("unable to construct layer digest")
    }) {
        return Ok(());
    }
    if wanted["panic"].is_string() {
        return Ok(()); // any answer is better
    }
    match (error, result) {
        (Some(expected), Err(error)) if error.to_string() == expected => Ok(()),
        (None, Ok(resolved)) => {
            let chosen = resolved.groups[0].entries[0].buildpack;
            let owner = chosen.owner;
            let from = match owner.kind {
                OwnerKind::Buildpack => format!("Buildpack/{}/{}", namespace.unwrap_or_default(), owner.name),
                kind => format!("{}/{}", kind.as_str(), owner.name),
            };
            let found = json!({
                "id": chosen.item.id, "version": chosen.item.version, "diffId": chosen.item.diff_id, "from": from,
            });
            for key in ["id", "version", "diffId", "from"] {
                if wanted["resolved"][key] != found[key] {
                    return Err(format!("{entry:?} gives {found}, not {}", wanted["resolved"]));
                }
            }
            let layer = |item: &StoredBuildpack| (item.id.to_string(), item.version.to_string(), item.diff_id.clone());
            let layers: Vec<_> = resolved
                .buildpacks
                .iter()
                .map(|buildpack| layer(buildpack.item))
                .collect();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let expected: Vec<_> = wanted["layers"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|layer| (text(&layer["id"]), text(&layer["version"]), text(&layer["diffId"])))
                .collect();
            if layers == expected {
                Ok(())
            } else {
                Err(format!("layers {layers:?} instead of {expected:?}"))
            }
        }
        (expected, result) => Err(format!("{entry:?}: expected {expected:?}, found {result:?}")),
    }
}

fn cases(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).expect("the fixture is JSON");
    document["cases"].as_array().expect("cases").clone()
}

// Cases `version choice: not semver fails without version` (O21) and `objects of a namespace` (O22).
// rows 10.1/O21 10.1/O22
#[test]
fn orders_resolve_as_in_kpack() {
    let mut failures = Vec::new();
    let mut checked = 0;
    for case in cases(include_str!("fixtures/resolution/cases.json")) {
        for step in case["steps"].as_array().expect("steps") {
            let (act, expect) = (&step["do"], &step["expect"]);
            let objects = act["apply"].as_array().cloned().unwrap_or_default();
            let namespace = act["resolve"]["namespace"].as_str();
            let catalog = catalog(&objects, namespace, act["resolve"]["store"].as_str());
            for wanted in expect["resolved"].as_array().into_iter().flatten() {
                checked += 1;
                if let Err(problem) = check(wanted, &catalog, namespace) {
                    failures.push(format!("{}: {problem}", case["name"]));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(checked > 100, "only {checked} references");
}

#[test]
fn orders_that_contain_themselves_end_with_an_error_or_a_result() {
    for case in cases(include_str!("fixtures/resolution/cycles.json")) {
        let mut objects = Vec::new();
        let mut references = Vec::new();
        collect(&case, &mut objects, &mut references);
        let catalog = catalog(&objects, Some("apps"), Some("store"));
        for entry in references {
            if let Err(error) = resolve_order(&[OrderGroup { group: vec![entry] }], &catalog) {
                assert!(!error.to_string().is_empty());
            }
        }
    }
}

/// Finds objects and references wherever they stand in a case.
fn collect(value: &Value, objects: &mut Vec<Value>, references: &mut Vec<OrderEntry>) {
    match value {
        Value::Object(map) => {
            if map.contains_key("kind") && map.contains_key("status") {
                objects.push(value.clone());
            }
            if let Some(Ok(entry)) = map.get("ref").map(|entry| serde_json::from_value(entry.clone())) {
                references.push(entry);
            }
            map.values().for_each(|value| collect(value, objects, references));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, objects, references)),
        _ => {}
    }
}
