//! `rebase`: puts the last built image on a new run image.

use std::{fs, io::Write, sync::Arc, sync::Mutex};

use cnb_layers::{
    Platform, RegistryStore,
    phase::{Log, LogLevel, PlatformApi},
    rebase::RebaseInputs,
};
use registry_auth::Chain;
use registry_client::Client;

use super::{
    Invocation,
    error::{ProgramError, at},
    mounted::Mounted,
    policy::{http_policy, node_credentials},
};

/// Runs the step.
pub(super) fn run(invocation: &Invocation, out: &mut (dyn Write + Send)) -> Result<(), ProgramError> {
    invocation.print_changes(out);
    let _ = writeln!(out, "Loading cluster credential helpers");
    let mounted = Mounted::read(invocation, out)?;
    mounted.describe_registries(&invocation.places.secrets, out);
    let arguments = Arguments::parse(&mounted.rest)?;
    let keychain = Chain::default()
        .then(mounted.keychain(true)?)
        .then(node_credentials(&invocation.env)?);
    let client = Client::new(http_policy(&invocation.env), Arc::new(keychain))?;
    let store = RegistryStore::new(client.clone());
    let platform = Platform::linux_amd64();
    let inputs = RebaseInputs {
        // The version that kpack's own program speaks.
        api: PlatformApi::new(9).unwrap_or(PlatformApi::OLDEST),
        app: &arguments.last_built,
        names: &arguments.tags,
        run_image: Some(&arguments.run_image),
        force: false,
        platform: &platform,
        wait: &std::thread::sleep,
    };
    let log = LineLog(Mutex::new(out));
    let report = cnb_layers::rebase::rebase(&inputs, &store, &store, &client, &log)?;
    let path = arguments
        .report
        .unwrap_or_else(|| invocation.places.report.display().to_string());
    fs::write(&path, report.to_toml()).map_err(at(path))
}

/// Lines go out as they are.
struct LineLog<'a>(Mutex<&'a mut (dyn Write + Send)>);

impl Log for LineLog<'_> {
    fn line(&self, level: LogLevel, text: &str) {
        if level >= LogLevel::Info
            && let Ok(mut out) = self.0.lock()
        {
            let _ = writeln!(out, "{text}");
        }
    }
}

#[derive(Default)]
struct Arguments {
    run_image: String,
    last_built: String,
    report: Option<String>,
    tags: Vec<String>,
}

impl Arguments {
    fn parse(words: &[String]) -> Result<Self, ProgramError> {
        let mut arguments = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let Some(flag) = word.strip_prefix('-') else {
                arguments.tags.push(word.clone());
                continue;
            };
            let flag = flag.trim_start_matches('-');
            let unknown = || ProgramError::Argument { argument: word.clone() };
            let (flag, value) = match flag.split_once('=') {
                Some((flag, value)) => (flag, value.to_owned()),
                None => (flag, words.next().ok_or_else(unknown)?.clone()),
            };
            match flag {
                "run-image" => arguments.run_image = value,
                "last-built-image" => arguments.last_built = value,
                "report" => arguments.report = Some(value),
                _ => return Err(unknown()),
            }
        }
        for (name, text) in [
            ("--run-image", &arguments.run_image),
            ("--last-built-image", &arguments.last_built),
        ] {
            if text.is_empty() {
                return Err(ProgramError::Missing { name });
            }
        }
        if arguments.tags.is_empty() {
            return Err(ProgramError::Missing {
                name: "the tag to save under",
            });
        }
        Ok(arguments)
    }
}
