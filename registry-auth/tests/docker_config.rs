//! Docker's configuration and `CNB_REGISTRY_AUTH` against recorded lookups.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use registry_auth::{
    Chain, Credential, CredentialKind, CredentialSet, DockerConfig, DockerConfigPlaces, EnvKeychain, HelperOutput,
    HelperRunner, Keychain, KubernetesSecret, PullKeyring, Reference, RegistryHost, Repository, StaticKeychain,
};
use serde_json::Value;

fn document(text: &str) -> Value {
    serde_json::from_str(text).expect("the fixture is JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Runs the scripts of the fixture as the helpers they stand for.
struct Scripts(BTreeMap<String, String>);

impl HelperRunner for Scripts {
    fn run(&self, helper: &str, server: &str) -> io::Result<HelperOutput> {
        let script = self.0.get(helper).ok_or(io::ErrorKind::NotFound)?;
        let mut child = Command::new("sh")
            .args(["-c", script, "sh", "get"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        // A script that does not read its input may be gone already.
        let _ = child.stdin.take().expect("it is piped").write_all(server.as_bytes());
        let output = child.wait_with_output()?;
        Ok(HelperOutput {
            success: output.status.success(),
            stdout: output.stdout,
        })
    }
}

fn scripts(document: &Value) -> Arc<Scripts> {
    let helpers = document["helpers"].as_object().expect("there are helpers");
    Arc::new(Scripts(
        helpers
            .iter()
            .map(|(name, script)| (name.clone(), script.as_str().expect("a script").to_owned()))
            .collect(),
    ))
}

/// The files that exist, by path, with `<home>` and `<dc>` as they are.
fn files(case: &Value) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let home = "<home>/.docker/config.json".to_owned();
    match (case.get("config"), case.get("config_text")) {
        (Some(config), _) => drop(files.insert(home, config.to_string())),
        (None, Some(raw)) => drop(files.insert(home, raw.as_str().expect("a text").to_owned())),
        (None, None) => {}
    }
    for (path, content) in case.get("files").and_then(Value::as_object).into_iter().flatten() {
        let content = content.as_str().map_or_else(|| content.to_string(), str::to_owned);
        files.insert(path.clone(), content);
    }
    files
}

/// Does what a program that reads the machine's configuration does.
fn load(case: &Value, helpers: &Arc<Scripts>) -> Result<DockerConfig, String> {
    let variable = |name: &str| match name {
        "HOME" => Some("<home>".to_owned()),
        _ => case["env"].get(name).and_then(Value::as_str).map(str::to_owned),
    };
    let files = files(case);
    let places = DockerConfigPlaces::from_env(|name| variable(name).map(Into::into));
    let nothing = DockerConfig::from_json(b"").map_err(|error| error.to_string());
    let Some(place) = places.choose(|path: &Path| files.contains_key(&path.display().to_string())) else {
        return nothing;
    };
    let Some(content) = files.get(&place.display().to_string()) else {
        return nothing;
    };
    let config = DockerConfig::from_json(content.as_bytes()).map_err(|error| error.to_string())?;
    let config = config
        .at(place.display())
        .with_helpers(Arc::clone(helpers) as Arc<dyn HelperRunner>);
    Ok(match variable("DOCKER_AUTH_CONFIG") {
        Some(text) => config.with_auth_config(&text),
        None => config,
    })
}

fn show(credential: &Credential) -> BTreeMap<&'static str, String> {
    let mut fields = BTreeMap::new();
    let mut put = |name, value: &str| {
        if !value.is_empty() {
            fields.insert(name, value.to_owned());
        }
    };
    put("username", credential.user());
    put("password", credential.password().expose());
    put("identitytoken", credential.identity().expose());
    match credential.kind() {
        CredentialKind::Registry(token) => put("registrytoken", token.expose()),
        CredentialKind::BasicToken(token) => put("auth", token.expose()),
        _ => {}
    }
    fields
}

/// Tells whether an answer is the recorded one.
fn agrees(found: &Result<Option<Credential>, String>, expected: &Value) -> bool {
    if let Some(choices) = expected.get("any_of").and_then(Value::as_array) {
        return choices.iter().any(|choice| agrees(found, choice));
    }
    match (found, expected.get("error")) {
        (Err(_), Some(_)) => true,
        (Ok(found), None) => {
            let found = found.as_ref();
            if expected.get("anonymous").is_some() {
                return found.is_none();
            }
            let wanted: BTreeMap<_, _> = expected.as_object().into_iter().flatten().collect();
            if expected.get("empty").is_some() {
                return found.is_some_and(Credential::is_anonymous);
            }
            found.is_some_and(|found| {
                let shown = show(found);
                shown.len() == wanted.len()
                    && wanted
                        .iter()
                        .all(|(key, value)| shown.get(key.as_str()).map(String::as_str) == value.as_str())
            })
        }
        _ => false,
    }
}

fn registry(text: &str) -> RegistryHost {
    text.parse().expect("a registry")
}

fn repository(text: &str) -> Repository {
    text.parse().expect("a repository")
}

#[test]
fn docker_config_gives_every_recorded_credential() {
    let document = document(include_str!("fixtures/auth/docker-config.json"));
    let helpers = scripts(&document);
    let mut wrong = Vec::new();
    let cases = document["cases"].as_array().expect("there are cases");
    for case in cases {
        let config = load(case, &helpers);
        for lookup in case["lookups"].as_array().expect("there are lookups") {
            let value = text(lookup, "value");
            let found = config.as_ref().map_err(Clone::clone).and_then(|config| {
                let found = match text(lookup, "kind") {
                    "registry" => config.find_for_registry(&registry(value)),
                    _ => config.find(&repository(value)),
                };
                found.map_err(|error| error.to_string())
            });
            if !agrees(&found, &lookup["out"]) {
                let found = found.map(|found| found.as_ref().map(show));
                wrong.push(format!(
                    "{} {value}: {found:?}, not {}",
                    text(case, "name"),
                    lookup["out"]
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cases.len(), 150);
}

/// The lifecycle asks docker's configuration beforehand, for the registries of the images it was given.
fn lifecycle_keychain(case: &Value, helpers: &Arc<Scripts>) -> Result<(EnvKeychain, Chain), String> {
    let env = EnvKeychain::parse(text(case, "CNB_REGISTRY_AUTH")).map_err(|error| error.to_string())?;
    let mut resolved = StaticKeychain::new();
    if let Ok(config) = load(case, helpers) {
        for image in case["images"].as_array().into_iter().flatten() {
            let Ok(image) = Reference::parse(image.as_str().unwrap_or_default()) else {
                continue;
            };
            if let Ok(Some(credential)) = config.find_for_registry(image.registry()) {
                resolved = resolved.with(image.registry().clone(), credential);
            }
        }
    }
    Ok((env.clone(), Chain::default().then(env).then(resolved)))
}

// row 11.9/X12: `not-json`; `unset`
// row 11.9/X13: `value-basic-abc`; `value-bearer-tok`; `value-x-identity-idt`; `value-digest-x`
// row 11.9/X14: `key-reg-example-com`; `empty-object`
// row 11.9/X15: `file-broken-json`; `file-with-no-images`
#[test]
fn cnb_registry_auth_and_the_config_behind_it_give_every_recorded_credential() {
    let helpers = scripts(&document(include_str!("fixtures/auth/docker-config.json")));
    let document = document(include_str!("fixtures/auth/cnb-registry-auth.json"));
    let mut wrong = Vec::new();
    let cases = document["cases"].as_array().expect("there are cases");
    for case in cases {
        let name = text(case, "name");
        let chain = match (lifecycle_keychain(case, &helpers), case.get("error")) {
            (Ok((_, chain)), None) => chain,
            (Err(_), Some(_)) => continue,
            (found, expected) => {
                wrong.push(format!("{name}: {:?}, not {expected:?}", found.map(|_| ())));
                continue;
            }
        };
        for lookup in case["lookups"].as_array().expect("there are lookups") {
            let value = text(lookup, "value");
            // No path matters here, so a registry is asked for by any repository on it.
            let wanted = match text(lookup, "kind") {
                "registry" => Repository::new(registry(value), "any/thing").expect("a repository"),
                _ => repository(value),
            };
            let found = chain.find(&wanted).map_err(|error| error.to_string());
            if !agrees(&found, &lookup["out"]) {
                let found = found.map(|found| found.as_ref().map(show));
                wrong.push(format!("{name} {value}: {found:?}, not {}", lookup["out"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(cases.len(), 71);
}

#[test]
fn the_text_of_cnb_registry_auth_is_written_alike() {
    let helpers = scripts(&document(include_str!("fixtures/auth/docker-config.json")));
    let document = document(include_str!("fixtures/auth/build-env.json"));
    for case in document["cases"].as_array().expect("there are cases") {
        let mut found = Vec::new();
        if let Ok(config) = load(case, &helpers) {
            for image in case["images"].as_array().into_iter().flatten() {
                let Ok(image) = Reference::parse(image.as_str().unwrap_or_default()) else {
                    continue;
                };
                if let Ok(Some(credential)) = config.find_for_registry(image.registry()) {
                    found.push((image.registry().clone(), credential));
                }
            }
        }
        let written = EnvKeychain::write(found.iter().map(|(registry, credential)| (registry, credential)));
        assert_eq!(written.expose(), text(&case["out"], "value"), "{}", text(case, "name"));
    }
}

// row 11.9/X13
#[test]
fn no_error_of_a_configuration_shows_a_secret() {
    for config in [
        r#"{"auths": {"reg.example.com": {"auth": "aHVudGVyMg=="}}}"#,
        r#"{"auths": {"reg.example.com": {"auth": "hunter2!"}}}"#,
        r#"{"auths": {"reg.example.com": {"password": ["hunter2"]}}}"#,
        r#"{"auths": {"reg.example.com": {"password": "hunter2"}"#,
    ] {
        let error = DockerConfig::from_json(config.as_bytes()).expect_err("it is malformed");
        let mut shown = format!("{error} {error:?}");
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            shown += &error.to_string();
            cause = error.source();
        }
        assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
    }
}

/// Knows `helped.io` only.
struct OneHost;

impl HelperRunner for OneHost {
    fn run(&self, _: &str, server: &str) -> io::Result<HelperOutput> {
        let success = server == "helped.io";
        let stdout = if success {
            r#"{"Username": "helper", "Secret": "pass"}"#
        } else {
            "credentials not found in native keychain"
        };
        Ok(HelperOutput {
            success,
            stdout: stdout.into(),
        })
    }
}

#[test]
fn a_variable_with_an_entry_that_holds_no_auth_is_ignored_as_a_whole() {
    for entry in ["{}", "null", r#"{"auth": ""}"#, r#"{"auth": null}"#] {
        let variable =
            format!(r#"{{"auths": {{"reg.example.com": {{"auth": "ZW52OjE="}}, "other.example": {entry}}}}}"#);
        let file = br#"{"auths": {"reg.example.com": {"auth": "dXNlcjpwYXNz"}}}"#;
        let config = DockerConfig::from_json(file).expect("it is a config");
        let found = config
            .with_auth_config(&variable)
            .find(&repository("reg.example.com/app"));
        let found = found.expect("no helper is needed").expect("the file has one");
        assert_eq!(found.user(), "user", "{entry}");
    }
}

#[test]
fn a_registry_token_stays_where_a_helper_gives_the_rest_or_nothing() {
    let entry = r#"{"auth": "ZmlsZTpwYXNz", "identitytoken": "it", "registrytoken": "rt"}"#;
    let config =
        format!(r#"{{"auths": {{"helped.io": {entry}, "https://other.io/v1/": {entry}}}, "credsStore": "x"}}"#);
    let config = DockerConfig::from_json(config.as_bytes()).expect("a configuration");
    let config = config.with_helpers(Arc::new(OneHost));
    let find = |host: &str| config.find_for_registry(&registry(host)).expect("an answer");
    let helped = Credential::basic("helper", "pass").with_registry_token("rt");
    assert_eq!(find("helped.io"), Some(helped));
    assert_eq!(find("other.io"), Some(Credential::registry_token("rt")));
    assert_eq!(find("third.io"), None);
}

#[test]
fn a_key_with_a_scheme_serves_the_host_of_its_address() {
    let serves = |key: &str, host: &str| {
        let config = serde_json::json!({"auths": {key: {"auth": "dXNlcjpwYXNz"}}}).to_string();
        let config = DockerConfig::from_json(config.as_bytes()).expect("a configuration");
        config.find_for_registry(&registry(host)).expect("no helper").is_some()
    };
    for key in [
        "https://user@reg.io/",
        "https://reg.io?x",
        "https://reg.io#f",
        "https://reg.io:/v1/",
        "ftp://reg.io",
        "reg.io/a://b",
    ] {
        assert!(serves(key, "reg.io"), "{key}");
    }
    assert!(serves("https://[::1]:5000/v1/", "[::1]:5000"));
    assert!(!serves("https://[::1]/v1/", "[::1]"), "no port, no brackets");
    for key in [
        "://reg.io",
        "1https://reg.io",
        "https://reg.io/%zz",
        "https:///reg.io",
        "reg.io?x",
    ] {
        assert!(!serves(key, "reg.io"), "{key}");
    }
}

#[test]
fn what_is_behind_the_space_of_a_header_is_used_as_it_is() {
    for (header, expected) in [
        ("Basic  abc", Credential::basic_token(" abc")),
        ("Bearer  abc ", Credential::registry_token(" abc ")),
        ("X-Identity \tabc", Credential::identity_token("\tabc")),
    ] {
        let text = serde_json::json!({"reg.io": header}).to_string();
        let keychain = EnvKeychain::parse(&text).expect("a JSON object");
        let found = keychain.find_for_registry(&registry("reg.io")).expect("a header");
        assert!(found == Some(expected), "{header:?}");
    }
}

#[test]
fn half_a_surrogate_pair_and_a_number_out_of_range_spoil_no_configuration() {
    let entry = r#"{"username": "a\ud800", "password": "p", "since": 1e999}"#;
    let expected = Credential::basic("a\u{FFFD}", "p");
    let config = format!(r#"{{"auths": {{"reg.io": {entry}}}, "x": 1e999}}"#);
    let docker = DockerConfig::from_json(config.as_bytes()).expect("a configuration");
    let found = docker.find_for_registry(&registry("reg.io")).expect("no helper");
    assert_eq!(found.as_ref(), Some(&expected));
    let set = CredentialSet::from_dockerconfigjson(config.as_bytes()).expect("a configuration");
    assert_eq!(set.find("reg.io"), Some(&expected));
    let secret =
        KubernetesSecret::new("s", "kubernetes.io/dockerconfigjson").with_data(".dockerconfigjson", config.as_str());
    let keyring = PullKeyring::from_secrets([&secret]).expect("a configuration");
    assert_eq!(keyring.find("reg.io", ""), Some(&expected));
    let keychain = EnvKeychain::parse(r#"{"reg.io": "Bearer \udfff"}"#).expect("a JSON object");
    let found = keychain.find_for_registry(&registry("reg.io")).expect("a header");
    assert_eq!(found, Some(Credential::registry_token("\u{FFFD}")));
}
