//! The Pod that does a Build.

mod account;
mod bindings;
mod builder_image;
mod containers;
mod error;
mod platform_api;
mod rebase;
mod sidecar;
mod volumes;
mod world;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use account::{BuildAccount, PodSecret};
pub use bindings::Binding;
pub use builder_image::BuilderImage;
pub use error::PodError;
pub use platform_api::PlatformApi;
pub use world::{ImageFacts, LookupError, PodWorld, plan_pod, read_builder};

use crate::key::BUILD_LABEL;
use crate::name::child_name;
use crate::rebase::is_rebase;
use crate::resource::{Build, EnvVar, OwnerReference};

/// The images that hold the helper programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelperImages {
    /// Runs `prepare`.
    pub build_init: String,
    /// Runs `completion`.
    pub completion: String,
    /// Runs `rebase`.
    pub rebase: String,
    /// Lets steps wait for each other where sidecars are injected.
    pub build_waiter: String,
}

/// Choices that hold for all pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodOptions {
    /// The helper images.
    pub images: HelperImages,
    /// The newest platform API to use; `None` = no limit.
    pub maximum_platform_api: Option<PlatformApi>,
    /// Whether SSH servers with unknown keys are trusted.
    pub ssh_trust_unknown_hosts: bool,
    /// Whether steps are ordinary containers that wait for each other, so that injected sidecars can run beside them.
    pub injected_sidecar_support: bool,
}

/// Everything that a pod is made from.
#[derive(Clone, Copy, Debug)]
pub struct PodInputs<'a> {
    /// The build.
    pub build: &'a Build,
    /// Its service account's secrets.
    pub account: &'a BuildAccount,
    /// Its builder image.
    pub builder: &'a BuilderImage,
    /// Its service bindings.
    pub bindings: &'a [Binding],
    /// Choices that hold for all pods.
    pub options: &'a PodOptions,
    /// The present time: what a creation time of `now` means.
    pub now: Timestamp,
}

/// Returns the name of the pod of a Build.
pub fn pod_name(build: &Build) -> String {
    child_name(&build.metadata.name, "-build-pod")
}

/// Makes the Pod of a Build: a rebase where that is enough, else the phases of a build one after the other.
///
/// # Errors
/// When the builder speaks no platform API that can be used here, the first tag is no image reference or the creation
/// time is none; and when a variable takes its value from a secret.
///
/// # Deviation
/// The reference leaves secrets in the environment to admission alone: a Build that was stored without it would get them.
pub fn build_pod(inputs: &PodInputs<'_>) -> Result<Value, PodError> {
    without_secrets(&inputs.build.spec.env)?;
    let platform_api = platform_api::choose(&inputs.builder.platform_apis, inputs.options.maximum_platform_api)?;
    let spec = if is_rebase(inputs.build, &inputs.builder.stack_id) {
        rebase::spec(inputs)
    } else {
        containers::spec(inputs, platform_api)?
    };
    Ok(pod(inputs, spec))
}

/// What the environment of a build holds, buildpacks see, print and keep: no place for secrets.
fn without_secrets(env: &[EnvVar]) -> Result<(), PodError> {
    let is_secret = |variable: &EnvVar| {
        let from = variable.value_from.as_ref();
        from.is_some_and(|from| from.secret_key_ref.is_some())
    };
    match env.iter().position(is_secret) {
        Some(index) => Err(PodError::SecretValue {
            index,
            variable: env[index].name.clone(),
        }),
        None => Ok(()),
    }
}

fn pod(inputs: &PodInputs<'_>, mut spec: Value) -> Value {
    let build = inputs.build;
    let mut labels = build.metadata.labels.clone();
    labels.insert(BUILD_LABEL.to_owned(), build.metadata.name.clone());
    let mut annotations = build.metadata.annotations.clone();
    if inputs.options.injected_sidecar_support {
        sidecar::inject(&mut spec, &inputs.options.images.build_waiter);
    } else {
        annotations.insert("sidecar.istio.io/inject".to_owned(), "false".to_owned());
    }
    let mut metadata = json!({
        "name": pod_name(build),
        "namespace": build.metadata.namespace,
        "labels": labels,
        "ownerReferences": [OwnerReference::controller_of("Build", &build.metadata)],
    });
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {}})
}

/// Adds the scheduling fields that every pod takes over from its Build.
fn schedule(spec: &mut Value, build: &Build) {
    let wanted = &build.spec;
    let mut set = |name: &str, value: Value| {
        let empty = match &value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty() && name != "affinity",
            _ => false,
        };
        if !empty {
            spec[name] = value;
        }
    };
    set("restartPolicy", json!("Never"));
    set("serviceAccountName", json!(wanted.service_account_name));
    set("priorityClassName", json!(wanted.priority_class_name));
    set("nodeSelector", json!(wanted.node_selector));
    set("tolerations", json!(wanted.tolerations));
    set("affinity", json!(wanted.affinity));
    set("runtimeClassName", json!(wanted.runtime_class_name));
    set("schedulerName", json!(wanted.scheduler_name));
}

/// The security context of every step.
fn step_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "allowPrivilegeEscalation": false,
        "privileged": false,
        "seccompProfile": {"type": "RuntimeDefault"},
        "capabilities": {"drop": ["ALL"]},
    })
}
