//! Steps as ordinary containers, for clusters that inject sidecars into pods.

use serde_json::{Value, json};

use super::volumes;

/// Turns init containers into containers that wait for each other.
pub(super) fn inject(spec: &mut Value, waiter: &str) {
    let mut steps = take(spec, "initContainers");
    steps.extend(take(spec, "containers"));
    let mut wait_file = "/downward/sidecars-ready".to_owned();
    for (index, step) in steps.iter_mut().enumerate() {
        let name = step["name"].as_str().unwrap_or_default().to_owned();
        let words = ["command", "args"].map(|field| step[field].as_array().cloned().unwrap_or_default());
        let words: Vec<String> = words
            .iter()
            .flatten()
            .map(|word| word.as_str().unwrap_or_default().to_owned())
            .collect();
        step["command"] = json!(["/buildWait/build-waiter"]);
        step["args"] = json!([
            "-mode=wait",
            format!("-done-file=/buildWait/{name}"),
            "-error-file=/buildWait/error",
            format!("-execute={}", words.join(" ")),
            format!("-wait-file={wait_file}"),
        ]);
        if let Some(mounts) = step["volumeMounts"].as_array_mut() {
            if index == 0 {
                mounts.push(volumes::mount("downward-api-dir", "/downward"));
            }
            mounts.push(volumes::mount("build-wait-dir", "/buildWait"));
        }
        wait_file = format!("/buildWait/{name}");
    }
    spec["containers"] = Value::Array(steps);
    spec["initContainers"] = json!([{
        "name": "pre-start",
        "image": waiter,
        "args": ["-mode=copy", "-to=/buildWait/build-waiter"],
        "workingDir": volumes::WORKSPACE,
        "resources": {},
        "volumeMounts": [volumes::mount("build-wait-dir", "/buildWait")],
        "imagePullPolicy": "IfNotPresent",
    }]);
    if let Some(all) = spec["volumes"].as_array_mut() {
        all.push(volumes::empty("build-wait-dir"));
        let field = json!({"fieldPath": "metadata.annotations['build.kpack.io/ready']"});
        let items = json!([{"path": "sidecars-ready", "fieldRef": field}]);
        all.push(json!({"name": "downward-api-dir", "downwardAPI": {"items": items}}));
    }
}

fn take(spec: &mut Value, field: &str) -> Vec<Value> {
    match spec[field].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}
