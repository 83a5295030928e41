//! The rows of the reference's table about kpack's credentials, one rule a test.

use registry_auth::{Credential, CredentialSet, Keychain, KubernetesKeychain, KubernetesSecret};
use serde_json::{Value, json};

fn dockerconfigjson(auths: &Value) -> CredentialSet {
    CredentialSet::from_dockerconfigjson(json!({ "auths": auths }).to_string().as_bytes()).expect("a configuration")
}

fn dockercfg(entries: &Value) -> CredentialSet {
    CredentialSet::from_dockercfg(entries.to_string().as_bytes()).expect("a configuration")
}

fn found(set: &CredentialSet, host: &str) -> Option<(String, String)> {
    let found = set.find(host);
    found.map(|found| (found.user().to_owned(), found.password().expose().to_owned()))
}

fn pair(user: &str, password: &str) -> Option<(String, String)> {
    Some((user.to_owned(), password.to_owned()))
}

fn basic(name: &str, registry: &str, user: &str) -> KubernetesSecret {
    KubernetesSecret::new(name, "kubernetes.io/basic-auth")
        .with_annotation("kpack.io/docker", registry)
        .with_data("username", user)
        .with_data("password", "word")
}

fn user_for(keychain: &KubernetesKeychain, repository: &str) -> Option<String> {
    let found = keychain.find(&repository.parse().expect("a repository"));
    found.expect("nothing can fail").map(|found| found.user().to_owned())
}

// rows 10.4/A1 10.4/A2 10.4/A3
#[test]
fn a_registry_gets_its_own_credential_and_others_get_none() {
    let set = dockerconfigjson(&json!({
        "non.match": {"username": "other", "password": "wrong"},
        "some.reg": {"username": "robot", "password": "right"},
    }));
    assert_eq!(found(&set, "some.reg"), pair("robot", "right"));
    assert_eq!(found(&set, "third.reg"), None);
}

// rows 10.4/A4 10.4/A5
#[test]
fn what_is_there_is_kept_when_more_is_added() {
    let mut set = dockercfg(&json!({"gcr.io": {"username": "first", "password": "1"}}));
    for key in ["gcr.io", "https://gcr.io"] {
        let more = dockercfg(&json!({key: {"username": "second", "password": "2"}}));
        set.append(more).expect("a registry");
        assert_eq!(found(&set, "gcr.io"), pair("first", "1"));
        assert_eq!(set.iter().count(), 1, "{key}");
    }
}

#[test]
fn of_two_spellings_of_a_registry_in_one_secret_one_is_saved() {
    let entry = |user: &str| json!({"username": user, "password": "p"});
    let config = json!({"auths": {"reg.io": entry("bare"), "https://reg.io": entry("scheme"), "b.io": entry("b")}});
    let secret =
        KubernetesSecret::new("s", "kubernetes.io/dockerconfigjson").with_data(".dockerconfigjson", config.to_string());
    let keychain = KubernetesKeychain::for_pod(&[secret], &[]).expect("credentials");
    let keys: Vec<&str> = keychain.credentials().iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["b.io", "https://reg.io"]);
}

// rows 10.4/A6 10.4/A7 10.4/A8 10.4/A9
#[test]
fn auth_goes_before_user_and_password_and_is_made_of_them_where_it_is_missing() {
    let entries = json!({
        "both.reg": {"auth": "dXNlcjpwYXNz", "username": "other", "password": "wrong"},
        "line.reg": {"auth": "dXNlcjpwYXNzCg=="},
        "none.reg": {"username": "user", "password": "pass"},
    });
    for set in [dockerconfigjson(&entries), dockercfg(&entries)] {
        assert_eq!(found(&set, "both.reg"), pair("user", "pass"));
        assert_eq!(found(&set, "line.reg"), pair("user", "pass\n"));
        let written: Value = serde_json::from_str(set.to_docker_config().expose()).expect("JSON");
        assert_eq!(written["auths"]["none.reg"]["auth"], "dXNlcjpwYXNz");
    }
}

#[test]
fn padded_auth_may_have_a_line_end_behind_it() {
    for end in ["\n", "\r\n", "\n\n"] {
        let set = dockerconfigjson(&json!({"reg.io": {"auth": format!("dXNlcjpwYXNzdw=={end}")}}));
        assert_eq!(found(&set, "reg.io"), pair("user", "passw"), "{end:?}");
    }
    let config = json!({"auths": {"reg.io": {"auth": "dXNlcjpwYXNzdw== "}}}).to_string();
    CredentialSet::from_dockerconfigjson(config.as_bytes()).expect_err("a space is not base64");
}

// row 10.4/A11
#[test]
fn annotated_secrets_are_kept_under_their_annotation() {
    let secrets = [basic("a", "gcr.io", "one"), basic("b", "index.docker.io", "two")];
    let keychain = KubernetesKeychain::for_pod(&secrets, &[]).expect("credentials");
    let keys: Vec<&str> = keychain.credentials().iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["gcr.io", "index.docker.io"]);
}

// row 10.4/A12
#[test]
fn what_is_saved_has_auth_for_every_registry() {
    let mut set = CredentialSet::new();
    set.replace("reg.io", Credential::basic("user", "pass"));
    let written: Value = serde_json::from_str(set.to_docker_config().expose()).expect("JSON");
    let expected = json!({"auths": {"reg.io": {"username": "user", "password": "pass", "auth": "dXNlcjpwYXNz"}}});
    assert_eq!(written, expected);
}

// row 10.4/A16
#[test]
fn pull_secrets_are_used_where_the_account_has_nothing() {
    let config = |user: &str| json!({"auths": {"reg.io": {"username": user, "password": "p"}}}).to_string();
    let pull =
        KubernetesSecret::new("pull", "kubernetes.io/dockerconfigjson").with_data(".dockerconfigjson", config("pull"));
    let keychain = KubernetesKeychain::for_controller(&[], std::slice::from_ref(&pull)).expect("credentials");
    assert_eq!(user_for(&keychain, "reg.io/team/app").as_deref(), Some("pull"));
    assert_eq!(user_for(&keychain, "other.io/team/app"), None);
    let own = basic("own", "reg.io", "account");
    let keychain = KubernetesKeychain::for_controller(&[own], &[pull]).expect("credentials");
    assert_eq!(user_for(&keychain, "reg.io/team/app").as_deref(), Some("account"));
}

fn pull(key: &str) -> KubernetesSecret {
    let config = json!({"auths": {key: {"username": "pull", "password": "p"}}}).to_string();
    KubernetesSecret::new("pull", "kubernetes.io/dockerconfigjson").with_data(".dockerconfigjson", config)
}

#[test]
fn a_pull_secret_serves_an_ipv6_registry_with_its_port() {
    let keychain = KubernetesKeychain::for_controller(&[], &[pull("[::1]:5000")]).expect("credentials");
    assert_eq!(user_for(&keychain, "[::1]:5000/team/app").as_deref(), Some("pull"));
    assert_eq!(user_for(&keychain, "[::1]:5001/team/app"), None);
    // Without a port the brackets stay, and are a class of characters.
    let keychain = KubernetesKeychain::for_controller(&[], &[pull("[::1]")]).expect("credentials");
    assert_eq!(user_for(&keychain, "[::1]/team/app"), None);
}

#[test]
fn the_whole_key_must_be_an_address_not_only_its_host() {
    for key in [
        "reg.io/%zz",
        "reg.io/\u{1}",
        "reg.io#%zz",
        "https://reg.io/%",
        "https://a b@reg.io",
    ] {
        let entries = json!({key: {"username": "u", "password": "p"}});
        let error = CredentialSet::new()
            .append(dockerconfigjson(&entries))
            .expect_err("no address");
        assert!(error.to_string().ends_with("is not the name of a registry"), "{error}");
        KubernetesKeychain::for_controller(&[], &[pull(key)]).expect_err("no address");
    }
    for key in ["reg.io?%zz", "reg.io/a b", "https://me@reg.io/%20"] {
        let entries = json!({key: {"username": "u", "password": "p"}});
        CredentialSet::new()
            .append(dockerconfigjson(&entries))
            .expect("an address");
        KubernetesKeychain::for_controller(&[], &[pull(key)]).expect("an address");
    }
}

#[test]
fn an_entry_without_fields_ends_the_search_before_pull_secrets() {
    let own = KubernetesSecret::new("own", "kubernetes.io/dockerconfigjson")
        .with_data(".dockerconfigjson", r#"{"auths": {"reg.io": {}}}"#);
    let pulls = [pull("reg.io"), pull("b.io")];
    for keychain in [
        KubernetesKeychain::for_controller(std::slice::from_ref(&own), &pulls),
        KubernetesKeychain::for_pod(&[own], &pulls),
    ] {
        let keychain = keychain.expect("credentials");
        let found = keychain.find(&"reg.io/team/app".parse().expect("a repository"));
        assert_eq!(found.expect("nothing can fail"), Some(Credential::anonymous()));
        assert_eq!(user_for(&keychain, "b.io/team/app").as_deref(), Some("pull"));
    }
}

#[test]
fn auth_with_an_empty_user_or_password_is_sent_as_it_is() {
    for (auth, user, password) in [("dTo=", "u", ""), ("dTo", "u", ""), ("OnA=", "", "p"), ("Og==", "", "")] {
        let set = dockerconfigjson(&json!({"reg.io": {"auth": auth}}));
        assert_eq!(found(&set, "reg.io"), pair(user, password));
        let header = set.find("reg.io").and_then(Credential::basic_authorization);
        assert_eq!(header.expect("a header").expose(), format!("Basic {auth}"));
    }
    let set = dockerconfigjson(&json!({"user.io": {"username": "u"}, "word.io": {"password": "p"}}));
    for host in ["user.io", "word.io"] {
        assert_eq!(set.find(host).and_then(Credential::basic_authorization), None, "{host}");
    }
}
