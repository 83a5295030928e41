//! Lists: all objects at once, or in pages.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::answer::Answer;
use super::api::Api;
use super::call::Call;
use super::negotiate::{self, Form};
use super::route::Target;
use super::table::partial;
use crate::{ApiError, Object, ObjectList, Resources, Selector};

/// Reads what a request selects.
pub(super) fn selector(call: &Call, target: &Target) -> Result<Selector, ApiError> {
    Selector::parse(
        target.kind,
        call.query.text("labelSelector"),
        call.query.text("fieldSelector"),
    )
}

/// Answers a list request.
pub(super) fn answer(api: &Api, call: &Call, target: &Target) -> Result<Answer, ApiError> {
    let form = negotiate::form(call)?;
    let selector = selector(call, target)?;
    let list = api.store.list(target.kind, target.namespace.as_deref(), &selector)?;
    let (items, metadata) = page(call, list, selector.is_everything())?;
    let kind = target.kind;
    Ok(Answer::json(&match form {
        Form::Table(api_version) => api.table(call, target, api_version)?.of(kind, items, metadata, true)?,
        Form::Metadata => {
            let items: Value = items.iter().map(|object| partial(object, "meta.k8s.io/v1")).collect();
            json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": items,
            })
        }
        Form::Objects => whole(target, items, metadata)?,
    }))
}

/// Returns a list document.
pub(super) fn whole(target: &Target, items: Vec<Object>, metadata: Value) -> Result<Value, ApiError> {
    let items = items
        .into_iter()
        .map(|object| target.version.show(object))
        .collect::<Result<Value, _>>()?;
    Ok(json!({
        "kind": target.kind.list_name(),
        "apiVersion": target.version.api_version(target.kind),
        "metadata": metadata,
        "items": items,
    }))
}

/// Cuts the page out that the request wants, and says where the next one begins.
///
/// Pages are cut from the current state: an object that is created while a client reads pages may be in
/// none of them, but none is in two.
fn page(call: &Call, list: ObjectList, countable: bool) -> Result<(Vec<Object>, Value), ApiError> {
    let mut metadata = json!({"resourceVersion": list.resource_version.to_string()});
    let mut items = list.items;
    if let Some(token) = call.query.get("continue").filter(|token| !token.is_empty()) {
        let after = read_token(token)?;
        items.retain(|object| place(object) > (&after.0, &after.1));
    }
    if let Some(limit) = call.query.number("limit")?.filter(|limit| *limit > 0) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if items.len() > limit {
            let left = items.split_off(limit);
            if let Some(last) = items.last() {
                metadata["continue"] = json!(token(last));
            }
            if countable {
                metadata["remainingItemCount"] = json!(left.len());
            }
        }
    }
    Ok((items, metadata))
}

fn place(object: &Object) -> (&str, &str) {
    (object.namespace().unwrap_or_default(), object.name())
}

fn token(last: &Object) -> String {
    let (namespace, name) = place(last);
    URL_SAFE_NO_PAD.encode(json!({"v": 1, "after": [namespace, name]}).to_string())
}

fn read_token(token: &str) -> Result<(String, String), ApiError> {
    let read = || {
        let document: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let text = |index| {
            document
                .pointer(&format!("/after/{index}"))?
                .as_str()
                .map(str::to_owned)
        };
        Some((text(0)?, text(1)?))
    };
    read().ok_or_else(|| ApiError::bad_request("continue key is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, ResourceVersion};
    use proptest::prelude::*;

    fn call(query: &str) -> Call {
        let request = http::Request::builder().uri(format!("/x?{query}")).body(()).unwrap();
        Call::new(&request.into_parts().0, Vec::new())
    }

    proptest! {
        #[test]
        fn pages_together_are_the_whole_list(count in 0_usize..12, limit in 1_usize..5) {
            let items: Vec<_> =
                (0..count).map(|n| Object::new(Kind::Build, Some("demo"), &format!("b{n:02}"))).collect();
            let (mut seen, mut query) = (Vec::new(), format!("limit={limit}"));
            loop {
                let list = ObjectList { items: items.clone(), resource_version: ResourceVersion::new(7) };
                let (page, metadata) = page(&call(&query), list, true).unwrap();
                seen.extend(page);
                match metadata["continue"].as_str() {
                    Some(next) => query = format!("limit={limit}&continue={next}"),
                    None => break,
                }
            }
            prop_assert_eq!(seen, items);
        }

        #[test]
        fn no_token_panics(token in ".{0,40}") {
            let _ = read_token(&token);
        }
    }
}
