//! The versions in which a kind is served, and the way between them.

use rebuild_policy::ConvertError;
use serde_json::{Value, json};

use crate::{ApiError, Kind, Object};

/// A version in which objects are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// The one that is stored.
    Stored,
    /// kpack's older one.
    V1alpha1,
}

impl Version {
    /// Finds the version with this name that the kind is served in.
    pub(super) fn of(kind: Kind, name: &str) -> Option<Self> {
        match name {
            _ if name == kind.version() => Some(Self::Stored),
            "v1alpha1" if kind.has_v1alpha1() => Some(Self::V1alpha1),
            _ => None,
        }
    }

    /// Returns group and version as objects in this version say it.
    pub(super) fn api_version(self, kind: Kind) -> String {
        match self {
            Self::Stored => kind.api_version(),
            Self::V1alpha1 => format!("{}/v1alpha1", kind.group()),
        }
    }

    /// Returns the document of an object in this version.
    pub(super) fn show(self, object: Object) -> Result<Value, ApiError> {
        match self {
            Self::Stored => Ok(object.into_value()),
            Self::V1alpha1 => convert(object.as_value(), &self.api_version(object.kind())),
        }
    }

    /// Reads a document that is in this version.
    pub(super) fn read(self, kind: Kind, mut document: Value) -> Result<Object, ApiError> {
        let given = document
            .get("apiVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let expected = self.api_version(kind);
        if given != expected {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({given}) does not match the expected API version ({expected})"
            )));
        }
        if self == Self::V1alpha1 {
            document = convert(&document, &kind.api_version())?;
        }
        Object::from_value(document).map_err(|error| ApiError::bad_request(error.to_string()))
    }
}

/// Converts where the reference does; the other kinds have the same fields in both versions.
fn convert(document: &Value, api_version: &str) -> Result<Value, ApiError> {
    match rebuild_policy::convert(document, api_version) {
        Ok(converted) => Ok(converted),
        Err(ConvertError::Kind { .. }) => {
            let mut document = document.clone();
            document["apiVersion"] = json!(api_version);
            Ok(document)
        }
        Err(error) => Err(ApiError::bad_request(error.to_string())),
    }
}
