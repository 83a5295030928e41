//! The secrets of a service account, and which target each is for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

const MANAGED: &str = "kpack.io/managedSecret";

/// The targets of the secrets that kp made, by name.
pub(super) fn targets(account: &Value) -> BTreeMap<String, String> {
    let text = account["metadata"]["annotations"][MANAGED].as_str().unwrap_or_default();
    serde_json::from_str(text).unwrap_or_default()
}

/// The names of all its secrets, sorted.
pub(super) fn names(account: &Value) -> BTreeSet<String> {
    let lists = [&account["secrets"], &account["imagePullSecrets"]];
    let entries = lists.into_iter().filter_map(Value::as_array).flatten();
    entries
        .filter_map(|entry| entry["name"].as_str())
        .map(str::to_owned)
        .collect()
}

/// The account with one more secret.
pub(super) fn with(account: &Value, name: &str, target: &str, is_registry: bool) -> Value {
    let mut account = account.clone();
    let fields: &[&str] = if is_registry {
        &["secrets", "imagePullSecrets"]
    } else {
        &["secrets"]
    };
    for field in fields {
        let mut list = account[field].as_array().cloned().unwrap_or_default();
        if !list.iter().any(|entry| entry["name"] == name) {
            list.push(json!({"name": name}));
        }
        account[field] = json!(list);
    }
    let mut targets = targets(&account);
    targets.insert(name.to_owned(), target.to_owned());
    set_targets(&mut account, &targets);
    account
}

/// The account without a secret.
pub(super) fn without(account: &Value, name: &str) -> Value {
    let mut account = account.clone();
    for field in ["secrets", "imagePullSecrets"] {
        if let Some(list) = account[field].as_array_mut() {
            list.retain(|entry| entry["name"] != name);
            if list.is_empty() {
                account.as_object_mut().map(|account| account.remove(field));
            }
        }
    }
    let mut targets = targets(&account);
    if targets.remove(name).is_some() {
        set_targets(&mut account, &targets);
    }
    account
}

fn set_targets(account: &mut Value, targets: &BTreeMap<String, String>) {
    account["metadata"]["annotations"][MANAGED] = json!(cnb_order::go_json(&json!(targets)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_secret_is_in_both_lists_and_a_git_secret_in_one() {
        let account = json!({"metadata": {"name": "bot"}, "secrets": [{"name": "old"}]});
        let account = with(&account, "hub", "https://index.docker.io/v1/", true);
        let account = with(&account, "git", "https://git.example", false);
        assert_eq!(
            account["secrets"],
            json!([{"name": "old"}, {"name": "hub"}, {"name": "git"}])
        );
        assert_eq!(account["imagePullSecrets"], json!([{"name": "hub"}]));
        let account = without(&account, "hub");
        assert_eq!(account.get("imagePullSecrets"), None, "an empty list is none");
        assert_eq!(
            targets(&account),
            BTreeMap::from([("git".to_owned(), "https://git.example".to_owned())])
        );
        assert_eq!(names(&account), BTreeSet::from(["git".to_owned(), "old".to_owned()]));
    }
}
