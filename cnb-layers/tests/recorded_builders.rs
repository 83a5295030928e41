//! Stores, stacks, lifecycles and builders as kpack read and made them.

mod support;

use std::collections::BTreeMap;

use cnb_layers::builder::{
    BuilderInputs, BuildpackLayerSource, LifecycleInfo, Located, StackInfo, assemble_builder, read_buildpackages,
    read_lifecycle, read_stack, relocate_run_image,
};
use cnb_layers::{
    Compression, ImageFault, ImageSource, ImageTarget, MemoryStore, Platform, Reference, Repository, validate,
};
use cnb_order::{Catalog, CatalogObject, OrderGroup, OwnerKind, StoredBuildpack, resolve_order};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use support::{base64, fixture, text};

/// A registry in memory, and the objects of a cluster with their statuses.
struct World {
    images: Value,
    layers: Value,
    registry: MemoryStore,
    objects: BTreeMap<String, Value>,
    kpack_version: String,
    broken: bool,
}

type Outcome = Result<Value, String>;

impl World {
    fn new() -> Self {
        Self {
            images: fixture("builders/images.json"),
            layers: fixture("builders/layers.json"),
            registry: MemoryStore::new(),
            objects: BTreeMap::new(),
            kpack_version: "v0.17.2 (git sha: 0123abc)".to_owned(),
            broken: false,
        }
    }

    fn push(&self, reference: &Reference, name: &str) {
        let (image, repository) = (&self.images[name], reference.repository());
        for layer in image["layers"].as_array().into_iter().flatten() {
            let layer = &self.layers[layer.as_str().expect("a name")];
            self.registry.insert_blob(repository, &base64(text(layer, "base64")));
        }
        if let Some(config) = image["config"].as_str() {
            self.registry.insert_blob(repository, config.as_bytes());
        }
        for child in image["children"].as_array().into_iter().flatten() {
            let child = child.as_str().expect("a name");
            let digest = text(&self.images[child], "digest").parse().expect("a digest");
            self.push(&reference.with_digest(&digest), child);
        }
        let (media_type, manifest) = (text(image, "mediaType"), text(image, "manifest"));
        self.registry
            .put_manifest(reference, media_type, manifest.as_bytes())
            .expect("memory");
    }

    /// Does what comes before the action of a step.
    fn prepare(&mut self, step: &Value) {
        for push in step["push"].as_array().into_iter().flatten() {
            self.push(
                &Reference::parse(text(push, "ref")).expect("a reference"),
                text(push, "image"),
            );
        }
        for object in step["apply"].as_array().into_iter().flatten() {
            let key = key(object);
            let mut object = object.clone();
            if object["status"].is_null() {
                object["status"] = self
                    .objects
                    .get(&key)
                    .map(|old| old["status"].clone())
                    .unwrap_or_default();
            }
            self.objects.insert(key, object);
        }
        for key in step["delete"].as_array().into_iter().flatten() {
            self.objects.remove(key.as_str().expect("a key"));
        }
        self.broken |= step["fail"].is_array() || step["auth"].is_object();
        if let Some(version) = step["kpackVersion"].as_str() {
            version.clone_into(&mut self.kpack_version);
        }
    }

    fn located(&self, reference: &str) -> Result<Located<'_>, String> {
        let reference = Reference::parse(reference).map_err(|_| format!("could not parse reference: {reference}"))?;
        let image = self
            .registry
            .image(&reference, &Platform::linux_amd64())
            .map_err(with_causes)?
            .ok_or_else(|| "MANIFEST_UNKNOWN".to_owned())?;
        Ok(Located {
            source: &self.registry,
            reference,
            image,
        })
    }

    fn reconcile(&self, key: &str) -> Outcome {
        let object = self.objects.get(key).ok_or("the object is gone")?;
        match text(object, "kind") {
            "ClusterStore" => {
                let sources = object["spec"]["sources"].as_array().cloned().unwrap_or_default();
                self.stored(sources.iter().map(|source| text(source, "image")))
            }
            "Buildpack" | "ClusterBuildpack" => self.stored([text(&object["spec"], "image")].into_iter()),
            "ClusterStack" => self.stack(&object["spec"]),
            "ClusterLifecycle" => {
                let located = self.located(text(&object["spec"], "image"))?;
                let info = read_lifecycle(&located.image).map_err(with_causes)?;
                Ok(json!({"version": info.version, "api": info.api, "apis": info.apis}))
            }
            _ => self.builder(object),
        }
    }

    fn stored<'a>(&self, images: impl Iterator<Item = &'a str>) -> Outcome {
        let mut found = Vec::new();
        for image in images {
            let located = self.located(image)?;
            found.extend(read_buildpackages(&located.image, image).map_err(with_causes)?);
        }
        let title = |item: &StoredBuildpack| format!("{}@{}", item.id, item.version);
        found.sort_by(|a, b| (title(a), &a.store_image.image).cmp(&(title(b), &b.store_image.image)));
        Ok(json!({ "buildpacks": found }))
    }

    fn stack(&self, spec: &Value) -> Outcome {
        let build = self.located(text(&spec["buildImage"], "image"))?;
        let run = self.located(text(&spec["runImage"], "image"))?;
        let info = read_stack(text(spec, "id"), &build.image, &run.image).map_err(with_causes)?;
        Ok(json!({"id": info.id, "mixins": info.mixins, "userId": info.user_id, "groupId": info.group_id}))
    }

    fn catalog(&self, builder: &Value) -> Catalog {
        let of_kind = |kind: &str, owner: OwnerKind, chosen: &dyn Fn(&Value) -> bool| -> Vec<CatalogObject> {
            let objects = self
                .objects
                .values()
                .filter(|object| text(object, "kind") == kind && chosen(object));
            objects
                .map(|object| CatalogObject {
                    kind: owner,
                    name: text(&object["metadata"], "name").to_owned(),
                    buildpacks: parse(&object["status"]["buildpacks"]),
                })
                .collect()
        };
        let namespace = builder["metadata"]["namespace"].clone();
        let here = |object: &Value| !namespace.is_null() && object["metadata"]["namespace"] == namespace;
        let store = text(&builder["spec"]["store"], "name");
        Catalog {
            objects: [
                of_kind("Buildpack", OwnerKind::Buildpack, &here),
                of_kind("ClusterBuildpack", OwnerKind::ClusterBuildpack, &|_| true),
                of_kind("ClusterStore", OwnerKind::ClusterStore, &|object| {
                    text(&object["metadata"], "name") == store
                }),
            ]
            .concat(),
        }
    }

    fn status(&self, kind: &str, name: &str) -> Result<&Value, String> {
        let object = self.objects.get(&format!("{kind}/{name}"));
        let missing = || format!("{}.kpack.io {name:?} not found", kind.to_lowercase());
        object.map(|object| &object["status"]).ok_or_else(missing)
    }

    fn builder(&self, object: &Value) -> Outcome {
        let spec = &object["spec"];
        let tag = resolved_tag(object)?;
        let stack = self.status("ClusterStack", text(&spec["stack"], "name"))?;
        let name = spec["lifecycle"]["name"].as_str().unwrap_or("default-lifecycle");
        let lifecycle = self.status("ClusterLifecycle", name)?;
        let build_image = self.located(text(&stack["buildImage"], "latestImage"))?;
        let run_image = self.located(text(&stack["runImage"], "latestImage"))?;
        let lifecycle_image = self.located(text(&lifecycle["image"], "latestImage"))?;
        let run_image = relocate_run_image(&run_image, &self.registry, &tag, &[], &|_| {}).map_err(with_causes)?;

        let catalog = self.catalog(object);
        let order: Vec<OrderGroup> = parse(&spec["order"]);
        let resolved = resolve_order(&order, &catalog).map_err(with_causes)?;
        let source = |item: &StoredBuildpack| BuildpackLayerSource {
            buildpack: item.clone(),
            source: &self.registry as &dyn ImageSource,
            reference: Reference::parse(&item.store_image.image).expect("read before"),
        };
        let inputs = BuilderInputs {
            build_image,
            run_image: run_image.clone(),
            lifecycle_image,
            lifecycle_name: text(&lifecycle["image"], "image").to_owned(),
            lifecycle: LifecycleInfo {
                version: text(lifecycle, "version").to_owned(),
                api: parse(&lifecycle["api"]),
                apis: parse(&lifecycle["apis"]),
            },
            stack: StackInfo {
                id: text(stack, "id").to_owned(),
                mixins: parse(&stack["mixins"]),
                user_id: stack["userId"].as_i64().unwrap_or(0),
                group_id: stack["groupId"].as_i64().unwrap_or(0),
            },
            buildpacks: resolved.buildpacks.iter().map(|found| source(found.item)).collect(),
            order: resolved.to_groups(),
            labels: parse(&spec["additionalLabels"]),
            created_by_version: self.kpack_version.clone(),
        };
        let reference = Reference::parse(&tag).map_err(|_| format!("could not parse reference: {tag}"))?;
        let tags = [reference];
        let made =
            assemble_builder(&inputs, &self.registry, &tags, Compression::default(), &|_| {}).map_err(with_causes)?;
        let mut faults = validate(&self.registry, &tags[0], &made.image);
        // As in the reference, new entries are put behind whatever history the base has or lacks.
        faults.retain(|fault| !matches!(fault, ImageFault::HistoryCount { .. }));
        assert!(faults.is_empty(), "{faults:?}");
        let layers: Vec<Value> = made
            .image
            .layers()
            .iter()
            .map(|layer| json!({"diffId": layer.diff_id.as_str(), "mediaType": layer.descriptor.media_type}))
            .collect();
        Ok(json!({
            "builderMetadata": made.buildpacks,
            "runImage": run_image,
            "mediaType": made.image.media_type(),
            "config": std::str::from_utf8(made.image.config_json()).expect("JSON"),
            "layers": layers,
        }))
    }
}

fn resolved_tag(object: &Value) -> Result<String, String> {
    let given = text(&object["spec"], "tag");
    let reference = Reference::parse(given).map_err(|_| format!("could not parse reference: {given}"))?;
    if reference.identifier() != "latest" {
        return Ok(reference.to_string());
    }
    let metadata = &object["metadata"];
    let name = match metadata["namespace"].as_str() {
        Some(namespace) => format!("builder-{namespace}-{}", text(metadata, "name")),
        None => format!("clusterbuilder-{}", text(metadata, "name")),
    };
    let repository: &Repository = reference.repository();
    Ok(format!("{repository}:{name}"))
}

fn key(object: &Value) -> String {
    let metadata = &object["metadata"];
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{}/{namespace}/{}", text(object, "kind"), text(metadata, "name")),
        None => format!("{}/{}", text(object, "kind"), text(metadata, "name")),
    }
}

fn parse<T: DeserializeOwned + Default>(value: &Value) -> T {
    if value.is_null() {
        T::default()
    } else {
        serde_json::from_value(value.clone()).expect("as in a cluster")
    }
}

fn with_causes(error: impl std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Texts of the registry client and of document readers differ; which error it is is for other tests.
fn is_about_the_registry(error: &str) -> bool {
    [
        "GET ",
        "Get ",
        "failed to get image config",
        "manifest digest",
        "no child with platform",
        "unsupported MediaType",
    ]
    .iter()
    .any(|start| error.starts_with(start))
}

fn compare(outcome: &Outcome, step: &Value) -> Result<(), String> {
    let expect = &step["expect"];
    match (outcome, expect["error"].as_str(), expect["panic"].is_string()) {
        // Where the reference crashes, any answer is right.
        (_, _, true) => Ok(()),
        (Err(_), Some(text), _) if expect["looseMessage"] == true || is_about_the_registry(text) => Ok(()),
        (Err(error), Some(text), _) if error == text => Ok(()),
        (Ok(made), None, _) => compare_made(made, expect),
        (_, text, _) => Err(format!("expected error {text:?}")),
    }
}

fn compare_made(made: &Value, expect: &Value) -> Result<(), String> {
    let mut differences = Vec::new();
    let mut same = |what: &str, expected: &Value| {
        let empty = |value: &Value| {
            value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty) || *value == json!(0)
        };
        if made[what] != *expected && !(empty(&made[what]) && empty(expected)) {
            differences.push(format!("{what}:\n  ours {}\n  ref  {expected}", made[what]));
        }
    };
    if let Some(builder) = expect["builder"].as_object() {
        same("builderMetadata", &expect["status"]["builderMetadata"]);
        same("runImage", &expect["runImage"]["ref"]);
        same("mediaType", &builder["mediaType"]);
        same("config", &builder["config"]);
        let layers: Vec<Value> = builder["layers"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|layer| json!({"diffId": layer["diffId"], "mediaType": layer["mediaType"]}))
            .collect();
        same("layers", &json!(layers));
    } else if expect["updated"] == true {
        for what in [
            "buildpacks",
            "id",
            "mixins",
            "userId",
            "groupId",
            "version",
            "api",
            "apis",
        ] {
            if !made[what].is_null() {
                same(what, &expect["status"][what]);
            }
        }
    }
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences.join("\n"))
    }
}

fn run(file: &str) -> usize {
    let cases = fixture(&format!("builders/{file}/cases.json"));
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for case in cases["cases"].as_array().expect("cases") {
        let mut world = World::new();
        for (number, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
            world.prepare(&step["do"]);
            if world.broken {
                break;
            }
            let Some(target) = step["do"]["reconcile"].as_str().filter(|key| !key.is_empty()) else {
                continue;
            };
            if !world.objects.contains_key(target) {
                continue;
            }
            let outcome = world.reconcile(target);
            compared += 1;
            if let Err(problem) = compare(&outcome, step) {
                let outcome: String = format!("{outcome:?}").chars().take(300).collect();
                wrong.push(format!(
                    "{} step {number} ({target}): {problem}\n  {outcome}",
                    text(case, "name")
                ));
            }
            if step["expect"]["status"].is_object()
                && let Some(object) = world.objects.get_mut(target)
            {
                object["status"] = step["expect"]["status"].clone();
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n\n")
    );
    compared
}

#[test]
fn stores_list_the_buildpacks_that_were_recorded() {
    assert!(run("store") > 80);
}

#[test]
fn stacks_have_the_mixins_and_ids_that_were_recorded() {
    assert!(run("stack") > 50);
}

#[test]
fn lifecycles_say_what_was_recorded() {
    assert!(run("lifecycle") > 15);
}

// Case `layers sort by size then id at version descending and shared layers are dropped`.
// row 10.3/L2
#[test]
fn builders_have_the_config_and_layers_that_were_recorded() {
    assert!(run("create") > 150);
}

#[test]
fn builders_are_refused_as_recorded() {
    assert!(run("validation") > 200);
}

/// The cluster of a recorded builder, up to the builder, and its key.
fn before_the_builder(name: &str) -> (World, String) {
    let cases = fixture("builders/create/cases.json");
    let cases = cases["cases"].as_array().expect("cases");
    let case = cases.iter().find(|case| case["name"] == name).expect("the case");
    let mut world = World::new();
    for step in case["steps"].as_array().expect("steps") {
        world.prepare(&step["do"]);
        let target = text(&step["do"], "reconcile");
        if target.starts_with("ClusterBuilder/") {
            return (world, target.to_owned());
        }
        let object = world.objects.get_mut(target).expect("it was applied");
        object["status"] = step["expect"]["status"].clone();
    }
    panic!("{name} makes no builder")
}

// rows 10.3/L4 10.3/L5 10.3/L6
#[test]
fn a_builder_says_in_labels_what_it_holds_and_works_in_its_layers_directory() {
    let (world, target) = before_the_builder("additional labels");
    let made = world.reconcile(&target).expect("a builder");
    let config: Value = serde_json::from_str(text(&made, "config")).expect("JSON");
    let config = &config["config"];
    assert_eq!(config["WorkingDir"], "/layers");
    // What users add, also over what the stack's image says, but not over what kpack says.
    let labels = &config["Labels"];
    for (name, value) in [
        ("team", "a<b>&c"),
        ("empty", ""),
        ("io.buildpacks.stack.description", "changed"),
    ] {
        assert_eq!(labels[name], value, "{name}");
    }
    let order = r#"[{"group":[{"id":"acme/procfile","version":"3.0.1"}]}]"#;
    assert_eq!(labels["io.buildpacks.buildpack.order"], order);
    let apis = r#"{"buildpack":{"deprecated":null,"supported":["0.7","0.8","0.9","0.10","0.11"]},"platform":{"deprecated":null,"supported":["0.7","0.8","0.9","0.10","0.11","0.12","0.13","0.14"]}}"#;
    assert_eq!(labels["io.buildpacks.lifecycle.apis"], apis);
    let diff_id = "sha256:09a2a09632a133cf483cdb1aadde973b7809fe21c2cddaa4988affe4e6b59b69";
    let layers = format!(
        r#"{{"acme/procfile":{{"3.0.1":{{"api":"0.10","layerDiffID":"{diff_id}","homepage":"https://acme.example/procfile"}}}}}}"#
    );
    assert_eq!(labels["io.buildpacks.buildpack.layers"], layers);
    // The run image is beside the builder, with the bytes it has elsewhere.
    let run_image = format!(
        "reg.example/team/builder:one-run-image@{}",
        text(&world.images["run-a"], "digest")
    );
    assert_eq!(made["runImage"], run_image);
    let copied = world
        .located("reg.example/team/builder:one-run-image")
        .expect("it was copied");
    assert_eq!(copied.image.digest().as_str(), text(&world.images["run-a"], "digest"));
    let metadata: Value = serde_json::from_str(text(labels, "io.buildpacks.builder.metadata")).expect("JSON");
    assert_eq!(
        metadata["stack"]["runImage"],
        json!({"image": run_image, "mirrors": null})
    );
    assert_eq!(metadata["description"], "Custom Builder built with kpack");
    let created_by = json!({"name": "kpack Builder", "version": "v0.17.2 (git sha: 0123abc)"});
    assert_eq!(metadata["createdBy"], created_by);
}

// row 10.3/L7
#[test]
fn a_builder_made_fifty_times_is_the_same_builder() {
    let name = "layers sort by size then id at version descending and shared layers are dropped";
    let (world, target) = before_the_builder(name);
    let first = world.reconcile(&target).expect("a builder");
    assert!(
        first["builderMetadata"].as_array().is_some_and(|list| list.len() > 3),
        "{first}"
    );
    for _ in 1..50 {
        assert_eq!(world.reconcile(&target).expect("a builder"), first);
    }
}
