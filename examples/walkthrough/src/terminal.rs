//! Command lines, shown as they are run.

use std::{
    cell::RefCell,
    ffi::OsString,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, atomic::AtomicBool, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::story::Ran;

/// A person's terminal: a working directory, variables, and everything typed so far.
pub(crate) struct Terminal {
    quiet: bool,
    folder: PathBuf,
    env: Vec<(&'static str, OsString)>,
    stopped: Arc<AtomicBool>,
    ran: RefCell<Vec<Ran>>,
}

impl Terminal {
    pub(crate) fn new(
        quiet: bool,
        folder: PathBuf,
        env: Vec<(&'static str, OsString)>,
        stopped: Arc<AtomicBool>,
    ) -> Self {
        Self {
            quiet,
            folder,
            env,
            stopped,
            ran: RefCell::default(),
        }
    }

    /// Says what comes next.
    pub(crate) fn heading(&self, text: &str) {
        if !self.quiet {
            let style = anstyle::AnsiColor::Cyan.on_default().bold();
            anstream::println!("\n{style}# {text}{style:#}");
        }
    }

    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            anstream::println!("{text}");
        }
    }

    /// A spinner for what takes long, on a terminal; one line elsewhere.
    pub(crate) fn busy(&self, text: &str) -> Busy {
        if self.quiet {
            return Busy(None);
        }
        let bar = ProgressBar::new_spinner();
        if bar.is_hidden() {
            anstream::println!("… {text}");
            return Busy(None);
        }
        bar.set_style(
            ProgressStyle::with_template("{spinner} {msg} ({elapsed})").unwrap_or(ProgressStyle::default_spinner()),
        );
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Busy(Some(bar))
    }

    /// Fails when somebody has pressed Ctrl-C.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        if self.stopped.load(Ordering::Relaxed) {
            bail!("stopped; every process that was started here is ended");
        }
        Ok(())
    }

    /// Runs a command line that must succeed, shows it with its output, and returns its standard output.
    pub(crate) fn run(&self, step: &'static str, line: &str) -> anyhow::Result<String> {
        let ran = self.try_run(step, line, "")?;
        if ran.exit != 0 {
            bail!(
                "{step}: `{line}` ended with exit code {}: {}",
                ran.exit,
                ran.stderr.trim()
            );
        }
        Ok(ran.stdout)
    }

    /// Runs a command line, whatever comes out, with `input` on its standard input.
    pub(crate) fn try_run(&self, step: &'static str, line: &str, input: &str) -> anyhow::Result<Ran> {
        self.check()?;
        if !self.quiet {
            let style = anstyle::Style::new().bold();
            anstream::println!("{style}$ {line}{style:#}");
        }
        let ran = self.execute(step, line, input)?;
        if !self.quiet {
            anstream::print!("{}", ran.stdout);
            if !ran.stdout.is_empty() && !ran.stdout.ends_with('\n') {
                anstream::println!();
            }
            anstream::eprint!("{}", ran.stderr);
        }
        self.ran.borrow_mut().push(ran.clone());
        Ok(ran)
    }

    /// Runs a command line without showing it, to look at things.
    pub(crate) fn look(&self, line: &str) -> anyhow::Result<Ran> {
        self.check()?;
        self.execute("", line, "")
    }

    /// Looks again and again until `found` finds something.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut found: impl FnMut() -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let _busy = self.busy(what);
        let until = Instant::now() + limit;
        loop {
            self.check()?;
            if let Some(value) = found()? {
                return Ok(value);
            }
            if Instant::now() > until {
                bail!("waited {} seconds in vain: {what}", limit.as_secs());
            }
            thread::sleep(Duration::from_millis(150));
        }
    }

    pub(crate) fn into_story(self) -> Vec<Ran> {
        self.ran.into_inner()
    }

    fn execute(&self, step: &'static str, line: &str, input: &str) -> anyhow::Result<Ran> {
        let mut child = Command::new("sh")
            .args(["-c", line])
            .current_dir(&self.folder)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run `{line}`"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A command that reads nothing may have closed it.
            let _ = stdin.write_all(input.as_bytes());
        }
        let mut stderr = child.stderr.take().context("no standard error")?;
        let errors = thread::spawn(move || {
            let mut text = Vec::new();
            stderr.read_to_end(&mut text).map(|_| text)
        });
        let mut text = Vec::new();
        child
            .stdout
            .take()
            .context("no standard output")?
            .read_to_end(&mut text)?;
        let errors = errors
            .join()
            .map_err(|_| anyhow::anyhow!("the thread that reads errors failed"))??;
        let status = child.wait()?;
        Ok(Ran {
            step,
            line: line.to_owned(),
            exit: status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&text).into_owned(),
            stderr: String::from_utf8_lossy(&errors).into_owned(),
        })
    }
}

/// Something that goes on; dropped when it is over.
pub(crate) struct Busy(Option<ProgressBar>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
