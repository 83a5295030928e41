//! The whole walk-through, W01 to W21, with what each step must leave behind.

use std::sync::OnceLock;

use walkthrough::{BuildRecord, Options, Story, run};

/// One run serves all tests: each of them looks at another side of it.
fn story() -> &'static Story {
    static STORY: OnceLock<Story> = OnceLock::new();
    STORY.get_or_init(|| {
        let options = Options {
            quiet: true,
            ..Options::default()
        };
        run(&options).unwrap_or_else(|error| panic!("the walk-through failed: {error:#}"))
    })
}

fn build(number: u32) -> &'static BuildRecord {
    story()
        .builds
        .iter()
        .find(|build| build.number == number)
        .expect("the build was made")
}

/// The steps of a log, in order.
fn steps(build: &BuildRecord) -> Vec<&str> {
    build
        .log
        .lines()
        .filter_map(|line| line.split("===> ").nth(1))
        .collect()
}

/// The part of a log that one step printed.
fn step<'a>(build: &'a BuildRecord, name: &str) -> &'a str {
    let part = build.log.split(&format!("===> {name}\n")).nth(1).unwrap_or_default();
    part.split("===> ").next().unwrap_or_default()
}

fn stdout(step: &str, part: &str) -> &'static str {
    &story()
        .command(step, part)
        .unwrap_or_else(|| panic!("{step} ran `{part}`"))
        .stdout
}

#[test]
fn w01_to_w05_namespace_secret_account_and_defaults_are_set() {
    assert_eq!(stdout("W01", "kubectl create namespace"), "namespace/demo created\n");
    assert_eq!(stdout("W02", "kubectl create secret"), "secret/regcreds created\n");
    assert_eq!(stdout("W03", "kubectl apply"), "serviceaccount/kp-default created\n");
    assert_eq!(
        stdout("W04", "kp config default-service-account kp-default"),
        "kp-config set\n"
    );
    let get = story()
        .commands
        .iter()
        .find(|ran| ran.line == "kp config default-service-account")
        .expect("it was asked");
    assert_eq!(get.stdout, "Name: kp-default\nNamespace: demo\n");
}

#[test]
fn w06_to_w11_store_stack_and_builder_become_ready() {
    assert!(stdout("W06", "clusterstore save").ends_with("ClusterStore \"default\" created\n"));
    let again = story()
        .commands
        .iter()
        .filter(|ran| ran.line.contains("clusterstore save"))
        .nth(1)
        .expect("twice");
    assert!(
        again.stdout.contains("\tBuildpackage already exists in the store\n"),
        "{}",
        again.stdout
    );
    assert!(
        again.stdout.ends_with("ClusterStore \"default\" updated (no change)\n"),
        "{}",
        again.stdout
    );
    assert_eq!(
        stdout("W06", "clusterstore list"),
        "NAME       READY\ndefault    True\n\n"
    );
    assert!(stdout("W07", "clusterstack save").ends_with("ClusterStack \"base\" created\n"));
    assert_eq!(
        stdout("W09", "clusterbuilder save"),
        "ClusterBuilder \"my-demo\" created\n"
    );
    let list = stdout("W10", "clusterbuilder list");
    assert!(list.contains("my-demo    true     demo.stacks.bookworm"), "{list}");
    let status = stdout("W11", "clusterbuilder status");
    assert!(
        status.contains("Status:       Ready") && status.contains("demo/python@1.0.0"),
        "{status}"
    );
}

#[test]
fn w13_the_first_build_goes_through_all_steps_and_adds_all_layers() {
    let first = build(1);
    assert_eq!((first.reason.as_str(), first.status.as_str()), ("CONFIG", "SUCCESS"));
    let all = [
        "PREPARE",
        "ANALYZE",
        "DETECT",
        "RESTORE",
        "BUILD",
        "EXPORT",
        "COMPLETION",
    ];
    assert_eq!(steps(first), all);
    assert_eq!(first.containers, all.map(str::to_lowercase));
    let prepare = step(first, "PREPARE");
    let commit = &story().commits[0];
    for words in [
        "Build reason(s): CONFIG",
        "subPath: app",
        "from secret \"regcreds\"",
        " Name: my-demo",
        " Kind: ClusterBuilder",
    ] {
        assert!(prepare.contains(words), "{words} in {prepare}");
    }
    assert!(
        prepare.contains("Cloning") && prepare.contains(commit.as_str()),
        "{prepare}"
    );
    let not_found = format!("Image with name \"{}:main\" not found", story().repository);
    assert_eq!(step(first, "ANALYZE").matches(&not_found).count(), 1);
    assert!(step(first, "DETECT").contains("demo/pip-install 1.0.0"));
    assert!(!step(first, "RESTORE").contains("from app image") && !step(first, "RESTORE").contains("from cache"));
    let export = step(first, "EXPORT");
    for layer in ["demo/python-env:env", "demo/pip-install:packages"] {
        assert!(export.contains(&format!("Adding layer '{layer}'")), "{export}");
        assert!(export.contains(&format!("Adding cache layer '{layer}'")), "{export}");
    }
    assert!(!export.contains("Reusing layer"), "{export}");
    let (main, images) = (
        format!("Saving {}:main...", story().repository),
        format!("*** Images ({}", "sha256:"),
    );
    assert!(export.contains(&main) && export.contains(&images), "{export}");
    assert!(step(first, "COMPLETION").contains("Build successful"));
    assert_eq!(first.answer.as_deref(), Some("Hello from the first commit\n"));
}

#[test]
fn w13_another_run_makes_the_same_app_layers() {
    let options = Options {
        quiet: true,
        only_first_build: true,
        ..Options::default()
    };
    let other = run(&options).unwrap_or_else(|error| panic!("the second run failed: {error:#}"));
    let (here, there) = (build(1), &other.builds[0]);
    assert_ne!(story().repository, other.repository, "these are two registries");
    assert!(here.app_layers().len() >= 5, "{:?}", here.layer_digests);
    assert_eq!(here.app_layers(), there.app_layers());
}

#[test]
fn w13_the_image_says_what_it_was_made_of() {
    let labels = &story().labels;
    let json = |name: &str| -> serde_json::Value { serde_json::from_str(&labels[name]).expect("the label is JSON") };
    let buildpacks = json("io.buildpacks.build.metadata")["buildpacks"].to_string();
    assert!(
        buildpacks.contains("demo/python-env") && buildpacks.contains("demo/python-web"),
        "{buildpacks}"
    );
    assert!(json("io.buildpacks.lifecycle.metadata")["runImage"]["topLayer"].is_string());
    let source = &json("io.buildpacks.project.metadata")["source"];
    assert_eq!(source["type"], "git");
    assert_eq!(source["version"]["commit"], story().commits[0].as_str());
}

#[test]
fn w14_the_digest_is_that_of_the_tag() {
    let status = stdout("W14", "kp image status");
    let image = format!("LatestImage:    {}@{}", story().repository, build(1).digest);
    assert!(status.contains(&image), "{status}");
}

#[test]
fn w16_a_commit_alone_makes_build_2_which_reuses_the_dependencies() {
    let (first, second) = (build(1), build(2));
    assert_eq!((second.reason.as_str(), second.status.as_str()), ("COMMIT", "SUCCESS"));
    assert_ne!(first.digest, second.digest);
    let prepare = step(second, "PREPARE");
    assert!(
        prepare.contains(&story().commits[0]) && prepare.contains(&story().commits[1]),
        "{prepare}"
    );
    assert!(!step(second, "ANALYZE").contains("not found"));
    for layer in ["demo/python-env:env", "demo/pip-install:packages"] {
        assert!(step(second, "RESTORE").contains(&format!("Restoring metadata for \"{layer}\" from app image")));
        assert!(step(second, "EXPORT").contains(&format!("Reusing layer '{layer}'")));
    }
    let previous = format!("Reusing layers from image '{}@{}'", story().repository, first.digest);
    assert!(step(second, "EXPORT").contains(&previous));
    let changed = first
        .diff_ids
        .iter()
        .zip(&second.diff_ids)
        .filter(|(a, b)| a != b)
        .count();
    assert_eq!(
        (first.diff_ids.len(), changed),
        (second.diff_ids.len(), 1),
        "only the app's own layer changes"
    );
    assert_eq!(second.answer.as_deref(), Some("Hello from the second commit\n"));
    // What was reused was not sent again: the registry grew by the app, the config and the manifest.
    assert!(
        second.pushed.expect("the registry is ours") < 200_000,
        "{:?} bytes",
        second.pushed
    );
}

#[test]
fn w17_a_new_run_image_alone_makes_build_3_a_rebase() {
    let (second, third) = (build(2), build(3));
    assert_eq!((third.reason.as_str(), third.status.as_str()), ("STACK", "SUCCESS"));
    assert_eq!(third.containers, ["rebase", "completion"]);
    assert_eq!(steps(third), ["REBASE", "COMPLETION"]);
    assert_ne!(second.digest, third.digest);
    // The stack's image has two layers: the root file system stays, the release changes, all above is the app's.
    assert_eq!(second.diff_ids.len(), third.diff_ids.len());
    assert_eq!(second.diff_ids[0], third.diff_ids[0]);
    assert_ne!(second.diff_ids[1], third.diff_ids[1]);
    assert_eq!(second.diff_ids[2..], third.diff_ids[2..]);
    assert_eq!(third.answer.as_deref(), Some("Hello from the second commit\n"));
    assert!(
        third.pushed.expect("the registry is ours") < 200_000,
        "{:?} bytes",
        third.pushed
    );
}

#[test]
fn w19_a_trigger_builds_the_same_again() {
    let (third, fourth) = (build(3), build(4));
    assert_eq!((fourth.reason.as_str(), fourth.status.as_str()), ("TRIGGER", "SUCCESS"));
    assert_eq!(third.diff_ids, fourth.diff_ids);
}

#[test]
fn f08_a_commit_that_cannot_be_built_leaves_the_image_as_it_was() {
    let (fourth, fifth) = (build(4), build(5));
    assert_eq!((fifth.reason.as_str(), fifth.status.as_str()), ("COMMIT", "FAILURE"));
    assert!(step(fifth, "BUILD").contains("No matching distribution found for no-such-package"));
    assert!(!fifth.log.contains("===> EXPORT"));
    let status = stdout("F08", "kp image status");
    assert!(status.contains("Status:         Not Ready"), "{status}");
    assert!(
        status.contains(&format!("LatestImage:    {}@{}", story().repository, fourth.digest)),
        "{status}"
    );
}

#[test]
fn w20_the_registry_has_the_tag_and_one_more_for_each_build() {
    let tags = &story().tags;
    assert!(tags.contains(&"main".to_owned()), "{tags:?}");
    for number in 1..=4 {
        let prefix = format!("main-b{number}.");
        assert_eq!(
            tags.iter().filter(|tag| tag.starts_with(&prefix)).count(),
            1,
            "{prefix} in {tags:?}"
        );
    }
    assert!(!tags.iter().any(|tag| tag.starts_with("main-b5.")), "{tags:?}");
}

#[test]
fn w21_everything_can_be_deleted() {
    assert_eq!(stdout("W21", "kp image delete"), "Image Resource \"my-demo\" deleted\n");
    assert_eq!(
        story().command("W21", "kp build list").expect("it ran").stderr,
        "Error: no builds found\n"
    );
    assert!(stdout("W21", "kp clusterstore delete").ends_with("ClusterStore \"default\" store deleted\n"));
    assert!(stdout("W21", "kubectl delete namespace").contains("namespace \"demo\" deleted"));
}

#[test]
fn no_log_and_no_command_shows_the_password() {
    let password = "demo-password";
    for ran in &story().commands {
        assert!(
            !ran.line.contains(password) && !ran.stdout.contains(password) && !ran.stderr.contains(password),
            "{}",
            ran.line
        );
    }
    for build in &story().builds {
        assert!(!build.log.contains(password), "build {}", build.number);
    }
}
