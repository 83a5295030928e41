//! What rebase pushes and completion reports.

use cnb_layers::{BaseImage, Compression, ImageSource, LayerBuilder, Platform, Reference};
use kpack_engine::programs::Program;
use rebuild_policy::BuildMetadata;
use serde_json::{Value, json};
use test_support::Registry;

use crate::step::{PASSWORD, Pod, USER, push, store};

const STACK: (&str, &str) = ("io.buildpacks.stack.id", "io.acme.base");

/// Pushes two run images and an application on the first, and returns (application, first, second) by digest.
fn images(registry: &Registry) -> (Reference, Reference, Reference) {
    let store = store(registry, true);
    let name = |name: &str| format!("{}/team/{name}", registry.host());
    let old = push(&store, &name("run:old"), ("etc/os", "old"), &[STACK]);
    let new = push(&store, &name("run:new"), ("etc/os", "new"), &[STACK]);
    let base = store.image(&old, &Platform::linux_amd64()).unwrap().unwrap();
    let lifecycle = json!({
        "runImage": {"topLayer": base.top_layer().unwrap().to_string(), "reference": old.to_string()},
        "stack": {"runImage": {"image": name("run:any")}},
    });
    let build = json!({
        "buildpacks": [{"id": "acme/web", "version": "1.4.0", "homepage": "https://h"}],
        "launcher": {"version": "0.20.12"},
    });
    let tag: Reference = name("shop").parse().unwrap();
    let app = BaseImage::on(old.clone(), &base)
        .layer("app", LayerBuilder::new().file("app/main", 0o755, 0, 0, "app"))
        .label(STACK.0, STACK.1)
        .label("io.buildpacks.lifecycle.metadata", lifecycle.to_string())
        .label("io.buildpacks.build.metadata", build.to_string())
        .push_from(&store, &store, std::slice::from_ref(&tag), Compression::default())
        .unwrap();
    (tag.with_digest(app.digest()), old, new)
}

#[test]
fn an_image_is_rebased_and_reported() {
    let registry = Registry::with_basic_auth(USER, PASSWORD).unwrap();
    let (app, _, new) = images(&registry);
    let pod = Pod::new();
    pod.secret("regcreds", &[("username", USER), ("password", PASSWORD)]);
    let host = registry.host();
    let secret = format!("-basic-docker=regcreds={host}");
    let tags = [format!("{host}/team/shop"), format!("{host}/team/shop:b2")];
    let report = pod.path("report/report.toml").display().to_string();
    let changes = r#"[{"reason":"STACK","old":"sha256:1","new":"sha256:2"}]"#;
    let args = [
        "--run-image",
        &new.to_string(),
        "--last-built-image",
        &app.to_string(),
        "--report",
        &report,
        &secret,
        &tags[0],
        &tags[1],
    ];
    let outcome = pod.run(Program::Rebase, &args, &[("BUILD_CHANGES", changes)]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(
        outcome.out.starts_with("Build reason(s): STACK\nSTACK:\n"),
        "{}",
        outcome.out
    );
    let lines =
        format!("Loading cluster credential helpers\nLoading secrets for \"{host}\" from secret \"regcreds\"\n");
    assert!(outcome.out.contains(&lines), "{}", outcome.out);

    let store = store(&registry, true);
    let read = |name: &str| {
        let image = store.image(&name.parse().unwrap(), &Platform::linux_amd64());
        image.unwrap().unwrap()
    };
    let rebased = read(&tags[0]);
    assert_eq!(read(&tags[1]).digest(), rebased.digest());
    assert_eq!(rebased.layers()[0].diff_id, read(&new.to_string()).layers()[0].diff_id);
    assert_eq!(rebased.layers()[1].diff_id, read(&app.to_string()).layers()[1].diff_id);

    let message = pod.path("message").display().to_string();
    let env = [("TERMINATION_MESSAGE_PATH", message.as_str()), ("CACHE_TAG", "")];
    let signing = [
        "-cosign-annotations=buildTimestamp=20260105.100000",
        "-cosign-annotations=buildNumber=7",
    ];
    let outcome = pod.run(Program::Completion, &[&secret, signing[0], signing[1]], &env);
    assert_eq!(
        (outcome.code, outcome.out.as_str()),
        (0, "Build successful\n"),
        "{}",
        outcome.err
    );
    let metadata = BuildMetadata::from_termination_message(&pod.read("message")).unwrap();
    let expected: Value = json!({
        "buildpackMetadata": [{"id": "acme/web", "version": "1.4.0", "homepage": "https://h"}],
        "latestCacheImage": "",
        "latestImage": format!("{host}/team/shop@{}", rebased.digest()),
        "stackID": STACK.1,
        "stackRunImage": format!("{host}/team/run@{}", new.digest().unwrap()),
        "lifecycleVersion": "0.20.12",
    });
    assert_eq!(json!(metadata), expected);
}

#[test]
fn an_image_of_another_stack_is_not_rebased() {
    let registry = Registry::with_basic_auth(USER, PASSWORD).unwrap();
    let (app, ..) = images(&registry);
    let host = registry.host();
    let other = push(
        &store(&registry, true),
        &format!("{host}/team/run:other"),
        ("etc/os", "other"),
        &[(STACK.0, "io.acme.other")],
    );
    let pod = Pod::new();
    pod.secret("regcreds", &[("username", USER), ("password", PASSWORD)]);
    let secret = format!("-basic-docker=regcreds={host}");
    let (other, app, tag) = (other.to_string(), app.to_string(), format!("{host}/team/shop:b3"));
    let args = ["--run-image", &other, "--last-built-image", &app, &secret, &tag];
    let outcome = pod.run(Program::Rebase, &args, &[]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("incompatible stack"), "{}", outcome.err);
    let image = store(&registry, true).image(&tag.parse().unwrap(), &Platform::linux_amd64());
    assert!(image.unwrap().is_none());
}

#[test]
fn a_report_that_is_missing_or_names_nothing_ends_the_build() {
    let pod = Pod::new();
    let outcome = pod.run(Program::Completion, &[], &[]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("report.toml"), "{}", outcome.err);
    std::fs::write(pod.path("report/report.toml"), "[image]\ntags = []\n").unwrap();
    let outcome = pod.run(Program::Completion, &[], &[]);
    assert!(outcome.err.contains("it names no tag"), "{}", outcome.err);
}

#[test]
fn an_image_that_is_to_be_signed_is_not_reported_as_if_it_were() {
    let pod = Pod::new();
    let digest = "sha256:".to_owned() + &"a".repeat(64);
    let report = format!("[image]\ntags = [\"reg.example/team/shop:1\"]\ndigest = \"{digest}\"\n");
    std::fs::write(pod.path("report/report.toml"), report).unwrap();
    pod.secret("cosign/key", &[("cosign.key", "x")]);
    let outcome = pod.run(Program::Completion, &["-cosign-annotations=a=b"], &[]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("signed with cosign"), "{}", outcome.err);
}
