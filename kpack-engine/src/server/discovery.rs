//! What is served, told to clients: aggregated discovery, plain discovery, the version.
//!
//! Specification: Kubernetes `apidiscovery.k8s.io/v2`, `meta/v1` (`APIGroupList`, `APIResourceList`).

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::versions::Version;
use crate::{ApiError, Kind};

/// Media type of aggregated discovery.
pub(super) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

const ALL_VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
/// The same in the order in which real servers list those of custom kinds.
const CUSTOM_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// The groups beside core, with their versions, the preferred one first.
const GROUPS: [(&str, &[&str]); 4] = [
    ("kpack.io", &["v1alpha2", "v1alpha1"]),
    ("storage.k8s.io", &["v1"]),
    ("authentication.k8s.io", &["v1"]),
    ("authorization.k8s.io", &["v1"]),
];

/// The questions about the caller: group, resource, kind.
const REVIEWS: [(&str, &str, &str); 3] = [
    ("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    (
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    ),
    (
        "authorization.k8s.io",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
    ),
];

/// A resource as both forms of discovery describe it.
struct Resource {
    plural: &'static str,
    singular: String,
    kind: &'static str,
    namespaced: bool,
    verbs: Vec<&'static str>,
    short_names: &'static [&'static str],
    categories: Vec<&'static str>,
    /// Name and verbs of each sub resource.
    subresources: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Resource {
    fn of(kind: Kind) -> Self {
        let mut subresources = BTreeMap::new();
        if kind.has_status() {
            subresources.insert("status", STATUS_VERBS.to_vec());
        }
        if kind == Kind::Pod {
            subresources.insert("log", vec!["get"]);
        }
        let categories = match kind {
            Kind::Pod => vec!["all"],
            kind if kind.is_kpack() => vec!["kpack"],
            _ => Vec::new(),
        };
        Self {
            plural: kind.plural(),
            singular: kind.singular(),
            kind: kind.name(),
            namespaced: kind.is_namespaced(),
            verbs: match kind {
                kind if kind.is_kpack() => CUSTOM_VERBS.to_vec(),
                Kind::Namespace => ALL_VERBS
                    .into_iter()
                    .filter(|verb| *verb != "deletecollection")
                    .collect(),
                _ => ALL_VERBS.to_vec(),
            },
            short_names: kind.short_names(),
            categories,
            subresources,
        }
    }

    fn review(plural: &'static str, kind: &'static str) -> Self {
        Self {
            plural,
            singular: kind.to_ascii_lowercase(),
            kind,
            namespaced: false,
            verbs: vec!["create"],
            short_names: &[],
            categories: Vec::new(),
            subresources: BTreeMap::new(),
        }
    }

    fn aggregated(&self, group: &str, version: &str) -> Value {
        let response_kind = json!({"group": group, "version": version, "kind": self.kind});
        let mut value = json!({
            "resource": self.plural,
            "responseKind": response_kind,
            "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
            "singularResource": self.singular,
            "verbs": self.verbs,
        });
        if !self.short_names.is_empty() {
            value["shortNames"] = json!(self.short_names);
        }
        if !self.categories.is_empty() {
            value["categories"] = json!(self.categories);
        }
        if !self.subresources.is_empty() {
            let list = self
                .subresources
                .iter()
                .map(|(name, verbs)| json!({"subresource": name, "responseKind": response_kind, "verbs": verbs}));
            value["subresources"] = list.collect();
        }
        value
    }

    fn plain(&self) -> Vec<Value> {
        let mut main = json!({
            "name": self.plural,
            "singularName": self.singular,
            "namespaced": self.namespaced,
            "kind": self.kind,
            "verbs": self.verbs,
        });
        if !self.short_names.is_empty() {
            main["shortNames"] = json!(self.short_names);
        }
        if !self.categories.is_empty() {
            main["categories"] = json!(self.categories);
        }
        let subs = self.subresources.iter().map(|(name, verbs)| {
            json!({
                "name": format!("{}/{name}", self.plural),
                "singularName": "",
                "namespaced": self.namespaced,
                "kind": self.kind,
                "verbs": verbs,
            })
        });
        std::iter::once(main).chain(subs).collect()
    }
}

fn resources(group: &str, version: &str) -> Vec<Resource> {
    let kinds = Kind::all().filter(|kind| kind.group() == group && Version::of(*kind, version).is_some());
    let reviews = REVIEWS.iter().filter(|(owner, ..)| *owner == group && version == "v1");
    let mut found: Vec<_> = kinds
        .map(Resource::of)
        .chain(reviews.map(|(_, plural, kind)| Resource::review(plural, kind)))
        .collect();
    // Clients show the kinds of a category in this order.
    found.sort_by_key(|resource| resource.plural);
    found
}

fn versions_of(group: &str) -> Option<&'static [&'static str]> {
    if group.is_empty() {
        return Some(&["v1"]);
    }
    GROUPS
        .iter()
        .find(|(name, _)| *name == group)
        .map(|(_, versions)| *versions)
}

fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Returns the aggregated form: everything in one document; for `/api` only the core group.
pub(super) fn aggregated(core: bool) -> Value {
    let groups: Vec<&str> = if core {
        vec![""]
    } else {
        GROUPS.iter().map(|(name, _)| *name).collect()
    };
    let items = groups.into_iter().map(|group| {
        let versions = versions_of(group).unwrap_or_default().iter().map(|version| {
            let list: Value = resources(group, version)
                .iter()
                .map(|r| r.aggregated(group, version))
                .collect();
            json!({"version": version, "resources": list, "freshness": "Current"})
        });
        let metadata = if group.is_empty() {
            json!({})
        } else {
            json!({"name": group})
        };
        json!({"metadata": metadata, "versions": versions.collect::<Value>()})
    });
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items.collect::<Value>(),
    })
}

/// Returns the plain document of `/api`.
pub(super) fn core_versions(address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// Returns the plain document of `/apis`.
pub(super) fn groups() -> Value {
    let list: Value = GROUPS.iter().filter_map(|(name, _)| group_value(name)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": list})
}

/// Returns the plain document of `/apis/GROUP`.
pub(super) fn group(name: &str) -> Result<Value, ApiError> {
    let mut value = group_value(name)
        .filter(|_| !name.is_empty())
        .ok_or(ApiError::NotServed)?;
    value["kind"] = json!("APIGroup");
    value["apiVersion"] = json!("v1");
    Ok(value)
}

fn group_value(name: &str) -> Option<Value> {
    let versions: Vec<Value> = versions_of(name)?
        .iter()
        .map(|version| json!({"groupVersion": group_version(name, version), "version": version}))
        .collect();
    Some(json!({"name": name, "versions": versions, "preferredVersion": versions.first()}))
}

/// Returns the plain document of `/api/v1` or `/apis/GROUP/VERSION`.
pub(super) fn resource_list(group: &str, version: &str) -> Result<Value, ApiError> {
    if !versions_of(group).is_some_and(|versions| versions.contains(&version)) {
        return Err(ApiError::NotServed);
    }
    let list: Value = resources(group, version).iter().flat_map(Resource::plain).collect();
    Ok(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": list,
    }))
}

/// Returns the document of `/version`: the version of the API that is imitated, marked as this engine's.
pub(super) fn version() -> Value {
    json!({
        "major": "1",
        "minor": "33",
        "gitVersion": format!("v1.33.0+kpackd.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": "linux/amd64",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plain_list_of_kpack_names_each_kind_with_its_status() {
        let list = resource_list("kpack.io", "v1alpha2").unwrap();
        let names: Vec<_> = list["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["name"].clone())
            .collect();
        assert_eq!(names.len(), 20);
        assert!(names.contains(&json!("images")) && names.contains(&json!("images/status")));
        let old = resource_list("kpack.io", "v1alpha1").unwrap();
        assert_eq!(old["resources"].as_array().unwrap().len(), 14);
    }

    #[test]
    fn both_forms_of_discovery_name_the_same_resources() {
        let aggregated = aggregated(false);
        for group in aggregated["items"].as_array().unwrap() {
            let name = group["metadata"]["name"].as_str().unwrap();
            for version in group["versions"].as_array().unwrap() {
                let plain = resource_list(name, version["version"].as_str().unwrap()).unwrap();
                let main = plain["resources"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|r| r["name"].as_str().unwrap());
                let plain: Vec<_> = main.filter(|name| !name.contains('/')).collect();
                let listed: Vec<_> = version["resources"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|r| r["resource"].as_str().unwrap())
                    .collect();
                assert_eq!(listed, plain);
            }
        }
    }
}
