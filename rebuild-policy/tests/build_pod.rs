//! Every recorded Pod.

mod fixture;

use fixture::{all_pass, cases, normalise, read};
use rebuild_policy::{
    Build, Builder, ClusterBuilder, HelperImages, ImageFacts, LookupError, ObjectReference, PodOptions, PodWorld,
    plan_pod,
};
use serde_json::{Value, json};

struct Recorded<'a>(&'a Value);

impl Recorded<'_> {
    fn object(&self, kind: &str, namespace: Option<&str>, name: &str) -> Option<Value> {
        let objects = self.0["objects"].as_array()?;
        objects
            .iter()
            .find(|object| {
                object["kind"] == kind
                    && object["metadata"]["name"] == name
                    && namespace.is_none_or(|namespace| object["metadata"]["namespace"] == namespace)
            })
            .cloned()
    }
}

impl PodWorld for Recorded<'_> {
    fn service_accounts(&self, _namespace: &str) -> Result<Vec<Value>, LookupError> {
        let objects = self.0["objects"].as_array().cloned().unwrap_or_default();
        Ok(objects
            .into_iter()
            .filter(|object| object["kind"] == "ServiceAccount")
            .collect())
    }
    fn secret(&self, namespace: &str, name: &str) -> Result<Option<Value>, LookupError> {
        Ok(self.object("Secret", Some(namespace), name))
    }
    fn builder(&self, namespace: &str, name: &str) -> Result<Option<Builder>, LookupError> {
        Ok(self
            .object("Builder", Some(namespace), name)
            .map(|object| read(&object)))
    }
    fn cluster_builder(&self, name: &str) -> Result<Option<ClusterBuilder>, LookupError> {
        Ok(self.object("ClusterBuilder", None, name).map(|object| read(&object)))
    }
    fn service(&self, _namespace: &str, reference: &ObjectReference) -> Result<Option<Value>, LookupError> {
        let services = self.0["services"].as_array().cloned().unwrap_or_default();
        Ok(services
            .into_iter()
            .find(|object| object["metadata"]["name"] == *reference.name.as_str()))
    }
    fn image(&self, image: &str, _: (&str, &str), _: &[String]) -> Result<ImageFacts, LookupError> {
        let Some(found) = self.0["images"].get(image) else {
            return Err(LookupError {
                problem: format!("image {image} not found"),
                retryable: false,
            });
        };
        if let Some(problem) = found["error"].as_str() {
            return Err(LookupError {
                problem: problem.to_owned(),
                retryable: false,
            });
        }
        Ok(ImageFacts {
            labels: serde_json::from_value(found["labels"].clone()).unwrap_or_default(),
            env: serde_json::from_value(found["env"].clone()).unwrap_or_default(),
            os: found["os"].as_str().unwrap_or("linux").to_owned(),
        })
    }
}

#[test]
fn no_pod_has_a_secret_in_the_environment_of_its_build() {
    let cases = cases(include_str!("fixtures/resources/build-pod.json"));
    let case = cases.iter().find(|case| case["expect"]["pod"].is_object());
    let input = &case.expect("a pod is made in most cases")["input"];
    let mut build = input["build"].clone();
    build["spec"]["env"] = json!([
        {"name": "PLAIN", "value": "b"},
        {"name": "REGION", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    ]);
    let now = "2026-01-05T09:30:00Z".parse().expect("a time");
    let pod = |build: &Value| plan_pod(&read::<Build>(build), &Recorded(input), &PodOptions::default(), now);
    assert!(pod(&build).is_ok());
    let secret = json!({"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
    build["spec"]["env"].as_array_mut().expect("a list").push(secret);
    let error = pod(&build).expect_err("a secret");
    assert!(!error.is_retryable());
    let message = error.to_string();
    assert!(
        message.contains("spec.env[2].valueFrom.secretKeyRef of \"TOKEN\""),
        "{message}"
    );
}

#[test]
fn recorded_pods_are_made_again() {
    let cases = cases(include_str!("fixtures/resources/build-pod.json"));
    let failures = cases.iter().filter_map(|case| {
        let input = &case["input"];
        let build: Build = read(&input["build"]);
        let helper = |name: &str| format!("kpack.example/{name}");
        let options = PodOptions {
            images: HelperImages {
                build_init: helper("build-init"),
                completion: helper("completion"),
                rebase: helper("rebase"),
                build_waiter: helper("build-waiter"),
            },
            maximum_platform_api: input["maximumPlatformApi"].as_str().and_then(|text| text.parse().ok()),
            ssh_trust_unknown_hosts: input["sshTrustUnknownHosts"] == true,
            injected_sidecar_support: input["injectedSidecarSupport"] == true,
        };
        let now = "2026-01-05T09:30:00Z".parse().ok()?;
        let got = match plan_pod(&build, &Recorded(input), &options, now) {
            Err(error) => json!({"error": error.to_string()}),
            Ok(mut pod) => {
                pod.as_object_mut()?
                    .retain(|name, _| name != "kind" && name != "apiVersion");
                json!({"pod": pod})
            }
        };
        let got: Value = serde_json::from_str(&normalise(&got.to_string())).ok()?;
        let want: Value = serde_json::from_str(&normalise(&case["expect"].to_string())).ok()?;
        (got != want).then(|| format!("{}:\n{}", case["name"], difference(&got, &want, "")))
    });
    all_pass(cases.len(), failures.collect());
}

fn difference(got: &Value, want: &Value, path: &str) -> String {
    match (got, want) {
        (Value::Object(one), Value::Object(other)) => {
            let mut names: Vec<&String> = one.keys().chain(other.keys()).collect();
            names.sort();
            names.dedup();
            names
                .into_iter()
                .map(|name| difference(&got[name.as_str()], &want[name.as_str()], &format!("{path}.{name}")))
                .collect()
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => (0..one.len())
            .map(|i| difference(&one[i], &other[i], &format!("{path}[{i}]")))
            .collect(),
        _ if got == want => String::new(),
        _ => format!("  {path}:\n    got  {got}\n    want {want}\n"),
    }
}
