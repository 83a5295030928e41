//! What a build does when something is wrong with what it was given.

use std::net::TcpListener;

use anyhow::Context as _;
use end_to_end::{PASSWORD, USER, World, condition};
use serde_json::Value;
use test_support::Registry;

/// The message of the condition `Succeeded` of a build that failed.
fn failure(build: &Value) -> &str {
    let succeeded = condition(build, "Succeeded");
    assert_eq!(succeeded["status"], "False", "{succeeded}");
    succeeded["message"].as_str().unwrap_or_default()
}

/// The container that failed, and its exit code.
fn failed_container(world: &World, number: u32) -> anyhow::Result<(String, i64)> {
    let codes = world.exit_codes(number)?;
    codes
        .into_iter()
        .find(|(_, code)| *code != 0)
        .context("no container failed")
}

fn was_not_built(world: &World) -> anyhow::Result<()> {
    assert_eq!(world.tags()?, Vec::<String>::new());
    let image = world.get("images.kpack.io", "app")?;
    assert_eq!(image["status"]["latestImage"], Value::Null, "{image}");
    Ok(())
}

#[test]
fn an_app_becomes_one_image_under_two_tags() -> anyhow::Result<()> {
    let world = World::start()?;
    world.image(|_| {})?;
    let build = world.ended_build(1)?;
    let log = world.log(1)?;
    assert_eq!(condition(&build, "Succeeded")["status"], "True", "{log}");
    let tags = world.tags()?;
    assert_eq!(tags.len(), 2, "{tags:?}");
    assert!(tags.contains(&"main".to_owned()), "{tags:?}");
    let latest = build["status"]["latestImage"].as_str().context("no latestImage")?;
    for tag in tags {
        assert!(latest.ends_with(world.pull(&tag)?.digest().as_str()), "{tag}");
    }
    assert!(!log.contains(PASSWORD) && !world.engine_log().contains(PASSWORD));
    Ok(())
}

#[test]
fn a_wrong_password_fails_in_prepare_naming_the_registry_and_is_in_no_log() -> anyhow::Result<()> {
    let world = World::start()?;
    let other = Registry::with_basic_auth(USER, "another-password")?;
    let wrong = "a-password-that-is-wrong";
    world.secret(&[(&world.registry.host(), PASSWORD), (&other.host(), wrong)])?;
    world.image(|spec| spec["tag"] = format!("{}/app", other.host()).into())?;
    let build = world.ended_build(1)?;
    let log = world.log(1)?;
    let message = failure(&build);
    assert_eq!(failed_container(&world, 1)?.0, "prepare", "{log}");
    assert!(log.contains(&format!("\"{}/app\"", other.host())), "{log}");
    assert!(!log.contains("===> ANALYZE"), "{log}");
    for secret in [wrong, PASSWORD] {
        for text in [log.as_str(), message, &world.engine_log()] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert!(!other.data().join("docker/registry/v2/repositories/app").exists());
    was_not_built(&world)
}

// The engine reads the builder with the credentials of the build before it makes a pod, so there is no log.
#[test]
fn a_wrong_password_for_the_registry_of_the_builder_fails_before_there_is_a_pod() -> anyhow::Result<()> {
    let world = World::start()?;
    let wrong = "a-password-that-is-wrong";
    world.secret(&[(&world.registry.host(), wrong)])?;
    world.image(|_| {})?;
    let build = world.ended_build(1)?;
    let message = failure(&build);
    assert!(message.starts_with("unable to fetch remote builder image"), "{message}");
    assert!(
        message.contains(&world.registry.host()) && message.contains("401"),
        "{message}"
    );
    assert!(
        !message.contains(wrong) && !world.engine_log().contains(wrong),
        "{message}"
    );
    was_not_built(&world)
}

#[test]
fn a_missing_builder_is_named_by_the_image_and_nothing_is_built_until_it_is_there() -> anyhow::Result<()> {
    let world = World::start()?;
    world.image(|spec| spec["builder"]["name"] = "absent".into())?;
    world.wait("the image names its builder", || {
        let image = world.get("images.kpack.io", "app")?;
        let ready = condition(&image, "Ready");
        let named = ready["message"].as_str().is_some_and(|text| text.contains("absent"));
        Ok((ready["status"] == "False" && named).then_some(()))
    })?;
    assert_eq!(world.builds()?.len(), 0);
    world.builder("absent", "test/plain")?;
    let build = world.ended_build(1)?;
    assert_eq!(condition(&build, "Succeeded")["status"], "True", "{}", world.log(1)?);
    Ok(())
}

#[test]
fn a_wrong_branch_fails_in_prepare_naming_it() -> anyhow::Result<()> {
    let world = World::start()?;
    world.image(|spec| spec["source"]["git"]["revision"] = "no-such-branch".into())?;
    let build = world.ended_build(1)?;
    let log = world.log(1)?;
    failure(&build);
    assert_eq!(failed_container(&world, 1)?.0, "prepare", "{log}");
    assert!(log.contains("no-such-branch"), "{log}");
    was_not_built(&world)
}

#[test]
fn an_order_with_an_unknown_id_is_told_by_the_builder_and_the_image() -> anyhow::Result<()> {
    let world = World::start()?;
    world.builder("odd", "test/unheard-of")?;
    world.image(|spec| spec["builder"]["name"] = "odd".into())?;
    world.wait("the builder names the buildpack", || {
        let builder = world.get("clusterbuilder", "odd")?;
        let current = condition(&builder, "UpToDate");
        let named = current["message"]
            .as_str()
            .is_some_and(|text| text.contains("test/unheard-of"));
        Ok((current["status"] == "False" && named).then_some(()))
    })?;
    world.wait("the image is not ready", || {
        let image = world.get("images.kpack.io", "app")?;
        Ok((condition(&image, "Ready")["status"] == "False").then_some(()))
    })?;
    assert_eq!(world.builds()?.len(), 0);
    was_not_built(&world)
}

#[test]
fn a_buildpack_that_fails_ends_the_build_step_with_exit_code_51() -> anyhow::Result<()> {
    let world = World::start()?;
    world.sample.commit(&[("exit-code", "1\n")], "Fail")?;
    world.image(|_| {})?;
    let build = world.ended_build(1)?;
    let log = world.log(1)?;
    failure(&build);
    assert_eq!(failed_container(&world, 1)?, ("build".to_owned(), 51), "{log}");
    assert!(log.contains("plain: ends with exit code 1"), "{log}");
    assert!(!log.contains("===> EXPORT"), "{log}");
    was_not_built(&world)
}

#[test]
fn an_app_that_nothing_detects_ends_detection_with_exit_code_20() -> anyhow::Result<()> {
    let world = World::start()?;
    world.sample.git(&["mv", "hello.txt", "other.txt"])?;
    world.sample.commit(&[], "Nothing for the buildpack")?;
    world.image(|_| {})?;
    let build = world.ended_build(1)?;
    let log = world.log(1)?;
    failure(&build);
    assert_eq!(failed_container(&world, 1)?, ("detect".to_owned(), 20), "{log}");
    assert!(log.contains("No buildpack groups passed detection."), "{log}");
    assert!(
        log.contains("Please check that you are running against the correct path."),
        "{log}"
    );
    was_not_built(&world)
}

#[test]
fn a_registry_that_is_away_for_a_moment_at_export_is_asked_again() -> anyhow::Result<()> {
    let mut world = World::start()?;
    world.sample.commit(&[("seconds", "3\n")], "Slow")?;
    world.image(|_| {})?;
    let runs = |world: &World, step: &str| -> anyhow::Result<bool> {
        let pod = world.get("pod", "app-build-1-build-pod")?;
        let statuses = pod["status"]["initContainerStatuses"].as_array().cloned();
        Ok(statuses
            .into_iter()
            .flatten()
            .any(|status| status["name"] == step && status["state"]["running"].is_object()))
    };
    world.wait("the buildpack works", || {
        Ok(world
            .get("pod", "app-build-1-build-pod")
            .is_ok_and(|_| runs(&world, "build").unwrap_or(false))
            .then_some(()))
    })?;
    world.registry.pause();
    world.wait("the export begins", || Ok(runs(&world, "export")?.then_some(())))?;
    // Whoever comes now is hung up on; after the first who did, the registry is back.
    let gate = TcpListener::bind(world.registry.host())?;
    gate.set_nonblocking(true)?;
    world.wait("the export tries", || Ok(gate.accept().ok().map(drop)))?;
    drop(gate);
    world.registry.resume()?;
    let build = world.ended_build(1)?;
    let log = world.log(1)?;
    assert_eq!(condition(&build, "Succeeded")["status"], "True", "{log}");
    assert_eq!(world.tags()?.len(), 2);
    Ok(())
}

#[test]
fn a_sub_path_that_leaves_the_repository_is_refused() -> anyhow::Result<()> {
    let world = World::start()?;
    let (tag, url) = (world.tag(), world.sample_url());
    let create = [
        "image",
        "create",
        "app",
        "--namespace",
        "demo",
        "--tag",
        &tag,
        "--git",
        &url,
        "--git-revision",
        "main",
    ];
    let rest = [
        "--sub-path",
        "../x",
        "--cluster-builder",
        "tiny",
        "--service-account",
        "builder",
    ];
    world.kp(&[&create[..], &rest[..]].concat())?;
    let build = world.ended_build(1)?;
    let log = world.log(1)?;
    failure(&build);
    assert_eq!(failed_container(&world, 1)?.0, "prepare", "{log}");
    assert!(log.contains("sub path \"../x\""), "{log}");
    was_not_built(&world)
}
