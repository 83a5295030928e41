//! Rules that several kinds share.

use std::collections::BTreeMap;

use registry_auth::{ParseOptions, Reference};

use super::{AdmissionContext, CONTROLLER_USER, FieldErrors, path_pattern};
use crate::resource::{CnbBinding, EnvVar, Notary, ObjectReference, SourceConfig};

/// The node label that a build may not choose.
pub(super) const OS_LABEL: &str = "kubernetes.io/os";

/// More patterns of paths than this are no honest list.
const MAX_PATTERNS: usize = 100;

/// Parses a name with a tag, never with a digest.
pub(super) fn parse_tag(text: &str) -> Option<Reference> {
    Reference::parse_tag(text, &ParseOptions::default()).ok()
}

pub(super) fn required_tag(text: &str, path: &str, errors: &mut FieldErrors) {
    if text.is_empty() {
        errors.missing(path);
    } else if parse_tag(text).is_none() {
        errors.invalid(text, path);
    }
}

pub(super) fn required_image(text: &str, path: &str, errors: &mut FieldErrors) {
    if text.is_empty() {
        errors.missing(path);
    } else if Reference::parse(text).is_err() {
        errors.invalid(text, path);
    }
}

pub(super) fn source(source: &SourceConfig, path: &str, errors: &mut FieldErrors) {
    let names = ["blob", "git", "registry"].map(|name| format!("{path}.{name}"));
    let given = [source.blob.is_some(), source.git.is_some(), source.registry.is_some()];
    let present: Vec<&str> = names
        .iter()
        .zip(given)
        .filter_map(|(name, given)| given.then_some(name.as_str()))
        .collect();
    match present.len() {
        0 => return errors.neither(&names.each_ref().map(String::as_str)),
        1 => {}
        _ => return errors.both(&present),
    }
    if let Some(git) = &source.git {
        if git.url.is_empty() {
            errors.missing(&format!("{path}.git.url"));
        }
        if git.revision.is_empty() {
            errors.missing(&format!("{path}.git.revision"));
        }
        path_patterns(&git.paths.include, &format!("{path}.git.paths.include"), errors);
        path_patterns(&git.paths.exclude, &format!("{path}.git.paths.exclude"), errors);
    }
    if let Some(blob) = &source.blob {
        if !["", "helper", "secret"].contains(&blob.auth.as_str()) {
            let message = format!("invalid value: {}", blob.auth);
            return errors.add(
                message,
                &[&format!("{path}.blob.auth")],
                "must be one of '', 'helper', or 'secret'",
            );
        }
        if blob.url.is_empty() {
            errors.missing(&format!("{path}.blob.url"));
        }
        if blob.strip_components < 0 {
            let message = format!("expected positive integer got {}", blob.strip_components);
            errors.add(message, &[&format!("{path}.blob.stripComponents")], "");
        }
    }
    if let Some(registry) = &source.registry {
        required_image(&registry.image, &format!("{path}.registry.image"), errors);
    }
}

fn path_patterns(patterns: &[String], path: &str, errors: &mut FieldErrors) {
    if patterns.len() > MAX_PATTERNS {
        let message = format!("expected at most {MAX_PATTERNS} patterns, got {}", patterns.len());
        return errors.add(message, &[path], "");
    }
    for (index, pattern) in patterns.iter().enumerate() {
        if let Some(problem) = path_pattern::problem(pattern) {
            let message = format!("invalid value: {pattern:?}");
            let details = format!("must be a pattern like a line of a .gitignore, but {problem}");
            errors.add(message, &[&format!("{path}[{index}]")], details);
        }
    }
}

pub(super) fn env(env: &[EnvVar], path: &str, errors: &mut FieldErrors) {
    for (index, variable) in env.iter().enumerate() {
        if variable
            .value_from
            .as_ref()
            .is_some_and(|from| from.secret_key_ref.is_some())
        {
            let message = "secretKeyRef is not supported for build environment variables";
            errors.add(message, &[&format!("{path}[{index}].valueFrom.secretKeyRef")], "");
        }
    }
}

pub(super) fn services(services: &[ObjectReference], path: &str, errors: &mut FieldErrors) {
    let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
    binding_names(&names, "service", path, errors);
    for (index, service) in services.iter().enumerate() {
        if service.kind.is_empty() {
            errors.missing(&format!("{path}[{index}].kind"));
        }
    }
}

pub(super) fn cnb_bindings(
    bindings: &[CnbBinding],
    path: &str,
    context: AdmissionContext<'_>,
    errors: &mut FieldErrors,
) {
    if bindings.is_empty() {
        return;
    }
    if context.user != CONTROLLER_USER {
        let message = "use of this field has been deprecated in v1alpha2, please use v1alpha1 for CNB bindings";
        return errors.add(message, &[path], "");
    }
    let names: Vec<&str> = bindings.iter().map(|binding| binding.name.as_str()).collect();
    binding_names(&names, "binding", path, errors);
    for (index, binding) in bindings.iter().enumerate() {
        match &binding.metadata_ref {
            None => errors.missing(&format!("{path}[{index}].metadataRef")),
            Some(reference) if reference.name.is_empty() => {
                errors.missing(&format!("{path}[{index}].metadataRef.name"));
            }
            Some(_) => {}
        }
        if binding
            .secret_ref
            .as_ref()
            .is_some_and(|reference| reference.name.is_empty())
        {
            errors.missing(&format!("{path}[{index}].secretRef.name"));
        }
    }
}

fn binding_names(names: &[&str], noun: &str, path: &str, errors: &mut FieldErrors) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, &name) in names.iter().enumerate() {
        let here = format!("{path}[{index}].name");
        if name.is_empty() {
            errors.missing(&here);
            continue;
        }
        if !is_binding_name(name) {
            errors.invalid(name, &here);
        }
        if let Some(first) = seen.get(name) {
            let first = format!("{path}[{first}].name");
            errors.add(format!("duplicate {noun} name \"{name}\""), &[&first, &here], "");
        } else {
            seen.insert(name, index);
        }
    }
}

/// `^[a-z0-9\-\.]{1,253}$`
fn is_binding_name(name: &str) -> bool {
    name.len() <= 253
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

pub(super) fn notary(notary: Option<&Notary>, context: AdmissionContext<'_>, errors: &mut FieldErrors) {
    let Some(notary) = notary else { return };
    if context.user != CONTROLLER_USER {
        let message = "use of this field has been deprecated in v1alpha2, please use v1alpha1 for notary image signing";
        return errors.add(message, &["spec.notary"], "");
    }
    let Some(v1) = &notary.v1 else { return };
    if v1.url.is_empty() {
        errors.missing("spec.notary.v1.url");
    }
    if v1.secret_ref.name.is_empty() {
        errors.missing("spec.notary.v1.secretRef.name");
    }
}

pub(super) fn node_selector(selector: &BTreeMap<String, String>, path: &str, errors: &mut FieldErrors) {
    if selector.contains_key(OS_LABEL) {
        errors.add(
            "invalid key name \"kubernetes.io/os\"",
            &[path],
            "os is determined automatically",
        );
    }
}

/// The account of a cluster-wide kind: name first, then namespace.
pub(super) fn account(reference: &ObjectReference, errors: &mut FieldErrors) {
    if reference.name.is_empty() {
        errors.missing("spec.serviceAccountRef.name");
    } else if reference.namespace.is_empty() {
        errors.missing("spec.serviceAccountRef.namespace");
    }
}

pub(super) fn one_cache(has_volume: bool, has_registry: bool, errors: &mut FieldErrors) {
    if has_volume && has_registry {
        let message = "only one type of cache can be specified";
        errors.add(message, &["spec.cache.volume", "spec.cache.registry"], "");
    }
}
