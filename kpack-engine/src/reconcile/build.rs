//! Build: its pod, and what came out of it.

use rebuild_policy::{
    Build, BuildStatus, Builder, ClusterBuilder, ImageFacts, LookupError, ObjectReference, PodWorld,
    build_rejected_status, build_status, failed_step, plan_pod, pod_name,
};
use serde_json::Value;

use super::context::{Context, typed};
use super::{Account, Key, Outcome, ReconcileError};
use crate::{Kind, Object, Selector};

pub(super) fn reconcile(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(build) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let mut build: Build = build;
    build.spec.set_defaults();
    let status = if build.is_running() {
        step(context, &build)?
    } else {
        BuildStatus {
            observed_generation: build.metadata.generation,
            ..build.status.clone()
        }
    };
    context.write_status(&build, status)?;
    Ok(Outcome::default())
}

fn step(context: Context<'_>, build: &Build) -> Result<BuildStatus, ReconcileError> {
    let now = context.now();
    let namespace = Some(build.metadata.namespace.as_str());
    let pod = match context.resources.get(Kind::Pod, namespace, &pod_name(build))? {
        Some(pod) => pod,
        None => match create_pod(context, build)? {
            Ok(pod) => pod,
            Err(message) => return Ok(build_rejected_status(build, &message, &now)),
        },
    };
    if context.options.pods.injected_sidecar_support {
        care_for_sidecars(context, &pod)?;
    }
    let log = failed_step(pod.as_value()).and_then(|step| context.options.logs.read(&pod, &step));
    match build_status(build, pod.as_value(), log.as_deref(), &now) {
        Ok(status) => Ok(status),
        // The reference tries again for ever; but the pod will never say anything else.
        Err(error) => Ok(build_rejected_status(build, &error.to_string(), &now)),
    }
}

/// Makes the pod. A Build that cannot have one has failed: the inner error is its message.
fn create_pod(context: Context<'_>, build: &Build) -> Result<Result<Object, String>, ReconcileError> {
    let now = (context.options.clock)();
    let pod = match plan_pod(build, &World(context), &context.options.pods, now) {
        Ok(pod) => Object::from_value(pod)?,
        Err(error) if error.is_retryable() => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    match context.resources.create(pod) {
        Ok(pod) => Ok(Ok(pod)),
        Err(error @ crate::ApiError::Invalid { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Starts the steps when all sidecars are ready, and ends the pod when the last step is through.
fn care_for_sidecars(context: Context<'_>, pod: &Object) -> Result<(), ReconcileError> {
    let list = |pointer: &str| {
        pod.pointer(pointer)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let statuses = list("/status/containerStatuses");
    let ready = statuses.iter().filter(|status| status["ready"] == true).count();
    if ready > 0 && ready == list("/spec/containers").len() && pod.annotation(READY).is_none() {
        let mut pod = pod.clone();
        pod.set_annotation(READY, "true");
        context.resources.update(pod)?;
    }
    let completed = statuses
        .iter()
        .any(|status| status["name"] == "completion" && status["state"]["terminated"].is_object());
    if completed && pod.text("/status/phase") == Some("Running") {
        let mut value = pod.as_value().clone();
        if value["spec"]["activeDeadlineSeconds"] != 1 {
            value["spec"]["activeDeadlineSeconds"] = 1.into();
            context.resources.update(Object::from_value(value)?)?;
        }
    }
    Ok(())
}

/// Set on a pod whose sidecars are ready.
const READY: &str = "build.kpack.io/ready";

/// Reads the builder of a Build, as its pod would have it.
#[cfg(test)]
pub(super) fn builder_of(
    resources: &dyn crate::Resources,
    options: &super::ReconcileOptions,
    build: &Build,
) -> Result<rebuild_policy::BuilderImage, rebuild_policy::PodError> {
    rebuild_policy::read_builder(build, &World(Context { resources, options }))
}

/// The cluster and the registry, for the plan of a pod.
struct World<'a>(Context<'a>);

impl World<'_> {
    fn object(&self, kind: Kind, namespace: Option<&str>, name: &str) -> Result<Option<Object>, LookupError> {
        self.0.resources.get(kind, namespace, name).map_err(lookup)
    }
}

fn lookup(error: impl std::fmt::Display) -> LookupError {
    LookupError {
        problem: error.to_string(),
        retryable: true,
    }
}

impl PodWorld for World<'_> {
    fn service_accounts(&self, namespace: &str) -> Result<Vec<Value>, LookupError> {
        let accounts = self
            .0
            .resources
            .list(Kind::ServiceAccount, Some(namespace), &Selector::everything());
        Ok(accounts
            .map_err(lookup)?
            .items
            .into_iter()
            .map(Object::into_value)
            .collect())
    }

    fn secret(&self, namespace: &str, name: &str) -> Result<Option<Value>, LookupError> {
        Ok(self
            .object(Kind::Secret, Some(namespace), name)?
            .map(Object::into_value))
    }

    fn builder(&self, namespace: &str, name: &str) -> Result<Option<Builder>, LookupError> {
        let object = self.object(Kind::Builder, Some(namespace), name)?;
        object.map(|object| typed(&object)).transpose().map_err(lookup)
    }

    fn cluster_builder(&self, name: &str) -> Result<Option<ClusterBuilder>, LookupError> {
        let object = self.object(Kind::ClusterBuilder, None, name)?;
        object.map(|object| typed(&object)).transpose().map_err(lookup)
    }

    fn service(&self, namespace: &str, reference: &ObjectReference) -> Result<Option<Value>, LookupError> {
        // Kinds that the engine does not serve have no objects.
        let Some(kind) = Kind::of_object(&reference.api_version, &reference.kind) else {
            return Ok(None);
        };
        Ok(self
            .object(kind, Some(namespace), &reference.name)?
            .map(Object::into_value))
    }

    fn image(
        &self,
        image: &str,
        (namespace, name): (&str, &str),
        pull_secrets: &[String],
    ) -> Result<ImageFacts, LookupError> {
        let account = Account::read(self.0.resources, namespace, name, pull_secrets).map_err(lookup)?;
        self.0
            .options
            .warehouse
            .facts(image, &account)
            .map_err(|error| LookupError {
                // As in the reference, a builder that is not there is not waited for: the Image may get another Build then.
                retryable: error.retryable && !error.absent,
                problem: error.message,
            })
    }
}
