//! Who changes an object, and how: the options of changes that come from outside.

use serde_json::Value;

use crate::{Object, ResourceVersion};

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user name, which some rules of kpack depend on.
    pub username: String,
    /// The groups of the user.
    pub groups: Vec<String>,
}

impl Caller {
    /// Returns kpack's controller, the caller of everything that the engine itself does.
    pub fn controller() -> Self {
        Self {
            username: "system:serviceaccount:kpack:controller".to_owned(),
            groups: vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()],
        }
    }

    /// Returns the one user whose token is in the kubeconfig.
    pub fn admin() -> Self {
        Self {
            username: "kubernetes-admin".to_owned(),
            groups: vec!["system:masters".to_owned(), "system:authenticated".to_owned()],
        }
    }
}

/// Which part of an object a change may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Main,
    /// The status only.
    Status,
}

/// How a change is made.
#[derive(Clone, Debug)]
pub struct WriteOptions {
    /// Who asks.
    pub caller: Caller,
    /// The name under which changed fields are recorded in `managedFields`.
    pub manager: String,
    /// Checks everything and returns the result, but stores nothing.
    pub dry_run: bool,
    /// The change is a server-side apply: `managedFields` are already as they should be.
    pub applied: bool,
    /// Kpack's webhooks see the change. They see no request in an older version of a kind than the stored one.
    pub intercepted: bool,
}

impl WriteOptions {
    /// Returns the options of a change by `caller` under the name `manager`.
    pub fn new(caller: Caller, manager: &str) -> Self {
        Self {
            caller,
            manager: manager.to_owned(),
            dry_run: false,
            applied: false,
            intercepted: true,
        }
    }
}

/// What a change led to.
#[derive(Clone, Debug)]
pub struct Written {
    /// The object as it is stored; without a resource version for a dry run of a creation.
    pub object: Object,
    /// What the caller should know, such as the use of a deprecated field.
    pub warnings: Vec<String>,
}

/// What happens to the objects that a deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted after it.
    #[default]
    Background,
    /// They are deleted before it.
    Foreground,
    /// They stay, without owner.
    Orphan,
}

/// How an object is deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    /// What happens to dependents.
    pub propagation: Propagation,
    /// Deletes only the object with this uid.
    pub uid: Option<String>,
    /// Deletes only this state of the object.
    pub resource_version: Option<ResourceVersion>,
    /// Checks everything, but deletes nothing.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads the `DeleteOptions` document of a request; anything unknown is ignored.
    pub fn from_value(value: &Value) -> Self {
        let text = |pointer: &str| value.pointer(pointer)?.as_str();
        let propagation = match text("/propagationPolicy") {
            Some("Foreground") => Propagation::Foreground,
            Some("Orphan") => Propagation::Orphan,
            None if value.get("orphanDependents") == Some(&Value::Bool(true)) => Propagation::Orphan,
            _ => Propagation::Background,
        };
        Self {
            propagation,
            uid: text("/preconditions/uid").map(str::to_owned),
            resource_version: text("/preconditions/resourceVersion").and_then(|text| text.parse().ok()),
            dry_run: value
                .get("dryRun")
                .and_then(Value::as_array)
                .is_some_and(|list| !list.is_empty()),
        }
    }
}

/// What a deletion led to.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; its last state.
    Gone(Object),
    /// The object waits for its finalizers, or for its dependents.
    Waiting(Object),
}
