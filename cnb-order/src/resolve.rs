//! From an order without versions and a catalogue to the buildpacks of a builder, as kpack does it.

use serde::{Deserialize, Serialize};

use crate::order::null_is_empty;
use crate::{BuildpackId, BuildpackVersion, Catalog, CatalogObject, Entry, Group, OwnerKind, StoredBuildpack};

/// A group in the order of a builder resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderGroup {
    /// The entries.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub group: Vec<OrderEntry>,
}

/// An entry in the order of a builder resource: a buildpack by id, or the buildpack of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrderEntry {
    /// Id of the buildpack; empty for the root buildpack of the object named.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Version; empty for the highest.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// Whether groups may pass without it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// Kind of the object to look into.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Name of the object to look into.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Namespace of the object; not used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// An image; not supported, kept to refuse it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub image: String,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde calls
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The resolved order of a builder and the buildpacks it needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResolvedOrder<'a> {
    /// The groups, every entry with a version.
    pub groups: Vec<ResolvedGroup<'a>>,
    /// All buildpacks to be put into the builder in the order they were met, children before their parent; the same one
    /// may be listed several times.
    pub buildpacks: Vec<ResolvedBuildpack<'a>>,
}

impl ResolvedOrder<'_> {
    /// Returns the order as plain groups, for order.toml and labels.
    pub fn to_groups(&self) -> Vec<Group> {
        let entry = |resolved: &ResolvedEntry<'_>| Entry {
            id: resolved.buildpack.item.id.clone(),
            version: resolved.buildpack.item.version.clone(),
            optional: resolved.optional,
            ..Entry::default()
        };
        self.groups
            .iter()
            .map(|group| Group {
                entries: group.entries.iter().map(entry).collect(),
            })
            .collect()
    }
}

/// A group of a [`ResolvedOrder`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResolvedGroup<'a> {
    /// The entries.
    pub entries: Vec<ResolvedEntry<'a>>,
}

/// An entry of a [`ResolvedGroup`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResolvedEntry<'a> {
    /// The buildpack chosen.
    pub buildpack: ResolvedBuildpack<'a>,
    /// Whether the group may pass without it.
    pub optional: bool,
}

/// A buildpack that was chosen, and the object it comes from, whose credentials read it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResolvedBuildpack<'a> {
    /// The buildpack.
    pub item: &'a StoredBuildpack,
    /// The object it comes from.
    pub owner: &'a CatalogObject,
}

/// Why an entry cannot be resolved; the texts are those of kpack, which users find in the status of their builder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// No buildpack has that id.
    #[error("could not find buildpack with id '{id}'")]
    UnknownId {
        /// The id asked for.
        id: String,
    },
    /// The buildpack exists, but not in that version.
    #[error("could not find buildpack with id '{id}' and version '{version}'")]
    UnknownVersion {
        /// The id asked for.
        id: String,
        /// The version asked for.
        version: String,
    },
    /// The highest version is wanted, but one of the versions is none.
    #[error("cannot find buildpack '{id}' with latest version due to invalid semver '{version}'")]
    InvalidSemver {
        /// The id asked for.
        id: String,
        /// The first version that is none.
        version: String,
    },
    /// An entry names an object of a kind that holds no buildpacks.
    #[error("kind must be either Buildpack or ClusterBuildpack")]
    UnknownKind,
    /// There is no such `Buildpack`, and its root is wanted.
    #[error("no buildpack with name '{name}'")]
    NoBuildpackNamed {
        /// The name asked for.
        name: String,
    },
    /// There is no such `ClusterBuildpack`, and its root is wanted.
    #[error("no cluster buildpack with name '{name}'")]
    NoClusterBuildpackNamed {
        /// The name asked for.
        name: String,
    },
    /// There is no such `Buildpack`, and one of its buildpacks is wanted.
    #[error("buildpack not found: {name}")]
    BuildpackNotFound {
        /// The name asked for.
        name: String,
    },
    /// There is no such `ClusterBuildpack`, and one of its buildpacks is wanted.
    #[error("cluster buildpack not found: {name}")]
    ClusterBuildpackNotFound {
        /// The name asked for.
        name: String,
    },
    /// The root of an object is wanted, and it has none or several.
    #[error("unexpected number of root buildpacks: {found}")]
    Roots {
        /// How many it has.
        found: usize,
    },
    /// An entry names an image.
    #[error("using images in builders not currently supported")]
    Image,
    /// An entry names nothing.
    #[error("invalid buildpack reference")]
    Empty,
    /// A composite buildpack contains itself.
    #[error("buildpack '{name}' contains itself: {}", .path.join(" -> "))]
    Cycle {
        /// `id@version` of the buildpack.
        name: String,
        /// From the buildpack to itself.
        path: Vec<String>,
    },
}

/// Resolves a whole order: chooses a buildpack for each entry and collects what those consist of.
///
/// - With a version: the first candidate with that text. Without: the highest lenient version of all candidates, the last
///   of equals.
/// - Candidates: the object named by kind and name; otherwise all objects of the catalogue in their order.
/// - Without id: the root of the object, the one buildpack that no order of the object mentions.
///
/// Equal arguments give equal results; nothing is looked up elsewhere.
///
/// # Errors
/// The first problem, in the order of the entries.
///
/// # Deviation
/// kpack does not end on a composite that contains itself and crashes on the root of an object that lacks a child; here the
/// first is [`ResolveError::Cycle`] and the second needs no child.
pub fn resolve_order<'a>(order: &[OrderGroup], catalog: &'a Catalog) -> Result<ResolvedOrder<'a>, ResolveError> {
    let mut resolved = ResolvedOrder::default();
    for group in order {
        let mut entries = Vec::with_capacity(group.group.len());
        for entry in &group.group {
            let buildpack = catalog.find(entry)?;
            catalog.collect(buildpack, &mut Vec::new(), &mut resolved.buildpacks)?;
            entries.push(ResolvedEntry {
                buildpack,
                optional: entry.optional,
            });
        }
        resolved.groups.push(ResolvedGroup { entries });
    }
    Ok(resolved)
}

impl Catalog {
    /// Chooses the buildpack of one entry.
    ///
    /// # Errors
    /// When there is none, or the entry makes no sense.
    pub fn find(&self, entry: &OrderEntry) -> Result<ResolvedBuildpack<'_>, ResolveError> {
        let with_id = |object: &'_ CatalogObject| -> Vec<usize> {
            (0..object.buildpacks.len())
                .filter(|&at| object.buildpacks[at].id.as_str() == entry.id)
                .collect()
        };
        let mut candidates: Vec<ResolvedBuildpack<'_>> = Vec::new();
        if !entry.kind.is_empty() {
            let object = self.named(entry)?;
            if entry.id.is_empty() {
                candidates.push(ResolvedBuildpack {
                    item: object.root()?,
                    owner: object,
                });
            } else {
                candidates.extend(with_id(object).into_iter().map(|at| ResolvedBuildpack {
                    item: &object.buildpacks[at],
                    owner: object,
                }));
            }
        } else if !entry.id.is_empty() {
            for object in &self.objects {
                candidates.extend(with_id(object).into_iter().map(|at| ResolvedBuildpack {
                    item: &object.buildpacks[at],
                    owner: object,
                }));
            }
        } else if !entry.image.is_empty() {
            return Err(ResolveError::Image);
        } else {
            return Err(ResolveError::Empty);
        }
        choose(entry, &candidates)
    }

    fn named(&self, entry: &OrderEntry) -> Result<&CatalogObject, ResolveError> {
        let kind = match entry.kind.as_str() {
            "Buildpack" => OwnerKind::Buildpack,
            "ClusterBuildpack" => OwnerKind::ClusterBuildpack,
            _ => return Err(ResolveError::UnknownKind),
        };
        self.objects
            .iter()
            .find(|object| object.kind == kind && object.name == entry.name)
            .ok_or_else(|| {
                let name = entry.name.clone();
                match (kind, entry.id.is_empty()) {
                    (OwnerKind::Buildpack, true) => ResolveError::NoBuildpackNamed { name },
                    (OwnerKind::Buildpack, false) => ResolveError::BuildpackNotFound { name },
                    (_, true) => ResolveError::NoClusterBuildpackNamed { name },
                    (_, false) => ResolveError::ClusterBuildpackNotFound { name },
                }
            })
    }

    /// Adds what `buildpack` consists of, children first, then itself.
    fn collect<'a>(
        &'a self,
        buildpack: ResolvedBuildpack<'a>,
        path: &mut Vec<(&'a BuildpackId, &'a BuildpackVersion)>,
        into: &mut Vec<ResolvedBuildpack<'a>>,
    ) -> Result<(), ResolveError> {
        let key = (&buildpack.item.id, &buildpack.item.version);
        let name = |(id, version): &(&BuildpackId, &BuildpackVersion)| format!("{id}@{version}");
        if let Some(from) = path.iter().position(|on_path| *on_path == key) {
            let path = path[from..].iter().chain([&key]).map(name).collect();
            return Err(ResolveError::Cycle { name: name(&key), path });
        }
        path.push(key);
        for child in buildpack.item.order.iter().flat_map(|group| &group.entries) {
            let entry = OrderEntry {
                id: child.id.as_str().to_owned(),
                version: child.version.as_str().to_owned(),
                ..OrderEntry::default()
            };
            self.collect(self.find(&entry)?, path, into)?;
        }
        path.pop();
        into.push(buildpack);
        Ok(())
    }
}

impl CatalogObject {
    /// Returns the one buildpack that no order of this object mentions.
    ///
    /// # Errors
    /// [`ResolveError::Roots`] when there is none or more than one.
    pub fn root(&self) -> Result<&StoredBuildpack, ResolveError> {
        let mentioned = |id: &BuildpackId| {
            self.buildpacks
                .iter()
                .flat_map(|item| &item.order)
                .flat_map(|group| &group.entries)
                .any(|entry| entry.id == *id)
        };
        let roots: Vec<_> = self.buildpacks.iter().filter(|item| !mentioned(&item.id)).collect();
        match roots[..] {
            [root] => Ok(root),
            _ => Err(ResolveError::Roots { found: roots.len() }),
        }
    }
}

fn choose<'a>(entry: &OrderEntry, candidates: &[ResolvedBuildpack<'a>]) -> Result<ResolvedBuildpack<'a>, ResolveError> {
    if candidates.is_empty() {
        return Err(ResolveError::UnknownId { id: entry.id.clone() });
    }
    if !entry.version.is_empty() {
        return candidates
            .iter()
            .find(|candidate| candidate.item.version.as_str() == entry.version)
            .copied()
            .ok_or_else(|| ResolveError::UnknownVersion {
                id: entry.id.clone(),
                version: entry.version.clone(),
            });
    }
    let mut best = None;
    for candidate in candidates {
        let version = candidate
            .item
            .version
            .lenient()
            .ok_or_else(|| ResolveError::InvalidSemver {
                id: candidate.item.id.as_str().to_owned(),
                version: candidate.item.version.as_str().to_owned(),
            })?;
        if best.as_ref().is_none_or(|(highest, _)| version >= *highest) {
            best = Some((version, *candidate));
        }
    }
    best.map(|(_, candidate)| candidate).ok_or(ResolveError::Empty)
}
