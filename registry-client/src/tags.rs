//! Lists that come in pages.

use std::collections::HashSet;

use http::{
    Request, StatusCode, Uri,
    header::{ACCEPT, HeaderMap, LINK},
};
use registry_auth::{Digest, RegistryHost, Repository, Scope, ScopeSet};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{
    answer::{self, MAX_MANIFEST},
    blob::build,
    body::Body,
    error::{Operation, Reason, RegistryError},
    go_json::field,
    http_client::origin_text,
    location,
    session::{Call, Root, Session},
};

const MAX_PAGE: u64 = 8 << 20;
/// A list that goes on longer goes in circles.
const MAX_PAGES: usize = 10_000;

/// How many names are taken at most: a list that is longer than that is none.
const MAX_NAMES: usize = 1_000_000;
/// How many bytes of answers are read for one list at most.
const MAX_BYTES: usize = 128 << 20;

#[derive(Deserialize)]
struct Index {
    manifests: Option<Vec<Value>>,
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Lists all tags, in the registry's order; `page` of them at a time, if that is given.
pub(crate) fn tags(
    session: &Session,
    repository: &Repository,
    page: Option<u32>,
) -> Result<Vec<String>, RegistryError> {
    let call = session.call(repository, Operation::ListTags, Scope::pull(repository));
    list(session, &call, page, |root| root.address(repository, "tags/list"))
}

/// Lists all repositories, in the registry's order.
pub(crate) fn repositories(session: &Session, registry: &RegistryHost) -> Result<Vec<String>, RegistryError> {
    // Stands for the registry as a whole where credentials are looked up and errors told.
    let place = Repository::new(registry.clone(), "catalog").expect("the path is one");
    let scopes = ScopeSet::parse("registry:catalog:*");
    let call = session.call(&place, Operation::ListRepositories, scopes);
    list(session, &call, None, catalog)
}

fn catalog(root: &Root<'_>) -> Result<Uri, Reason> {
    root.catalog()
}

fn list(
    session: &Session,
    call: &Call<'_>,
    page: Option<u32>,
    first: impl Fn(&Root<'_>) -> Result<Uri, Reason>,
) -> Result<Vec<String>, RegistryError> {
    let (mut all, mut next, mut read) = (Vec::new(), None::<Uri>, 0_usize);
    let mut seen = HashSet::new();
    for _ in 0..MAX_PAGES {
        let (names, link, size) = session.run(
            call,
            |root| {
                let address = match (&next, page) {
                    (Some(address), _) => address.clone(),
                    (None, None) => first(root)?,
                    (None, Some(page)) => {
                        let address = first(root)?;
                        location::with_parameter(&address, "n", &page.to_string()).unwrap_or(address)
                    }
                };
                build(Request::get(address).body(Body::empty()))
            },
            |address, answer| {
                if !answer.status().is_success() {
                    return Err(answer::failure(answer));
                }
                let (parts, body) = answer.into_parts();
                let bytes = answer::read_body(&origin_text(address), body, MAX_PAGE)?;
                let names =
                    names(&bytes).ok_or_else(|| Reason::Answer("the list is not the JSON of one".to_owned()))?;
                Ok((names, next_page(address, &parts.headers)?, bytes.len()))
            },
        )?;
        all.extend(names);
        read += size;
        match link {
            None => return Ok(all),
            // The last page may name itself.
            Some(link) if next.as_ref() == Some(&link) => return Ok(all),
            Some(link) if all.len() <= MAX_NAMES && read <= MAX_BYTES && seen.insert(link.clone()) => next = Some(link),
            Some(_) => break,
        }
    }
    Err(call.error(Reason::Answer("the list does not end".to_owned())))
}

/// Reads a list of tags or of repositories; `None` when it is not one. To Go `null` among them is an empty text, which
/// names nothing and is left out.
fn names(bytes: &[u8]) -> Option<Vec<String>> {
    let page: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
    let names = match field(&page, "tags").or_else(|| field(&page, "repositories")) {
        None | Some(Value::Null) => return Some(Vec::new()),
        Some(names) => names.as_array()?.iter(),
    };
    names
        .filter(|name| !name.is_null())
        .map(|name| Some(name.as_str()?.to_owned()))
        .collect()
}

/// Lists the manifests that refer to `subject`; where the registry can't tell, what clients have noted under a tag.
pub(crate) fn referrers(
    session: &Session,
    repository: &Repository,
    subject: &Digest,
) -> Result<Vec<Value>, RegistryError> {
    let call = session.call(
        repository,
        Operation::ListReferrers(subject.clone()),
        Scope::pull(repository),
    );
    let noted = format!("manifests/{}", subject.as_str().replace(':', "-"));
    for place in [format!("referrers/{subject}"), noted] {
        let index = session.run(
            &call,
            |root| {
                build(
                    Request::get(root.address(repository, &place)?)
                        .header(ACCEPT, INDEX)
                        .body(Body::empty()),
                )
            },
            |address, answer| match answer.status() {
                StatusCode::OK => {
                    let bytes = answer::read_body(&origin_text(address), answer.into_body(), MAX_MANIFEST)?;
                    let index: Index = serde_json::from_slice(&bytes)
                        .map_err(|_| Reason::Answer("the referrers are not the JSON of an index".to_owned()))?;
                    Ok(Some(index.manifests.unwrap_or_default()))
                }
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(None),
                _ => Err(answer::failure(answer)),
            },
        )?;
        if let Some(manifests) = index {
            return Ok(manifests);
        }
    }
    Ok(Vec::new())
}

/// Finds the next page, which must be at the same registry.
fn next_page(address: &Uri, headers: &HeaderMap) -> Result<Option<Uri>, Reason> {
    let links = || {
        headers
            .get_all(LINK)
            .iter()
            .map(|link| link.to_str().unwrap_or("not text"))
    };
    // A list must not end early because of a link that is not understood.
    let malformed = |_| Reason::Answer("the link to the next page is malformed".to_owned());
    let found: Result<Vec<_>, _> = links().map(location::next_link).collect();
    let Some(target) = found.map_err(malformed)?.into_iter().flatten().next() else {
        return Ok(None);
    };
    let resolved = location::follow(address, target)?;
    // Credentials would have to go along.
    match location::check(address, &resolved) {
        Ok(true) => Ok(Some(resolved)),
        _ => Err(Reason::Location {
            address: location::without_query(target),
            problem: "it is another server's",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_go_reads_it() {
        for (json, expected) in [
            (r#"{"name": "x", "tags": ["v1", "v2"]}"#, Some("v1 v2")),
            (r#"{"Name": "x", "Tags": ["v1"]}"#, Some("v1")),
            (r#"{"REPOSITORIES": ["team/app"]}"#, Some("team/app")),
            (r#"{"tags": ["v1", null]}"#, Some("v1")),
            (r#"{"tags": null}"#, Some("")),
            ("{}", Some("")),
            (r#"{"tags": [1]}"#, None),
            (r#"{"tags": {}}"#, None),
            ("[]", None),
            ("", None),
        ] {
            let found = names(json.as_bytes()).map(|names| names.join(" "));
            assert_eq!(found.as_deref(), expected, "{json}");
        }
    }
}
