//! Decodes the protobuf bodies that unmodified clients insist on sending.
//!
//! `kubectl create` and client-go send core kinds as protobuf and never fall back to JSON. The messages
//! are small and fixed, so their fields are tables here; answers are always JSON.
//!
//! Specification: Kubernetes `runtime/generated.proto` (`Unknown`), `meta/v1`, `core/v1`,
//! `authorization/v1`, `authentication/v1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// What a protobuf body of Kubernetes begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Messages nested deeper than this are refused; the deepest known one is 4.
const DEEPEST: usize = 8;

/// Decodes a body into the JSON document it stands for.
///
/// # Errors
/// When it is not such a body, is cut off, or holds a kind that no client is known to send so.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ProtobufError> {
    let unknown = body.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let envelope = read(unknown, UNKNOWN, DEEPEST)?;
    let text = |pointer: &str| {
        envelope
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind) = (text("/typeMeta/apiVersion"), text("/typeMeta/kind"));
    let encoding = text("/contentEncoding");
    if !encoding.is_empty() {
        return Err(ProtobufError::Encoding { encoding });
    }
    let Some(fields) = fields_of(&api_version, &kind) else {
        return Err(ProtobufError::UnknownKind { api_version, kind });
    };
    let raw = STANDARD.decode(text("/raw")).unwrap_or_default();
    let mut document = read(&raw, fields, DEEPEST)?;
    document["apiVersion"] = json!(api_version);
    document["kind"] = json!(kind);
    Ok(document)
}

/// Why a protobuf body could not be decoded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ProtobufError {
    /// It does not begin as Kubernetes' bodies do.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// It ends within a field, or a length points outside.
    #[error("the protobuf message is cut off")]
    CutOff,
    /// A field is of another wire type than its message says.
    #[error("field {field} of the protobuf message has an unexpected wire type")]
    WireType {
        /// Name of the field.
        field: &'static str,
    },
    /// A text is not UTF-8.
    #[error("field {field} of the protobuf message is not UTF-8")]
    NotText {
        /// Name of the field.
        field: &'static str,
    },
    /// Messages are nested too deeply.
    #[error("the protobuf message is nested too deeply")]
    TooDeep,
    /// The content is compressed, which no client does.
    #[error("protobuf content of encoding {encoding} cannot be read")]
    Encoding {
        /// The encoding.
        encoding: String,
    },
    /// The kind is not known in protobuf.
    #[error("{kind} of {api_version} cannot be read as protobuf: send it as application/json")]
    UnknownKind {
        /// API version of the object.
        api_version: String,
        /// Kind of the object.
        kind: String,
    },
}

/// One field of a message.
struct Field {
    number: u64,
    name: &'static str,
    shape: Shape,
}

/// How a field is encoded, and what it becomes in JSON.
#[derive(Clone, Copy)]
enum Shape {
    /// A text; empty ones are absent.
    Text,
    /// A list of texts.
    Texts,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A whole number.
    Number,
    /// A whole number whose 0 means absence.
    Count,
    /// A truth value.
    Flag,
    /// A message.
    Message(&'static [Field]),
    /// A list of messages.
    Messages(&'static [Field]),
    /// A map of texts.
    TextMap,
    /// A map of bytes.
    BytesMap,
    /// `Time`: seconds and nanoseconds; RFC 3339 in JSON.
    Time,
    /// `FieldsV1`: bytes that are JSON.
    Json,
}

const fn field(number: u64, name: &'static str, shape: Shape) -> Field {
    Field { number, name, shape }
}

const UNKNOWN: &[Field] = &[
    field(
        1,
        "typeMeta",
        Shape::Message(&[field(1, "apiVersion", Shape::Text), field(2, "kind", Shape::Text)]),
    ),
    field(2, "raw", Shape::Bytes),
    field(3, "contentEncoding", Shape::Text),
    field(4, "contentType", Shape::Text),
];

const OWNER: &[Field] = &[
    field(1, "kind", Shape::Text),
    field(3, "name", Shape::Text),
    field(4, "uid", Shape::Text),
    field(5, "apiVersion", Shape::Text),
    field(6, "controller", Shape::Flag),
    field(7, "blockOwnerDeletion", Shape::Flag),
];

const MANAGED: &[Field] = &[
    field(1, "manager", Shape::Text),
    field(2, "operation", Shape::Text),
    field(3, "apiVersion", Shape::Text),
    field(4, "time", Shape::Time),
    field(6, "fieldsType", Shape::Text),
    field(7, "fieldsV1", Shape::Json),
    field(8, "subresource", Shape::Text),
];

const META: Shape = Shape::Message(&[
    field(1, "name", Shape::Text),
    field(2, "generateName", Shape::Text),
    field(3, "namespace", Shape::Text),
    field(5, "uid", Shape::Text),
    field(6, "resourceVersion", Shape::Text),
    field(7, "generation", Shape::Count),
    field(8, "creationTimestamp", Shape::Time),
    field(9, "deletionTimestamp", Shape::Time),
    field(10, "deletionGracePeriodSeconds", Shape::Number),
    field(11, "labels", Shape::TextMap),
    field(12, "annotations", Shape::TextMap),
    field(13, "ownerReferences", Shape::Messages(OWNER)),
    field(14, "finalizers", Shape::Texts),
    field(17, "managedFields", Shape::Messages(MANAGED)),
]);

const NAMESPACE: &[Field] = &[
    field(1, "metadata", META),
    field(2, "spec", Shape::Message(&[field(1, "finalizers", Shape::Texts)])),
    field(3, "status", Shape::Message(&[field(1, "phase", Shape::Text)])),
];

const SECRET: &[Field] = &[
    field(1, "metadata", META),
    field(2, "data", Shape::BytesMap),
    field(3, "type", Shape::Text),
    field(4, "stringData", Shape::TextMap),
    field(5, "immutable", Shape::Flag),
];

const CONFIG_MAP: &[Field] = &[
    field(1, "metadata", META),
    field(2, "data", Shape::TextMap),
    field(3, "binaryData", Shape::BytesMap),
    field(4, "immutable", Shape::Flag),
];

const REFERENCE: &[Field] = &[
    field(1, "kind", Shape::Text),
    field(2, "namespace", Shape::Text),
    field(3, "name", Shape::Text),
    field(4, "uid", Shape::Text),
    field(5, "apiVersion", Shape::Text),
    field(6, "resourceVersion", Shape::Text),
    field(7, "fieldPath", Shape::Text),
];

const SERVICE_ACCOUNT: &[Field] = &[
    field(1, "metadata", META),
    field(2, "secrets", Shape::Messages(REFERENCE)),
    field(3, "imagePullSecrets", Shape::Messages(&[field(1, "name", Shape::Text)])),
    field(4, "automountServiceAccountToken", Shape::Flag),
];

const RESOURCE_ATTRIBUTES: &[Field] = &[
    field(1, "namespace", Shape::Text),
    field(2, "verb", Shape::Text),
    field(3, "group", Shape::Text),
    field(4, "version", Shape::Text),
    field(5, "resource", Shape::Text),
    field(6, "subresource", Shape::Text),
    field(7, "name", Shape::Text),
];

const ACCESS_REVIEW: &[Field] = &[
    field(1, "metadata", META),
    field(
        2,
        "spec",
        Shape::Message(&[
            field(1, "resourceAttributes", Shape::Message(RESOURCE_ATTRIBUTES)),
            field(
                2,
                "nonResourceAttributes",
                Shape::Message(&[field(1, "path", Shape::Text), field(2, "verb", Shape::Text)]),
            ),
        ]),
    ),
];

const RULES_REVIEW: &[Field] = &[
    field(1, "metadata", META),
    field(2, "spec", Shape::Message(&[field(1, "namespace", Shape::Text)])),
];

const SUBJECT_REVIEW: &[Field] = &[field(1, "metadata", META)];

const DELETE_OPTIONS: &[Field] = &[
    field(1, "gracePeriodSeconds", Shape::Number),
    field(
        2,
        "preconditions",
        Shape::Message(&[field(1, "uid", Shape::Text), field(2, "resourceVersion", Shape::Text)]),
    ),
    field(3, "orphanDependents", Shape::Flag),
    field(4, "propagationPolicy", Shape::Text),
    field(5, "dryRun", Shape::Texts),
];

fn fields_of(api_version: &str, kind: &str) -> Option<&'static [Field]> {
    Some(match (api_version, kind) {
        ("v1", "Namespace") => NAMESPACE,
        ("v1", "Secret") => SECRET,
        ("v1", "ConfigMap") => CONFIG_MAP,
        ("v1", "ServiceAccount") => SERVICE_ACCOUNT,
        ("authorization.k8s.io/v1", "SelfSubjectAccessReview") => ACCESS_REVIEW,
        ("authorization.k8s.io/v1", "SelfSubjectRulesReview") => RULES_REVIEW,
        ("authentication.k8s.io/v1", "SelfSubjectReview") => SUBJECT_REVIEW,
        // Each group has its own name for the same message.
        (_, "DeleteOptions") => DELETE_OPTIONS,
        _ => return None,
    })
}

/// One value as it stands on the wire.
enum Wire<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

fn read(mut rest: &[u8], fields: &'static [Field], deepest: usize) -> Result<Value, ProtobufError> {
    let deeper = deepest.checked_sub(1).ok_or(ProtobufError::TooDeep)?;
    let mut map = Map::new();
    while !rest.is_empty() {
        let (number, wire) = next(&mut rest)?;
        let Some(field) = fields.iter().find(|field| field.number == number) else {
            continue;
        };
        take(&mut map, field, &wire, deeper)?;
    }
    Ok(Value::Object(map))
}

fn take(map: &mut Map<String, Value>, field: &Field, wire: &Wire, deeper: usize) -> Result<(), ProtobufError> {
    let name = field.name;
    let bytes = || match wire {
        Wire::Bytes(bytes) => Ok(*bytes),
        _ => Err(ProtobufError::WireType { field: name }),
    };
    let number = || match wire {
        Wire::Varint(number) => Ok(*number),
        _ => Err(ProtobufError::WireType { field: name }),
    };
    let value = match field.shape {
        Shape::Text => Some(text(bytes()?, name)?)
            .filter(|text| !text.is_empty())
            .map(Value::String),
        Shape::Bytes => Some(json!(STANDARD.encode(bytes()?))),
        Shape::Number => Some(json!(number()?.cast_signed())),
        Shape::Count => Some(number()?)
            .filter(|count| *count > 0)
            .map(|count| json!(count.cast_signed())),
        Shape::Flag => Some(json!(number()? != 0)),
        Shape::Message(fields) => Some(read(bytes()?, fields, deeper)?),
        Shape::Time => time(&read(bytes()?, TIME, deeper)?),
        Shape::Json => {
            let inner = read(bytes()?, RAW, deeper)?;
            let raw = inner
                .get("raw")
                .and_then(Value::as_str)
                .and_then(|raw| STANDARD.decode(raw).ok());
            raw.and_then(|raw| serde_json::from_slice(&raw).ok())
        }
        Shape::Texts => {
            push(map, name, json!(text(bytes()?, name)?));
            None
        }
        Shape::Messages(fields) => {
            push(map, name, read(bytes()?, fields, deeper)?);
            None
        }
        Shape::TextMap => return insert(map, name, bytes()?, &|bytes| text(bytes, name).map(Value::String)),
        Shape::BytesMap => return insert(map, name, bytes()?, &|bytes| Ok(json!(STANDARD.encode(bytes)))),
    };
    if let Some(value) = value {
        map.insert(name.to_owned(), value);
    }
    Ok(())
}

const TIME: &[Field] = &[field(1, "seconds", Shape::Number), field(2, "nanos", Shape::Number)];

const RAW: &[Field] = &[field(1, "raw", Shape::Bytes)];

/// The zero time, an empty message, means absence.
fn time(message: &Value) -> Option<Value> {
    let seconds = message.get("seconds").and_then(Value::as_i64)?;
    let time = Timestamp::from_second(seconds).ok()?;
    Some(json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
}

fn push(map: &mut Map<String, Value>, name: &str, value: Value) {
    if let Some(list) = map.entry(name).or_insert_with(|| json!([])).as_array_mut() {
        list.push(value);
    }
}

/// An entry of a map is a message {1: key, 2: value}; an absent value is the empty one.
fn insert(
    map: &mut Map<String, Value>,
    name: &'static str,
    mut entry: &[u8],
    decode: &dyn Fn(&[u8]) -> Result<Value, ProtobufError>,
) -> Result<(), ProtobufError> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    while !entry.is_empty() {
        match next(&mut entry)? {
            (1, Wire::Bytes(bytes)) => key = bytes,
            (2, Wire::Bytes(bytes)) => value = bytes,
            (1 | 2, _) => return Err(ProtobufError::WireType { field: name }),
            _ => {}
        }
    }
    let key = text(key, name)?;
    let value = decode(value)?;
    if let Some(target) = map.entry(name).or_insert_with(|| json!({})).as_object_mut() {
        target.insert(key, value);
    }
    Ok(())
}

fn text(bytes: &[u8], field: &'static str) -> Result<String, ProtobufError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| ProtobufError::NotText { field })
}

/// Reads the next field's number and value.
fn next<'a>(rest: &mut &'a [u8]) -> Result<(u64, Wire<'a>), ProtobufError> {
    let tag = varint(rest)?;
    let wire = match tag & 7 {
        0 => Wire::Varint(varint(rest)?),
        1 => split(rest, 8).map(|_| Wire::Fixed)?,
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| ProtobufError::CutOff)?;
            Wire::Bytes(split(rest, length)?)
        }
        5 => split(rest, 4).map(|_| Wire::Fixed)?,
        _ => return Err(ProtobufError::CutOff),
    };
    Ok((tag >> 3, wire))
}

fn split<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], ProtobufError> {
    let (taken, left) = rest.split_at_checked(length).ok_or(ProtobufError::CutOff)?;
    *rest = left;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, left) = rest.split_first().ok_or(ProtobufError::CutOff)?;
        *rest = left;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(ProtobufError::CutOff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(base64: &str) -> Value {
        decode(&STANDARD.decode(base64).unwrap()).unwrap()
    }

    #[test]
    fn the_namespace_that_kubectl_sends_is_read() {
        let body = "azhzAAoPCgJ2MRIJTmFtZXNwYWNlEhsKEwoDd2ViEgAaACIAKgAyADgAQgASABoCCgAaACIA";
        let expected = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}, "spec": {}, "status": {},
        });
        assert_eq!(decoded(body), expected);
    }

    #[test]
    fn the_access_review_that_kubectl_sends_is_read() {
        let body = "azhzAAoyChdhdXRob3JpemF0aW9uLms4cy5pby92MRIXU2VsZlN1YmplY3RBY2Nlc3NSZXZpZXcSRQoQCgASABoAIgAqADIA\
                    OABCABInCiUKA3dlYhIGY3JlYXRlGghrcGFjay5pbyIAKgZpbWFnZXMyADoAGggIABIAGgAgABoAIgA=";
        let expected = json!({"namespace": "web", "verb": "create", "group": "kpack.io", "resource": "images"});
        assert_eq!(decoded(body).pointer("/spec/resourceAttributes"), Some(&expected));
    }

    #[test]
    fn a_kind_that_is_not_known_is_named() {
        let body = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod".to_vec();
        let error = decode(&body).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Pod of v1 cannot be read as protobuf: send it as application/json"
        );
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            for fields in [NAMESPACE, SECRET, CONFIG_MAP, SERVICE_ACCOUNT, ACCESS_REVIEW, DELETE_OPTIONS] {
                let _ = read(&bytes, fields, DEEPEST);
            }
        }

        #[test]
        fn a_cut_body_is_an_error_or_a_part(at in 0_usize..57) {
            let body = STANDARD
                .decode("azhzAAoPCgJ2MRIJTmFtZXNwYWNlEhsKEwoDd2ViEgAaACIAKgAyADgAQgASABoCCgAaACIA")
                .unwrap();
            let _ = decode(&body[..at.min(body.len())]);
        }
    }
}
