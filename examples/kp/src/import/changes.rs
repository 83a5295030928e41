//! What an import would change, as differences of YAML.

use rebuild_policy::value_diff;
use serde_json::{Value, json};

use super::{
    Import,
    descriptor::{Builder, Descriptor, Named, Stack, Store},
};
use crate::{
    builder::known_order,
    cluster::{CLUSTER_BUILDER, CLUSTER_BUILDPACK, CLUSTER_LIFECYCLE, CLUSTER_STACK, CLUSTER_STORE, Kind},
    relocate::Registries,
    resource::text,
};

/// The summary, and whether anything would change.
pub(super) fn summary(import: &Import<'_>, descriptor: &Descriptor) -> anyhow::Result<(String, bool)> {
    let each = |kind: Kind, list: &[Named]| -> anyhow::Result<Vec<String>> {
        list.iter().map(|entry| import.named_diff(kind, entry)).collect()
    };
    let stores: anyhow::Result<Vec<_>> = descriptor
        .cluster_stores
        .iter()
        .map(|entry| import.store_diff(entry))
        .collect();
    let stacks: anyhow::Result<Vec<_>> = descriptor
        .stacks()
        .iter()
        .map(|entry| import.stack_diff(entry))
        .collect();
    let builders: anyhow::Result<Vec<_>> = descriptor
        .builders()
        .iter()
        .map(|entry| import.builder_diff(entry))
        .collect();
    let parts = [
        ("ClusterLifecycles", each(CLUSTER_LIFECYCLE, &descriptor.lifecycles())?),
        (
            "ClusterBuildpacks",
            each(CLUSTER_BUILDPACK, &descriptor.cluster_buildpacks)?,
        ),
        ("ClusterStores", stores?),
        ("ClusterStacks", stacks?),
        ("ClusterBuilders", builders?),
    ];
    let (mut page, mut changed) = (String::from("Changes\n\n"), false);
    for (heading, diffs) in parts {
        let diffs: Vec<_> = diffs.into_iter().filter(|diff| !diff.is_empty()).collect();
        let diffs = if diffs.is_empty() {
            String::new()
        } else {
            diffs.join("\n\n") + "\n\n"
        };
        changed |= !diffs.is_empty();
        let diffs = if diffs.is_empty() {
            "No Changes\n\n".to_owned()
        } else {
            diffs
        };
        page += &format!("{heading}\n\n{diffs}");
    }
    Ok((page, changed))
}

/// A difference whose unchanged lines are indented as the others are.
fn diff(old: &Value, new: &Value) -> String {
    let mark = |line: String| match line.starts_with('\u{1b}') {
        true => format!("{line}\n"),
        false => format!("  {line}\n"),
    };
    value_diff(old, new).into_iter().map(mark).collect()
}

impl Import<'_> {
    fn existing(&self, kind: Kind, name: &str) -> anyhow::Result<Option<Value>> {
        self.cluster.find(kind, "", name)
    }

    /// What an image will be called when it is relocated.
    fn relocated(&self, image: &str) -> anyhow::Result<String> {
        Registries::placed(&self.registries.find(image)?, self.repository)
    }

    fn named_diff(&self, kind: Kind, entry: &Named) -> anyhow::Result<String> {
        let old = self.existing(kind, &entry.name)?;
        let old = old.map_or(
            Value::Null,
            |old| json!({"name": entry.name, "image": text(&old, "/spec/image")}),
        );
        Ok(diff(
            &old,
            &json!({"name": entry.name, "image": self.relocated(&entry.image)?}),
        ))
    }

    fn store_diff(&self, store: &Store) -> anyhow::Result<String> {
        let mut images = Vec::new();
        for source in &store.sources {
            images.push(self.relocated(&source.image)?);
        }
        let old = self.existing(CLUSTER_STORE, &store.name)?;
        if let Some(old) = &old {
            let held = old["spec"]["sources"].as_array().cloned().unwrap_or_default();
            images.retain(|image| !held.iter().any(|source| source["image"] == image.as_str()));
        }
        if images.is_empty() {
            return Ok(String::new());
        }
        // Only what is new is shown, so the old side is a text with the name alone, as the reference has it.
        let old = old.map_or(Value::Null, |_| json!(format!("Name: {}\nSources:", store.name)));
        let sources: Vec<_> = images.iter().map(|image| json!({"Image": image})).collect();
        Ok(diff(&old, &json!({"name": store.name, "sources": sources})))
    }

    fn stack_diff(&self, stack: &Stack) -> anyhow::Result<String> {
        let shown = |build: &str, run: &str| json!({"name": stack.name, "buildImage": {"Image": build}, "runImage": {"Image": run}});
        let old = self.existing(CLUSTER_STACK, &stack.name)?;
        let old = old.map_or(Value::Null, |old| {
            shown(text(&old, "/spec/buildImage/image"), text(&old, "/spec/runImage/image"))
        });
        let new = shown(
            &self.relocated(&stack.build_image.image)?,
            &self.relocated(&stack.run_image.image)?,
        );
        Ok(diff(&old, &new))
    }

    fn builder_diff(&self, builder: &Builder) -> anyhow::Result<String> {
        let shown = |stack: &str, store: &str, order: &Value| json!({"name": builder.name, "clusterStack": stack, "clusterStore": store, "order": order});
        let old = match self.existing(CLUSTER_BUILDER, &builder.name)? {
            None => Value::Null,
            Some(old) => {
                let order = known_order(&old["spec"]["order"], &format!("ClusterBuilder '{}'", builder.name))?;
                shown(text(&old, "/spec/stack/name"), text(&old, "/spec/store/name"), &order)
            }
        };
        Ok(diff(
            &old,
            &shown(&builder.cluster_stack, &builder.cluster_store, &builder.order),
        ))
    }
}
