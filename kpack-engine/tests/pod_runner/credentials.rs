//! Whose credentials a container's image is pulled with.

use std::sync::{Arc, Mutex};

use cnb_layers::{ImageSource, MemoryStore, Reference};
use kpack_engine::runner::{ImageRouter, RouteError};
use registry_auth::Keychain;
use serde_json::json;

use crate::world::{NAMESPACE, World};

/// Has no image, and remembers who asked.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

impl ImageRouter for Asked {
    fn route(&self, image: &Reference, keychain: Arc<dyn Keychain>) -> Result<Arc<dyn ImageSource>, RouteError> {
        let found = keychain.find(image.repository()).unwrap();
        let user = found.map_or_else(|| "nobody".to_owned(), |found| found.user().to_owned());
        self.0.lock().unwrap().push(user);
        Ok(Arc::new(MemoryStore::new()))
    }
}

fn who_asks(account: serde_json::Value, pull: serde_json::Value) -> Option<String> {
    let asked = Asked::default();
    let world = World::new(|options| options.images = Arc::new(asked.clone()))?;
    for (name, user) in [
        ("pod", "cG9k"),
        ("account-pull", "YWNjb3VudC1wdWxs"),
        ("account", "YWNjb3VudA=="),
    ] {
        world.create(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
            "metadata": {
                "name": name, "namespace": NAMESPACE,
                "annotations": {"kpack.io/docker": "private.test"},
            },
            "data": {"username": user, "password": "eA=="},
        }));
        let config = format!("{{\"auths\":{{\"private.test\":{{\"username\":\"{name}\",\"password\":\"x\"}}}}}}");
        world.create(json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
            "metadata": {"name": format!("{name}-docker"), "namespace": NAMESPACE},
            "stringData": {".dockerconfigjson": config},
        }));
    }
    let mut object =
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "builder", "namespace": NAMESPACE}});
    for (key, value) in account.as_object().unwrap() {
        object[key] = value.clone();
    }
    world.create(object);
    world.pod(
        "a",
        json!({
            "serviceAccountName": "builder",
            "imagePullSecrets": pull,
            "containers": [{"name": "main", "image": "private.test/acme/app:1"}],
        }),
    );
    world.when("a", |pod| {
        pod.text("/status/containerStatuses/0/state/waiting/reason") == Some("ErrImagePull")
    });
    let asked = asked.0.lock().unwrap();
    asked.first().cloned()
}

#[test]
fn an_image_is_pulled_with_the_secrets_of_the_pod_then_of_its_account() {
    let none = json!([]);
    let pod = json!([{"name": "pod-docker"}]);
    let account_pull = json!({
        "imagePullSecrets": [{"name": "missing"}, {"name": "account-pull-docker"}],
        "secrets": [{"name": "account"}],
    });
    let Some(user) = who_asks(account_pull.clone(), pod) else {
        return;
    };
    assert_eq!(user, "pod");
    assert_eq!(who_asks(account_pull, none.clone()).unwrap(), "account-pull");
    assert_eq!(
        who_asks(json!({"secrets": [{"name": "account"}]}), none.clone()).unwrap(),
        "account"
    );
    assert_eq!(who_asks(json!({}), none).unwrap(), "nobody");
}
