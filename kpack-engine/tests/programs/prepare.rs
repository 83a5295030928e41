//! What prepare checks, prints and leaves for later steps.

use std::os::unix::fs::PermissionsExt;

use kpack_engine::programs::Program;
use test_support::{GitServer, Registry};

use crate::step::{Outcome, PASSWORD, Pod, USER, files_with, push, store};

/// A registry with a run image, a repository with a commit, and a pod.
struct World {
    registry: Registry,
    _git: GitServer,
    url: String,
    commit: String,
    pod: Pod,
}

impl World {
    fn new() -> Self {
        let registry = Registry::with_basic_auth(USER, PASSWORD).unwrap();
        let git = GitServer::start().unwrap();
        let repository = git.create_repository("shop").unwrap();
        let files = [
            ("app/main.py", "print('hello')\n"),
            ("app/notes.md", "notes\n"),
            (
                "app/project.toml",
                "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nexclude = [\"*.md\"]\n\
                 [[io.buildpacks.build.env]]\nname = \"MODE\"\nvalue = \"project\"\n\
                 [[io.buildpacks.build.env]]\nname = \"ONLY\"\nvalue = \"project\"\n",
            ),
        ];
        let commit = repository.commit(&files, "first").unwrap();
        push(
            &store(&registry, true),
            &image(&registry, "run:1"),
            ("etc/os", "x"),
            &[],
        );
        let pod = Pod::new();
        pod.secret("regcreds", &[("username", USER), ("password", PASSWORD)]);
        Self {
            url: git.url("shop"),
            _git: git,
            registry,
            commit,
            pod,
        }
    }

    fn prepare(&self, more: &[(&str, &str)]) -> Outcome {
        let secret = format!("-basic-docker=regcreds={}", self.registry.host());
        self.prepare_with(&[&secret], more)
    }

    fn prepare_with(&self, args: &[&str], more: &[(&str, &str)]) -> Outcome {
        let (tag, run) = (image(&self.registry, "shop"), image(&self.registry, "run:1"));
        let mut env = vec![
            ("GIT_URL", self.url.as_str()),
            ("GIT_REVISION", self.commit.as_str()),
            ("GIT_INITIALIZE_SUBMODULES", "false"),
            ("SOURCE_SUB_PATH", "app"),
            ("IMAGE_TAG", &tag),
            ("RUN_IMAGE", &run),
        ];
        env.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        env.extend(more);
        self.pod.run(Program::Prepare, args, &env)
    }
}

fn image(registry: &Registry, name: &str) -> String {
    format!("{}/team/{name}", registry.host())
}

// row 10.2/D18
#[test]
fn a_git_source_is_fetched_and_everything_is_left_for_later_steps() {
    let world = World::new();
    let host = world.registry.host();
    let changes = r#"[{"reason":"COMMIT","old":"aaa","new":"bbb"}]"#;
    let outcome = world.prepare(&[
        ("BUILD_CHANGES", changes),
        ("BUILDER_IMAGE", "r.test/builder@sha256:12"),
        ("BUILDER_NAME", "kb"),
        ("BUILDER_KIND", "ClusterBuilder"),
        ("PLATFORM_ENV_MODE", "build=spec"),
        ("PLATFORM_ENV_EMPTY", ""),
    ]);
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    let World { url, commit, pod, .. } = &world;
    let workspace = pod.path("workspace");
    let expected = format!(
        "Build reason(s): COMMIT\nCOMMIT:\n\
         \t\u{1b}[31m-\u{1b}[0m \u{1b}[31maaa\u{1b}[0m\n\t\u{1b}[32m+\u{1b}[0m \u{1b}[32mbbb\u{1b}[0m\n\
         Loading registry credentials from service account secrets\n\
         Loading secrets for \"{host}\" from secret \"regcreds\"\n\
         Loading cluster credential helpers\n\
         Cloning \"{url}\" @ \"{commit}\"...\n\
         Successfully cloned \"{url}\" @ \"{commit}\" in path \"{}\"\n\
         Builder:\n Image: r.test/builder@sha256:12 \n Name: kb \n Kind: ClusterBuilder\n",
        workspace.display()
    );
    assert_eq!(outcome.out, expected);
    assert_eq!(pod.read("workspace/app/main.py"), "print('hello')\n");
    assert!(!workspace.join("app/notes.md").exists());
    assert_eq!(
        pod.read("projectMetadata/project-metadata.toml"),
        format!(
            "[source]\n  type = \"git\"\n  [source.metadata]\n    repository = \"{url}\"\n    revision = \"{commit}\"\n  \
             [source.version]\n    commit = \"{commit}\"\n"
        )
    );
    assert_eq!(pod.read("platform/env/MODE"), "build=spec");
    assert_eq!(pod.read("platform/env/ONLY"), "project");
    assert_eq!(pod.read("platform/env/EMPTY"), "");
    let config = pod.path("home/.docker/config.json");
    assert_eq!(std::fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(pod.read("home/.docker/config.json").contains(&host));
    // The password is where it belongs and nowhere else.
    let with_password = files_with(&pod.path(""), PASSWORD);
    assert_eq!(with_password.len(), 2, "{with_password:?}");
}

#[test]
fn a_wrong_password_is_told_with_the_registry_and_never_shown() {
    let world = World::new();
    world
        .pod
        .secret("regcreds", &[("username", USER), ("password", "wrong-battery")]);
    let outcome = world.prepare(&[]);
    assert_eq!(outcome.code, 1);
    let tag = image(&world.registry, "shop");
    assert!(
        outcome
            .err
            .starts_with(&format!("Error verifying write access to \"{tag}\": ")),
        "{}",
        outcome.err
    );
    assert!(outcome.err.contains("UNAUTHORIZED"), "{}", outcome.err);
    assert_eq!(outcome.err.lines().count(), 1);
    for text in ["wrong-battery", "d3JvbmctYmF0dGVyeQ"] {
        assert!(!outcome.err.contains(text) && !outcome.out.contains(text));
    }
    assert!(!world.pod.path("workspace/app").exists());
}

#[test]
fn without_credentials_that_is_said() {
    let world = World::new();
    let outcome = world.prepare_with(&[], &[]);
    assert_eq!(outcome.code, 1);
    assert!(
        outcome
            .out
            .contains("No registry credentials were loaded from service account secrets\n")
    );
}

#[test]
fn docker_configurations_and_pull_secrets_serve_in_their_order() {
    let world = World::new();
    let host = world.registry.host();
    let config = |user: &str, password: &str| {
        format!("{{\"auths\":{{\"{host}\":{{\"username\":\"{user}\",\"password\":\"{password}\"}}}}}}")
    };
    world
        .pod
        .secret("config", &[(".dockerconfigjson", &config(USER, PASSWORD))]);
    // Of no use for the write check, and too late for the read check: an earlier secret serves the registry.
    world.pod.secret("pull", &[(".dockerconfigjson", &config("x", "y"))]);
    let outcome = world.prepare_with(&["-dockerconfig=config", "-imagepull=pull", "-dockercfg=missing"], &[]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let location = world.pod.path("secrets/config");
    let line = format!(
        "Loading secret for \"{host}\" from secret \"config\" at location \"{}\"\n",
        location.display()
    );
    assert!(outcome.out.contains(&line), "{}", outcome.out);
    // With the pull secret alone nothing may be written.
    let outcome = world.prepare_with(&["-imagepull=pull"], &[]);
    assert!(outcome.err.contains("write access"), "{}", outcome.err);
}

#[test]
fn a_missing_run_image_is_told_before_anything_is_fetched() {
    let world = World::new();
    let missing = image(&world.registry, "run:none");
    let outcome = world.prepare(&[("RUN_IMAGE", &missing)]);
    assert_eq!(outcome.code, 1);
    let expected = format!("Error verifying read access to run image \"{missing}\"");
    assert!(outcome.err.starts_with(&expected), "{}", outcome.err);
    assert!(!outcome.out.contains("Cloning"));
}

#[test]
fn a_revision_or_sub_path_that_is_not_there_is_named() {
    let world = World::new();
    let outcome = world.prepare(&[("GIT_REVISION", "no-such-branch")]);
    assert_eq!(outcome.code, 1);
    assert!(outcome.err.contains("no-such-branch"), "{}", outcome.err);
    for (sub_path, part) in [
        ("../..", "sub path \"../..\""),
        ("none", "has no directory \"none\""),
        (".git", "sub path \".git\""),
    ] {
        let world = World::new();
        let outcome = world.prepare(&[("SOURCE_SUB_PATH", sub_path)]);
        assert_eq!(outcome.code, 1);
        assert!(outcome.err.contains(part), "{}", outcome.err);
    }
}

#[test]
fn arguments_and_variables_that_make_no_sense_are_refused() {
    let world = World::new();
    for (argument, part) in [
        ("-basic-docker=x", "could not parse docker secret argument x"),
        ("-basic-git=g1", "could not parse git secret argument g1"),
        ("-blob=a=b=c", "could not parse blob secret argument a=b=c"),
        (
            "-dockerconfig=../home",
            "could not parse docker secret argument ../home",
        ),
        ("-unknown=1", "cannot understand argument -unknown=1"),
        ("word", "cannot understand argument word"),
    ] {
        let outcome = world.prepare_with(&[argument], &[]);
        assert_eq!(outcome.code, 1);
        assert!(outcome.err.contains(part), "{}", outcome.err);
    }
    let outcome = world.prepare(&[("PLATFORM_ENV_../../escaped", "x")]);
    assert!(outcome.err.contains("../../escaped"), "{}", outcome.err);
    assert!(!world.pod.path("escaped").exists());
}

#[test]
fn a_source_image_is_unpacked() {
    let world = World::new();
    let source = image(&world.registry, "source:1");
    let digest = push(
        &store(&world.registry, true),
        &source,
        ("app/main.py", "from image\n"),
        &[],
    );
    let outcome = world.prepare(&[("GIT_URL", ""), ("REGISTRY_IMAGE", &source)]);
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert!(
        outcome
            .out
            .contains(&format!("Pulling {source}...\nSuccessfully pulled {source} in path"))
    );
    assert_eq!(world.pod.read("workspace/app/main.py"), "from image\n");
    let metadata = world.pod.read("projectMetadata/project-metadata.toml");
    assert!(
        metadata.contains(&format!("digest = \"{}\"", digest.digest().unwrap())),
        "{metadata}"
    );
}

// row 10.5/B9
#[test]
fn a_credential_for_an_archive_must_be_there_when_it_is_asked_for() {
    let world = World::new();
    let blob = [
        ("GIT_URL", ""),
        ("BLOB_URL", "http://127.0.0.1:9/a.tar?sig=secret"),
        ("BLOB_AUTH", "true"),
    ];
    let outcome = world.prepare(&blob);
    assert!(outcome.err.contains("kpack.io/blob"), "{}", outcome.err);
    world.pod.secret("blob", &[("bearer", "token")]);
    let host = format!("-basic-docker=regcreds={}", world.registry.host());
    let outcome = world.prepare_with(&[&host, "-blob=blob=other.test"], &blob);
    assert!(
        outcome
            .err
            .starts_with("failed to resolve creds: no secrets matched for '127.0.0.1'"),
        "{}",
        outcome.err
    );
    assert!(
        outcome
            .out
            .contains("Loading secrets for \"other.test\" from secret \"blob\"\n")
    );
    assert!(!outcome.err.contains("sig=secret") && !outcome.out.contains("sig=secret"));
}
