//! [`ApiError`]: why a request on resources was refused, in the API's own terms.

use std::io;

use serde_json::{Value, json};

use crate::kind::Kind;

/// Why a request on resources was refused.
///
/// Each variant is one `reason` of a Kubernetes `Status`; [`ApiError::status`] is that document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// No such object.
    #[error("{} {name:?} not found", kind.resource())]
    NotFound {
        /// Kind that was looked for.
        kind: Kind,
        /// Name that was looked for.
        name: String,
    },
    /// The path or the kind is not served.
    #[error("the server could not find the requested resource")]
    NotServed,
    /// An object of this name exists.
    #[error("{} {name:?} already exists", kind.resource())]
    AlreadyExists {
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
    },
    /// The object was changed since it was read, or a precondition does not hold.
    #[error("Operation cannot be fulfilled on {} {name:?}: {message}", kind.resource())]
    Conflict {
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
        /// What does not fit.
        message: String,
    },
    /// Server-side apply met fields that another manager owns.
    #[error("{message}")]
    ApplyConflict {
        /// The whole message with managers and fields.
        message: String,
        /// The conflicting fields: (message, field path).
        causes: Vec<Cause>,
    },
    /// The object breaks a rule of its kind.
    #[error("{} {name:?} is invalid: {}", group_kind(*kind), causes_text(causes))]
    Invalid {
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
        /// The broken rules.
        causes: Vec<Cause>,
    },
    /// The request makes no sense.
    #[error("{message}")]
    BadRequest {
        /// What is wrong with it.
        message: String,
    },
    /// An admission check refused the object; kpack's words.
    #[error("admission webhook {webhook:?} denied the request: {message}")]
    Denied {
        /// Name of the check, as kpack's webhooks are called.
        webhook: String,
        /// What it refused.
        message: String,
    },
    /// The caller is known but may not do this.
    #[error("{} {name:?} is forbidden: {message}", kind.resource())]
    Forbidden {
        /// Kind of the object.
        kind: Kind,
        /// Name of the object.
        name: String,
        /// Why not.
        message: String,
    },
    /// The caller is not known.
    #[error("Unauthorized")]
    Unauthorized,
    /// The asked-for resource version is older than the store remembers; list again.
    #[error("{message}")]
    Expired {
        /// Which version was asked for and which is the oldest.
        message: String,
    },
    /// The path exists, but not with this method.
    #[error("the server does not allow this method on the requested resource")]
    MethodNotAllowed,
    /// The body is of a type that cannot be read here.
    #[error("{message}")]
    UnsupportedMediaType {
        /// What was sent and what is accepted.
        message: String,
    },
    /// The client accepts no form of answer that can be given.
    #[error(
        "only the following media types are accepted: application/json, application/json;as=Table;v=v1;g=meta.k8s.io"
    )]
    NotAcceptable,
    /// A patch does not fit the object.
    #[error("the server rejected our request due to an error in our request")]
    RejectedPatch {
        /// What does not fit; real servers do not tell it, nor do we, clients print it oddly.
        problem: String,
    },
    /// The body is larger than the limit.
    #[error("Request entity too large: limit is {limit}")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The store could not be read or written.
    #[error("Internal error occurred: cannot {action} {path}: {source}")]
    Storage {
        /// What was tried: `write`, `read`, …
        action: &'static str,
        /// The file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// Something that should not happen.
    #[error("Internal error occurred: {message}")]
    Internal {
        /// What happened.
        message: String,
    },
}

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Kubernetes' word for it: `FieldValueRequired`, `FieldValueInvalid`, …
    pub reason: &'static str,
    /// What is wrong, without the field.
    pub message: String,
    /// Path of the field, such as `metadata.name`.
    pub field: String,
}

impl Cause {
    /// A field that must be given.
    pub fn required(field: &str, detail: &str) -> Self {
        let message = if detail.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {detail}")
        };
        Self {
            reason: "FieldValueRequired",
            message,
            field: field.to_owned(),
        }
    }

    /// A field whose value is not allowed; `value` is shown.
    pub fn invalid(field: &str, value: &Value, detail: &str) -> Self {
        let message = format!("Invalid value: {value}: {detail}");
        Self {
            reason: "FieldValueInvalid",
            message,
            field: field.to_owned(),
        }
    }
}

impl ApiError {
    /// Makes a [`ApiError::BadRequest`].
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::BadRequest {
            message: message.into(),
        }
    }

    /// Makes an [`ApiError::Invalid`] with one cause.
    pub fn invalid(kind: Kind, name: &str, cause: Cause) -> Self {
        Self::Invalid {
            kind,
            name: name.to_owned(),
            causes: vec![cause],
        }
    }

    /// Says whether the object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    /// Says whether the object was changed by someone else: read it again and retry.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. })
    }

    /// Says whether an object of this name exists.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::AlreadyExists { .. })
    }

    /// Returns the HTTP status code.
    pub fn code(&self) -> u16 {
        match self {
            Self::BadRequest { .. } | Self::Denied { .. } => 400,
            Self::Unauthorized => 401,
            Self::Forbidden { .. } => 403,
            Self::NotFound { .. } | Self::NotServed => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists { .. } | Self::Conflict { .. } | Self::ApplyConflict { .. } => 409,
            Self::Expired { .. } => 410,
            Self::TooLarge { .. } => 413,
            Self::UnsupportedMediaType { .. } => 415,
            Self::Invalid { .. } | Self::RejectedPatch { .. } => 422,
            Self::Storage { .. } | Self::Internal { .. } => 500,
        }
    }

    /// Returns Kubernetes' one-word reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } | Self::Denied { .. } => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden { .. } => "Forbidden",
            Self::NotFound { .. } | Self::NotServed => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::AlreadyExists { .. } => "AlreadyExists",
            Self::Conflict { .. } | Self::ApplyConflict { .. } => "Conflict",
            Self::Expired { .. } => "Expired",
            Self::TooLarge { .. } => "RequestEntityTooLarge",
            Self::UnsupportedMediaType { .. } => "UnsupportedMediaType",
            Self::Invalid { .. } | Self::RejectedPatch { .. } => "Invalid",
            Self::NotAcceptable => "NotAcceptable",
            Self::Storage { .. } | Self::Internal { .. } => "InternalError",
        }
    }

    /// Returns the `Status` document that clients read.
    ///
    /// # Specification
    /// Kubernetes API conventions, "Response Status Kind".
    pub fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.to_string(),
            "reason": self.reason(),
        });
        if let Some(details) = self.details() {
            status["details"] = details;
        }
        status["code"] = json!(self.code());
        status
    }

    fn details(&self) -> Option<Value> {
        let named = |kind: Kind, name: &str, word: String| {
            let mut details = json!({ "name": name });
            if !kind.group().is_empty() {
                details["group"] = json!(kind.group());
            }
            details["kind"] = json!(word);
            details
        };
        match self {
            Self::NotFound { kind, name }
            | Self::AlreadyExists { kind, name }
            | Self::Conflict { kind, name, .. }
            | Self::Forbidden { kind, name, .. } => Some(named(*kind, name, kind.plural().to_owned())),
            Self::Invalid { kind, name, causes } => {
                let mut details = named(*kind, name, kind.name().to_owned());
                details["causes"] = causes_value(causes);
                Some(details)
            }
            Self::ApplyConflict { causes, .. } => Some(json!({ "causes": causes_value(causes) })),
            Self::NotServed | Self::MethodNotAllowed | Self::RejectedPatch { .. } => Some(json!({})),
            Self::Internal { message } => Some(json!({ "causes": [{ "message": message }] })),
            _ => None,
        }
    }
}

fn causes_value(causes: &[Cause]) -> Value {
    causes
        .iter()
        .map(|cause| json!({"reason": cause.reason, "message": cause.message, "field": cause.field}))
        .collect()
}

/// `Image.kpack.io`, `Secret`.
fn group_kind(kind: Kind) -> String {
    match kind.group() {
        "" => kind.name().to_owned(),
        group => format!("{}.{group}", kind.name()),
    }
}

fn causes_text(causes: &[Cause]) -> String {
    let texts: Vec<_> = causes
        .iter()
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect();
    match texts.as_slice() {
        [one] => one.clone(),
        _ => format!("[{}]", texts.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_object_reads_as_kubernetes_says_it() {
        let error = ApiError::NotFound {
            kind: Kind::Image,
            name: "nope".to_owned(),
        };
        assert_eq!(
            error.status(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "images.kpack.io \"nope\" not found", "reason": "NotFound",
                "details": {"name": "nope", "group": "kpack.io", "kind": "images"}, "code": 404,
            })
        );
    }

    #[test]
    fn a_broken_rule_names_kind_field_and_rule() {
        let error = ApiError::invalid(Kind::Secret, "broken", Cause::required("data[.dockerconfigjson]", ""));
        assert_eq!(
            error.to_string(),
            "Secret \"broken\" is invalid: data[.dockerconfigjson]: Required value"
        );
        assert_eq!(error.code(), 422);
    }

    #[test]
    fn a_refusal_by_kpack_reads_as_its_webhook_says_it() {
        let error = ApiError::Denied {
            webhook: "validation.webhook.kpack.io".to_owned(),
            message: "validation failed: missing field(s): spec.tag".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "admission webhook \"validation.webhook.kpack.io\" denied the request: \
             validation failed: missing field(s): spec.tag"
        );
    }
}
