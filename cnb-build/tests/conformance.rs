//! Rows of the conformance table (docs/conformance.md) that no recorded case shows.

use std::ffi::{OsStr, OsString};

use cnb_build::launch::{LaunchError, LaunchMetadata, base_environment, choose};
use cnb_build::{BomEntry, BuildMetadata, LauncherInfo, Process};
use cnb_order::{ApiVersion, Entry};

fn api(minor: u64) -> ApiVersion {
    ApiVersion::new(0, minor)
}

fn variables(list: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    list.iter()
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

// row E22
#[test]
fn the_launchers_own_variables_do_not_reach_the_process() {
    let container = variables(&[
        ("CNB_APP_DIR", "x"),
        ("CNB_DEPRECATION_MODE", "x"),
        ("CNB_FOO", "kept"),
        ("CNB_LAYERS_DIR", "x"),
        ("CNB_PLATFORM_API", "x"),
        ("CNB_PROCESS_TYPE", "x"),
    ]);
    assert_eq!(
        base_environment(container).into_list(),
        variables(&[("CNB_FOO", "kept")])
    );
}

// row E23
#[test]
fn the_launchers_own_directories_vanish_from_the_path_wherever_they_stand() {
    let path = |text: &str| {
        base_environment(variables(&[("PATH", text)]))
            .get("PATH")
            .map(OsStr::to_owned)
    };
    assert_eq!(path("/cnb/process:some-path:/cnb/lifecycle"), Some("some-path".into()));
    assert_eq!(path("a:/cnb/lifecycle:b"), Some("a:b".into()));
}

fn process() -> Process {
    Process {
        kind: "some-type".to_owned(),
        command: vec!["some-command".to_owned(), "some-command-arg".to_owned()],
        args: Some(vec!["some-arg".to_owned()]),
        direct: true,
        default: true,
        buildpack_id: "some-buildpack".to_owned(),
        working_dir: "some-directory".to_owned(),
        exec_env: Vec::new(),
    }
}

fn metadata() -> BuildMetadata {
    BuildMetadata {
        processes: Some(vec![process()]),
        ..BuildMetadata::default()
    }
}

// row L1
#[test]
fn the_keys_of_a_process_stand_in_the_order_of_the_reference() {
    assert_eq!(
        metadata().to_toml(api(15)),
        "[[processes]]\n  type = \"some-type\"\n  command = [\"some-command\", \"some-command-arg\"]\n  args = [\"some-arg\"]\n  \
         direct = true\n  default = true\n  buildpack-id = \"some-buildpack\"\n  working-dir = \"some-directory\"\n"
    );
}

// row L2
#[test]
fn below_platform_api_0_10_the_command_is_one_text() {
    let text = metadata().to_toml(api(9));
    assert!(
        text.contains("  command = \"some-command\"\n  args = [\"some-command-arg\", \"some-arg\"]\n"),
        "{text}"
    );
    // What is read back means the same to the launcher.
    let back = BuildMetadata::from_toml(&text)
        .expect("it is ours")
        .processes
        .expect("there is one");
    assert_eq!(back[0].command, ["some-command"]);
}

// row L5
#[test]
fn the_json_of_a_process_names_the_buildpack_in_another_way() {
    let json = process().to_json(true);
    assert_eq!(json["buildpackID"], "some-buildpack");
    assert_eq!(json["command"], serde_json::json!(["some-command", "some-command-arg"]));
    let old = process().to_json(false);
    assert_eq!(
        (&old["command"], &old["args"]),
        (
            &"some-command".into(),
            &serde_json::json!(["some-command-arg", "some-arg"])
        )
    );
    assert!(json.get("default").is_none());
}

fn launched(argv0: &str, args: &[&str]) -> Result<cnb_build::launch::Chosen, LaunchError> {
    let text = "[[buildpacks]]\nid = 'A'\napi = '0.9'\n[[processes]]\ntype = 'web'\ncommand = ['some-command']\ndirect = true\n\
                buildpack-id = 'A'\nexec-env = ['test']\n";
    let metadata = LaunchMetadata::from_toml(text).expect("it is fine");
    let args: Vec<OsString> = args.iter().map(OsString::from).collect();
    choose(&metadata, api(15), "production", OsStr::new(argv0), &args)
}

// row L8
#[test]
fn a_command_of_the_user_without_dashes_goes_to_the_shell() {
    let chosen = launched("launcher", &["user-command", "a", "b"]).expect("there is a command");
    assert!(!chosen.direct);
    assert_eq!(
        (chosen.command, chosen.args),
        (vec!["user-command".into()], vec!["a".into(), "b".into()])
    );
}

// row L9
#[test]
fn without_a_process_a_command_is_needed() {
    let error = launched("launcher", &[]).expect_err("there is nothing to start");
    assert!(
        error
            .to_string()
            .ends_with("when there is no default process a command is required")
    );
}

// row L14
#[test]
fn a_process_that_is_not_there_is_named() {
    let error = launched("/cnb/process/web", &[]).expect_err("it is for another environment");
    assert!(error.to_string().contains("process type web was not found"));
}

// row 11.8/P19
#[test]
fn in_no_environment_only_processes_for_any_environment_are_there() {
    let text = "[[buildpacks]]\nid = 'A'\napi = '0.9'\n[[processes]]\ntype = 'web'\ncommand = ['listed']\ndirect = true\n\
                buildpack-id = 'A'\nexec-env = ['production']\n[[processes]]\ntype = 'web'\ncommand = ['unlisted']\n\
                direct = true\nbuildpack-id = 'A'\n[[processes]]\ntype = 'job'\ncommand = ['job']\ndirect = true\n\
                buildpack-id = 'A'\nexec-env = ['production', 'test']\n";
    let metadata = LaunchMetadata::from_toml(text).expect("it is fine");
    let chosen = |argv0: &str| choose(&metadata, api(15), "", OsStr::new(argv0), &[]);
    assert_eq!(
        chosen("web").expect("one has no list").command,
        [OsString::from("unlisted")]
    );
    let error = chosen("job").expect_err("its list is of others");
    assert!(error.to_string().contains("process type job was not found"));
}

// row F2
#[test]
fn the_build_label_has_no_bill_of_materials_from_platform_api_0_9_on() {
    let metadata = BuildMetadata {
        buildpacks: vec![Entry::new("A", "v1")],
        ..BuildMetadata::default()
    };
    let launcher = LauncherInfo {
        version: "1".to_owned(),
        repository: "r".to_owned(),
        commit: "c".to_owned(),
    };
    let source = r#""launcher":{"version":"1","source":{"git":{"repository":"r","commit":"c"}}}"#;
    assert_eq!(
        metadata.to_label(api(15), &launcher),
        format!(r#"{{"buildpacks":[{{"id":"A","version":"v1"}}],{source},"processes":null}}"#)
    );
    assert!(
        metadata
            .to_label(api(8), &launcher)
            .starts_with(r#"{"bom":null,"buildpacks":"#)
    );
}

#[test]
fn floats_of_the_bill_of_materials_are_written_as_go_does() {
    let entry = BomEntry {
        metadata: "a = -0.0\nb = 1.0\nc = 1e21\nd = 1e16\n".parse().ok(),
        ..BomEntry::default()
    };
    let json = entry.to_json();
    assert!(
        json.contains(r#""metadata":{"a":-0,"b":1,"c":1e+21,"d":10000000000000000}"#),
        "{json}"
    );
}
