//! The recorded secrets give the recorded credentials for git urls.

mod support;

use registry_auth::KubernetesSecret;
use serde_json::Value;
use source_fetch::{GitCredential, GitKeychain, GitUrl};

fn secrets_of(case: &Value) -> Vec<KubernetesSecret> {
    let secret = |described: &Value| {
        let text = |key: &str| described[key].as_str().unwrap_or_default();
        let mut secret = KubernetesSecret::new(text("name"), text("type"));
        for (key, value) in described["annotations"].as_object().into_iter().flatten() {
            secret = secret.with_annotation(key, value.as_str().unwrap_or_default());
        }
        for (key, value) in described["data"].as_object().into_iter().flatten() {
            secret = secret.with_data(key, value.as_str().unwrap_or_default());
        }
        secret
    };
    case["secrets"].as_array().into_iter().flatten().map(secret).collect()
}

#[test]
fn recorded_git_secrets_give_the_recorded_credentials() {
    let recorded = support::recorded("auth/git-secrets.json");
    let mut problems = Vec::new();
    for case in recorded["cases"].as_array().expect("cases") {
        let keychain = GitKeychain::from_secrets(&secrets_of(case));
        // A mode that fails as a whole says nothing about urls.
        let mode = &case["controller"];
        let anonymous = case["anonymous"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        let urls = anonymous.map(|url| (url, &Value::Null));
        let urls = urls.chain(
            mode.as_object()
                .into_iter()
                .flatten()
                .map(|(url, value)| (url.as_str(), value)),
        );
        // `git+ssh` is ssh to git; the reference does not know it.
        for (url, expected) in urls.filter(|(url, _)| *url != "error" && !url.starts_with("git+ssh:")) {
            let found = url.parse::<GitUrl>().ok();
            let found = found
                .as_ref()
                .and_then(|url| keychain.find(url))
                .map(|(_, credential)| credential);
            let fits = match (found, expected["kind"].as_str()) {
                (None, None) => true,
                (Some(GitCredential::Basic { user, password }), Some("basic")) => {
                    expected["username"] == *user && expected["password"] == password.expose()
                }
                (Some(GitCredential::SshKey { private_key, .. }), Some("ssh")) => {
                    let key = expected["key"].as_str().unwrap_or_default();
                    private_key.expose() == format!("<key:{key}>") || private_key.expose() == key
                }
                // A key that can't be read is found out about by the program that reads it.
                (Some(_), None) => expected["error"].is_string(),
                _ => false,
            };
            if !fits {
                problems.push(format!("{} {url}: {found:?} instead of {expected}", case["name"]));
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} problems\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn recorded_urls_are_read_as_recorded_or_refused() {
    let recorded = support::recorded("auth/git-urls.json");
    let mut read = 0;
    for case in recorded["cases"].as_array().expect("cases") {
        let text = case["url"].as_str().expect("a url");
        let Ok(url) = text.parse::<GitUrl>() else {
            // Refused are what has no host and no absolute path, or a scheme that nobody serves.
            let endpoint = &case["out"]["endpoint"];
            let scheme = endpoint["protocol"].as_str().unwrap_or("none");
            let odd = endpoint["host"]
                .as_str()
                .is_some_and(|host| host.contains(['[', '@', '\\']));
            let relative = endpoint["path"].as_str().is_some_and(|path| path.contains("<cwd>"));
            assert!(
                odd || relative || matches!(scheme, "none" | "ftp" | "rsync"),
                "{text} is refused"
            );
            continue;
        };
        read += 1;
        let host = |key: &str| case["out"][key]["host"].as_str().unwrap_or_default();
        // Where the two parsers of the reference disagree, the one that connects is right.
        let expected = if host("parsed").is_empty() {
            host("endpoint")
        } else {
            host("parsed")
        };
        assert_eq!(url.host(), expected, "{text}");
    }
    assert!(read > 30, "{read}");
}
