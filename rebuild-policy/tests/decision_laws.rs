//! Laws of the decision, and a slow oracle that says the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rebuild_policy::{
    BUILD_NEEDED_ANNOTATION, Build, BuildMetadata, BuilderView, ClusterBuilder, Condition, ConditionStatus, Decision,
    EnvVar, GitSource, Image, ImageBuild, NextBuild, ResolvedGit, Situation, SourceConfig, SourceResolver,
    build_number, decide, next_build, next_build_number,
};

const NOW: &str = "2026-01-05T09:30:00Z";
const USED: [(&str, &str); 3] = [("a", "1"), ("a", "2"), ("b", "1")];

/// A small world: everything a decision looks at, each with few values so that equal ones are common.
#[derive(Clone, Debug)]
struct World {
    outcome: Option<ConditionStatus>,
    triggered: bool,
    revisions: (u8, u8),
    urls: (u8, u8),
    env: (Vec<u8>, Vec<u8>),
    used: Vec<bool>,
    held: Vec<bool>,
    runs: (u8, u8),
    lifecycles: (u8, u8),
    source_ready: bool,
    builder_ready: bool,
}

prop_compose! {
    fn world()(
        outcome in prop_oneof![
            Just(None),
            Just(Some(ConditionStatus::True)),
            Just(Some(ConditionStatus::False)),
            Just(Some(ConditionStatus::Unknown)),
        ],
        triggered in prop::bool::weighted(0.2),
        revisions in (0..3_u8, 0..3_u8),
        urls in (0..2_u8, 0..2_u8),
        env in (prop::collection::vec(0..2_u8, 0..2), prop::collection::vec(0..2_u8, 0..2)),
        used in prop::collection::vec(any::<bool>(), 3),
        held in prop::collection::vec(prop::bool::weighted(0.8), 3),
        runs in (0..2_u8, 0..2_u8),
        lifecycles in (0..2_u8, 0..2_u8),
        source_ready in prop::bool::weighted(0.9),
        builder_ready in prop::bool::weighted(0.9),
    ) -> World {
        World { outcome, triggered, revisions, urls, env, used, held, runs, lifecycles, source_ready, builder_ready }
    }
}

/// The world as objects.
struct Objects {
    image: Image,
    last: Option<Build>,
    source: SourceResolver,
    builder: ClusterBuilder,
}

fn condition(kind: &str, ready: bool) -> Condition {
    let status = if ready {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    Condition::new(kind, status, "", "", NOW)
}

fn env(values: &[u8]) -> Vec<EnvVar> {
    values
        .iter()
        .map(|value| EnvVar::new("MODE", &value.to_string()))
        .collect()
}

fn git(url: u8, revision: u8) -> (String, String) {
    (format!("https://git.example/{url}"), format!("{revision:040}"))
}

fn run_image(number: u8) -> String {
    format!("reg.example/run@sha256:{number:064}")
}

fn buildpacks(present: &[bool]) -> Vec<rebuild_policy::BuildpackMetadata> {
    let chosen = USED.iter().zip(present).filter(|(_, present)| **present);
    chosen
        .map(|((id, version), _)| rebuild_policy::BuildpackMetadata {
            id: (*id).to_owned(),
            version: (*version).to_owned(),
            homepage: String::new(),
        })
        .collect()
}

impl World {
    fn objects(&self) -> Objects {
        let mut image = Image::default();
        "app".clone_into(&mut image.metadata.name);
        "reg.example/team/app".clone_into(&mut image.spec.tag);
        image.spec.build = Some(ImageBuild {
            env: env(&self.env.1),
            ..ImageBuild::default()
        });
        let mut source = SourceResolver::default();
        source.status.conditions = vec![condition("Ready", self.source_ready)];
        let (url, revision) = git(self.urls.1, self.revisions.1);
        let kind = "Branch".to_owned();
        source.status.source.git = Some(ResolvedGit {
            url,
            revision,
            kind,
            ..ResolvedGit::default()
        });
        let mut builder = ClusterBuilder::default();
        builder.status.conditions = vec![condition("Ready", self.builder_ready)];
        builder.status.builder_metadata = buildpacks(&self.held);
        builder.status.stack.run_image = run_image(self.runs.1);
        builder.status.lifecycle.version = self.lifecycles.1.to_string();
        Objects {
            image,
            last: self.outcome.map(|outcome| self.last(outcome)),
            source,
            builder,
        }
    }

    fn last(&self, outcome: ConditionStatus) -> Build {
        let mut last = Build::default();
        last.metadata.labels = BTreeMap::from([("image.kpack.io/buildNumber".to_owned(), "4".to_owned())]);
        if self.triggered {
            last.metadata.annotations = BTreeMap::from([(BUILD_NEEDED_ANNOTATION.to_owned(), String::new())]);
        }
        last.spec.env = env(&self.env.0);
        let (url, revision) = git(self.urls.0, self.revisions.0);
        let git = GitSource {
            url,
            revision,
            ..GitSource::default()
        };
        last.spec.source = SourceConfig {
            git: Some(git),
            ..SourceConfig::default()
        };
        last.status.conditions = vec![Condition::new("Succeeded", outcome, "", "", NOW)];
        last.status.build_metadata = buildpacks(&self.used);
        last.status.stack.run_image = run_image(self.runs.0);
        last.status.lifecycle_version = self.lifecycles.0.to_string();
        last
    }

    /// The rules as the reference's table has them, one line a reason.
    fn oracle(&self) -> Option<Vec<&'static str>> {
        if !self.source_ready || !self.builder_ready {
            return None;
        }
        let some = self.outcome.is_some();
        let success = self.outcome == Some(ConditionStatus::True);
        let gone = self.used.iter().zip(&self.held).any(|(used, held)| *used && !*held);
        let rules = [
            ("TRIGGER", some && self.triggered),
            ("COMMIT", some && self.revisions.0 != self.revisions.1),
            (
                "CONFIG",
                !some || self.urls.0 != self.urls.1 || self.env.0 != self.env.1,
            ),
            ("BUILDPACK", success && gone),
            ("STACK", success && self.runs.0 != self.runs.1),
            ("LIFECYCLE", success && self.lifecycles.0 != self.lifecycles.1),
        ];
        Some(
            rules
                .into_iter()
                .filter_map(|(name, holds)| holds.then_some(name))
                .collect(),
        )
    }
}

impl Objects {
    fn decide(&self) -> Decision {
        decide(&Situation {
            image: &self.image,
            last_build: self.last.as_ref(),
            source: &self.source,
            builder: BuilderView::from(&self.builder),
            now: NOW.parse().expect("a time"),
        })
        .expect("all references are sound")
    }
}

proptest! {
    #[test]
    fn the_decision_agrees_with_the_table(world in world()) {
        let got = match world.objects().decide() {
            Decision::Wait(_) => None,
            Decision::UpToDate => Some(String::new()),
            Decision::Build(changes) => Some(changes.reasons()),
        };
        prop_assert_eq!(got, world.oracle().map(|reasons| reasons.join(",")));
    }

    /// What was decided is enough: the Build that follows, once it has succeeded, is up to date.
    #[test]
    fn a_build_that_succeeds_settles_the_image(world in world()) {
        let mut objects = world.objects();
        if let Decision::Build(changes) = objects.decide() {
            let number = next_build_number(objects.last.as_ref()).expect("a number");
            let mut build = next_build(&NextBuild {
                image: &objects.image,
                last_build: objects.last.as_ref(),
                source: &objects.source,
                builder: BuilderView::from(&objects.builder),
                reasons: &changes.reasons(),
                changes: &changes.to_json(),
                number,
                priority_class: changes.priority().class_name(),
                cache_claim: "",
                now: NOW.parse().expect("a time"),
            });
            prop_assert_eq!(build_number(&build).expect("a number"), number);
            build.status.conditions = vec![condition("Succeeded", true)];
            build.status.build_metadata = buildpacks(&world.held);
            build.status.stack.run_image = objects.builder.status.stack.run_image.clone();
            build.status.lifecycle_version = objects.builder.status.lifecycle.version.clone();
            objects.last = Some(build);
            prop_assert_eq!(objects.decide(), Decision::UpToDate);
        }
    }

    #[test]
    fn operators_never_cause_a_build_after_a_failure(world in world(), runs in 0..2_u8, lifecycle in 0..2_u8) {
        let failed = World { outcome: Some(ConditionStatus::False), ..world };
        let other = World {
            runs: (failed.runs.0, runs),
            lifecycles: (failed.lifecycles.0, lifecycle),
            held: vec![false; 3],
            ..failed.clone()
        };
        prop_assert_eq!(failed.objects().decide(), other.objects().decide());
    }

    #[test]
    fn each_reported_reason_alone_still_causes_a_build(world in world()) {
        let Some(reasons) = world.oracle() else { return Ok(()) };
        for reason in reasons.iter().filter(|_| world.outcome.is_some()) {
            let alone = World {
                triggered: *reason == "TRIGGER",
                revisions: if *reason == "COMMIT" { world.revisions } else { (0, 0) },
                urls: if *reason == "CONFIG" { world.urls } else { (0, 0) },
                env: if *reason == "CONFIG" { world.env.clone() } else { (Vec::new(), Vec::new()) },
                held: if *reason == "BUILDPACK" { world.held.clone() } else { vec![true; 3] },
                runs: if *reason == "STACK" { world.runs } else { (0, 0) },
                lifecycles: if *reason == "LIFECYCLE" { world.lifecycles } else { (0, 0) },
                ..world.clone()
            };
            match alone.objects().decide() {
                Decision::Build(changes) => prop_assert_eq!(changes.reasons(), *reason),
                other => prop_assert!(false, "{reason}: {other}"),
            }
        }
    }

    #[test]
    fn any_termination_message_is_read_or_refused(text in "\\PC{0,200}") {
        let _ = BuildMetadata::from_termination_message(&text);
    }
}
