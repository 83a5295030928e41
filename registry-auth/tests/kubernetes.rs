//! Kubernetes secrets and kpack's credential sets against recorded results.

use registry_auth::{
    Credential, CredentialKind, CredentialSet, Keychain, KubernetesKeychain, KubernetesSecret, RegistryHost,
    Repository, key_serves,
};
use serde_json::{Value, json};

fn document(text: &str) -> Value {
    serde_json::from_str(text).expect("the fixture is JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> Vec<&'a str> {
    value[key]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

/// Writes a credential as the fixture does, without `auth`, which follows from the rest.
fn show(credential: Option<&Credential>) -> Value {
    let Some(credential) = credential else {
        return json!({"anonymous": true});
    };
    let mut shown = serde_json::Map::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            shown.insert(name.to_owned(), value.into());
        }
    };
    put("username", credential.user());
    put("password", credential.password().expose());
    put("identitytoken", credential.identity().expose());
    if let CredentialKind::Registry(token) = credential.kind() {
        put("registrytoken", token.expose());
    }
    if shown.is_empty() {
        shown.insert("empty".to_owned(), true.into());
    }
    Value::Object(shown)
}

fn without_auth(expected: &Value) -> Value {
    let mut expected = expected.clone();
    if let Some(fields) = expected.as_object_mut() {
        fields.remove("auth");
    }
    expected
}

fn agrees(found: Option<&Credential>, expected: &Value) -> bool {
    match expected.get("any_of").and_then(Value::as_array) {
        Some(choices) => choices.iter().any(|choice| agrees(found, choice)),
        None => show(found) == without_auth(expected),
    }
}

#[test]
fn an_entry_is_decoded_and_written_as_kpack_does() {
    for case in document(include_str!("fixtures/auth/entry.json"))["cases"]
        .as_array()
        .expect("there are cases")
    {
        let name = text(case, "name");
        let config = json!({"auths": {"reg.io": case["json"]}}).to_string();
        let out = &case["out"];
        match (
            CredentialSet::from_dockerconfigjson(config.as_bytes()),
            out.get("error"),
        ) {
            (Err(_), Some(_)) => {}
            (Ok(set), None) => {
                assert!(
                    agrees(set.find("reg.io"), &out["decoded"]),
                    "{name} {:?}",
                    set.find("reg.io").map(|found| show(Some(found)))
                );
                let written: Value = serde_json::from_str(set.to_docker_config().expose()).expect("JSON");
                assert_eq!(written["auths"]["reg.io"], out["encoded"], "{name}");
            }
            (found, expected) => panic!("{name}: {found:?}, not {expected:?}"),
        }
    }
}

#[test]
fn a_key_serves_exactly_the_recorded_hosts() {
    let document = document(include_str!("fixtures/auth/kpack-match.json"));
    for case in document["cases"].as_array().expect("there are cases") {
        let key = text(case, "key");
        let served: Vec<_> = list(&document, "hosts")
            .into_iter()
            .filter(|host| key_serves(key, host))
            .collect();
        assert_eq!(served, list(case, "matches"), "{key:?}");
    }
}

// Cases `same-key` (A4) and `scheme-form-of-existing` (A5).
// rows 10.4/A4 10.4/A5
#[test]
fn sets_are_merged_as_recorded() {
    for case in document(include_str!("fixtures/auth/kpack-append.json"))["cases"]
        .as_array()
        .expect("there are cases")
    {
        let name = text(case, "name");
        let mut merged = CredentialSet::new();
        let mut failed = None;
        for set in case["sets"].as_array().expect("there are sets") {
            let set = CredentialSet::from_dockercfg(set.to_string().as_bytes());
            if let Err(error) = set.and_then(|set| merged.append(set)) {
                failed = Some(error.to_string());
            }
        }
        match (failed, case["out"].get("error")) {
            (None, None) => {
                let written: Value = serde_json::from_str(merged.to_docker_config().expose()).expect("JSON");
                let expected = match &case["out"]["result"] {
                    Value::Null => json!({}),
                    result => result.clone(),
                };
                assert_eq!(written["auths"], expected, "{name}");
            }
            (Some(_), Some(_)) => {}
            (found, expected) => panic!("{name}: {found:?}, not {expected:?}"),
        }
    }
}

fn secret(value: &Value) -> KubernetesSecret {
    let mut secret = KubernetesSecret::new(text(value, "name"), text(value, "type"));
    for (name, annotation) in value["annotations"].as_object().into_iter().flatten() {
        secret = secret.with_annotation(name, annotation.as_str().expect("a text"));
    }
    for (key, data) in value["data"].as_object().into_iter().flatten() {
        secret = secret.with_data(key, data.as_str().expect("a text"));
    }
    secret
}

/// Finds the secrets by name, in the order of the names; those that do not exist are skipped.
fn named(case: &Value, names: &[&str]) -> Vec<KubernetesSecret> {
    let all: Vec<_> = case["secrets"].as_array().into_iter().flatten().map(secret).collect();
    names
        .iter()
        .filter_map(|name| all.iter().find(|secret| secret.name == *name))
        .cloned()
        .collect()
}

fn volume(case: &Value) -> CredentialSet {
    let mut set = CredentialSet::new();
    let volume = &case["volume"];
    if volume.get(".dockercfg").is_some() {
        let read = CredentialSet::from_dockercfg(text(volume, ".dockercfg").as_bytes());
        set.append(read.expect("it is well-formed"))
            .expect("its keys are registries");
    }
    if volume.get(".dockerconfigjson").is_some() {
        let read = CredentialSet::from_dockerconfigjson(text(volume, ".dockerconfigjson").as_bytes());
        set.append(read.expect("it is well-formed"))
            .expect("its keys are registries");
    }
    set
}

fn look_up(keychain: &KubernetesKeychain, lookup: &Value) -> Option<Credential> {
    let value = text(lookup, "value");
    if text(lookup, "kind") == "registry" {
        return keychain.find_for_registry(&value.parse::<RegistryHost>().expect("a registry"));
    }
    keychain
        .find(&value.parse::<Repository>().expect("a repository"))
        .expect("nothing can fail")
}

#[test]
fn secrets_of_a_service_account_give_every_recorded_credential() {
    let mut wrong = Vec::new();
    for case in document(include_str!("fixtures/auth/kpack-secrets.json"))["cases"]
        .as_array()
        .expect("there are cases")
    {
        let name = text(case, "name");
        let lookups = case["lookups"].as_array().expect("there are lookups");
        let mut check = |place: &str, found: Result<KubernetesKeychain, String>, expected: &Value| match (
            &found,
            expected.as_array(),
        ) {
            (Err(_), None) => {}
            (Ok(keychain), Some(expected)) => {
                for (lookup, expected) in lookups.iter().zip(expected) {
                    let found = look_up(keychain, lookup);
                    if !agrees(found.as_ref(), expected) {
                        wrong.push(format!(
                            "{name} {place} {}: {}, not {expected}",
                            text(lookup, "value"),
                            show(found.as_ref())
                        ));
                    }
                }
            }
            _ => wrong.push(format!("{name} {place}: {found:?}, not {expected}")),
        };

        let wanted = match text(case, "service_account") {
            "" => "default",
            given => given,
        };
        let accounts = case["service_accounts"].as_array().expect("there are accounts");
        let account = accounts
            .iter()
            .find(|account| text(account, "name") == wanted)
            .cloned()
            .unwrap_or_default();
        let explicit = list(case, "image_pull_secrets");
        let (mut secrets, mut pull) = (Vec::new(), Vec::new());
        if case.get("namespace").and_then(Value::as_str) != Some("") {
            let names: Vec<_> = explicit
                .iter()
                .copied()
                .chain(list(&account, "imagePullSecrets"))
                .collect();
            secrets = named(case, &list(&account, "secrets"));
            pull = named(case, &names);
        }
        let keychain = KubernetesKeychain::for_controller(&secrets, &pull).map_err(|error| error.to_string());
        let keychain =
            keychain.and_then(|keychain| keychain.with_volume(volume(case)).map_err(|error| error.to_string()));
        check("controller", keychain, &case["controller"]);

        let pod = &case["pod"];
        if pod.is_null() {
            continue;
        }
        let account = accounts.first().cloned().unwrap_or_default();
        let secrets = named(case, &list(&account, "secrets"));
        let pull: Vec<_> = list(&account, "imagePullSecrets").into_iter().chain(explicit).collect();
        let pull = named(case, &pull);
        let write = KubernetesKeychain::for_pod(&secrets, &[]).map_err(|error| error.to_string());
        let read = KubernetesKeychain::for_pod(&secrets, &pull).map_err(|error| error.to_string());
        match pod.get("step").and_then(Value::as_str) {
            Some("imagepull") => assert!(write.is_ok() && read.is_err(), "{name}"),
            Some(_) => assert!(read.is_err(), "{name}"),
            None => {
                if let Ok(read) = &read {
                    let saved = read.credentials().to_docker_config();
                    let choices = match pod["saved_config"].get("any_of") {
                        Some(_) => list(&pod["saved_config"], "any_of"),
                        None => vec![text(pod, "saved_config")],
                    };
                    assert!(choices.contains(&saved.expose()), "{name}: {}", saved.expose());
                }
                let for_read = if pod["for_read"] == "same" {
                    &pod["for_write"]
                } else {
                    &pod["for_read"]
                };
                check("pod, write", write, &pod["for_write"]);
                check("pod, read", read, for_read);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
