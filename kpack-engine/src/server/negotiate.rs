//! [`Form`]: in which form a client wants objects.

use http::header;

use super::call::Call;
use crate::ApiError;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The objects themselves.
    Objects,
    /// A `Table` for people, in this version of `meta.k8s.io`.
    Table(&'static str),
    /// Only the metadata of the objects.
    Metadata,
}

/// One entry of an `Accept` header.
struct Accepted<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl Accepted<'_> {
    fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| *value)
    }
}

fn accepted(header: &str) -> impl Iterator<Item = Accepted<'_>> {
    header.split(',').map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('=')).collect();
        Accepted { media_type, parameters }
    })
}

/// Chooses the first form that the client accepts and that can be given: JSON in all of its forms.
///
/// # Errors
/// [`ApiError::NotAcceptable`] when there is none.
pub(super) fn form(call: &Call) -> Result<Form, ApiError> {
    let header = call.header(header::ACCEPT);
    if header.trim().is_empty() {
        return Ok(Form::Objects);
    }
    let first = accepted(header).find_map(|entry| {
        if !matches!(entry.media_type, "application/json" | "application/*" | "*/*") {
            return None;
        }
        match (entry.parameter("as"), entry.parameter("g"), entry.parameter("v")) {
            (None, ..) => Some(Form::Objects),
            (Some("Table"), Some("meta.k8s.io"), Some("v1")) => Some(Form::Table("meta.k8s.io/v1")),
            (Some("Table"), Some("meta.k8s.io"), Some("v1beta1")) => Some(Form::Table("meta.k8s.io/v1beta1")),
            (Some("PartialObjectMetadata" | "PartialObjectMetadataList"), Some("meta.k8s.io"), Some("v1")) => {
                Some(Form::Metadata)
            }
            _ => None,
        }
    });
    first.ok_or(ApiError::NotAcceptable)
}

/// Says whether the client accepts aggregated discovery before the plain one.
pub(super) fn wants_aggregated_discovery(call: &Call) -> bool {
    accepted(call.header(header::ACCEPT))
        .find(|entry| entry.media_type == "application/json" || entry.media_type == "*/*")
        .and_then(|_| {
            accepted(call.header(header::ACCEPT)).find(|entry| {
                entry.media_type == "application/json"
                    && entry.parameter("g") == Some("apidiscovery.k8s.io")
                    && entry.parameter("v") == Some("v2")
                    && entry.parameter("as") == Some("APIGroupDiscoveryList")
            })
        })
        .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Result<Form, ApiError> {
        let request = http::Request::builder().header("accept", accept).body(()).unwrap();
        form(&Call::new(&request.into_parts().0, Vec::new()))
    }

    #[test]
    fn the_first_form_that_can_be_given_wins() {
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(chosen(kubectl).unwrap(), Form::Table("meta.k8s.io/v1"));
        assert_eq!(
            chosen("application/vnd.kubernetes.protobuf,application/json").unwrap(),
            Form::Objects
        );
        assert_eq!(chosen("application/json, */*").unwrap(), Form::Objects);
        assert!(matches!(
            chosen("application/vnd.kubernetes.protobuf"),
            Err(ApiError::NotAcceptable)
        ));
    }
}
