//! The Build that an Image gets when one is needed.

use jiff::Timestamp;
use registry_auth::Reference;

use crate::decide::BuilderView;
use crate::key::{
    BUILD_CHANGES_ANNOTATION, BUILD_NUMBER_LABEL, BUILD_REASON_ANNOTATION, BUILDER_KIND_ANNOTATION,
    BUILDER_NAME_ANNOTATION, IMAGE_GENERATION_LABEL, IMAGE_LABEL,
};
use crate::name::child_name;
use crate::resource::{
    Build, BuildBuilder, BuildCache, BuildPersistentVolumeCache, BuildSpec, Image, ImageBuild, ImageSpec, LastBuild,
    LastBuildCache, OwnerReference, SourceResolver, StoreImage,
};
use crate::strconv::parse_int;

/// What a Build is made from.
#[derive(Clone, Copy, Debug)]
pub struct NextBuild<'a> {
    /// The image, with its defaults.
    pub image: &'a Image,
    /// Its newest Build, if there is one.
    pub last_build: Option<&'a Build>,
    /// Its source, resolved.
    pub source: &'a SourceResolver,
    /// Its builder, ready.
    pub builder: BuilderView<'a>,
    /// Why, as the annotation has it.
    pub reasons: &'a str,
    /// What changed, as the annotation has it.
    pub changes: &'a str,
    /// Number of the new Build.
    pub number: i64,
    /// Priority class, or empty.
    pub priority_class: &'a str,
    /// Name of the cache claim, or empty.
    ///
    /// # Deviation
    /// The reference takes the name from the status of an earlier reconcile, so that a first build may miss its cache.
    pub cache_claim: &'a str,
    /// The present time; part of a tag, in UTC.
    pub now: Timestamp,
}

/// A Build whose number cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing the image build number: strconv.ParseInt: parsing \"{text}\": {problem}")]
pub struct InvalidBuildNumber {
    /// The label's text.
    pub text: String,
    problem: &'static str,
}

/// Returns the number of the Build after `last`: one more than its label says, or 1.
///
/// # Errors
/// When the label is missing or no number.
pub fn next_build_number(last: Option<&Build>) -> Result<i64, InvalidBuildNumber> {
    Ok(last.map(build_number).transpose()?.unwrap_or(0).saturating_add(1))
}

/// Returns the number of a Build, from its label.
///
/// # Errors
/// When the label is missing or no number.
pub fn build_number(build: &Build) -> Result<i64, InvalidBuildNumber> {
    let text = build.metadata.labels.get(BUILD_NUMBER_LABEL).map_or("", String::as_str);
    parse_int(text).map_err(|problem| InvalidBuildNumber {
        text: text.to_owned(),
        problem,
    })
}

/// Makes the Build.
pub fn next_build(next: &NextBuild<'_>) -> Build {
    let NextBuild { image, number, .. } = *next;
    let name = child_name(&image.metadata.name, &format!("-build-{number}"));
    let mut build = Build::new("Build", &image.metadata.namespace, &name, spec(next));
    build.metadata.owner_references = vec![OwnerReference::controller_of("Image", &image.metadata)];
    build.metadata.labels.clone_from(&image.metadata.labels);
    build.metadata.labels.extend([
        (BUILD_NUMBER_LABEL.to_owned(), number.to_string()),
        (IMAGE_LABEL.to_owned(), image.metadata.name.clone()),
        (IMAGE_GENERATION_LABEL.to_owned(), image.metadata.generation.to_string()),
    ]);
    build.metadata.annotations.clone_from(&image.metadata.annotations);
    build.metadata.annotations.extend([
        (BUILD_REASON_ANNOTATION.to_owned(), next.reasons.to_owned()),
        (BUILD_CHANGES_ANNOTATION.to_owned(), next.changes.to_owned()),
        (BUILDER_NAME_ANNOTATION.to_owned(), next.builder.metadata.name.clone()),
        (BUILDER_KIND_ANNOTATION.to_owned(), next.builder.kind.to_owned()),
    ]);
    build
}

fn spec(next: &NextBuild<'_>) -> BuildSpec {
    let image = &next.image.spec;
    let ImageBuild {
        services,
        cnb_bindings,
        env,
        resources,
        tolerations,
        node_selector,
        affinity,
        runtime_class_name,
        scheduler_name,
        build_timeout,
        creation_time,
    } = image.build.clone().unwrap_or_default();
    BuildSpec {
        tags: tags(image, next.number, next.now),
        builder: BuildBuilder {
            image: next.builder.status.latest_image.clone(),
            ..BuildBuilder::default()
        },
        service_account_name: image.service_account_name.clone(),
        source: next.source.status.source.to_source_config(),
        cache: Some(cache(image, next.cache_claim)),
        services,
        cnb_bindings,
        env,
        project_descriptor_path: image.project_descriptor_path.clone(),
        resources,
        last_build: next.last_build.and_then(last_build),
        notary: image.notary.clone(),
        default_process: image.default_process.clone(),
        tolerations,
        node_selector,
        affinity,
        runtime_class_name,
        scheduler_name,
        priority_class_name: next.priority_class.to_owned(),
        creation_time,
        run_image: StoreImage {
            image: next.builder.status.stack.run_image.clone(),
        },
        cosign: image.cosign.clone(),
        active_deadline_seconds: build_timeout,
    }
}

fn cache(image: &ImageSpec, claim: &str) -> BuildCache {
    BuildCache {
        volume: image.volume_cache_size().map(|_| BuildPersistentVolumeCache {
            persistent_volume_claim_name: claim.to_owned(),
        }),
        registry: image
            .registry_cache_tag()
            .and(image.cache.as_ref())
            .and_then(|cache| cache.registry.clone()),
    }
}

/// What the next Build knows of the last good one: after a failure that is what the failed one knew.
fn last_build(last: &Build) -> Option<LastBuild> {
    if last.is_failure() {
        return last.spec.last_build.clone();
    }
    Some(LastBuild {
        image: last.status.latest_image.clone(),
        cache: LastBuildCache {
            image: last.status.latest_cache_image.clone(),
        },
        stack_id: last.status.stack.id.clone(),
    })
}

/// The tags of a Build: the Image's, one of its own unless the strategy is `None`, the additional ones.
fn tags(image: &ImageSpec, number: i64, now: Timestamp) -> Vec<String> {
    let mut tags = vec![image.tag.clone()];
    if image.image_tagging_strategy != "None" {
        match build_tag(&image.tag, number, now) {
            Some(tag) => tags.push(tag),
            // As in the reference: no tag can be trusted then, and the Build will be refused for having none.
            None => return Vec::new(),
        }
    }
    tags.extend(image.additional_tags.iter().cloned());
    tags
}

fn build_tag(tag: &str, number: i64, now: Timestamp) -> Option<String> {
    let reference = Reference::parse(tag).ok()?;
    let prefix = match reference.tag()? {
        "latest" => String::new(),
        tag => format!("{tag}-"),
    };
    Some(format!(
        "{}:{prefix}b{number}.{}",
        reference.repository(),
        now.strftime("%Y%m%d.%H%M%S")
    ))
}
