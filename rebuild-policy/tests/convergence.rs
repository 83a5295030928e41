//! No endless loops: whatever moved while something was built, it comes to rest once nothing moves any more
//! (kpack issues 641, 642, 948, 979).

mod fleet;

use fleet::{NOW, builder, digest, image};
use proptest::prelude::*;
use rebuild_policy::{
    Build, BuilderView, Changes, ClusterBuilder, Condition, ConditionStatus, Decision, Image, NextBuild, Situation,
    SourceResolver, decide, next_build, next_build_number,
};

/// What moves from outside.
#[derive(Clone, Debug)]
enum Act {
    /// The tag of the run image names another image.
    RunImage(usize),
    /// The stack is read again, and the builder is made from it.
    Stack,
    /// The store has another version of a buildpack, and the builder is made anew.
    Buildpack(u8),
    /// The lifecycle is another one.
    Lifecycle(u8),
    /// Somebody pushes.
    Commit(u8),
    /// The image is looked at: a build begins, if one is needed.
    Look,
    /// The running build ends, well or not.
    End(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => (0..4_usize).prop_map(Act::RunImage),
        3 => Just(Act::Stack),
        1 => (0..3_u8).prop_map(Act::Buildpack),
        1 => (0..3_u8).prop_map(Act::Lifecycle),
        2 => (0..3_u8).prop_map(Act::Commit),
        5 => Just(Act::Look),
        4 => prop::bool::weighted(0.8).prop_map(Act::End),
    ];
    prop::collection::vec(act, 0..60)
}

/// How a build chooses its run image.
#[derive(Clone, Copy, PartialEq)]
enum RunImages {
    /// By the digest that its Build names.
    Pinned,
    /// By the tag, when it exports: what kpack once did.
    ByTag,
}

struct World {
    image: Image,
    source: SourceResolver,
    builder: ClusterBuilder,
    builds: Vec<Build>,
    /// What the tag of the run image names.
    tag: usize,
    run_images: RunImages,
}

impl World {
    fn new(run_images: RunImages) -> Self {
        let builder = builder(0);
        let (image, _, source) = image(0, 0, &builder);
        Self {
            image,
            source,
            builder,
            builds: Vec::new(),
            tag: 0,
            run_images,
        }
    }

    fn look(&mut self) -> Option<Changes> {
        let last = self.builds.last();
        if last.is_some_and(Build::is_running) {
            return None;
        }
        let now = NOW.parse().expect("a time");
        let view = BuilderView::from(&self.builder);
        let situation = Situation {
            image: &self.image,
            last_build: last,
            source: &self.source,
            builder: view,
            now,
        };
        let Decision::Build(changes) = decide(&situation).expect("references") else {
            return None;
        };
        let build = next_build(&NextBuild {
            image: &self.image,
            last_build: last,
            source: &self.source,
            builder: view,
            reasons: &changes.reasons(),
            changes: &changes.to_json(),
            number: next_build_number(last).expect("a number"),
            priority_class: "",
            cache_claim: "",
            now,
        });
        // A plan holds digests: that of the run image cannot move while the build runs.
        assert!(
            build.spec.run_image.image.contains("@sha256:"),
            "{:?}",
            build.spec.run_image
        );
        assert_eq!(build.spec.run_image.image, self.builder.status.stack.run_image);
        self.builds.push(build);
        Some(changes)
    }

    fn end(&mut self, success: bool) {
        // What was in the builder when the Build was made is what it runs with.
        let (metadata, lifecycle) = (
            self.builder.status.builder_metadata.clone(),
            self.builder.status.lifecycle.version.clone(),
        );
        let Some(build) = self.builds.last_mut().filter(|build| build.is_running()) else {
            return;
        };
        let status = if success {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        };
        build.status.conditions = vec![Condition::new("Succeeded", status, "", "", NOW)];
        if success {
            build.status.stack.run_image = match self.run_images {
                RunImages::Pinned => build.spec.run_image.image.clone(),
                RunImages::ByTag => format!("reg.example/run@{}", digest(self.tag)),
            };
            build.status.build_metadata = metadata;
            build.status.lifecycle_version = lifecycle;
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::RunImage(number) => self.tag = *number,
            Act::Stack => {
                self.builder.status.stack.run_image = format!("reg.example/builder:x-run-image@{}", digest(self.tag));
            }
            // Another builder while a build runs is another image: the build does not see it.
            Act::Buildpack(version) if !self.is_building() => {
                self.builder.status.builder_metadata[0].version = format!("1.{version}.0");
            }
            Act::Lifecycle(version) if !self.is_building() => {
                self.builder.status.lifecycle.version = format!("0.{version}.0");
            }
            Act::Buildpack(_) | Act::Lifecycle(_) => {}
            Act::Commit(number) => {
                self.source.status.source.git.as_mut().expect("git").revision = format!("{number:040}");
            }
            Act::Look => {
                self.look();
            }
            Act::End(success) => self.end(*success),
        }
    }

    fn is_building(&self) -> bool {
        self.builds.last().is_some_and(Build::is_running)
    }

    /// Lets everything that is under way come to its end; returns how many builds that takes.
    fn settle(&mut self, most: usize) -> usize {
        self.end(true);
        let before = self.builds.len();
        while self.builds.len() - before < most && self.look().is_some() {
            self.end(true);
        }
        self.builds.len() - before
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn one_build_is_enough_once_nothing_moves_any_more(acts in acts()) {
        let mut world = World::new(RunImages::Pinned);
        for act in &acts {
            world.act(act);
        }
        let builds = world.settle(10);
        prop_assert!(builds <= 1, "{builds} builds after everything had come to rest");
        prop_assert!(world.look().is_none());
        // What is decided twice in the same situation is decided alike.
        let last = world.builds.last().expect("a build");
        if last.is_success() && world.builds.len() > 1 {
            let digest = |text: &str| text.rsplit('@').next().map(str::to_owned);
            prop_assert_eq!(digest(&last.spec.run_image.image), digest(&world.builder.status.stack.run_image));
        }
    }

    #[test]
    fn no_build_is_made_twice_for_the_same_inputs(acts in acts()) {
        let mut world = World::new(RunImages::Pinned);
        for act in &acts {
            world.act(act);
        }
        world.settle(10);
        let inputs = |build: &Build| {
            (
                build.spec.source.clone(),
                build.spec.run_image.clone(),
                build.status.build_metadata.clone(),
                build.status.lifecycle_version.clone(),
            )
        };
        for pair in world.builds.windows(2).filter(|pair| pair[0].is_success() && pair[1].is_success()) {
            prop_assert!(inputs(&pair[0]) != inputs(&pair[1]), "{:?} twice in a row", inputs(&pair[0]));
        }
    }
}

/// The test would notice: with run images chosen by tag, an image is built for ever while the stack is not read again.
#[test]
fn run_images_by_tag_never_come_to_rest() {
    let mut world = World::new(RunImages::ByTag);
    world.act(&Act::Look);
    world.act(&Act::RunImage(3));
    assert_eq!(world.settle(10), 10);
    let mut world = World::new(RunImages::Pinned);
    world.act(&Act::Look);
    world.act(&Act::RunImage(3));
    assert_eq!(world.settle(10), 0);
}
