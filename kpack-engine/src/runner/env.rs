//! The environment of a container.

use std::collections::{BTreeMap, HashMap};

use rebuild_policy::{ConfigMapKeySelector, EnvVar, EnvVarSource, ResourceRequirements};

use super::expand::expand;
use super::lookup::Lookup;
use super::not_started::NotStarted;
use super::spec::Container;
use crate::Kind;

/// What buildpacks are told is told to `prepare` by variables of this prefix.
const PLATFORM_ENV: &str = "PLATFORM_ENV_";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A container's variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    /// All of them, as its process gets them.
    pub(super) all: Vec<(String, String)>,
    /// Those that the pod gives: only they are known to `$(NAME)` in commands.
    pub(super) own: HashMap<String, String>,
}

/// Joins the variables of the image, the machine and the pod; of one name the later wins.
pub(super) fn environment(
    image: &[String],
    machine: &BTreeMap<String, String>,
    container: &Container,
    lookup: &Lookup<'_>,
) -> Result<Environment, NotStarted> {
    let own = own_variables(container, lookup)?;
    let mut all = Variables::default();
    all.set("PATH", DEFAULT_PATH);
    for pair in image {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        all.set(name, value);
    }
    for (name, value) in machine {
        all.set(name, value);
    }
    if is_prepare(container) {
        for (name, value) in machine {
            all.set(&format!("{PLATFORM_ENV}{name}"), value);
        }
    }
    for (name, value) in &own.list {
        all.set(name, value);
    }
    Ok(Environment {
        all: all.list,
        own: own.list.into_iter().collect(),
    })
}

/// Says whether the container is the step that writes the platform's env directory.
fn is_prepare(container: &Container) -> bool {
    container
        .command
        .first()
        .is_some_and(|command| command.ends_with("/build-init"))
}

/// Variables in the order in which their names came first.
#[derive(Default)]
struct Variables {
    list: Vec<(String, String)>,
}

impl Variables {
    fn set(&mut self, name: &str, value: &str) {
        match self.list.iter_mut().find(|(known, _)| known == name) {
            Some((_, place)) => value.clone_into(place),
            None => self.list.push((name.to_owned(), value.to_owned())),
        }
    }
}

fn own_variables(container: &Container, lookup: &Lookup<'_>) -> Result<Variables, NotStarted> {
    let mut own = Variables::default();
    for from in &container.env_from {
        let sources = [
            (Kind::ConfigMap, &from.config_map_ref),
            (Kind::Secret, &from.secret_ref),
        ];
        for (kind, source) in sources {
            let Some(source) = source else { continue };
            let data = lookup.data(kind, &source.name, source.optional)?;
            for (key, value) in data.into_iter().flatten() {
                own.set(&format!("{}{key}", from.prefix), &text(kind, &key, value)?);
            }
        }
    }
    for variable in &container.env {
        let value = match &variable.value_from {
            None => {
                let known: HashMap<String, String> = own.list.iter().cloned().collect();
                Some(expand(&variable.value, &known))
            }
            Some(source) => referenced(source, variable, &container.resources, lookup)?,
        };
        if let Some(value) = value {
            if variable.name.is_empty() || variable.name.contains(['=', '\0']) || value.contains('\0') {
                return Err(NotStarted::never(format!(
                    "{:?} is no environment variable",
                    variable.name
                )));
            }
            own.set(&variable.name, &value);
        }
    }
    Ok(own)
}

fn referenced(
    source: &EnvVarSource,
    variable: &EnvVar,
    resources: &ResourceRequirements,
    lookup: &Lookup<'_>,
) -> Result<Option<String>, NotStarted> {
    let key = |kind, selector: &ConfigMapKeySelector| {
        let optional = selector.optional == Some(true);
        let data = lookup.data(kind, &selector.name, optional)?;
        match data.and_then(|mut data| data.remove(&selector.key)) {
            Some(value) => text(kind, &selector.key, value).map(Some),
            None if optional => Ok(None),
            None => Err(NotStarted::config(format!(
                "couldn't find key {} in {} {}/{}",
                selector.key,
                kind.name(),
                lookup.namespace,
                selector.name
            ))),
        }
    };
    if let Some(field) = &source.field_ref {
        return lookup.field(&field.field_path).map(Some);
    }
    if let Some(selector) = &source.secret_key_ref {
        return key(Kind::Secret, selector);
    }
    if let Some(selector) = &source.config_map_key_ref {
        return key(Kind::ConfigMap, selector);
    }
    if let Some(selector) = &source.resource_field_ref {
        return Ok(Some(resource_field(&selector.resource, resources)));
    }
    Err(NotStarted::never(format!(
        "variable {:?} has an empty valueFrom",
        variable.name
    )))
}

/// Returns a limit or request in whole units; `0` when it is not set.
pub(super) fn resource_field(path: &str, resources: &ResourceRequirements) -> String {
    let amount = match path.split_once('.') {
        Some(("limits", name)) => resources.limits.get(name),
        Some(("requests", name)) => resources.requests.get(name).or_else(|| resources.limits.get(name)),
        _ => None,
    };
    amount.map_or(0, rebuild_policy::Quantity::value).to_string()
}

fn text(kind: Kind, key: &str, value: Vec<u8>) -> Result<String, NotStarted> {
    let text = String::from_utf8(value).ok().filter(|text| !text.contains('\0'));
    text.ok_or_else(|| NotStarted::config(format!("key {key} of the {} is no text", kind.name())))
}
