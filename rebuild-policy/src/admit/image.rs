//! Rules of Images.

use registry_auth::Reference;

use super::{AdmissionContext, Admit, FieldErrors, parts};
use crate::resource::{Image, ImageBuild, ImageSpec, ImageVolumeCache};

impl Admit for Image {
    fn set_defaults(&mut self, context: AdmissionContext<'_>) {
        self.spec.set_defaults(context.has_default_storage_class);
    }

    fn validate(&self, old: Option<&Self>, context: AdmissionContext<'_>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        let spec = &self.spec;
        name(&self.metadata.name, &mut errors);
        match old {
            None => parts::required_tag(&spec.tag, "spec.tag", &mut errors),
            Some(old) if old.spec.tag != spec.tag => {
                errors.immutable("spec.tag", &spec.tag, &old.spec.tag);
            }
            Some(_) => {}
        }
        additional_tags(spec, &mut errors);
        builder(spec, &mut errors);
        parts::source(&spec.source, "spec.source", &mut errors);
        if let Some(build) = &spec.build {
            validate_build(build, context, &mut errors);
        }
        cache(spec, old.map(|old| &old.spec), context, &mut errors);
        history_limits(spec, &mut errors);
        parts::notary(spec.notary.as_ref(), context, &mut errors);
        cosign(spec, &mut errors);
        errors
    }
}

/// The name becomes a label, so it must be able to be one.
fn name(name: &str, errors: &mut FieldErrors) {
    let mut problems = Vec::new();
    if name.len() > 63 {
        problems.push("must be no more than 63 characters");
    }
    let bytes = name.as_bytes();
    let inner = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    let ends = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    if !(bytes.iter().all(inner) && ends(bytes.first()) && ends(bytes.last())) {
        problems.push(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
             start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used \
             for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        );
    }
    if !problems.is_empty() {
        let message = format!("invalid image name: {name}, name must be a valid label");
        errors.add(message, &["metadata.name"], problems.join(","));
    }
}

fn additional_tags(spec: &ImageSpec, errors: &mut FieldErrors) {
    let mut other_registry = None;
    let registry = parts::parse_tag(&spec.tag).map(|tag| tag.registry().clone());
    for (index, text) in spec.additional_tags.iter().enumerate() {
        match (parts::parse_tag(text), &registry) {
            (None, _) => errors.invalid(text, &format!("spec.additionalTags[{index}]")),
            (Some(tag), Some(registry)) if tag.registry() != registry => {
                other_registry.get_or_insert_with(|| {
                    format!("expected registry: {registry}, got: {}", Reference::registry(&tag))
                });
            }
            _ => {}
        }
    }
    if let Some(details) = other_registry {
        let message = "all additionalTags must have the same registry as tag";
        errors.add(message, &["spec.additionalTags"], details);
    }
}

fn builder(spec: &ImageSpec, errors: &mut FieldErrors) {
    if spec.builder.name.is_empty() {
        errors.missing("spec.builder.name");
    } else if !["Builder", "ClusterBuilder"].contains(&spec.builder.kind.as_str()) {
        errors.invalid(&spec.builder.kind, "spec.builder.kind");
    }
}

fn validate_build(build: &ImageBuild, context: AdmissionContext<'_>, errors: &mut FieldErrors) {
    parts::services(&build.services, "spec.build.services", errors);
    parts::cnb_bindings(&build.cnb_bindings, "spec.build.cnbBindings", context, errors);
    parts::env(&build.env, "spec.build.env", errors);
    if build.node_selector.contains_key(parts::OS_LABEL) {
        // The reference looks no further then.
        return parts::node_selector(&build.node_selector, "spec.build.nodeSelector", errors);
    }
    let time = &build.creation_time;
    if !time.is_empty() && time != "now" && time.parse::<i64>().is_err() {
        errors.invalid(time, "spec.build.creationTime");
    }
}

fn cache(spec: &ImageSpec, old: Option<&ImageSpec>, context: AdmissionContext<'_>, errors: &mut FieldErrors) {
    let Some(cache) = &spec.cache else { return };
    parts::one_cache(cache.volume.is_some(), cache.registry.is_some(), errors);
    let Some(volume) = &cache.volume else { return };
    if volume.storage_class_name.is_empty() && !context.has_default_storage_class {
        let message =
            "spec.cache.volume.size cannot be set without spec.cache.volume.storageClassName or a default StorageClass";
        errors.add(message, &[""], "");
    }
    if let Some(old) = old.and_then(|old| old.cache.as_ref()?.volume.as_ref()) {
        changed_volume(volume, old, errors);
    }
}

fn changed_volume(volume: &ImageVolumeCache, old: &ImageVolumeCache, errors: &mut FieldErrors) {
    if let (Some(new), Some(old)) = (&volume.size, &old.size)
        && new < old
    {
        let details = format!("current: {old}, requested: {new}");
        return errors.add("Field cannot be decreased", &["spec.cache.volume.size"], details);
    }
    if volume.storage_class_name != old.storage_class_name {
        errors.immutable(
            "spec.cache.volume.storageClassName",
            &volume.storage_class_name,
            &old.storage_class_name,
        );
    }
}

fn history_limits(spec: &ImageSpec, errors: &mut FieldErrors) {
    let message = "build history limit must be greater than 0";
    if spec.failed_build_history_limit.is_some_and(|limit| limit < 1) {
        errors.add(message, &["spec.failedBuildHistoryLimit"], "");
    } else if spec.success_build_history_limit.is_some_and(|limit| limit < 1) {
        errors.add(message, &["spec.successBuildHistoryLimit"], "");
    }
}

fn cosign(spec: &ImageSpec, errors: &mut FieldErrors) {
    let annotations = spec.cosign.iter().flat_map(|cosign| &cosign.annotations);
    for (index, annotation) in annotations.enumerate() {
        for (field, value) in [("name", &annotation.name), ("value", &annotation.value)] {
            if value.is_empty() {
                errors.missing(&format!("spec.cosign.annotations[{index}].{field}"));
            }
        }
    }
}
