//! Builder and ClusterBuilder: an image of a stack, a lifecycle and buildpacks.

use std::collections::BTreeMap;

use cnb_order::OwnerKind;
use rebuild_policy::{
    Builder, BuilderStatus, Buildpack, ClusterBuilder, ClusterBuildpack, ClusterLifecycle, ClusterStack, ClusterStore,
    ObjectReference, OrderEntry, Resource, builder_failed_status, builder_ready_conditions, resolved_builder_tag,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{Context, is_ready, typed};
use super::{Account, BuilderInputs, BuilderRecord, Held, Key, Outcome, ReconcileError};
use crate::{Kind, Selector};

/// What both kinds of builder want.
struct Wanted<'a> {
    /// Empty for a ClusterBuilder.
    namespace: &'a str,
    name: &'a str,
    tag: &'a str,
    stack: &'a ObjectReference,
    lifecycle: &'a ObjectReference,
    store: &'a ObjectReference,
    order: &'a [OrderEntry],
    additional_labels: &'a BTreeMap<String, String>,
    /// Namespace and name of the account.
    account: (&'a str, &'a str),
}

/// A builder that was made, and what from.
struct Made {
    record: BuilderRecord,
    stack_generation: i64,
    store_generation: i64,
}

pub(super) fn reconcile(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(builder) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let builder: Builder = builder;
    let mut spec = builder.spec.clone();
    spec.set_defaults();
    let wanted = Wanted {
        namespace: key.namespace(),
        name: &key.name,
        tag: &spec.tag,
        stack: &spec.stack,
        lifecycle: &spec.lifecycle,
        store: &spec.store,
        order: &spec.order,
        additional_labels: &spec.additional_labels,
        // As given: admission has put in a default; one that is empty still was taken away on purpose.
        account: (key.namespace(), builder.spec.account()),
    };
    write(context, &builder, make(context, &wanted))
}

pub(super) fn reconcile_cluster(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(builder) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let builder: ClusterBuilder = builder;
    let mut spec = builder.spec.clone();
    spec.set_defaults();
    let wanted = Wanted {
        namespace: "",
        name: &key.name,
        tag: &spec.tag,
        stack: &spec.stack,
        lifecycle: &spec.lifecycle,
        store: &spec.store,
        order: &spec.order,
        additional_labels: &spec.additional_labels,
        account: (&spec.service_account_ref.namespace, &spec.service_account_ref.name),
    };
    write(context, &builder, make(context, &wanted))
}

fn write<S: Default + Clone + Serialize>(
    context: Context<'_>,
    builder: &Resource<S, BuilderStatus>,
    made: Result<Made, ReconcileError>,
) -> Result<Outcome, ReconcileError> {
    let now = context.now();
    let generation = builder.metadata.generation;
    match made {
        Ok(made) => {
            let status = BuilderStatus {
                observed_generation: generation,
                conditions: builder_ready_conditions(&now),
                builder_metadata: made.record.buildpacks,
                order: made.record.order,
                stack: made.record.stack,
                lifecycle: made.record.lifecycle,
                latest_image: made.record.image,
                observed_stack_generation: made.stack_generation,
                observed_store_generation: made.store_generation,
                os: made.record.os,
                signature_paths: Vec::new(),
            };
            context.write_status(builder, status)?;
            Ok(Outcome::default())
        }
        Err(error) => {
            let status = builder_failed_status(&builder.status, generation, &error.to_string(), &now);
            context.write_status(builder, status)?;
            Err(error)
        }
    }
}

fn make(context: Context<'_>, wanted: &Wanted<'_>) -> Result<Made, ReconcileError> {
    let is_cluster = wanted.namespace.is_empty();
    let store: Option<ClusterStore> = match wanted.store.name.as_str() {
        "" => None,
        name => Some(context.referenced(Kind::ClusterStore, None, name)?),
    };
    let stack: ClusterStack = context.referenced(Kind::ClusterStack, None, &wanted.stack.name)?;
    if !is_ready(&stack.status.conditions) {
        let name = &wanted.stack.name;
        return Err(ReconcileError::Precondition(if is_cluster {
            format!("stack {name} is not ready")
        } else {
            format!("Error: clusterstack '{name}' is not ready")
        }));
    }
    let lifecycle: ClusterLifecycle = context.referenced(Kind::ClusterLifecycle, None, &wanted.lifecycle.name)?;
    if !is_ready(&lifecycle.status.conditions) {
        let message = format!("Error: clusterlifecycle '{}' is not ready", wanted.lifecycle.name);
        return Err(ReconcileError::Precondition(message));
    }
    let account = existing_account(context, wanted.account)?;
    let tag = resolved_builder_tag(wanted.tag, wanted.namespace, wanted.name)
        .ok_or_else(|| ReconcileError::Precondition(format!("could not parse reference: {}", wanted.tag)))?;

    // Stack, lifecycle and store are read with secrets of their own if they name an account, else with the builder's.
    let own_or_builders = |reference: Option<&ObjectReference>| match reference {
        Some(reference) => context.account(&reference.namespace, &reference.name),
        None => Ok(account.clone()),
    };
    let stack_account = own_or_builders(stack.spec.service_account_ref.as_ref())?;
    let lifecycle_account = own_or_builders(lifecycle.spec.service_account_ref.as_ref())?;
    let held = held(context, wanted.namespace, store.as_ref(), &account)?;
    let record = context.options.warehouse.builder(&BuilderInputs {
        tag: &tag,
        order: wanted.order,
        additional_labels: wanted.additional_labels,
        stack: &stack.status,
        stack_account: &stack_account,
        lifecycle: &lifecycle.status.lifecycle,
        lifecycle_account: &lifecycle_account,
        held: &held,
        account: &account,
    })?;
    Ok(Made {
        record,
        stack_generation: stack.status.observed_generation,
        store_generation: store.map(|store| store.status.observed_generation).unwrap_or_default(),
    })
}

fn existing_account(context: Context<'_>, (namespace, name): (&str, &str)) -> Result<Account, ReconcileError> {
    if name.is_empty() {
        return Err(ReconcileError::Precondition(
            "resource name may not be empty".to_owned(),
        ));
    }
    if context
        .resources
        .get(Kind::ServiceAccount, Some(namespace), name)?
        .is_none()
    {
        return Err(ReconcileError::Precondition(format!(
            "serviceaccounts \"{name}\" not found"
        )));
    }
    Ok(context.account(namespace, name)?)
}

/// The objects that buildpacks may come from, in the order of precedence; `namespace` is empty for a ClusterBuilder.
pub(super) fn held(
    context: Context<'_>,
    namespace: &str,
    store: Option<&ClusterStore>,
    account: &Account,
) -> Result<Vec<Held>, ReconcileError> {
    let mut held = Vec::new();
    let own = |reference: Option<&ObjectReference>| match reference {
        Some(reference) => context.account(&reference.namespace, &reference.name),
        None => Ok(account.clone()),
    };
    if !namespace.is_empty() {
        for buildpack in list::<Buildpack>(context, Kind::Buildpack, Some(namespace))? {
            held.push(Held {
                kind: OwnerKind::Buildpack,
                account: context.account(namespace, &buildpack.spec.service_account_name)?,
                name: buildpack.metadata.name,
                buildpacks: buildpack.status.buildpacks,
            });
        }
    }
    for buildpack in list::<ClusterBuildpack>(context, Kind::ClusterBuildpack, None)? {
        held.push(Held {
            kind: OwnerKind::ClusterBuildpack,
            account: own(buildpack.spec.service_account_ref.as_ref())?,
            name: buildpack.metadata.name,
            buildpacks: buildpack.status.buildpacks,
        });
    }
    if let Some(store) = store {
        held.push(Held {
            kind: OwnerKind::ClusterStore,
            account: own(store.spec.service_account_ref.as_ref())?,
            name: store.metadata.name.clone(),
            buildpacks: store.status.buildpacks.clone(),
        });
    }
    Ok(held)
}

fn list<T: DeserializeOwned>(
    context: Context<'_>,
    kind: Kind,
    namespace: Option<&str>,
) -> Result<Vec<T>, ReconcileError> {
    let objects = context.resources.list(kind, namespace, &Selector::everything())?.items;
    objects.iter().map(typed).collect()
}
