//! References against recorded results of go-containerregistry.

use registry_auth::{LocalhostRule, ParseOptions, Reference, RegistryHost, Repository};
use serde_json::Value;

fn cases(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).expect("the fixture is JSON");
    document["cases"].as_array().expect("there are cases").clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Compares one parse with a recorded result; `Some` tells how they differ.
fn difference(input: &str, options: &ParseOptions, expected: &Value) -> Option<String> {
    match (Reference::parse_with(input, options), expected.get("error")) {
        (Err(error), Some(message)) => (error.to_string() != message.as_str()?).then(|| error.to_string()),
        (Err(error), None) => Some(format!("refused: {error:?}")),
        (Ok(parsed), Some(_)) => Some(format!("accepted: {parsed}")),
        (Ok(parsed), None) => {
            let kind = if parsed.digest().is_some() { "digest" } else { "tag" };
            let found = [
                ("kind", kind.to_owned()),
                ("registry", parsed.registry().to_string()),
                ("repository", parsed.repository().path().to_owned()),
                ("identifier", parsed.identifier()),
                ("scheme", parsed.registry().scheme().to_string()),
                ("name", parsed.to_string()),
            ];
            assert_eq!(parsed.as_given(), input);
            let wrong = found.iter().find(|(key, value)| text(expected, key) != value);
            wrong.map(|(key, value)| format!("{key} is {value}, not {}", text(expected, key)))
        }
    }
}

#[test]
fn every_recorded_reference_is_read_alike_weakly_and_strictly() {
    let (weak, strict) = (
        ParseOptions::default(),
        ParseOptions {
            strict: true,
            ..ParseOptions::default()
        },
    );
    let mut wrong = Vec::new();
    let cases = cases(include_str!("fixtures/reference/references.json"));
    for case in &cases {
        let strictly = match &case["strict"] {
            Value::String(same) if same == "same" => &case["weak"],
            other => other,
        };
        for (options, expected) in [(&weak, &case["weak"]), (&strict, strictly)] {
            if let Some(difference) = difference(text(case, "input"), options, expected) {
                wrong.push(format!("{}: {difference}", text(case, "name")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cases.len(), 293);
}

#[test]
fn a_registry_in_brackets_is_an_ipv6_address() {
    for input in [
        "[zz]:5000/img",
        "[1.2.3.4]:5000/img",
        "a[b]c.io/img",
        "[::1]]/img",
        "[[::1]/img",
        "[fe80::1%25eth0]:5000/img",
    ] {
        let error = Reference::parse(input).expect_err("it names no host");
        assert_eq!(error.to_string(), format!("could not parse reference: {input}"));
    }
    for input in ["[::1]:5000/img", "a]b.io/img", "::1]:5000/img"] {
        assert!(Reference::parse(input).is_ok(), "{input}");
    }
}

/// kpack's older library differs in what `localhost/…` is, which can be chosen, and in which names imply plain http,
/// which is not followed: `1127.0.0.1` is not this machine.
#[test]
fn kpacks_reading_of_localhost_can_be_chosen() {
    let kpack = ParseOptions {
        localhost: LocalhostRule::DockerHub,
        ..ParseOptions::default()
    };
    let mut followed = 0;
    for case in cases(include_str!("fixtures/reference/references.json")) {
        let Some(expected) = case.get("weak_kpack") else {
            continue;
        };
        let Some(difference) = difference(text(&case, "input"), &kpack, expected) else {
            followed += 1;
            continue;
        };
        assert_eq!(difference, "scheme is https, not http", "{}", text(&case, "name"));
    }
    assert!(followed > 0);
}

#[test]
fn every_recorded_option_is_obeyed() {
    let mut skipped = Vec::new();
    for case in cases(include_str!("fixtures/reference/options.json")) {
        let (name, input, given) = (text(&case, "name"), text(&case, "input"), &case["options"]);
        let mut options = ParseOptions {
            strict: given["strict"] == true,
            ..ParseOptions::default()
        };
        let default_registry = given.get("default_registry").and_then(Value::as_str);
        // Here a default registry is a checked one; none at all or a malformed one can't be given.
        match default_registry.map(|text| (text, text.parse::<RegistryHost>())) {
            None => {}
            Some(("", _) | (_, Err(_))) => {
                skipped.push(name.to_owned());
                continue;
            }
            Some((_, Ok(registry))) => options.default_registry = registry,
        }
        if let Some(tag) = given.get("default_tag").and_then(Value::as_str) {
            options.default_tag = tag.to_owned();
        }
        let found = read(text(&case, "parser"), input, &options);
        let expected = &case["out"];
        let wanted = match expected.get("error") {
            Some(message) => Err(message.as_str().unwrap_or_default().to_owned()),
            None => Ok(text(expected, "name").to_owned()),
        };
        // A default tag that is none is refused here instead of being printed.
        if matches!(
            given.get("default_tag").and_then(Value::as_str),
            Some("" | "not valid!")
        ) {
            assert!(found.is_err(), "{name}");
            skipped.push(name.to_owned());
            continue;
        }
        assert_eq!(found, wanted, "{name}");
        // `insecure` is a matter of the client's policy here, not of a name.
        if let Ok(name) = &found
            && given["insecure"] != true
        {
            let registry: RegistryHost = text(expected, "registry")
                .parse()
                .expect("it was printed by the reference");
            assert_eq!(registry.scheme().as_str(), text(expected, "scheme"), "{name}");
        }
    }
    assert_eq!(skipped.len(), 5, "{skipped:?}");
}

fn read(parser: &str, input: &str, options: &ParseOptions) -> Result<String, String> {
    match parser {
        "tag" => Reference::parse_tag(input, options)
            .map(|name| name.to_string())
            .map_err(|error| error.to_string()),
        "digest" => Reference::parse_digest(input, options)
            .map(|name| name.to_string())
            .map_err(|error| error.to_string()),
        "repository" => Repository::parse_with(input, options)
            .map(|name| name.to_string())
            .map_err(|error| error.to_string()),
        "registry" => options
            .registry(input)
            .map(|name| name.to_string())
            .map_err(|error| error.to_string()),
        _ => Reference::parse_with(input, options)
            .map(|name| name.to_string())
            .map_err(|error| error.to_string()),
    }
}

#[test]
fn a_library_that_may_be_left_out_does_not_make_a_name_too_long() {
    let longest = "r".repeat(255);
    let short = Reference::parse(&longest).expect("it has 255 characters");
    let printed = short.to_string();
    assert_eq!(printed, format!("index.docker.io/library/{longest}:latest"));
    assert_eq!(Reference::parse(&printed).as_ref(), Ok(&short));
    for text in [
        format!("{longest}r"),
        format!("docker.io/library/{longest}r"),
        format!("docker.io/library/{longest}/r"),
        format!("registry.example/library/{longest}"),
    ] {
        Reference::parse(&text).expect_err("it is too long");
    }
}
