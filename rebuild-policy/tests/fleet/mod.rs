//! Many images of many namespaces: a world to plan in.
#![allow(dead_code, unreachable_pub, reason = "each test and bench uses a part")]

use std::collections::BTreeMap;

use rebuild_policy::{
    Build, BuildStack, BuildpackMetadata, BuildpackStatus, ClusterBuilder, ClusterStack, ClusterStore, Condition,
    ConditionStatus, GitSource, GroupEntry, Image, OrderEntry, Present, Proposal, ResolvedGit, SourceResolver,
};
use serde_json::json;

pub const NOW: &str = "2026-01-05T09:30:00Z";

pub fn digest(number: usize) -> String {
    format!("sha256:{number:064x}")
}

fn ready() -> Vec<Condition> {
    ["Ready", "UpToDate"]
        .map(|kind| Condition::new(kind, ConditionStatus::True, "", "", NOW))
        .into()
}

pub fn buildpacks() -> Vec<BuildpackMetadata> {
    let one = |id: &str| BuildpackMetadata {
        id: format!("acme/{id}"),
        version: "1.0.0".to_owned(),
        homepage: String::new(),
    };
    ["engine", "packages", "start", "procfile"].map(one).into()
}

/// The builder `builder-N` of the stack `stack-N`.
pub fn builder(number: usize) -> ClusterBuilder {
    let mut builder = ClusterBuilder::default();
    builder.metadata.name = format!("builder-{number}");
    builder.spec.stack.name = format!("stack-{number}");
    "store".clone_into(&mut builder.spec.store.name);
    let group = buildpacks().into_iter().map(|one| GroupEntry {
        id: one.id,
        ..GroupEntry::default()
    });
    builder.spec.order = vec![OrderEntry { group: group.collect() }];
    builder.status.conditions = ready();
    builder.status.builder_metadata = buildpacks();
    builder.status.stack = BuildStack {
        run_image: format!("reg.example/builders/{number}:b-run-image@{}", digest(number)),
        id: "io.acme.stacks.base".to_owned(),
    };
    "0.20.12".clone_into(&mut builder.status.lifecycle.version);
    builder.status.latest_image = format!("reg.example/builders/{number}:b@{}", digest(100 + number));
    builder
}

pub fn stack(number: usize, run_image: usize) -> ClusterStack {
    let mut stack = ClusterStack::default();
    "ClusterStack".clone_into(&mut stack.kind);
    stack.metadata.name = format!("stack-{number}");
    "io.acme.stacks.base".clone_into(&mut stack.status.id);
    stack.status.run_image.latest_image = format!("reg.example/run@{}", digest(run_image));
    stack.status.conditions = ready();
    stack
}

pub fn store() -> ClusterStore {
    let mut store = ClusterStore::default();
    "ClusterStore".clone_into(&mut store.kind);
    "store".clone_into(&mut store.metadata.name);
    let one = |one: BuildpackMetadata| BuildpackStatus {
        id: one.id,
        version: one.version,
        ..BuildpackStatus::default()
    };
    store.status.buildpacks = buildpacks().into_iter().map(one).collect();
    store
}

/// An image, its last build and its source, all in order.
pub fn image(number: usize, namespace: usize, with: &ClusterBuilder) -> (Image, Build, SourceResolver) {
    let (name, namespace) = (format!("app-{number}"), format!("team-{namespace}"));
    let mut image = Image::default();
    image.metadata.name.clone_from(&name);
    image.metadata.namespace.clone_from(&namespace);
    image.spec.tag = format!("reg.example/{namespace}/{name}");
    image.spec.builder.name.clone_from(&with.metadata.name);
    "ClusterBuilder".clone_into(&mut image.spec.builder.kind);
    let (url, revision) = (
        format!("https://git.example/{namespace}/{name}"),
        format!("{number:040x}"),
    );

    let mut source = SourceResolver::default();
    source.metadata.name = format!("{name}-source");
    source.metadata.namespace.clone_from(&namespace);
    source.status.conditions = ready();
    source.status.source.git = Some(ResolvedGit {
        url: url.clone(),
        revision: revision.clone(),
        kind: "Branch".to_owned(),
        ..ResolvedGit::default()
    });

    let mut build = Build::default();
    build.metadata.name = format!("{name}-build-1");
    build.metadata.namespace = namespace;
    build.metadata.labels = BTreeMap::from([
        ("image.kpack.io/image".to_owned(), name.clone()),
        ("image.kpack.io/buildNumber".to_owned(), "1".to_owned()),
    ]);
    build.metadata.annotations = BTreeMap::from([("image.kpack.io/reason".to_owned(), "CONFIG".to_owned())]);
    build.metadata.creation_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    build.spec.source.git = Some(GitSource {
        url,
        revision,
        ..GitSource::default()
    });
    build.spec.builder.image.clone_from(&with.status.latest_image);
    build.spec.run_image.image.clone_from(&with.status.stack.run_image);
    build.status.conditions = vec![Condition::new("Succeeded", ConditionStatus::True, "", "", NOW)];
    build.status.build_metadata.clone_from(&with.status.builder_metadata);
    build.status.stack.clone_from(&with.status.stack);
    build
        .status
        .lifecycle_version
        .clone_from(&with.status.lifecycle.version);
    build.status.latest_image = format!("{}@{}", image.spec.tag, digest(number));
    let (minutes, seconds) = (number % 7, number % 60);
    build.status.step_states = vec![
        json!({"terminated": {"startedAt": "2026-01-01T00:00:10Z", "finishedAt": "2026-01-01T00:00:20Z"}}),
        json!({"terminated": {
            "startedAt": "2026-01-01T00:00:20Z", "finishedAt": format!("2026-01-01T00:{minutes:02}:{seconds:02}Z").replace("00:00:", "00:01:"),
        }}),
    ];
    (image, build, source)
}

/// `images` images of `namespaces` namespaces with `builders` builders, all up to date.
pub fn fleet(images: usize, namespaces: usize, builders: usize) -> Present {
    let mut present = Present {
        cluster_builders: (0..builders).map(builder).collect(),
        stacks: (0..builders).map(|number| stack(number, number)).collect(),
        stores: vec![store()],
        ..Present::default()
    };
    for number in 0..images {
        let with = &present.cluster_builders[number % builders];
        let (image, build, source) = image(number, number % namespaces, with);
        present.images.push(image);
        present.add_build(build);
        present.sources.push(source);
    }
    present
}

/// A newer run image for `stack-0`.
pub fn newer_stack() -> Proposal {
    Proposal::from_objects([&serde_json::to_value(stack(0, 999)).expect("JSON")]).expect("a proposal")
}
