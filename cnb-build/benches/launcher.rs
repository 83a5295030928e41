//! How long the launcher takes over a plain start of the same program, with 20 layers of environment, and how large it is.
//!
//! `cargo bench -p cnb-build`. The reference's launcher is 2.9 MB and takes 2 to 3 ms more than a plain start.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)] // a measuring program

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const RUNS: usize = 500;
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

fn set_up(root: &Path) {
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
    metadata +=
        "[[processes]]\n  type = \"web\"\n  command = [\"/bin/true\"]\n  direct = true\n  buildpack-id = \"acme/0\"\n";
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
    set_up(root.path());
    let plain = || {
        let mut command = Command::new("/bin/true");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(root.path().join("app"));
        time(command)
    };
    let launched = || {
        let mut command = Command::new(&launcher);
        command
            .arg0("web")
            .env_clear()
            .env("PATH", "/cnb/process:/cnb/lifecycle:/usr/bin:/bin")
            .env("CNB_PLATFORM_API", "0.12")
            .env("CNB_LAYERS_DIR", root.path().join("layers"))
            .env("CNB_APP_DIR", root.path().join("app"))
            .current_dir(root.path());
        time(command)
    };
    let (mut plains, mut launches) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        plain();
        launched();
    }
    for _ in 0..RUNS {
        plains.push(plain());
        launches.push(launched());
    }
    let show = |what: &str, times: &mut Vec<Duration>| {
        times.sort();
        println!(
            "{what:24} median {:>9.1?}   least {:>9.1?}   of {}",
            times[times.len() / 2],
            times[0],
            times.len()
        );
    };
    show("plain start", &mut plains);
    show("through the launcher", &mut launches);
    println!(
        "{:24} median {:>9.1?}   least {:>9.1?}",
        "the launcher's part",
        launches[RUNS / 2].saturating_sub(plains[RUNS / 2]),
        launches[0].saturating_sub(plains[0])
    );
    println!("{:24} {} bytes", "size", fs::metadata(&launcher).unwrap().len());
}
