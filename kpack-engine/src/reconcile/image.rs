//! Image: its source resolver, cache claim and Builds.

use rebuild_policy::{
    Build, Builder, BuilderView, Changes, ClusterBuilder, Condition, ConditionStatus, Decision, IMAGE_LABEL, Image,
    ImageStatus, NextBuild, Situation, SourceResolver, builder_missing_status, cache_claim, cache_claim_name,
    created_status, decide, latest_build, next_build, next_build_number, running_status, settled_status,
    source_resolver, surplus_builds,
};
use serde_json::Value;

use super::context::{Context, typed};
use super::{Key, Outcome, ReconcileError};
use crate::{ApiError, Kind, Object, Selector};

/// The builder of an Image, of either kind.
enum AnyBuilder {
    Namespaced(Builder),
    Cluster(ClusterBuilder),
}

impl AnyBuilder {
    fn view(&self) -> BuilderView<'_> {
        match self {
            Self::Namespaced(builder) => builder.into(),
            Self::Cluster(builder) => builder.into(),
        }
    }
}

pub(super) fn reconcile(context: Context<'_>, key: &Key) -> Result<Outcome, ReconcileError> {
    let Some(image) = context.read(key)? else {
        return Ok(Outcome::default());
    };
    let mut image: Image = image;
    image.spec.set_defaults(false);
    let status = step(context, &image)?;
    context.write_status(&image, status)?;
    Ok(Outcome::default())
}

fn step(context: Context<'_>, image: &Image) -> Result<ImageStatus, ReconcileError> {
    let now = context.now();
    let Some(builder) = builder(context, image)? else {
        return Ok(builder_missing_status(image, &now));
    };
    let builds = builds(context, image)?;
    let last = latest_build(&builds);
    if let Some(running) = last.filter(|build| build.is_running()) {
        return Ok(running_status(image, running, builder.view(), &now));
    }
    let claim = reconcile_claim(context, image)?;
    let source = reconcile_source(context, image)?;
    let situation = Situation {
        image,
        last_build: last,
        source: &source,
        builder: builder.view(),
        now: (context.options.clock)(),
    };
    let settled = || settled_status(image, last, &source, builder.view(), &claim, &now);
    let status = match decide(&situation)? {
        Decision::Build(changes) => match create(context, &situation, &changes, &claim)? {
            Ok(created) => created_status(image, &created, last, builder.view(), &claim, &now),
            Err(message) => refused_status(settled(), &message, &now),
        },
        Decision::UpToDate | Decision::Wait(_) => settled(),
    };
    for build in surplus_builds(image, &builds) {
        let namespace = Some(image.metadata.namespace.as_str());
        gone(context.resources.delete(Kind::Build, namespace, &build.metadata.name))?;
    }
    Ok(status)
}

fn builder(context: Context<'_>, image: &Image) -> Result<Option<AnyBuilder>, ReconcileError> {
    let reference = &image.spec.builder;
    let namespace = Some(image.metadata.namespace.as_str());
    match reference.kind.as_str() {
        "Builder" => {
            let found = context.read(&Key::new(Kind::Builder, namespace, &reference.name))?;
            Ok(found.map(AnyBuilder::Namespaced))
        }
        "ClusterBuilder" => {
            let found = context.read(&Key::new(Kind::ClusterBuilder, None, &reference.name))?;
            Ok(found.map(AnyBuilder::Cluster))
        }
        kind => Err(ReconcileError::UnknownBuilderKind(kind.to_owned())),
    }
}

fn builds(context: Context<'_>, image: &Image) -> Result<Vec<Build>, ReconcileError> {
    let ours = Selector::everything().with_label(IMAGE_LABEL, &image.metadata.name);
    let objects = context
        .resources
        .list(Kind::Build, Some(&image.metadata.namespace), &ours)?
        .items;
    objects.iter().map(typed).collect()
}

/// Makes the next Build. One that the store refuses is refused until the Image changes: the inner error is the message.
fn create(
    context: Context<'_>,
    situation: &Situation<'_>,
    changes: &Changes,
    claim: &str,
) -> Result<Result<Build, String>, ReconcileError> {
    let priority = if context.options.priority_classes {
        changes.priority().class_name()
    } else {
        ""
    };
    let build = next_build(&NextBuild {
        image: situation.image,
        last_build: situation.last_build,
        source: situation.source,
        builder: situation.builder,
        reasons: &changes.reasons(),
        changes: &changes.to_json(),
        number: next_build_number(situation.last_build)?,
        priority_class: priority,
        cache_claim: claim,
        now: situation.now,
    });
    match context.resources.create(Object::from_typed(&build)?) {
        Ok(created) => Ok(Ok(typed(&created)?)),
        Err(error @ ApiError::Invalid { .. }) => Ok(Err(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Returns the status of an Image whose next Build was refused, from that of one that needs none.
///
/// # Deviation
/// The reference tries again for ever and says nothing in the Image.
fn refused_status(mut status: ImageStatus, message: &str, now: &str) -> ImageStatus {
    let ready = Condition::new("Ready", ConditionStatus::False, "BuildRefused", message, now);
    status.conditions.retain(|other| other.kind != ready.kind);
    status.conditions.insert(0, ready);
    status
}

/// Makes the source resolver what the Image wants it to be.
fn reconcile_source(context: Context<'_>, image: &Image) -> Result<SourceResolver, ReconcileError> {
    let wanted = source_resolver(image);
    let key = Key::new(
        Kind::SourceResolver,
        Some(&image.metadata.namespace),
        &wanted.metadata.name,
    );
    let Some(mut existing): Option<SourceResolver> = context.read(&key)? else {
        return typed(&context.resources.create(Object::from_typed(&wanted)?)?);
    };
    if existing.spec == wanted.spec && existing.metadata.labels == wanted.metadata.labels {
        return Ok(existing);
    }
    existing.spec = wanted.spec;
    existing.metadata.labels = wanted.metadata.labels;
    typed(&context.resources.update(Object::from_typed(&existing)?)?)
}

/// Makes the cache claim what the Image wants it to be, and returns its name (empty: none).
fn reconcile_claim(context: Context<'_>, image: &Image) -> Result<String, ReconcileError> {
    let namespace = Some(image.metadata.namespace.as_str());
    let name = cache_claim_name(image);
    let existing = context.resources.get(Kind::PersistentVolumeClaim, namespace, &name)?;
    match (cache_claim(image), existing) {
        (None, None) => return Ok(String::new()),
        (None, Some(_)) => {
            gone(context.resources.delete(Kind::PersistentVolumeClaim, namespace, &name))?;
            return Ok(String::new());
        }
        (Some(wanted), None) => {
            context.resources.create(Object::from_value(wanted)?)?;
        }
        (Some(wanted), Some(existing)) => {
            if let Some(changed) = changed_claim(existing, &wanted)? {
                context.resources.update(changed)?;
            }
        }
    }
    Ok(name)
}

/// Only size and labels of a claim may change.
fn changed_claim(existing: Object, wanted: &Value) -> Result<Option<Object>, ReconcileError> {
    let before = existing.as_value().clone();
    let mut value = before.clone();
    value["spec"]["resources"] = wanted["spec"]["resources"].clone();
    match &wanted["metadata"]["labels"] {
        Value::Null => {
            if let Some(metadata) = value["metadata"].as_object_mut() {
                metadata.remove("labels");
            }
        }
        labels => value["metadata"]["labels"] = labels.clone(),
    }
    if value == before {
        return Ok(None);
    }
    Ok(Some(Object::from_value(value)?))
}

/// What is gone already need not be deleted.
fn gone(deleted: Result<(), ApiError>) -> Result<(), ApiError> {
    match deleted {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
