//! Which images a phase takes for its own: those named, or else the first that the platform's files name.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cnb_layers::{BaseImage, Compression, LayerBuilder, Platform, RegistryStore};
use registry_auth::{AnonymousKeychain, Reference};
use registry_client::{Client, HttpPolicy};
use test_support::{Registry, RegistryOptions};

/// Runs a phase in `directory` and returns its exit code and what it says.
fn run(phase: &str, directory: &Path, api: &str, args: &[&str]) -> (Option<i32>, String) {
    run_with(phase, directory, &[("CNB_PLATFORM_API", api)], args)
}

/// The same with more variables.
fn run_with(phase: &str, directory: &Path, variables: &[(&str, &str)], args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lifecycle"))
        .arg0(phase)
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .env("CNB_LAYERS_DIR", "layers")
        .env("CNB_NO_COLOR", "true")
        .env("CNB_USER_ID", rustix::process::getuid().as_raw().to_string())
        .env("CNB_GROUP_ID", rustix::process::getgid().as_raw().to_string())
        .current_dir(directory)
        .output()
        .expect("the program starts");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

/// Runs the analyzer.
fn analyze(directory: &Path, api: &str, args: &[&str]) -> (Option<i32>, String) {
    run("analyzer", directory, api, args)
}

/// Expects the analyzer to refuse its arguments with a message that ends so.
#[track_caller]
fn refused(api: &str, args: &[&str], message: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (code, said) = analyze(directory.path(), api, args);
    assert_eq!(code, Some(3), "{said}");
    assert!(
        said.ends_with(&format!("ERROR: failed to resolve inputs: {message}\n")),
        "{said}"
    );
}

/// A registry with images of one layer.
fn registry_with(names: &[&str]) -> Registry {
    let registry = Registry::with_options(&RegistryOptions::default()).expect("docker-registry starts");
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("the policy is good");
    let store = RegistryStore::new(client);
    for name in names {
        let reference = Reference::parse(&format!("{}/{name}", registry.host())).expect("a reference");
        BaseImage::new(Platform::linux_amd64())
            .layer("name", LayerBuilder::new().file("name", 0o644, 0, 0, *name))
            .push(&store, &[reference], Compression::default())
            .expect("it is pushed");
    }
    registry
}

// row I5
#[test]
fn all_tags_of_an_image_are_in_one_registry() {
    let run = ["-run-image", "a.example/run"];
    let with = |tags: [&'static str; 4]| [run.as_slice(), &tags, &["a.example/app"]].concat();
    refused(
        "0.12",
        &with(["-tag", "a.example/app:1", "-tag", "b.example/other:2"]),
        "writing to multiple registries is unsupported",
    );
    refused(
        "0.12",
        &with(["-tag", "a.example/app:1", "-tag", "some/Repo"]),
        "could not parse reference: some/Repo",
    );
}

// row I7
#[test]
fn before_platform_api_0_12_the_stack_file_or_an_argument_names_the_run_image() {
    refused(
        "0.11",
        &["-stack", "none.toml", "a.example/app"],
        "missing run image metadata (-run-image)",
    );
}

// rows I5 I6
#[test]
fn without_an_argument_the_first_run_image_of_the_file_is_taken() {
    refused(
        "0.12",
        &["-run", "none.toml", "a.example/app"],
        "-run-image is required when there is no run metadata available",
    );
    let registry = registry_with(&["run/first", "run/second"]);
    let image = |name: &str| format!("{}/{name}", registry.host());
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    fs::create_dir(directory.join("layers")).expect("a directory");
    let run = format!(
        "[[images]]\nimage = \"{}\"\n[[images]]\nimage = \"{}\"\n",
        image("run/first"),
        image("run/second")
    );
    fs::write(directory.join("run.toml"), run).expect("a file");
    let (tag, app) = (image("other:2"), image("app"));
    let (code, said) = analyze(directory, "0.12", &["-run", "run.toml", "-tag", &tag, &app]);
    assert_eq!(code, Some(0), "{said}");
    let analyzed = fs::read_to_string(directory.join("layers/analyzed.toml")).expect("it was written");
    assert!(analyzed.contains("run/first@sha256:"), "{analyzed}");
    assert!(!analyzed.contains("run/second"), "{analyzed}");
}

#[test]
fn an_empty_name_is_no_image_for_any_phase_that_writes_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for phase in ["analyzer", "exporter", "rebaser", "creator"] {
        let (code, said) = run(phase, directory.path(), "0.12", &[""]);
        assert_eq!(code, Some(3), "{phase}: {said}");
        assert_eq!(
            said, "ERROR: failed to resolve inputs: image argument is required\n",
            "{phase}"
        );
    }
}

#[test]
fn that_there_is_no_cache_is_said_before_the_creator_refuses_a_name() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = |args: &[&str]| {
        let args = [&["-run-image", "a.example/run"], args].concat();
        run("creator", directory.path(), "0.12", &args)
    };
    let no_cache = "Warning: No cached data will be used, no cache specified.\n";
    for (args, message) in [
        (
            &["-tag", "b.example/app:v1", "a.example/app"][..],
            "writing to multiple registries is unsupported",
        ),
        (
            &["-tag", "a.example/APP:v1", "a.example/app"],
            "could not parse reference: a.example/APP:v1",
        ),
        (
            &["a.example/app:la test"],
            "could not parse reference: a.example/app:la test",
        ),
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(3), "{said}");
        assert_eq!(said, format!("{no_cache}ERROR: failed to resolve inputs: {message}\n"));
    }
}

#[test]
fn a_launch_cache_is_of_no_use_without_a_daemon_but_belongs_to_the_user_of_the_build() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let directory = directory.path();
    fs::create_dir(directory.join("layers")).expect("a directory");
    fs::write(directory.join("layers/group.toml"), "").expect("a file");
    let analyzed = "[run-image]\nreference = \"a.example/run\"\n";
    fs::write(directory.join("layers/analyzed.toml"), analyzed).expect("a file");
    let ignored = "Warning: Ignoring -launch-cache, only intended for use with -daemon\n";
    for phase in ["analyzer", "exporter", "creator"] {
        let launch_cache = directory.join(phase);
        fs::create_dir(&launch_cache).expect("a directory");
        // The phase ends after it has become the user: there is no such cache, and nobody listens there.
        let mut args = vec!["-launch-cache", phase];
        if phase != "analyzer" {
            args.extend(["-cache-dir", "none"]);
        }
        if phase != "exporter" {
            args.extend(["-run-image", "127.0.0.1:1/run"]);
        }
        if rustix::process::getuid().is_root() {
            args.extend(["-uid", "23456", "-gid", "23457"]);
        }
        args.push("127.0.0.1:1/app");
        let (code, said) = run(phase, directory, "0.12", &args);
        assert_ne!(code, Some(0), "{said}");
        assert!(said.contains(ignored), "{phase}: {said}");
        if rustix::process::getuid().is_root() {
            let found = fs::metadata(&launch_cache).expect("it is there");
            assert_eq!((found.uid(), found.gid()), (23456, 23457), "{phase}");
        }
    }
}

#[test]
fn the_old_name_of_the_flag_for_the_run_image_means_the_same_to_the_creator_and_both_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let run = |args: &[&str]| {
        run(
            "creator",
            directory.path(),
            "0.12",
            &[args, &["a.example/app"]].concat(),
        )
    };
    for (args, message) in [
        (
            &["-image", "a.example/RUN"][..],
            "could not parse reference: a.example/RUN",
        ),
        (
            &["-image", "a.example/run", "-run-image", "a.example/run"],
            "supply only one of -run-image or (deprecated) -image",
        ),
    ] {
        let (code, said) = run(args);
        assert_eq!(code, Some(3), "{said}");
        let refusal = format!("ERROR: failed to resolve inputs: {message}\n");
        assert!(said.ends_with(&refusal), "{said}");
    }
}

#[test]
fn the_restorer_writes_down_which_image_the_build_runs_in() {
    let registry = registry_with(&["build/image"]);
    let name = format!("{}/build/image", registry.host());
    let restore = |api: &str, variable: &str, args: &[&str]| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let layers = directory.path().join("layers");
        fs::create_dir(&layers).expect("a directory");
        let group = "[[group-extensions]]\nid = \"acme/ext\"\nversion = \"1\"\napi = \"0.10\"\n";
        fs::write(layers.join("group.toml"), group).expect("a file");
        fs::write(layers.join("analyzed.toml"), "[run-image]\nreference = \"r\"\n").expect("a file");
        let variables = [("CNB_PLATFORM_API", api), ("CNB_BUILD_IMAGE", variable)];
        let (code, said) = run_with("restorer", directory.path(), &variables, args);
        let analyzed = fs::read_to_string(layers.join("analyzed.toml")).expect("it is there");
        (code, said, analyzed)
    };
    for (variable, args) in [("", &["-build-image", &name][..]), (&name, &[])] {
        let (code, said, analyzed) = restore("0.10", variable, args);
        assert_eq!(code, Some(0), "{said}");
        let line = format!("[build-image]\n  reference = \"{name}@sha256:");
        assert!(analyzed.contains(&line), "{analyzed}");
        assert!(analyzed.contains("[run-image]"), "{analyzed}");
        let warning = "Warning: Build image is named in analyzed metadata, but not downloaded for extensions\n";
        assert!(said.contains(warning), "{said}");
    }
    let (code, said, analyzed) = restore("0.9", &name, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(!analyzed.contains("build-image"), "{analyzed}");
    for (missing, reason) in [
        (format!("{name}/none"), "there is no such image"),
        ("Bad Name!".to_owned(), "could not parse reference: Bad Name!"),
    ] {
        let (code, said, _) = restore("0.12", "", &["-build-image", &missing]);
        assert_eq!(code, Some(1), "{said}");
        let refusal = format!("ERROR: failed to read build image {missing:?}: {reason}\n");
        assert!(said.ends_with(&refusal), "{said}");
    }
}
