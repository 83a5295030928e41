//! Where a server points to: redirects, upload addresses, next pages.

use http::Uri;
use registry_auth::{Origin, Scheme};

use crate::error::Reason;

/// Resolves what a `Location` or `Link` holds against the address of the request.
pub(crate) fn resolve(base: &Uri, target: &str) -> Option<Uri> {
    let target = target.split('#').next().unwrap_or_default();
    if target.is_empty() || target.chars().any(|c| c.is_control() || c == '\\') {
        return None;
    }
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let is_absolute = target.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    });
    let text = if is_absolute {
        target.to_owned()
    } else if let Some(rest) = target.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if target.starts_with('/') {
        format!("{scheme}://{authority}{target}")
    } else if target.starts_with('?') {
        format!("{scheme}://{authority}{}{target}", base.path())
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{target}")
    };
    text.parse().ok()
}

/// Tells whether `target` has the same origin as `base`, so that credentials may go along.
///
/// # Errors
/// When it must not be followed at all, and why.
pub(crate) fn check(base: &Uri, target: &Uri) -> Result<bool, &'static str> {
    let from = Origin::of(base).map_err(|error| error.problem)?;
    let to = Origin::of(target).map_err(|error| error.problem)?;
    if from == to {
        return Ok(true);
    }
    if from.scheme() == Scheme::Https && to.scheme() == Scheme::Http {
        return Err("it leaves https for plain http");
    }
    if to.is_private() && !from.is_private() && from.host() != to.host() {
        return Err("it leads into a private network");
    }
    Ok(false)
}

/// Resolves where a registry points to, if that may be followed.
pub(crate) fn follow(base: &Uri, target: &str) -> Result<Uri, Reason> {
    let refused = |problem| Reason::Location {
        address: without_query(target),
        problem,
    };
    let resolved = resolve(base, target).ok_or_else(|| refused("it is no address"))?;
    check(base, &resolved).map_err(refused)?;
    Ok(resolved)
}

/// Sets `name=value` in the query of an address; the rest of the query stays as it is.
pub(crate) fn with_parameter(address: &Uri, name: &str, value: &str) -> Option<Uri> {
    let value = value.replace(':', "%3A");
    let text = address.to_string();
    let (base, query) = text.split_once('?').unwrap_or((&text, ""));
    let kept = query
        .split('&')
        .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some(name));
    let own = format!("{name}={value}");
    let pairs: Vec<_> = kept.chain([own.as_str()]).collect();
    format!("{base}?{}", pairs.join("&")).parse().ok()
}

/// Names an address without its query, which may hold a signature.
pub(crate) fn without_query(address: &str) -> String {
    address
        .split(['?', '#'])
        .next()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect()
}

/// Finds the target of `rel="next"` in a `Link` header: the first one.
///
/// # Errors
/// When the header is not understood, so that it may hold one.
pub(crate) fn next_link(header: &str) -> Result<Option<&str>, MalformedLink> {
    let mut rest = header.trim();
    while !rest.is_empty() {
        // An address may have commas in it, as may what is quoted.
        let (target, after) = rest
            .strip_prefix('<')
            .and_then(|rest| rest.split_once('>'))
            .ok_or(MalformedLink)?;
        let mut parameters = until(after, ',')?;
        rest = after[parameters.len()..].trim_start_matches([',', ' ', '\t']);
        while !parameters.is_empty() {
            let parameter = until(parameters, ';')?;
            if is_next(parameter) {
                return Ok(Some(target));
            }
            parameters = parameters[parameter.len()..].trim_start_matches(';');
        }
    }
    Ok(None)
}

/// Returns what stands before the first `stop` that is not quoted.
fn until(text: &str, stop: char) -> Result<&str, MalformedLink> {
    let mut quoted = false;
    let end = text.find(|c| {
        quoted ^= c == '"';
        c == stop && !quoted
    });
    match end {
        None if quoted => Err(MalformedLink),
        end => Ok(&text[..end.unwrap_or(text.len())]),
    }
}

/// A `Link` header that is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MalformedLink;

/// Tells whether a parameter is `rel` with `next` among its relations.
fn is_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        let mut relations = value.trim().trim_matches('"').split_ascii_whitespace();
        name.trim().eq_ignore_ascii_case("rel") && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri {
        text.parse().expect("an address")
    }

    #[test]
    fn targets_are_resolved_like_links() {
        let base = uri("https://reg.example.com/v2/a/blobs/uploads/");
        for (target, expected) in [
            ("/v2/x?y=1", Some("https://reg.example.com/v2/x?y=1")),
            ("//other.example/x", Some("https://other.example/x")),
            ("https://other.example/x#part", Some("https://other.example/x")),
            (
                "id?state=1",
                Some("https://reg.example.com/v2/a/blobs/uploads/id?state=1"),
            ),
            ("?state=1", Some("https://reg.example.com/v2/a/blobs/uploads/?state=1")),
            ("", None),
            ("/a\nb", None),
        ] {
            let found = resolve(&base, target).map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{target}");
        }
    }

    #[test]
    fn only_the_same_origin_gets_credentials_and_some_are_not_followed() {
        let base = uri("https://reg.example.com/v2/");
        assert_eq!(check(&base, &uri("https://REG.example.com:443/x")), Ok(true));
        assert_eq!(check(&base, &uri("https://storage.example.net/x")), Ok(false));
        assert!(check(&base, &uri("http://reg.example.com/x")).is_err());
        assert!(check(&base, &uri("https://169.254.169.254/latest")).is_err());
        assert!(check(&base, &uri("https://[::ffff:127.0.0.1]/")).is_err());
        assert!(check(&base, &uri("https://me:secret@reg.example.com/")).is_err());
    }

    #[test]
    fn a_parameter_takes_the_place_of_one_of_its_name() {
        let set = |text: &str| with_parameter(&uri(text), "digest", "sha256:a").map(|address| address.to_string());
        assert_eq!(set("http://r/u"), Some("http://r/u?digest=sha256%3Aa".to_owned()));
        assert_eq!(
            set("http://r/u?a=1&digest=old&b"),
            Some("http://r/u?a=1&b&digest=sha256%3Aa".to_owned())
        );
    }

    #[test]
    fn the_next_page_is_found_among_other_links() {
        for (header, expected) in [
            (
                "</v2/a/tags/list?last=b&n=1>; rel=\"next\"",
                Some("/v2/a/tags/list?last=b&n=1"),
            ),
            ("<a>; rel=prev, <b>; rel=next", Some("b")),
            ("<a>; rel=prev; title=\"x, <b>; rel=next\"", None),
            ("</list?last=a,b>; rel=\"next\"", Some("/list?last=a,b")),
            ("<a>; REL = \"last Next\"", Some("a")),
            ("<a>; rel=prev", None),
            ("<a>; x-rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_link(header), Ok(expected), "{header}");
        }
        for header in ["a", "<a", "<a>; rel=\"next", "<a>; rel=prev, b"] {
            assert_eq!(next_link(header), Err(MalformedLink), "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_of_a_server_makes_it_panic_or_leave_its_rules(text in "\\PC{0,40}", path in "[a-z/?#:@%.=&\\[\\]0-9-]{0,20}") {
            let base = uri("https://reg.example.com/v2/a/blobs/uploads/x?y=1");
            for text in [text.clone(), path.clone(), format!("https://{path}"), format!("/{path}"), format!("<{path}>; rel=next")] {
                let _ = next_link(&text);
                if let Some(target) = resolve(&base, &text) {
                    let same = check(&base, &target);
                    let origin = Origin::of(&target);
                    proptest::prop_assert_eq!(same == Ok(true), origin == Origin::of(&base));
                    if same.is_ok() {
                        proptest::prop_assert!(origin.is_ok_and(|origin| origin.scheme() == Scheme::Https && !origin.is_private()));
                    }
                    let _ = with_parameter(&target, "digest", "sha256:a");
                }
            }
        }
    }
}
