//! How long the launcher takes over a plain start of the same program, with 20 layers of environment, and how large it is.
//!
//! `cargo bench -p cnb-build`. The reference's launcher is 2.9 MB and takes 2 to 3 ms more than a plain start. The plain start
//! has the environment that the launcher hands over: its 20 `lib` directories cost the program's own loader half a
//! millisecond, whoever sets `LD_LIBRARY_PATH`. How much that is, a second plain start without them shows.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a measuring program

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 500;
const PROGRAM: &str = "/bin/true";
const LAYERS: usize = 20;

/// The launcher as it is released, beside this program; built if need be.
fn launcher() -> PathBuf {
    let release = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--quiet", "--package", "launcher", "--target-dir"])
        .arg(release.parent().unwrap())
        .status()
        .unwrap();
    assert!(built.success());
    release.join("launcher")
}

fn set_up(root: &Path, program: &str) {
    for at in 0..LAYERS {
        let layer = root.join(format!("layers/acme_{}/layer-{at}", at % 4));
        for directory in ["bin", "lib", "env", "env.launch", "env.launch/web"] {
            fs::create_dir_all(layer.join(directory)).unwrap();
        }
        fs::write(layer.join(format!("env/VARIABLE_{at}.default")), "value").unwrap();
        fs::write(layer.join("env.launch/OPTIONS.append"), format!("-o{at}")).unwrap();
        fs::write(layer.join("env.launch/OPTIONS.delim"), " ").unwrap();
        fs::write(layer.join("env.launch/web/PORT.override"), at.to_string()).unwrap();
    }
    let mut metadata = String::new();
    for at in 0..4 {
        metadata += &format!("[[buildpacks]]\n  id = \"acme/{at}\"\n  version = \"1\"\n  api = \"0.10\"\n\n");
    }
    for (kind, program) in [("web", program), ("show", "/usr/bin/env")] {
        metadata += &format!(
            "[[processes]]\n  type = \"{kind}\"\n  command = [\"{program}\"]\n  direct = true\n  buildpack-id = \"acme/0\"\n\n"
        );
    }
    fs::create_dir_all(root.join("layers/config")).unwrap();
    fs::create_dir_all(root.join("app")).unwrap();
    fs::write(root.join("layers/config/metadata.toml"), metadata).unwrap();
}

fn time(mut command: Command) -> Duration {
    command.stdin(Stdio::null()).stdout(Stdio::inherit());
    let began = Instant::now();
    let status = command.status().unwrap();
    let took = began.elapsed();
    assert!(status.success());
    took
}

fn main() {
    let launcher = launcher();
    let root = tempfile::tempdir().unwrap();
    set_up(root.path(), PROGRAM);
    let launched = |kind: &str| {
        let mut command = Command::new(&launcher);
        command
            .arg0(kind)
            .env_clear()
            .env("PATH", "/cnb/process:/cnb/lifecycle:/usr/bin:/bin")
            .env("CNB_PLATFORM_API", "0.12")
            .env("CNB_LAYERS_DIR", root.path().join("layers"))
            .env("CNB_APP_DIR", root.path().join("app"))
            .current_dir(root.path());
        command
    };
    let plain = |environment: &[(String, String)]| {
        let mut command = Command::new(PROGRAM);
        command
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(root.path().join("app"));
        command
    };
    let shown = launched("show").output().unwrap();
    let handed_over: Vec<(String, String)> = String::from_utf8(shown.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        // What the files of the process type `web` say.
        .chain([("PORT".to_owned(), (LAYERS - 1).to_string())])
        .collect();
    assert!(handed_over.len() > LAYERS, "{handed_over:?}");
    let bare = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];

    let (mut bares, mut plains, mut launches) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..RUNS + 20 {
        let (bare, plain, launch) = (time(plain(&bare)), time(plain(&handed_over)), time(launched("web")));
        // The first are for the caches.
        if at >= 20 {
            bares.push(bare);
            plains.push(plain);
            launches.push(launch);
        }
    }
    let show = |what: &str, times: &mut Vec<Duration>| {
        times.sort();
        let (median, least) = (times[times.len() / 2], times[0]);
        println!(
            "{what:34} median {median:>9.1?}   least {least:>9.1?}   of {}",
            times.len()
        );
        (median, least)
    };
    show("plain start, no environment", &mut bares);
    let (median, least) = show("plain start, the same environment", &mut plains);
    let (launch_median, launch_least) = show("through the launcher", &mut launches);
    println!(
        "{:34} median {:>9.1?}   least {:>9.1?}",
        "the launcher's part",
        launch_median.saturating_sub(median),
        launch_least.saturating_sub(least)
    );
    println!("{:34} {} bytes", "size", fs::metadata(&launcher).unwrap().len());
}
