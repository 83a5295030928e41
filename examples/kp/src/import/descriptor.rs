//! The file that describes what to import, in its three versions.

use std::collections::BTreeSet;

use anyhow::{Context as _, anyhow, bail};
use registry_auth::Reference;
use serde::Deserialize;
use serde_json::Value;

use crate::builder::known_order;

const VERSIONS: [&str; 3] = ["kp.kpack.io/v1alpha1", "kp.kpack.io/v1alpha3", "kp.kpack.io/v1"];
/// The name of what users get when they name none.
const DEFAULT: &str = "default";
const DEFAULT_LIFECYCLE: &str = "default-lifecycle";

/// The newest version, which older ones are converted to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Descriptor {
    default_cluster_lifecycle: String,
    default_cluster_stack: String,
    default_cluster_builder: String,
    cluster_lifecycles: Vec<Named>,
    pub(super) cluster_buildpacks: Vec<Named>,
    pub(super) cluster_stores: Vec<Store>,
    cluster_stacks: Vec<Stack>,
    cluster_builders: Vec<Builder>,
}

/// Something that is one image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    pub(super) image: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Store {
    pub(super) name: String,
    pub(super) sources: Vec<Source>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Stack {
    pub(super) name: String,
    pub(super) build_image: Source,
    pub(super) run_image: Source,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Builder {
    pub(super) name: String,
    #[serde(alias = "stack")]
    pub(super) cluster_stack: String,
    #[serde(alias = "store")]
    pub(super) cluster_store: String,
    pub(super) order: Value,
}

/// `v1alpha1`: other names, and no lifecycle.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct First {
    default_stack: String,
    default_cluster_builder: String,
    stores: Vec<Store>,
    stacks: Vec<Stack>,
    cluster_builders: Vec<Builder>,
}

/// `v1alpha3`: one lifecycle without a name, the default.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Third {
    lifecycle: Option<Source>,
}

impl Descriptor {
    /// Reads a descriptor of any version, and checks it.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let value: Value = serde_saphyr::from_str(text).context("the descriptor is not YAML")?;
        let version = value["apiVersion"].as_str().unwrap_or_default();
        let described = "the descriptor is not understood";
        let mut descriptor = match VERSIONS.iter().position(|known| *known == version) {
            Some(0) => serde_json::from_value::<First>(without_nulls(value))
                .context(described)?
                .into(),
            Some(1) => {
                let value = without_nulls(value);
                let old: Third = serde_json::from_value(value.clone()).context(described)?;
                let mut descriptor: Self = serde_json::from_value(value).context(described)?;
                // Version 3 knew neither of these.
                (descriptor.default_cluster_lifecycle, descriptor.cluster_buildpacks) = (String::new(), Vec::new());
                let lifecycle = old.lifecycle.filter(|lifecycle| !lifecycle.image.is_empty());
                descriptor.cluster_lifecycles = lifecycle
                    .map(|lifecycle| Named {
                        name: DEFAULT_LIFECYCLE.to_owned(),
                        image: lifecycle.image,
                    })
                    .into_iter()
                    .collect();
                descriptor
            }
            Some(_) => serde_json::from_value(without_nulls(value)).context(described)?,
            None => bail!(
                "did not find expected apiVersion, must be one of: [{}]",
                VERSIONS.join(" ")
            ),
        };
        for builder in &mut descriptor.cluster_builders {
            builder.order = known_order(&builder.order, &format!("builder '{}' of the descriptor", builder.name))?;
        }
        descriptor.check()?;
        Ok(descriptor)
    }

    fn check(&self) -> anyhow::Result<()> {
        let lifecycles = names(
            "lifecycle",
            self.cluster_lifecycles.iter().map(|lifecycle| &lifecycle.name),
        )?;
        names(
            "buildpack",
            self.cluster_buildpacks.iter().map(|buildpack| &buildpack.name),
        )?;
        for (kind, list) in [
            ("lifecycle", &self.cluster_lifecycles),
            ("buildpack", &self.cluster_buildpacks),
        ] {
            if list.iter().any(|entry| entry.name.is_empty()) {
                bail!("cluster {kind} name cannot be empty");
            }
        }
        names("store", self.cluster_stores.iter().map(|store| &store.name))?;
        let stacks = names("stack", self.cluster_stacks.iter().map(|stack| &stack.name))?;
        let builders = names(
            "cluster builder",
            self.cluster_builders.iter().map(|builder| &builder.name),
        )?;
        for image in self.images() {
            // An image on this machine is none of a registry.
            if image.parse::<Reference>().is_err() {
                return Err(anyhow!("could not parse reference: {image}"));
            }
        }
        for (kind, name, known) in [
            ("lifecycle", &self.default_cluster_lifecycle, lifecycles),
            ("stack", &self.default_cluster_stack, stacks),
            ("builder", &self.default_cluster_builder, builders),
        ] {
            if !name.is_empty() && !known.contains(name.as_str()) {
                bail!("default cluster {kind} '{name}' not found");
            }
        }
        Ok(())
    }

    /// All images, in the order in which they are relocated.
    pub(super) fn images(&self) -> impl Iterator<Item = &str> {
        let named = self
            .cluster_lifecycles
            .iter()
            .chain(&self.cluster_buildpacks)
            .map(|entry| &entry.image);
        let sources = self
            .cluster_stores
            .iter()
            .flat_map(|store| &store.sources)
            .map(|source| &source.image);
        let stacks = self
            .cluster_stacks
            .iter()
            .flat_map(|stack| [&stack.build_image.image, &stack.run_image.image]);
        named.chain(sources).chain(stacks).map(String::as_str)
    }

    /// The lifecycles, and the default one once more under its name.
    pub(super) fn lifecycles(&self) -> Vec<Named> {
        let name = |entry: &mut Named| std::mem::replace(&mut entry.name, DEFAULT_LIFECYCLE.to_owned());
        with_default(
            &self.cluster_lifecycles,
            &self.default_cluster_lifecycle,
            |entry| &entry.name,
            name,
        )
    }

    /// The stacks, and the default one once more under its name.
    pub(super) fn stacks(&self) -> Vec<Stack> {
        let name = |entry: &mut Stack| std::mem::replace(&mut entry.name, DEFAULT.to_owned());
        with_default(
            &self.cluster_stacks,
            &self.default_cluster_stack,
            |entry| &entry.name,
            name,
        )
    }

    /// The builders, and the default one once more under its name.
    pub(super) fn builders(&self) -> Vec<Builder> {
        let name = |entry: &mut Builder| std::mem::replace(&mut entry.name, DEFAULT.to_owned());
        with_default(
            &self.cluster_builders,
            &self.default_cluster_builder,
            |entry| &entry.name,
            name,
        )
    }
}

/// The list, followed by a copy of the entry `default` that is called as defaults are; not when it is called so already.
/// Another entry of that name stays where it is: what is saved last counts.
fn with_default<T: Clone>(
    list: &[T],
    default: &str,
    name: impl Fn(&T) -> &String,
    rename: impl Fn(&mut T) -> String,
) -> Vec<T> {
    let mut list = list.to_vec();
    let copy = list.iter().find(|entry| name(entry) == default).cloned();
    list.extend(copy.and_then(|mut copy| {
        let old = rename(&mut copy);
        (old != *name(&copy)).then_some(copy)
    }));
    list
}

/// The names of a list, each of which may be there once.
fn names<'a>(kind: &str, names: impl Iterator<Item = &'a String>) -> anyhow::Result<BTreeSet<&'a str>> {
    let mut known = BTreeSet::new();
    for name in names {
        if !known.insert(name.as_str()) {
            bail!("duplicate {kind} name '{name}'");
        }
    }
    Ok(known)
}

/// A key without a value is as good as none.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

impl From<First> for Descriptor {
    fn from(old: First) -> Self {
        Self {
            default_cluster_stack: old.default_stack,
            default_cluster_builder: old.default_cluster_builder,
            cluster_stores: old.stores,
            cluster_stacks: old.stacks,
            cluster_builders: old.cluster_builders,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_version_means_the_same_with_other_names() {
        let text = "
apiVersion: kp.kpack.io/v1alpha1
kind: DependencyDescriptor
defaultStack: base
defaultClusterBuilder: web
stores: [{name: s, sources: [{image: reg.example/bp}]}]
stacks: [{name: base, buildImage: {image: reg.example/build}, runImage: {image: reg.example/run}}]
clusterBuilders: [{name: web, stack: base, store: s, order: [{group: [{id: a/b}]}]}]
";
        let descriptor = Descriptor::parse(text).expect("it is valid");
        let names: Vec<_> = descriptor.stacks().into_iter().map(|stack| stack.name).collect();
        assert_eq!(names, ["base", "default"]);
        let builders = descriptor.builders();
        assert_eq!(
            (builders[1].name.as_str(), builders[1].cluster_store.as_str()),
            ("default", "s")
        );
        assert!(descriptor.lifecycles().is_empty());
    }

    #[test]
    fn what_is_called_default_already_is_imported_once() {
        let text = "
apiVersion: kp.kpack.io/v1
defaultClusterLifecycle: default-lifecycle
clusterLifecycles: [{name: default-lifecycle, image: reg.example/lifecycle}]
clusterStores:
";
        assert_eq!(Descriptor::parse(text).expect("it is valid").lifecycles().len(), 1);
    }

    #[test]
    fn a_default_follows_what_has_its_name_by_chance() {
        let text = "
apiVersion: kp.kpack.io/v1
defaultClusterLifecycle: two
defaultClusterStack: two
defaultClusterBuilder: two
clusterLifecycles: [{name: default-lifecycle, image: reg.example/other}, {name: two, image: reg.example/two}]
clusterStacks:
- {name: two, buildImage: {image: reg.example/two}, runImage: {image: reg.example/two}}
- {name: default, buildImage: {image: reg.example/other}, runImage: {image: reg.example/other}}
clusterBuilders: [{name: default, clusterStack: other}, {name: two, clusterStack: two}]
";
        let descriptor = Descriptor::parse(text).expect("it is valid");
        let lifecycles = descriptor.lifecycles();
        let lifecycles = lifecycles.iter().map(|entry| (&entry.name, &entry.image));
        let stacks = descriptor.stacks();
        let stacks = stacks.iter().map(|entry| (&entry.name, &entry.run_image.image));
        let builders = descriptor.builders();
        let builders = builders.iter().map(|entry| (&entry.name, &entry.cluster_stack));
        for (list, default) in [
            (lifecycles.collect::<Vec<_>>(), "default-lifecycle"),
            (stacks.collect(), "default"),
            (builders.collect(), "default"),
        ] {
            assert_eq!(list.len(), 3);
            let (name, content) = list[2];
            assert!(name == default && content.ends_with("two"), "{list:?}");
        }
    }

    #[test]
    fn a_default_that_is_not_listed_is_refused() {
        let error =
            Descriptor::parse("apiVersion: kp.kpack.io/v1\ndefaultClusterBuilder: x\n").expect_err("no builder");
        assert_eq!(error.to_string(), "default cluster builder 'x' not found");
    }
}
