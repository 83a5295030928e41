//! Rules of Builds.

use serde::Serialize;
use serde_json::Value;

use super::{AdmissionContext, Admit, FieldErrors, parts};
use crate::go_fields::position;
use crate::resource::{Build, BuildSpec};

impl Admit for Build {
    fn set_defaults(&mut self, _context: AdmissionContext<'_>) {
        self.spec.set_defaults();
    }

    fn validate(&self, old: Option<&Self>, context: AdmissionContext<'_>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        let spec = &self.spec;
        if let Some(old) = old
            && old.spec != *spec
        {
            let message = "Immutable fields changed (-old +new)";
            errors.add(message, &["spec.spec"], differences(&old.spec, spec));
            return errors;
        }
        tags(spec, &mut errors);
        builder(spec, &mut errors);
        parts::source(&spec.source, "spec.source", &mut errors);
        parts::services(&spec.services, "spec.services", &mut errors);
        parts::cnb_bindings(&spec.cnb_bindings, "spec.cnbBindings", context, &mut errors);
        parts::env(&spec.env, "spec.env", &mut errors);
        parts::node_selector(&spec.node_selector, "spec.nodeSelector", &mut errors);
        parts::notary(spec.notary.as_ref(), context, &mut errors);
        if let Some(last) = spec.last_build.as_ref().filter(|last| !last.image.is_empty()) {
            parts::required_image(&last.image, "spec.lastBuild.image", &mut errors);
        }
        if let Some(cache) = &spec.cache {
            parts::one_cache(cache.volume.is_some(), cache.registry.is_some(), &mut errors);
        }
        errors
    }
}

fn tags(spec: &BuildSpec, errors: &mut FieldErrors) {
    if spec.tags.is_empty() {
        errors.missing("spec.tags");
    }
    for (index, tag) in spec.tags.iter().enumerate() {
        if parts::parse_tag(tag).is_none() {
            errors.invalid(tag, &format!("spec.tags[{index}]"));
        }
    }
}

fn builder(spec: &BuildSpec, errors: &mut FieldErrors) {
    let builder = &spec.builder;
    match (builder.image.as_str(), &builder.reference) {
        ("", None) => {
            errors.missing("spec.builder.image");
            errors.missing("spec.builder.ref");
        }
        ("", Some(reference)) => {
            if reference.name.is_empty() {
                errors.missing("spec.builder.ref.name");
            }
            if reference.kind.is_empty() {
                errors.missing("spec.builder.ref.kind");
            }
        }
        (image, None) => parts::required_image(image, "spec.builder.image", errors),
        (_, Some(_)) => errors.both(&["spec.builder.image", "spec.builder.ref"]),
    }
}

/// Lists what differs between two specs: the path of each value, what it was and what it is.
fn differences(old: &impl Serialize, new: &impl Serialize) -> String {
    let (Ok(old), Ok(new)) = (serde_json::to_value(old), serde_json::to_value(new)) else {
        return String::new();
    };
    let mut found = Vec::new();
    compare(&old, &new, "", &mut found);
    found.concat()
}

fn compare(old: &Value, new: &Value, path: &str, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
            names.sort_unstable_by_key(|name| (position(name), *name));
            names.dedup();
            for name in names {
                let none = Value::Null;
                let (before, after) = (before.get(name).unwrap_or(&none), after.get(name).unwrap_or(&none));
                compare(before, after, &format!("{path}.{}", go_name(name)), found);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(before, after, &format!("{path}[{index}]"), found);
            }
        }
        _ if old != new => {
            let text = format!(
                "{{*v1alpha2.BuildSpec}}{path}:\n\t-: {}\n\t+: {}\n",
                go_value(old, new),
                go_value(new, old)
            );
            found.push(text);
        }
        _ => {}
    }
}

/// Returns the name of a field in Go.
fn go_name(name: &str) -> String {
    match name {
        "url" => return "URL".to_owned(),
        "uid" => return "UID".to_owned(),
        "apiVersion" => return "APIVersion".to_owned(),
        "cnbBindings" => return "CNBBindings".to_owned(),
        _ => {}
    }
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}

fn go_value(value: &Value, other: &Value) -> String {
    match (value, other) {
        (Value::String(text), _) => cnb_order::go_quoted(text),
        (Value::Null, Value::String(_)) => "\"\"".to_owned(),
        (Value::Null, Value::Array(_)) => "\"[]\"".to_owned(),
        (Value::Null, _) => "null".to_owned(),
        (other, _) => format!("\"{}\"", go_text(other)),
    }
}

fn go_text(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| (position(name), *name));
            let mut fields: Vec<String> = fields
                .into_iter()
                .map(|(name, value)| format!("{}:{}", go_name(name), go_text(value)))
                .collect();
            if fields.iter().any(|field| field.starts_with("Name:")) && fields.len() == 2 {
                fields.push("ValueFrom:nil".to_owned());
            }
            format!("{{{}}}", fields.join(" "))
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
