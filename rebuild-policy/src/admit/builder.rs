//! Rules of Builders and ClusterBuilders.

use super::{AdmissionContext, Admit, FieldErrors, parts};
use crate::resource::{Builder, ClusterBuilder, GroupEntry, ObjectReference, OrderEntry};

impl Admit for Builder {
    fn set_defaults(&mut self, _context: AdmissionContext<'_>) {
        self.spec.set_defaults();
    }

    fn validate(&self, _old: Option<&Self>, _context: AdmissionContext<'_>) -> FieldErrors {
        let spec = &self.spec;
        let mut errors = common("spec.", &spec.tag, &spec.stack, &spec.store, &spec.order);
        if spec.account().is_empty() {
            errors.missing("spec.serviceAccountName");
        }
        errors
    }
}

impl Admit for ClusterBuilder {
    fn set_defaults(&mut self, _context: AdmissionContext<'_>) {
        self.spec.set_defaults();
    }

    fn validate(&self, _old: Option<&Self>, _context: AdmissionContext<'_>) -> FieldErrors {
        let spec = &self.spec;
        let mut account = FieldErrors::default();
        parts::account(&spec.service_account_ref, &mut account);
        if !account.is_empty() {
            return account;
        }
        // The reference leaves `spec.` out of these paths.
        common("", &spec.tag, &spec.stack, &spec.store, &spec.order)
    }
}

fn common(
    prefix: &str,
    tag: &str,
    stack: &ObjectReference,
    store: &ObjectReference,
    order: &[OrderEntry],
) -> FieldErrors {
    let mut errors = FieldErrors::default();
    parts::required_tag(tag, &format!("{prefix}tag"), &mut errors);
    if stack.name.is_empty() {
        errors.missing(&format!("{prefix}stack.name"));
    } else if stack.kind != "ClusterStack" {
        errors.invalid(&stack.kind, &format!("{prefix}stack.kind"));
    }
    let store_given = !(store.name.is_empty() && store.kind.is_empty());
    if store_given && store.kind != "ClusterStore" {
        kind(&store.kind, &format!("{prefix}store.kind"), "ClusterStore", &mut errors);
    }
    for (index, group) in order.iter().enumerate() {
        for (position, entry) in group.group.iter().enumerate() {
            group_entry(entry, &format!("{prefix}order[{index}].group[{position}]"), &mut errors);
        }
    }
    errors
}

fn group_entry(entry: &GroupEntry, path: &str, errors: &mut FieldErrors) {
    let reference = &entry.reference;
    if !entry.image.is_empty() {
        let path = format!("{path}.image reference currently not supported");
        errors.add("must not set the field(s)", &[&path], "");
    } else if !reference.name.is_empty() || !reference.kind.is_empty() {
        if !["Buildpack", "ClusterBuildpack"].contains(&reference.kind.as_str()) {
            kind(
                &reference.kind,
                &format!("{path}.kind"),
                "Buildpack, ClusterBuildpack",
                errors,
            );
        }
    } else if entry.id.is_empty() {
        let paths = ["id", "image", "name + kind"].map(|field| format!("{path}.{field}"));
        errors.neither(&paths.each_ref().map(String::as_str));
    }
}

fn kind(given: &str, path: &str, allowed: &str, errors: &mut FieldErrors) {
    errors.add(
        format!("invalid value: {given}"),
        &[path],
        format!("must be one of {allowed}"),
    );
}
