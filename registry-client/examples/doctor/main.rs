//! Says what this machine may do in a repository, and what to do about what it may not:
//! `cargo run -p registry-client --example doctor -- REPO`.
//!
//! Nothing is changed there: an upload is begun and cancelled, a blob is mounted where it is already, and what is to
//! be deleted does not exist.

mod certificate;
mod checks;
#[path = "../shared/machine.rs"]
mod machine;

use std::{
    env,
    io::Write,
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, bail};
use registry_auth::{Chain, Reference};
use registry_client::{Client, HttpPolicy, RetryPolicy};

use checks::{Answered, Finding};

/// How long a helper and each of the two first requests may take, and how long everything.
const CONTACT: Duration = Duration::from_millis(800);
const ALL: Duration = Duration::from_millis(2700);

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let name = match arguments.as_slice() {
        [name] if !name.starts_with('-') => name,
        [option] => bail!("unknown option '{option}'; usage: doctor REPO"),
        _ => bail!("usage: doctor REPO"),
    };
    let reference = Reference::parse(name)?;
    let started = Instant::now();
    let mut report = Report { failed: false };
    line(reference.repository().to_string().as_str())?;
    let chain = match machine::keychain(CONTACT) {
        Ok(chain) => chain,
        Err(error) => {
            let text = format!("{error:#}");
            report.finding(&Finding::failed(
                "credential",
                text,
                "correct that file or variable, or log in again",
            ))?;
            Chain::default()
        }
    };
    // Three seconds are all there is: who one is and a first contact, then everything else at once.
    let policy = HttpPolicy {
        connect_timeout: CONTACT,
        retry: RetryPolicy::never(),
        ..machine::policy()
    };
    let answered = Arc::<Answered>::default();
    let client = Client::new(policy, Arc::clone(&answered) as _)?.with_time_limit(CONTACT);
    let repository = reference.repository();
    let (credential, contact) = thread::scope(|scope| {
        let credential = scope.spawn(|| checks::credential(&chain, repository, &answered));
        let contact = checks::contact(&client, repository);
        (credential.join().unwrap_or_default(), contact)
    });
    let (findings, contact) = contact;
    for finding in credential.iter().chain(&findings) {
        report.finding(finding)?;
    }
    let Some(contact) = contact else {
        return Ok(ExitCode::FAILURE);
    };
    let left = ALL.saturating_sub(started.elapsed());
    let client = client.with_time_limit(left);
    let (client, reference, until) = (&client, &reference, SystemTime::now() + left);
    let findings = thread::scope(|scope| {
        let token = scope.spawn(move || checks::token(client, &answered, repository, &contact, until));
        let read = scope.spawn(|| checks::read(client, reference));
        let write = scope.spawn(|| checks::write(client, repository));
        let mount = scope.spawn(|| checks::mount(client, reference));
        let delete = scope.spawn(|| checks::delete(client, repository));
        [token, read, write, mount, delete].map(|check| check.join().ok().flatten())
    });
    for finding in findings.iter().flatten() {
        report.finding(finding)?;
    }
    line(&format!("       looked at in {:.1?}", started.elapsed()))?;
    Ok(if report.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn line(text: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{text}")?)
}

struct Report {
    failed: bool,
}

impl Report {
    fn finding(&mut self, finding: &Finding) -> Result<()> {
        self.failed |= finding.advice.is_some();
        let mark = if finding.advice.is_some() { "FAIL" } else { "  ok" };
        line(&format!("{mark}   {:<11} {}", finding.what, finding.text))?;
        if let Some(advice) = &finding.advice {
            line(&format!("       {:<11} -> {advice}", ""))?;
        }
        Ok(())
    }
}
