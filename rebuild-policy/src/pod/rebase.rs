//! The steps of a rebase.

use serde_json::{Value, json};

use super::containers::{Home, completion, run_image, step};
use super::{PodInputs, account, schedule, volumes};
use crate::key::BUILD_CHANGES_ANNOTATION;
use crate::resource::EnvVar;

/// Makes the pod's spec.
pub(super) fn spec(inputs: &PodInputs<'_>) -> Value {
    let build = inputs.build;
    let wanted = &build.spec;
    let secrets = account::registries_only(inputs.account);
    let pulling = account::pulling(inputs.account, wanted);
    let signing = account::signing(inputs.account);

    let changes = build
        .metadata
        .annotations
        .get(BUILD_CHANGES_ANNOTATION)
        .map_or("", String::as_str);
    let last = wanted.last_build.as_ref().map_or("", |last| last.image.as_str());
    let fixed = [
        "--run-image",
        run_image(inputs),
        "--last-built-image",
        last,
        "--report",
        "/var/report/report.toml",
    ];
    let arguments: Vec<&str> = fixed
        .into_iter()
        .chain(
            secrets
                .arguments
                .iter()
                .chain(&pulling.arguments)
                .chain(&wanted.tags)
                .map(String::as_str),
        )
        .collect();
    let mounts: Vec<Value> = secrets
        .mounts
        .iter()
        .chain(&pulling.mounts)
        .cloned()
        .chain([volumes::report()])
        .collect();
    let mut rebase = step(inputs, "rebase", &inputs.options.images.rebase, "/cnb/process/rebase");
    rebase["args"] = json!(arguments);
    rebase["env"] = json!([EnvVar::new("BUILD_CHANGES", changes)]);
    rebase["workingDir"] = json!(volumes::WORKSPACE);
    rebase["volumeMounts"] = json!(mounts);

    let mut all_volumes = secrets.volumes.clone();
    all_volumes.extend(
        signing
            .volumes
            .iter()
            .filter(|volume| !secrets.volumes.contains(volume))
            .cloned(),
    );
    all_volumes.extend(pulling.volumes.iter().cloned());
    all_volumes.extend([volumes::empty("report-dir"), volumes::notary(wanted)]);

    let mut spec = json!({
        "initContainers": [rebase],
        "containers": [completion(inputs, &secrets, &signing, Home::Absent)],
        "volumes": all_volumes,
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
    });
    schedule(&mut spec, build);
    spec
}
