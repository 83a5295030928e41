//! The recorded launches within the test's own process: what the launcher would execute is executed as a child.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};
use std::sync::RwLock;

use cnb_build::launch::{HostExecD, Launch};
use cnb_detect::Environment;
use serde_json::{Value, json};

use crate::case::{check_all, dump, normal, place, set_up};

/// A child forked while another thread writes a program would keep that program busy: writers write, readers run.
static PROGRAMS: RwLock<()> = RwLock::new(());

/// Says why a case cannot be shown without a process of its own.
fn needs_a_process(case: &Value) -> Option<&'static str> {
    let name = case["name"].as_str().unwrap_or_default();
    let files = case["files"].as_object();
    if !case["signal"].is_null() {
        Some("a signal is sent to the launcher")
    } else if case["expect"].get("same_pid").is_some() || name.contains("descriptors") {
        Some("it is about the process itself")
    } else if files.is_some_and(|files| files.keys().any(|path| path.contains("/exec.d"))) {
        Some("programs of exec.d get descriptor 3, which is not free in a test")
    } else if ["CNB_LAYERS_DIR", "CNB_APP_DIR"]
        .iter()
        .any(|name| is_relative(&case["env"][*name]))
    {
        Some("a directory is relative to the working directory")
    } else {
        None
    }
}

fn is_relative(path: &Value) -> bool {
    path.as_str()
        .is_some_and(|path| !path.is_empty() && !path.starts_with(['/', '<']))
}

fn check(case: &Value, dump_script: &str) -> Result<(), String> {
    if needs_a_process(case).is_some() {
        return Ok(());
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().canonicalize().expect("it exists");
    {
        let _alone = PROGRAMS.write().expect("no test panics here");
        set_up(&root, case, dump_script);
    }
    let _others_run = PROGRAMS.read().expect("no test panics here");
    let text = |value: &Value| place(&root, value.as_str().expect("text"));
    let mut raw = Vec::new();
    for (name, value) in case["env"].as_object().into_iter().flatten() {
        raw.extend(format!("{name}={}\0", text(value)).into_bytes());
    }
    for entry in case["env_raw"].as_array().into_iter().flatten() {
        raw.extend(format!("{}\0", text(entry)).into_bytes());
    }
    let container = Environment::of(crate::entries(&raw));
    let args: Vec<OsString> = case["args"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|arg| text(arg).into())
        .collect();
    let mut warnings = Vec::new();
    let mut warn = |line: &str| warnings.push(line.to_owned());
    let planned = crate::plan(&container, text(&case["argv0"]).into(), &args, &HostExecD, &mut warn);
    let expect = &case["expect"];
    match planned {
        Err((code, message)) => {
            let message = normal(message.as_bytes(), &root);
            let message = message
                .as_str()
                .unwrap_or_default()
                .split("toml: ")
                .next()
                .unwrap_or_default()
                .to_owned();
            let told = expect["stdout"].as_str().unwrap_or_default().contains(&message);
            if expect["exit"] == code && told && expect["dump"].is_null() {
                Ok(())
            } else {
                Err(format!("ends with {code}: {message}"))
            }
        }
        Ok(launch) => {
            let found = execute(&launch).map(|(code, signal)| match (code, signal) {
                (Some(code), _) => ("exit", json!(code)),
                (None, signal) => ("signal", json!(signal)),
            });
            // What cannot be executed ends the launcher with its own code.
            let (key, value) = found.unwrap_or(("exit", json!(82)));
            if expect[key] != value {
                return Err(format!("{key} {value} instead of {} for {launch:?}", expect[key]));
            }
            let dump = dump(&root);
            if expect["dump"] == dump {
                Ok(())
            } else {
                Err(format!("dump\n{}\n{dump}", expect["dump"]))
            }
        }
    }
}

/// Does as a child what the launcher does to itself; an error is one of the start.
fn execute(launch: &Launch) -> std::io::Result<(Option<i32>, Option<i32>)> {
    let app = fs::canonicalize(&launch.app_dir)?;
    let directory = launch
        .directory
        .as_ref()
        .map_or_else(|| app.clone(), |directory| app.join(directory));
    cnb_detect::check_format(&directory.join(&launch.program))?;
    let status = Command::new(&launch.program)
        .arg0(&launch.argv[0])
        .args(&launch.argv[1..])
        .env_clear()
        .envs(launch.env.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()?;
    Ok((status.code(), status.signal()))
}

macro_rules! files {
    ($($test:ident = $file:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            check_all($file, check);
        }
    )*};
}

files! {
    processes_are_chosen_as_in_the_reference = "select.json",
    it_starts_or_fails_as_the_reference_does = "startup.json",
    direct_processes_run_as_in_the_reference = "direct.json",
    environments_are_as_in_the_reference = "env.json",
    shell_processes_run_as_in_the_reference = "shell.json",
    mixtures_run_as_in_the_reference = "generated.json",
}

#[test]
fn few_cases_need_a_process_of_their_own() {
    let (mut all, mut left) = (0, 0);
    for file in ["select", "startup", "direct", "env", "shell", "generated", "exec-d"] {
        let path = format!("{}/tests/fixtures/{file}.json", env!("CARGO_MANIFEST_DIR"));
        let document: Value = serde_json::from_str(&fs::read_to_string(path).expect("a fixture")).expect("JSON");
        let cases = document["cases"].as_array().expect("cases");
        all += cases.len();
        left += cases.iter().filter(|case| needs_a_process(case).is_some()).count();
    }
    // Those are replayed through the program alone.
    assert_eq!((all, left), (515, 116));
}
