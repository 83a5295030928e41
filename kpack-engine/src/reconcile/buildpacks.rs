//! ClusterStore, Buildpack, ClusterBuildpack: which buildpacks their images hold.

use rebuild_policy::{
    Buildpack, BuildpacksStatus, ClusterBuildpack, ClusterStore, Resource, ServiceAccountRef, StoreImage,
    not_ready_conditions, ready_conditions,
};
use serde::Serialize;

use super::context::Context;
use super::{Account, Key, Outcome, ReconcileError};

pub(super) fn reconcile_store(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(store) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let store: ClusterStore = store;
    let account = cluster_account(context, store.spec.service_account_ref.as_ref())?;
    read(context, &store, &store.spec.sources, &account)
}

pub(super) fn reconcile_cluster(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(buildpack) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let buildpack: ClusterBuildpack = buildpack;
    let account = cluster_account(context, buildpack.spec.service_account_ref.as_ref())?;
    let images = [StoreImage {
        image: buildpack.spec.image.clone(),
    }];
    read(context, &buildpack, &images, &account)
}

pub(super) fn reconcile(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(buildpack) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let buildpack: Buildpack = buildpack;
    let account = context.account(key.namespace(), &buildpack.spec.service_account_name)?;
    let images = [StoreImage {
        image: buildpack.spec.image.clone(),
    }];
    read(context, &buildpack, &images, &account)
}

/// The account of a cluster-wide kind; one without secrets when none is named.
pub(super) fn cluster_account(
    context: Context<'_>,
    reference: Option<&ServiceAccountRef>,
) -> Result<Account, ReconcileError> {
    match reference {
        Some(reference) => Ok(context.account(&reference.namespace, &reference.name)?),
        None => Ok(Account::default()),
    }
}

fn read<S: Default + Clone + Serialize>(
    context: Context<'_>,
    object: &Resource<S, BuildpacksStatus>,
    images: &[StoreImage],
    account: &Account,
) -> Result<Outcome, ReconcileError> {
    let now = context.now();
    let read = context.options.warehouse.buildpacks(images, account);
    let (buildpacks, conditions, result) = match read {
        Ok(buildpacks) => (buildpacks, ready_conditions(&now), Ok(Outcome::default())),
        Err(error) => (
            Vec::new(),
            not_ready_conditions(&error.message, &now),
            Err(error.into()),
        ),
    };
    let status = BuildpacksStatus {
        observed_generation: object.metadata.generation,
        conditions,
        buildpacks,
    };
    context.write_status(object, status)?;
    result
}
