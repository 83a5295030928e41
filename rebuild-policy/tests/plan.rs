//! What would happen if something changed.

mod fleet;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use fleet::{NOW, digest, fleet, newer_stack, stack, store};
use jiff::Timestamp;
use proptest::prelude::*;
use rebuild_policy::{
    Action, BuilderOutcome, ConditionStatus, Decision, Plan, PlanOptions, Present, Proposal, ProposalError, Situation,
    decide, plan,
};
use serde_json::{Value, json};

fn options() -> PlanOptions {
    PlanOptions::at(NOW.parse::<Timestamp>().expect("a time"))
}

fn propose(object: &impl serde::Serialize) -> Proposal {
    Proposal::from_objects([&serde_json::to_value(object).expect("JSON")]).expect("a proposal")
}

fn actions(plan: &Plan<'_>) -> BTreeMap<String, &'static str> {
    let action =
        |planned: &rebuild_policy::PlannedImage<'_>| (planned.image.metadata.name.clone(), planned.action.name());
    plan.images.iter().map(action).collect()
}

#[test]
fn a_newer_run_image_rebases_the_images_of_its_stack_and_no_other() {
    let present = fleet(6, 2, 3);
    let proposal = newer_stack();
    let plan = plan(&present, &proposal, &options());
    assert_eq!(
        actions(&plan),
        [
            ("app-0", "rebase"),
            ("app-1", "stay"),
            ("app-2", "stay"),
            ("app-3", "rebase"),
            ("app-4", "stay"),
            ("app-5", "stay")
        ]
        .map(|(name, action)| (name.to_owned(), action))
        .into()
    );
    let first = plan.work().next().expect("work");
    assert!(first.caused && first.wave == 0);
    assert_eq!(first.action.reasons(), "STACK");
    assert_eq!(
        first.explain(),
        "team-0/app-0: rebase because the run image is sha256:000000000000 instead of sha256:000000000000"
    );
}

#[test]
fn another_stack_id_rebuilds_instead() {
    let present = fleet(2, 1, 1);
    let mut other = stack(0, 999);
    "io.acme.stacks.other".clone_into(&mut other.status.id);
    let proposal = propose(&other);
    assert!(
        plan(&present, &proposal, &options())
            .images
            .iter()
            .all(|one| one.action.name() == "rebuild")
    );
}

#[test]
fn a_buildpack_that_leaves_the_store_rebuilds_those_who_used_it() {
    let mut present = fleet(3, 1, 1);
    present.builds[1]
        .status
        .build_metadata
        .retain(|one| one.id != "acme/engine");
    let mut newer = store();
    newer.status.buildpacks[0].version = "1.1.0".to_owned();
    let proposal = propose(&newer);
    let plan = plan(&present, &proposal, &options());
    assert_eq!(
        plan.builders[0].outcome,
        BuilderOutcome::Remade {
            parts: vec!["buildpacks"]
        }
    );
    let work: Vec<String> = plan
        .work()
        .map(|one| format!("{} {}", one.image.metadata.name, one.action.reasons()))
        .collect();
    assert_eq!(work, ["app-0 BUILDPACK", "app-2 BUILDPACK"]);
    assert!(
        plan.work()
            .next()
            .expect("work")
            .explain()
            .contains("the builder no longer has acme/engine@1.0.0")
    );
}

#[test]
fn a_store_without_what_the_order_names_leaves_the_builder_and_its_images_alone() {
    let present = fleet(2, 1, 1);
    let mut poorer = store();
    poorer.status.buildpacks.remove(0);
    let proposal = propose(&poorer);
    let plan = plan(&present, &proposal, &options());
    let problem = "could not find buildpack with id 'acme/engine'".to_owned();
    assert_eq!(plan.builders[0].outcome, BuilderOutcome::Impossible { problem });
    assert_eq!(plan.work().count(), 0);
}

#[test]
fn a_newer_lifecycle_rebuilds() {
    let present = fleet(2, 1, 1);
    let newer = json!({
        "apiVersion": "kpack.io/v1alpha2", "kind": "ClusterLifecycle", "metadata": {"name": "default-lifecycle"},
        "status": {"version": "0.21.0"},
    });
    let proposal = propose(&newer);
    let plan = plan(&present, &proposal, &options());
    assert!(
        plan.work()
            .all(|one| one.action.reasons() == "LIFECYCLE" && one.action.name() == "rebuild")
    );
    assert_eq!(plan.work().count(), 2);
}

#[test]
fn another_environment_is_a_configuration_that_a_user_waits_for() {
    let present = fleet(2, 1, 1);
    let mut image = serde_json::to_value(&present.images[1]).expect("JSON");
    image["kind"] = json!("Image");
    image["spec"]["build"] = json!({"env": [{"name": "MODE", "value": "fast"}]});
    let proposal = propose(&image);
    let plan = plan(&present, &proposal, &options());
    let work: Vec<_> = plan.work().collect();
    assert_eq!(work.len(), 1);
    assert_eq!(
        work[0].explain(),
        "team-0/app-1: rebuild because the configuration has another environment"
    );
    assert_eq!(serde_json::to_value(work[0]).expect("JSON")["urgency"], "user");
}

#[test]
fn what_is_due_already_is_not_blamed_on_the_change() {
    let mut present = fleet(2, 1, 1);
    present.sources[0].status.source.git.as_mut().expect("git").revision = "f".repeat(40);
    let mut image = serde_json::to_value(&present.images[0]).expect("JSON");
    image["kind"] = json!("Image");
    let proposal = propose(&image);
    let plan = plan(&present, &proposal, &options());
    let first = plan.work().next().expect("work");
    assert!(!first.caused);
    assert!(
        first.explain().ends_with(", which is due already"),
        "{}",
        first.explain()
    );
}

#[test]
fn an_image_that_is_building_is_decided_anew_afterwards() {
    let mut present = fleet(1, 1, 1);
    present.builds[0].status.conditions[0].status = ConditionStatus::Unknown;
    let proposal = newer_stack();
    let plan = plan(&present, &proposal, &options());
    assert!(plan.images[0].after_running);
}

#[test]
fn another_build_image_makes_the_builder_anew_and_leaves_the_images_alone() {
    let mut present = fleet(2, 1, 1);
    present.stacks[0].status.build_image.latest_image = format!("reg.example/build@{}", digest(1));
    let mut other = stack(0, 0);
    other.status.build_image.latest_image = format!("reg.example/build@{}", digest(2));
    let proposal = propose(&other);
    let plan = plan(&present, &proposal, &options());
    assert_eq!(
        plan.builders[0].outcome,
        BuilderOutcome::Remade {
            parts: vec!["build image"]
        }
    );
    assert_eq!(plan.work().count(), 0);
}

#[test]
fn costs_are_those_of_earlier_builds() {
    let present = fleet(3, 1, 1);
    let mut other = stack(0, 999);
    "io.acme.stacks.other".clone_into(&mut other.status.id);
    let proposal = propose(&other);
    let plan = plan(&present, &proposal, &options());
    let cost = |name: &str| {
        let found = plan.images.iter().find(|one| one.image.metadata.name == name);
        found.expect("an image").cost.seconds
    };
    // From 00:00:10 to 00:01:01 and 00:02:02.
    assert_eq!((cost("app-1"), cost("app-2")), (51, 112));
}

#[test]
fn a_stack_without_a_digest_is_no_proposal() {
    let stack = json!({
        "kind": "ClusterStack", "metadata": {"name": "base"}, "spec": {"runImage": {"image": "reg.example/run:latest"}},
    });
    let error = Proposal::from_objects([&stack]).expect_err("a tag moves");
    assert!(matches!(error, ProposalError::UnpinnedRunImage { name } if name == "base"));
    let pinned = json!({
        "kind": "ClusterStack", "metadata": {"name": "base"},
        "spec": {"runImage": {"image": format!("reg.example/run@{}", digest(1))}},
    });
    assert!(Proposal::from_objects([&pinned]).is_ok());
    assert!(matches!(
        Proposal::from_objects([&json!({"kind": "Secret"})]),
        Err(ProposalError::Kind { .. })
    ));
    assert!(matches!(Proposal::from_objects([]), Err(ProposalError::Empty)));
    let broken = json!({"kind": "Image", "metadata": {"name": "x"}, "spec": {"tag": 7}});
    assert!(matches!(Proposal::from_objects([&broken]), Err(ProposalError::Decode { name, .. }) if name == "x"));
}

#[test]
fn a_stack_whose_new_image_was_not_read_yet_is_told_by_its_specification() {
    let present = fleet(1, 1, 1);
    let mut object = serde_json::to_value(stack(0, 0)).expect("JSON");
    object["status"]["runImage"]["image"] = json!("reg.example/run:1");
    object["spec"]["runImage"] = json!({"image": format!("reg.example/run@{}", digest(7))});
    let proposal = propose(&object);
    assert_eq!(plan(&present, &proposal, &options()).images[0].action.name(), "rebase");
}

/// Slow and obvious: writes the new digest into each builder of the stack, then decides each image alone.
fn oracle(present: &Present, run_image: usize) -> BTreeMap<String, String> {
    let mut after = present.clone();
    for builder in &mut after.cluster_builders {
        if builder.spec.stack.name == "stack-0" {
            builder.status.stack.run_image = format!("reg.example/run@{}", digest(run_image));
        }
    }
    let decide_one = |image: &rebuild_policy::Image| {
        let name = &image.metadata.name;
        let builder = after
            .cluster_builders
            .iter()
            .find(|one| one.metadata.name == image.spec.builder.name);
        let source = after
            .sources
            .iter()
            .find(|one| one.metadata.name == format!("{name}-source"));
        let builds: Vec<_> = after
            .builds
            .iter()
            .filter(|one| one.metadata.labels["image.kpack.io/image"] == *name)
            .cloned()
            .collect();
        let decision = decide(&Situation {
            image,
            last_build: rebuild_policy::latest_build(&builds),
            source: source.expect("a source"),
            builder: builder.expect("a builder").into(),
            now: NOW.parse().expect("a time"),
        });
        let text = match decision.expect("references") {
            Decision::UpToDate => "stay ".to_owned(),
            Decision::Wait(_) => "wait ".to_owned(),
            Decision::Build(changes) if changes.reasons() == "STACK" => "rebase STACK".to_owned(),
            Decision::Build(changes) => format!("rebuild {}", changes.reasons()),
        };
        (name.clone(), text)
    };
    after.images.iter().map(decide_one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn plans_agree_with_deciding_each_image_alone(
        count in 1..12_usize,
        run_image in 0..3_usize,
        outcomes in prop::collection::vec(0..4_u8, 12),
        commits in prop::collection::vec(prop::bool::weighted(0.3), 12),
        waiting in prop::collection::vec(prop::bool::weighted(0.2), 12),
    ) {
        let mut present = fleet(count, 3, 2);
        for number in 0..count {
            let status = match outcomes[number] {
                0 => ConditionStatus::False,
                1 => ConditionStatus::Unknown,
                _ => ConditionStatus::True,
            };
            present.builds[number].status.conditions[0].status = status;
            if commits[number] {
                present.sources[number].status.source.git.as_mut().expect("git").revision = "e".repeat(40);
            }
            if waiting[number] {
                present.sources[number].status.conditions.clear();
            }
        }
        let proposal = propose(&stack(0, run_image));
        let made = plan(&present, &proposal, &options());
        let got: BTreeMap<String, String> = made
            .images
            .iter()
            .map(|one| (one.image.metadata.name.clone(), format!("{} {}", one.action.name(), one.action.reasons())))
            .collect();
        prop_assert_eq!(got, oracle(&present, run_image));

        // The order: work first; what users wait for before all else; waves do not go back.
        let work: Vec<_> = made.work().collect();
        prop_assert!(made.images[..work.len()].iter().all(rebuild_policy::PlannedImage::is_work));
        let keys: Vec<_> = work.iter().map(|one| (std::cmp::Reverse(one.action.priority()), one.wave)).collect();
        prop_assert!(keys.is_sorted(), "{:?}", keys);
        prop_assert_eq!(made.waves.iter().map(|wave| wave.rebases + wave.rebuilds).sum::<usize>(), work.len());

        // Shuffled input gives the same plan.
        let mut shuffled = present.clone();
        shuffled.images.reverse();
        shuffled.builds.reverse();
        shuffled.sources.reverse();
        let again = plan(&shuffled, &proposal, &options());
        prop_assert_eq!(
            serde_json::to_value(&made).expect("JSON"),
            serde_json::to_value(&again).expect("JSON")
        );
    }
}

#[test]
fn any_number_of_threads_makes_the_same_plan() {
    let proposal = newer_stack();
    for images in [0, 1, 2, 3, 7, 50] {
        let present = fleet(images, 3, 2);
        let alone = plan(&present, &proposal, &options());
        for threads in [2, 3, 4, 64] {
            let shared = PlanOptions {
                threads: NonZeroUsize::new(threads).expect("some"),
                ..options()
            };
            assert_eq!(
                plan(&present, &proposal, &shared),
                alone,
                "{images} images by {threads} threads"
            );
        }
    }
}

#[test]
fn waves_grow_and_every_namespace_is_in_the_first() {
    let present = fleet(60, 5, 1);
    let proposal = newer_stack();
    let plan = plan(&present, &proposal, &options());
    let sizes: Vec<usize> = plan.waves.iter().map(|wave| wave.rebases).collect();
    assert_eq!(sizes, [1, 10, 40, 9]);
    let first: std::collections::BTreeSet<&str> = plan
        .work()
        .filter(|one| one.wave == 1)
        .map(|one| one.image.metadata.namespace.as_str())
        .collect();
    assert_eq!(first.len(), 5);
}

#[test]
fn labelled_images_are_the_canaries() {
    let mut present = fleet(20, 4, 1);
    let label = |value: &str| BTreeMap::from([("image.kpack.io/canary".to_owned(), value.to_owned())]);
    present.images[7].metadata.labels = label("true");
    present.images[9].metadata.labels = label("true");
    present.images[11].metadata.labels = label("false");
    let proposal = newer_stack();
    let plan = plan(&present, &proposal, &options());
    let mut canaries: Vec<&str> = plan
        .work()
        .filter(|one| one.wave == 0)
        .map(|one| one.image.metadata.name.as_str())
        .collect();
    canaries.sort_unstable();
    assert_eq!(canaries, ["app-7", "app-9"]);
}

#[test]
fn the_example_files_give_the_table_of_the_readme() {
    let read = |text: &str| -> Vec<Value> { serde_saphyr::from_multiple(text).expect("YAML") };
    let state = read(include_str!("fixtures/plan/state.yaml"));
    let change = read(include_str!("fixtures/plan/newer-run-image.yaml"));
    let present = Present::from_objects(&state).expect("objects");
    let proposal = Proposal::from_objects(&change).expect("a proposal");
    let plan = plan(&present, &proposal, &options());
    assert!(matches!(plan.images[1].action, Action::Rebase(_)));
    let readme = include_str!("../README.md");
    for line in plan.to_string().lines().filter(|line| !line.is_empty()) {
        assert!(readme.contains(line), "the README lacks: {line}\n\n{plan}");
    }
}
