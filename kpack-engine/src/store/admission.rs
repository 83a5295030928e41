//! Defaults and rules of kpack's own kinds, as kpack's webhooks apply them.

use rebuild_policy::{AdmissionContext, Operation, Refusal, admit as decide};

use super::request::WriteOptions;
use super::shared::Shared;
use crate::{ApiError, Kind, Object};

/// What admission made of an object.
pub(super) struct Admitted {
    pub(super) object: Object,
    pub(super) warnings: Vec<String>,
}

/// Defaults and checks an object of kpack; objects of other kinds, and those that no webhook sees, pass as they are.
pub(super) fn admit(
    shared: &Shared,
    object: Object,
    old: Option<&Object>,
    options: &WriteOptions,
) -> Result<Admitted, ApiError> {
    if !object.kind().is_kpack() || !options.intercepted {
        return Ok(Admitted {
            object,
            warnings: Vec::new(),
        });
    }
    let operation = old.map_or(Operation::Create, |old| Operation::Update(old.as_value()));
    let admission =
        decide(object.as_value(), operation, context(shared, options)).map_err(|refusal| denied(&refusal))?;
    let mut admitted = Object::from_value(admission.object).map_err(|error| ApiError::Internal {
        message: format!("admission broke {object}: {error}"),
    })?;
    // Metadata is not kpack's: it stays as it came.
    admitted.metadata_mut().clone_from(object.metadata());
    Ok(Admitted {
        object: admitted,
        warnings: admission.warnings,
    })
}

/// Refuses a status that reconcilers could not read: they would leave the object alone for ever.
pub(super) fn check_status(
    shared: &Shared,
    new: &Object,
    old: &Object,
    options: &WriteOptions,
) -> Result<(), ApiError> {
    if !new.kind().is_kpack() || !options.intercepted {
        return Ok(());
    }
    match decide(
        new.as_value(),
        Operation::Update(old.as_value()),
        context(shared, options),
    ) {
        Err(refusal @ Refusal::Decode { .. }) => Err(denied(&refusal)),
        // What is wrong with the rest is no reason not to say how it stands.
        _ => Ok(()),
    }
}

fn context<'a>(shared: &Shared, options: &'a WriteOptions) -> AdmissionContext<'a> {
    AdmissionContext {
        user: &options.caller.username,
        has_default_storage_class: has_default_storage_class(shared),
    }
}

fn denied(refusal: &Refusal) -> ApiError {
    let webhook = match refusal {
        Refusal::Decode { .. } => "defaults.webhook.kpack.io",
        _ => "validation.webhook.kpack.io",
    };
    ApiError::Denied {
        webhook: webhook.to_owned(),
        message: refusal.to_string(),
    }
}

fn has_default_storage_class(shared: &Shared) -> bool {
    let (classes, _) = shared.of_kind(Kind::StorageClass, None);
    classes
        .iter()
        .any(|class| class.annotation("storageclass.kubernetes.io/is-default-class") == Some("true"))
}
