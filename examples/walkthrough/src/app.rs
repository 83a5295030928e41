//! The built image, pulled, unpacked and started in a sandbox by tools that know nothing of this project.

use std::{fs, net::TcpListener, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use test_support::Process;

use crate::{stage::Stage, terminal::Terminal};

/// Pulls `tag`, starts its default process, asks it for `/`, and returns the answer.
pub(crate) fn answer(stage: &Stage, terminal: &Terminal, step: &'static str, tag: &str) -> anyhow::Result<String> {
    let folder = tempfile::Builder::new()
        .prefix("app-")
        .tempdir_in(stage.folder.path())?;
    let place = folder.path().display();
    let tls = if stage.server.contains("127.0.0.1") {
        "--src-tls-verify=false "
    } else {
        ""
    };
    terminal.run(
        step,
        &format!("skopeo copy --quiet {tls}docker://{tag} oci:{place}/image:app"),
    )?;
    // Without root, all that is inside belongs to the user outside.
    let rootless = !rustix::process::geteuid().is_root();
    let flag = if rootless { "--rootless " } else { "" };
    terminal.run(
        step,
        &format!("umoci unpack {flag}--image {place}/image:app {place}/bundle >/dev/null"),
    )?;
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    configure(&folder.path().join("bundle/config.json"), port, rootless)?;
    let name = format!("app-{}-{port}", std::process::id());
    let mut command = Command::new("runc");
    command.args([
        "--root",
        &format!("{place}/runc"),
        "run",
        "--bundle",
        &format!("{place}/bundle"),
        &name,
    ]);
    let log = fs::File::create(folder.path().join("log"))?;
    let errors = log.try_clone()?;
    terminal.say(&format!("$ runc run --bundle {place}/bundle {name} &"));
    let mut process = Process::spawn_with(&command, |command| {
        command.stdin(std::process::Stdio::null()).stdout(log).stderr(errors);
    })?;
    let address = format!("http://127.0.0.1:{port}/");
    let answered = terminal.wait("the app starts", Duration::from_secs(60), || {
        if process.child().try_wait()?.is_some() {
            bail!(
                "the app ended at once:\n{}",
                fs::read_to_string(folder.path().join("log")).unwrap_or_default()
            );
        }
        let ran = terminal.look(&format!("curl --silent --fail --noproxy '*' {address}"))?;
        Ok((ran.exit == 0).then_some(()))
    });
    let text = answered.and_then(|()| terminal.run(step, &format!("curl --silent --noproxy '*' {address}")));
    // The whole container, not only the program that started it.
    let _ = Command::new("runc")
        .args(["--root", &format!("{place}/runc"), "delete", "--force", &name])
        .output();
    text
}

/// Lets the container use the machine's network, and tells the app its port. A rootless container has one user, which is
/// root inside.
fn configure(path: &Path, port: u16, rootless: bool) -> anyhow::Result<()> {
    let mut config: Value = serde_json::from_slice(&fs::read(path)?).context("umoci wrote no valid config.json")?;
    config["process"]["terminal"] = json!(false);
    if rootless {
        config["process"]["user"] = json!({"uid": 0, "gid": 0});
    }
    if let Some(env) = config["process"]["env"].as_array_mut() {
        env.push(json!(format!("PORT={port}")));
    }
    if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
        namespaces.retain(|namespace| namespace["type"] != "network");
    }
    fs::write(path, config.to_string())?;
    Ok(())
}
