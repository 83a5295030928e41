//! Media types such as `application/spdx+json;version=2.3`, as Go's `mime` package takes and refuses them.

use std::collections::HashMap;

/// Returns the type without its parameters, in lower case.
pub(crate) fn parse(text: &str) -> Result<String, &'static str> {
    let (base, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
    let kind = base.to_lowercase().trim().to_owned();
    check_type(&kind)?;
    let mut seen = HashMap::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(kind);
        }
        let Some((name, value, behind)) = parameter(rest) else {
            return if rest.trim_end() == ";" {
                Ok(kind)
            } else {
                Err("mime: invalid media parameter")
            };
        };
        let again = seen.insert(name, value.clone());
        if again.is_some_and(|before| before != value) {
            return Err("mime: duplicate parameter name");
        }
        rest = behind;
    }
}

fn check_type(text: &str) -> Result<(), &'static str> {
    let (kind, rest) = token(text);
    if kind.is_empty() {
        return Err("mime: no media type");
    }
    if rest.is_empty() {
        return Ok(());
    }
    let rest = rest.strip_prefix('/').ok_or("mime: expected slash after first token")?;
    match token(rest) {
        ("", _) => Err("mime: expected token after slash"),
        (_, "") => Ok(()),
        _ => Err("mime: unexpected content after media subtype"),
    }
}

/// Splits `; name = value` off; the name is in lower case.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = token(text.strip_prefix(';')?.trim_start());
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, rest) = value(rest)?;
    Some((name.to_lowercase(), value, rest))
}

/// Splits a token or a quoted text off.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return (!value.is_empty()).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\r' | '\n' => return None,
            '\\' => match chars.next_if(|(_, next)| is_special(*next)) {
                Some((_, special)) => value.push(special),
                None => value.push(c),
            },
            c => value.push(c),
        }
    }
    None
}

fn token(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_graphic() || is_special(c));
    text.split_at(end.unwrap_or(text.len()))
}

fn is_special(c: char) -> bool {
    "()<>@,;:\\\"/[]?=".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_taken_and_refused_as_go_does() {
        let cdx = || Ok("application/vnd.cyclonedx+json".to_owned());
        for (text, expected) in [
            ("application/vnd.cyclonedx+json", cdx()),
            (" Application/vnd.CycloneDX+json ; version=1.3", cdx()),
            ("application/vnd.cyclonedx+json;version=\"1;\\\"3\";", cdx()),
            ("application/vnd.cyclonedx+json;a=1;A=1", cdx()),
            ("text", Ok("text".to_owned())),
            (
                "application/vnd.cyclonedx+json;version",
                Err("mime: invalid media parameter"),
            ),
            ("a/b;version=", Err("mime: invalid media parameter")),
            ("a/b;version=\"1", Err("mime: invalid media parameter")),
            ("a/b;;", Err("mime: invalid media parameter")),
            ("a/b;a=1;a=2", Err("mime: duplicate parameter name")),
            (
                "application/vnd.cyclonedx+json x",
                Err("mime: unexpected content after media subtype"),
            ),
            ("a/", Err("mime: expected token after slash")),
            ("a b", Err("mime: expected slash after first token")),
            (";;bad", Err("mime: no media type")),
            ("", Err("mime: no media type")),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,40}|[a/;=\" \\\\é]{0,20}") {
            let _ = parse(&text);
        }
    }
}
