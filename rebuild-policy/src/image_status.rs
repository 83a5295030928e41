//! How an Image stands: conditions and status fields.

use crate::decide::BuilderView;
use crate::key::{BUILD_REASON_ANNOTATION, IMAGE_GENERATION_LABEL};
use crate::next_build::build_number;
use crate::resource::{Build, Condition, ConditionStatus, Conditions, Image, ImageStatus, SourceResolver};

/// Name of the condition that tells whether the image is as wanted.
const READY: &str = "Ready";

/// Returns the status of an Image whose builder does not exist: the old one, with one condition.
pub fn builder_missing_status(image: &Image, now: &str) -> ImageStatus {
    let builder = &image.spec.builder;
    let message = format!(
        "Error: Unable to find builder '{}' in namespace '{}'.",
        builder.name, builder.namespace
    );
    ImageStatus {
        observed_generation: image.metadata.generation,
        conditions: vec![Condition::new(
            READY,
            ConditionStatus::False,
            "BuilderNotFound",
            &message,
            now,
        )],
        ..image.status.clone()
    }
}

/// Returns the status of an Image while its newest Build runs: the old one, with new conditions.
///
/// # Deviation
/// The reference keeps `latestBuildRef`, `buildCounter` and so on as they are, so that a lost status write leaves them
/// empty until the build ends; here they always name the running Build.
pub fn running_status(image: &Image, build: &Build, builder: BuilderView<'_>, now: &str) -> ImageStatus {
    let message = match build.status.conditions.condition("Succeeded") {
        Some(condition) => condition.message.clone(),
        None => executing(&build.metadata.name),
    };
    let ready = Condition::new(READY, ConditionStatus::Unknown, "BuildRunning", &message, now);
    ImageStatus {
        observed_generation: image.metadata.generation,
        conditions: with_builder(ready, builder, now),
        latest_build_ref: build.metadata.name.clone(),
        latest_build_image_generation: image_generation(build),
        build_counter: build_number(build).unwrap_or(image.status.build_counter),
        latest_build_reason: reason(build),
        ..image.status.clone()
    }
}

/// Returns the status of an Image for which `created` has just been created.
pub fn created_status(
    image: &Image,
    created: &Build,
    last: Option<&Build>,
    builder: BuilderView<'_>,
    cache_claim: &str,
    now: &str,
) -> ImageStatus {
    let message = executing(&created.metadata.name);
    let ready = Condition::new(READY, ConditionStatus::Unknown, "BuildRunning", &message, now);
    ImageStatus {
        latest_stack: String::new(),
        ..status(
            image,
            Some(created),
            last,
            with_builder(ready, builder, now),
            cache_claim,
        )
    }
}

/// Returns the status of an Image that needs no build, or of which nobody can tell yet.
pub fn settled_status(
    image: &Image,
    last: Option<&Build>,
    source: &SourceResolver,
    builder: BuilderView<'_>,
    cache_claim: &str,
    now: &str,
) -> ImageStatus {
    let ready = settled(last, source, builder, now);
    status(image, last, last, with_builder(ready, builder, now), cache_claim)
}

fn status(
    image: &Image,
    shown: Option<&Build>,
    last: Option<&Build>,
    conditions: Vec<Condition>,
    cache_claim: &str,
) -> ImageStatus {
    let success = last.filter(|build| build.is_success());
    ImageStatus {
        observed_generation: image.metadata.generation,
        conditions,
        latest_build_ref: shown.map(|build| build.metadata.name.clone()).unwrap_or_default(),
        latest_build_image_generation: shown.map(image_generation).unwrap_or_default(),
        latest_image: success.map_or_else(
            || image.status.latest_image.clone(),
            |build| build.status.latest_image.clone(),
        ),
        latest_stack: success.map(|build| build.status.stack.id.clone()).unwrap_or_default(),
        build_counter: shown.and_then(|build| build_number(build).ok()).unwrap_or(0),
        build_cache_name: cache_claim.to_owned(),
        latest_build_reason: shown.map(reason).unwrap_or_default(),
    }
}

fn settled(last: Option<&Build>, source: &SourceResolver, builder: BuilderView<'_>, now: &str) -> Condition {
    let condition = |status, reason, message: &str| Condition::new(READY, status, reason, message, now);
    if !builder.is_ready() {
        let message = builder_not_ready(builder);
        return condition(ConditionStatus::False, "BuilderNotReady", &message);
    }
    if !source.is_ready() {
        let message = format!("Error: SourceResolver '{}' is not ready", source.metadata.name);
        return condition(ConditionStatus::Unknown, "ResolverNotReady", &message);
    }
    let Some(last) = last else {
        return condition(ConditionStatus::Unknown, "UnknownState", "Error: Build status unknown");
    };
    let outcome = last.status.conditions.condition_message("Succeeded");
    if last.is_success() {
        return condition(ConditionStatus::True, "UpToDate", outcome);
    }
    let (name, namespace) = (&last.metadata.name, &last.metadata.namespace);
    let message = format!("Error: Build '{name}' in namespace '{namespace}' failed: {outcome}");
    condition(last.succeeded(), "BuildFailed", &message)
}

fn with_builder(ready: Condition, builder: BuilderView<'_>, now: &str) -> Vec<Condition> {
    let builder_ready = if builder.is_ready() {
        Condition::new("BuilderReady", ConditionStatus::True, "BuilderReady", "", now)
    } else {
        let message = builder_not_ready(builder);
        Condition::new("BuilderReady", ConditionStatus::False, "BuilderNotReady", &message, now)
    };
    let up_to_date = if builder.is_up_to_date() {
        Condition::new("BuilderUpToDate", ConditionStatus::True, "BuilderUpToDate", "", now)
    } else {
        let message = "Builder is not up to date. The latest stack and buildpacks may not be in use.";
        Condition::new(
            "BuilderUpToDate",
            ConditionStatus::False,
            "BuilderNotUpToDate",
            message,
            now,
        )
    };
    vec![ready, builder_ready, up_to_date]
}

fn builder_not_ready(builder: BuilderView<'_>) -> String {
    let (name, namespace) = (&builder.metadata.name, &builder.metadata.namespace);
    let mut message = format!("Error: Builder '{name}' is not ready in namespace '{namespace}'");
    let cause = builder.ready_message();
    if !cause.is_empty() {
        message.push_str("; Message: ");
        message.push_str(cause);
    }
    message
}

fn image_generation(build: &Build) -> i64 {
    let label = build.metadata.labels.get(IMAGE_GENERATION_LABEL);
    label.and_then(|generation| generation.parse().ok()).unwrap_or(0)
}

fn reason(build: &Build) -> String {
    build
        .metadata
        .annotations
        .get(BUILD_REASON_ANNOTATION)
        .cloned()
        .unwrap_or_default()
}

fn executing(build: &str) -> String {
    format!("Build '{build}' is executing")
}
