//! The command line.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use kpack_engine::engine::{EngineOptions, Programs};
use kpack_engine::runner::MachineNetwork;
use registry_client::{HttpPolicy, ProxyPolicy};

/// Keeps container images up to date: holds and serves kpack's resources, builds and rebases images.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Args {
    /// Directory of everything that lasts: resources, logs, images, the server's identity
    #[arg(long, value_name = "DIR", env = "KPACKD_DATA")]
    data: PathBuf,

    /// Where to serve the API; port 0 takes the last one again, else any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Where to write the kubeconfig [default: DIR/kubeconfig]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// How often branches and tags are looked at: 5s, 1m, 500ms
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    poll_interval: Duration,

    /// How many builds run at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 4)]
    max_builds: usize,

    /// The lifecycle program [default: beside kpackd]
    #[arg(long, value_name = "FILE")]
    lifecycle: Option<PathBuf>,

    /// The launcher program [default: beside kpackd]
    #[arg(long, value_name = "FILE")]
    launcher: Option<PathBuf>,

    /// Give builds the resolver, hosts, proxies and certificate authorities of this machine
    #[arg(long)]
    host_network_config: bool,

    /// The OCI runtime [default: runc, else crun]
    #[arg(long, value_name = "PROGRAM")]
    runtime: Option<PathBuf>,

    /// A registry to be spoken to without TLS (repeatable)
    #[arg(long = "plain-http-registry", value_name = "HOST:PORT")]
    plain_http: Vec<String>,

    /// Certificates (PEM) to trust besides the built-in ones (repeatable)
    #[arg(long = "ca-file", value_name = "FILE")]
    ca_files: Vec<PathBuf>,

    /// Don't build for a commit that does not touch the app's directory
    #[arg(long)]
    path_aware: bool,

    /// What to log: error, warn, info, debug, or a filter such as kpack_engine=debug
    #[arg(long, value_name = "FILTER", default_value = "info", env = "KPACKD_LOG")]
    pub(crate) log: String,
}

impl Args {
    /// Reads what the arguments name.
    pub(crate) fn engine_options(&self) -> anyhow::Result<EngineOptions> {
        let executable = env::current_exe().context("cannot find out where kpackd is")?;
        let mut programs = Programs::beside(executable);
        programs.lifecycle = self.lifecycle.clone().unwrap_or(programs.lifecycle);
        programs.launcher = self.launcher.clone().unwrap_or(programs.launcher);
        // Relative paths would change their meaning in what is started from here.
        let data = std::path::absolute(&self.data).with_context(|| format!("--data {}", self.data.display()))?;
        let network = self.host_network_config.then(|| MachineNetwork::detect(variable));
        let mut http = self.http_policy()?;
        if let Some(bundle) = network.as_ref().and_then(|network| network.ca_bundle.as_ref()) {
            let pem = fs::read(bundle).with_context(|| format!("cannot read {}", bundle.display()))?;
            http.extra_ca_pems.push(pem);
        }
        Ok(EngineOptions {
            listen: self.listen,
            kubeconfig: Some(self.kubeconfig.clone().unwrap_or_else(|| data.join("kubeconfig"))),
            poll_interval: self.poll_interval,
            max_builds: self.max_builds.max(1),
            http,
            machine_network: network,
            runtime: self.runtime.clone(),
            path_aware: self.path_aware,
            ..EngineOptions::new(data, programs)
        })
    }

    fn http_policy(&self) -> anyhow::Result<HttpPolicy> {
        let mut policy = HttpPolicy {
            user_agent: concat!("kpackd/", env!("CARGO_PKG_VERSION")).to_owned(),
            plain_http_hosts: self.plain_http.clone(),
            proxy: ProxyPolicy::from_env(variable),
            ..HttpPolicy::default()
        };
        for file in &self.ca_files {
            let pem = fs::read(file).with_context(|| format!("--ca-file {}", file.display()))?;
            policy.extra_ca_pems.push(pem);
        }
        Ok(policy)
    }
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Longer times mean never, and cannot be added to the present one.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `500ms`, `5s`, `1m`, `2h`; a number alone is seconds.
fn duration(text: &str) -> anyhow::Result<Duration> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number
        .parse()
        .with_context(|| format!("{text:?} begins with no number"))?;
    let duration = match unit {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.saturating_mul(60)),
        "h" => Duration::from_secs(number.saturating_mul(3600)),
        _ => bail!("{text:?} has no unit of ms, s, m or h"),
    };
    if duration.is_zero() {
        bail!("the time must be more than nothing");
    }
    if duration > LONGEST {
        bail!("the time must be a year at most");
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn durations_have_units() {
        let read = |text| duration(text).ok();
        assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(read("2m"), Some(Duration::from_secs(120)));
        assert_eq!(read("5"), Some(Duration::from_secs(5)));
        assert_eq!(read("8760h"), Some(Duration::from_secs(31_536_000)));
        assert_eq!(read("0s"), None);
        assert_eq!(read("9999999999999h"), None);
        assert_eq!(read("5 parsecs"), None);
        assert_eq!(read("soon"), None);
    }
}
