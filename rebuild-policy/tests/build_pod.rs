//! Every recorded Pod.

mod fixture;

use fixture::cluster::{Cluster, options};
use fixture::{all_pass, cases, normalise, read};
use rebuild_policy::{Build, PodOptions, plan_pod};
use serde_json::{Value, json};

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
    let pod = |build: &Value| plan_pod(&read::<Build>(build), &Cluster(input), &PodOptions::default(), now);
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
        let options = options(input);
        let now = "2026-01-05T09:30:00Z".parse().ok()?;
        let got = match plan_pod(&build, &Cluster(input), &options, now) {
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
