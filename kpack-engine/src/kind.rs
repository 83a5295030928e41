//! [`Kind`]: what sorts of objects the engine holds, and their names on the API.

use std::fmt;

/// One of the kinds of objects that the engine holds.
///
/// Objects of any other kind are refused with the API's own error: the engine serves what the flow
/// needs and is not a general Kubernetes.
///
/// # Specification
/// Kubernetes API conventions, "Types (Kinds)"; kpack 0.17.2, `config/*.yaml` (names, short names).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// `v1` Namespace.
    Namespace,
    /// `v1` Secret.
    Secret,
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `v1` ConfigMap.
    ConfigMap,
    /// `v1` Pod.
    Pod,
    /// `v1` Event.
    Event,
    /// `v1` PersistentVolumeClaim.
    PersistentVolumeClaim,
    /// `storage.k8s.io/v1` StorageClass.
    StorageClass,
    /// `kpack.io/v1alpha2` Image.
    Image,
    /// `kpack.io/v1alpha2` Build.
    Build,
    /// `kpack.io/v1alpha2` Builder.
    Builder,
    /// `kpack.io/v1alpha2` ClusterBuilder.
    ClusterBuilder,
    /// `kpack.io/v1alpha2` Buildpack.
    Buildpack,
    /// `kpack.io/v1alpha2` ClusterBuildpack.
    ClusterBuildpack,
    /// `kpack.io/v1alpha2` ClusterStore.
    ClusterStore,
    /// `kpack.io/v1alpha2` ClusterStack.
    ClusterStack,
    /// `kpack.io/v1alpha2` ClusterLifecycle.
    ClusterLifecycle,
    /// `kpack.io/v1alpha2` SourceResolver.
    SourceResolver,
}

/// The names and properties of one kind, as a row of the table below.
struct Row {
    kind: Kind,
    name: &'static str,
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    namespaced: bool,
    status: bool,
}

const KPACK: &str = "kpack.io";

const fn core(
    kind: Kind,
    name: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    (namespaced, status): (bool, bool),
) -> Row {
    Row {
        kind,
        name,
        group: "",
        version: "v1",
        plural,
        short_names,
        namespaced,
        status,
    }
}

const fn kpack(
    kind: Kind,
    name: &'static str,
    plural: &'static str,
    short_names: &'static [&'static str],
    namespaced: bool,
) -> Row {
    Row {
        kind,
        name,
        group: KPACK,
        version: "v1alpha2",
        plural,
        short_names,
        namespaced,
        status: true,
    }
}

/// In the order of the enum, so that a kind is its own index.
const ROWS: [Row; 18] = [
    core(Kind::Namespace, "Namespace", "namespaces", &["ns"], (false, true)),
    core(Kind::Secret, "Secret", "secrets", &[], (true, false)),
    core(
        Kind::ServiceAccount,
        "ServiceAccount",
        "serviceaccounts",
        &["sa"],
        (true, false),
    ),
    core(Kind::ConfigMap, "ConfigMap", "configmaps", &["cm"], (true, false)),
    core(Kind::Pod, "Pod", "pods", &["po"], (true, true)),
    core(Kind::Event, "Event", "events", &["ev"], (true, false)),
    core(
        Kind::PersistentVolumeClaim,
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        &["pvc"],
        (true, true),
    ),
    Row {
        kind: Kind::StorageClass,
        name: "StorageClass",
        group: "storage.k8s.io",
        version: "v1",
        plural: "storageclasses",
        short_names: &["sc"],
        namespaced: false,
        status: false,
    },
    kpack(
        Kind::Image,
        "Image",
        "images",
        &["cnbimage", "cnbimages", "img", "imgs"],
        true,
    ),
    kpack(
        Kind::Build,
        "Build",
        "builds",
        &["cnbbuild", "cnbbuilds", "bld", "blds"],
        true,
    ),
    kpack(Kind::Builder, "Builder", "builders", &["bldr", "bldrs"], true),
    kpack(
        Kind::ClusterBuilder,
        "ClusterBuilder",
        "clusterbuilders",
        &["clstbldr", "clstbldrs"],
        false,
    ),
    kpack(Kind::Buildpack, "Buildpack", "buildpacks", &["bp", "bps"], true),
    kpack(
        Kind::ClusterBuildpack,
        "ClusterBuildpack",
        "clusterbuildpacks",
        &["clstbp", "clstbps"],
        false,
    ),
    kpack(Kind::ClusterStore, "ClusterStore", "clusterstores", &[], false),
    kpack(Kind::ClusterStack, "ClusterStack", "clusterstacks", &[], false),
    kpack(
        Kind::ClusterLifecycle,
        "ClusterLifecycle",
        "clusterlifecycles",
        &[],
        false,
    ),
    kpack(Kind::SourceResolver, "SourceResolver", "sourceresolvers", &[], true),
];

impl Kind {
    /// Returns every kind, core kinds first.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.kind)
    }

    /// Finds the kind with this group (`""` for core) and kind name; the version is not looked at.
    pub fn find(group: &str, name: &str) -> Option<Kind> {
        ROWS.iter()
            .find(|row| row.group == group && row.name == name)
            .map(|row| row.kind)
    }

    /// Finds the kind with this group (`""` for core) and plural resource name, such as `images`.
    pub fn of_resource(group: &str, plural: &str) -> Option<Kind> {
        ROWS.iter()
            .find(|row| row.group == group && row.plural == plural)
            .map(|row| row.kind)
    }

    /// Finds the kind of an object by its `apiVersion` and `kind`, in any version of the group.
    pub fn of_object(api_version: &str, name: &str) -> Option<Kind> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Self::find(group, name)
    }

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// Returns the name, such as `ClusterBuilder`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the name of its lists, such as `ClusterBuilderList`.
    pub fn list_name(self) -> String {
        format!("{}List", self.name())
    }

    /// Returns the API group, `""` for the core group.
    pub fn group(self) -> &'static str {
        self.row().group
    }

    /// Returns the version that is stored, such as `v1alpha2`.
    pub fn version(self) -> &'static str {
        self.row().version
    }

    /// Returns group and version as objects say it: `v1`, `kpack.io/v1alpha2`.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// Returns the resource name of URLs, such as `clusterbuilders`.
    pub fn plural(self) -> &'static str {
        self.row().plural
    }

    /// Returns the lower-case singular, such as `clusterbuilder`.
    pub fn singular(self) -> String {
        self.name().to_ascii_lowercase()
    }

    /// Returns the resource with its group, as messages say it: `images.kpack.io`, `secrets`.
    pub fn resource(self) -> String {
        match self.group() {
            "" => self.plural().to_owned(),
            group => format!("{}.{group}", self.plural()),
        }
    }

    /// Returns the short names that `kubectl` accepts.
    pub fn short_names(self) -> &'static [&'static str] {
        self.row().short_names
    }

    /// Says whether objects of this kind live in a namespace.
    pub fn is_namespaced(self) -> bool {
        self.row().namespaced
    }

    /// Says whether `status` is a sub resource, written only by `update_status`.
    pub fn has_status(self) -> bool {
        self.row().status
    }

    /// Says whether this is one of kpack's own kinds.
    pub fn is_kpack(self) -> bool {
        self.group() == KPACK
    }

    /// Says whether the reference also serves this kind as `v1alpha1`.
    pub fn has_v1alpha1(self) -> bool {
        self.is_kpack() && !matches!(self, Kind::Buildpack | Kind::ClusterBuildpack | Kind::ClusterLifecycle)
    }
}

impl fmt::Display for Kind {
    /// Prints the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_found_by_all_of_its_names() {
        for kind in Kind::all() {
            assert_eq!(kind.row().kind, kind, "the table is in the order of the enum");
            assert_eq!(Kind::find(kind.group(), kind.name()), Some(kind));
            assert_eq!(Kind::of_resource(kind.group(), kind.plural()), Some(kind));
            assert_eq!(Kind::of_object(&kind.api_version(), kind.name()), Some(kind));
        }
    }

    #[test]
    fn messages_name_the_resource_with_its_group() {
        assert_eq!(Kind::Image.resource(), "images.kpack.io");
        assert_eq!(Kind::Secret.resource(), "secrets");
    }

    #[test]
    fn kinds_that_came_later_than_v1alpha1_are_not_served_in_it() {
        assert!(Kind::Image.has_v1alpha1());
        assert!(!Kind::Buildpack.has_v1alpha1());
        assert!(!Kind::Secret.has_v1alpha1());
    }
}
