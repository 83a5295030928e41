//! Admission: defaults, then validation, as the reference's webhook does both.

mod build;
mod builder;
mod defaults;
mod field_error;
mod image;
mod parts;
mod path_pattern;
mod unknown;
mod warehouse;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use field_error::{FieldError, FieldErrors};

use crate::decode::{DecodeError, decode};
use crate::resource::{
    API_VERSION, Build, Builder, Buildpack, ClusterBuilder, ClusterBuildpack, ClusterLifecycle, ClusterStack,
    ClusterStore, Image, SourceResolver,
};

/// The user that the reference's own controllers act as; the only one who may set legacy fields.
pub const CONTROLLER_USER: &str = "system:serviceaccount:kpack:controller";

/// What is being done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// It is created.
    Create,
    /// It is changed from this.
    Update(&'a Value),
    /// It is deleted.
    Delete,
}

/// Who asks, and what the cluster has.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmissionContext<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// Whether there is a default StorageClass: then every Image gets a cache.
    pub has_default_storage_class: bool,
}

/// An object that may be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// The object with its defaults, and without the fields that its kind does not have.
    pub object: Value,
    /// What was dropped, for people: `unknown field "spec.bulider"`.
    pub warnings: Vec<String>,
}

/// An object that may not be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A field has the wrong type.
    #[error("mutation failed: cannot decode incoming new object: {source}")]
    Decode {
        /// Which and why.
        source: DecodeError,
    },
    /// Fields have values that they may not have.
    #[error("validation failed: {errors}")]
    Invalid {
        /// All of them.
        errors: FieldErrors,
    },
}

/// Fills in defaults and checks an object of `kpack.io/v1alpha2`.
///
/// As in the reference, the object comes back as its type has it: unknown fields are gone, and fields that are always
/// written are there. Objects of other API versions and kinds pass as they are.
///
/// # Errors
/// When a field has the wrong type or a value that is not allowed; the message names every such field.
///
/// # Deviation
/// The reference drops unknown fields in silence; they are listed in [`Admission::warnings`] here. A wrong type is
/// reported with the field's path instead of the name of a Go type.
pub fn admit(object: &Value, operation: Operation<'_>, context: AdmissionContext<'_>) -> Result<Admission, Refusal> {
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    if text("apiVersion") != API_VERSION || operation == Operation::Delete {
        return Ok(Admission {
            object: object.clone(),
            warnings: Vec::new(),
        });
    }
    let old = match operation {
        Operation::Update(old) => Some(old),
        _ => None,
    };
    match text("kind") {
        "Image" => typed::<Image>(object, old, context),
        "Build" => typed::<Build>(object, old, context),
        "Builder" => typed::<Builder>(object, old, context),
        "ClusterBuilder" => typed::<ClusterBuilder>(object, old, context),
        "Buildpack" => typed::<Buildpack>(object, old, context),
        "ClusterBuildpack" => typed::<ClusterBuildpack>(object, old, context),
        "ClusterStore" => typed::<ClusterStore>(object, old, context),
        "ClusterStack" => typed::<ClusterStack>(object, old, context),
        "ClusterLifecycle" => typed::<ClusterLifecycle>(object, old, context),
        "SourceResolver" => typed::<SourceResolver>(object, old, context),
        _ => Ok(Admission {
            object: object.clone(),
            warnings: Vec::new(),
        }),
    }
}

/// What admission asks of a kind.
trait Admit: DeserializeOwned + Serialize {
    /// Fills in what users may leave out.
    fn set_defaults(&mut self, _context: AdmissionContext<'_>) {}
    /// Finds what may not be so.
    fn validate(&self, _old: Option<&Self>, _context: AdmissionContext<'_>) -> FieldErrors {
        FieldErrors::default()
    }
}

impl Admit for SourceResolver {}

fn typed<T: Admit>(document: &Value, old: Option<&Value>, context: AdmissionContext<'_>) -> Result<Admission, Refusal> {
    let mut object: T = decode(document).map_err(|source| Refusal::Decode { source })?;
    object.set_defaults(context);
    let old: Option<T> = old
        .map(decode)
        .transpose()
        .map_err(|source| Refusal::Decode { source })?;
    let errors = object.validate(old.as_ref(), context);
    if !errors.is_empty() {
        return Err(Refusal::Invalid { errors });
    }
    let object = serde_json::to_value(object)
        .expect("resources hold text, numbers and maps with text keys, which all have JSON");
    let warnings = unknown::fields(document, &object);
    Ok(Admission { object, warnings })
}
