//! Rebasing many images.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{NewBase, RebaseError, parse, plan_rebase};
use crate::metadata::Report;
use crate::phase::{Log, PlatformApi};
use crate::{Digest, ImageSource, ImageTarget, Platform};

/// An image to be rebased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebaseJob {
    /// The image.
    pub app: String,
    /// The names to save the result under.
    pub names: Vec<String>,
}

impl RebaseJob {
    /// Returns the job to rebase an image under its own name.
    pub fn in_place(app: impl Into<String>) -> Self {
        let app = app.into();
        Self {
            names: vec![app.clone()],
            app,
        }
    }
}

/// A file that remembers which images have been rebased onto which base, so that a run that was killed is gone on
/// with and not begun again.
///
/// One line for each finished image: its name, the digest of the base, the digest of the result. A line is written
/// after the image is in its place. A last line that was cut off does not count: its image is looked at again, which
/// finds that nothing is left to do.
#[derive(Debug)]
pub struct RebaseJournal {
    file: Mutex<File>,
    done: BTreeSet<(String, String)>,
}

impl RebaseJournal {
    /// Opens the journal, which need not exist.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            file.set_len(whole as u64)?;
            file.seek(SeekFrom::End(0))?;
        }
        let done = String::from_utf8_lossy(&text[..whole])
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('\t');
                Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
            })
            .collect();
        Ok(Self {
            file: Mutex::new(file),
            done,
        })
    }

    /// Returns whether the image has been rebased onto this base, when the journal was opened.
    pub fn is_done(&self, app: &str, base: &Digest) -> bool {
        self.done.contains(&(app.to_owned(), base.to_string()))
    }

    fn note(&self, app: &str, base: &Digest, result: &str) -> io::Result<()> {
        let line = format!("{app}\t{base}\t{result}\n");
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(line.as_bytes())
    }
}

/// Rebases images onto one base, several at a time; calls `each` with what became of each of them.
///
/// A job that fails does not keep the others from being done. Jobs that the journal has as done are passed over.
///
/// # Errors
/// When the journal cannot be written; then no further job is begun.
#[allow(clippy::too_many_arguments, reason = "what to do, with what, and where")]
pub fn rebase_many(
    jobs: &[RebaseJob],
    base: &NewBase,
    api: PlatformApi,
    force: bool,
    at_once: NonZeroUsize,
    journal: Option<&RebaseJournal>,
    source: &dyn ImageSource,
    target: &dyn ImageTarget,
    log: &dyn Log,
    each: &(dyn Fn(&RebaseJob, Result<Report, RebaseError>) + Sync),
) -> io::Result<()> {
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            if journal.is_some_and(|journal| journal.is_done(&job.app, base.image().digest())) {
                continue;
            }
            let outcome = rebase_one(job, base, api, force, source, target, log);
            let noted = match (journal, &outcome) {
                (Some(journal), Ok(report)) => journal.note(&job.app, base.image().digest(), &report.digest),
                _ => Ok(()),
            };
            each(job, outcome);
            if let Err(error) = noted {
                next.store(jobs.len(), Ordering::Relaxed);
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..at_once.get().min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    failure
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

fn rebase_one(
    job: &RebaseJob,
    base: &NewBase,
    api: PlatformApi,
    force: bool,
    source: &dyn ImageSource,
    target: &dyn ImageTarget,
    log: &dyn Log,
) -> Result<Report, RebaseError> {
    let reference = parse(&job.app)?;
    let config = base.image().config();
    let platform = Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        ..Platform::linux_amd64()
    };
    let app = source
        .image(&reference, &platform)
        .map_err(RebaseError::ReadApp)?
        .ok_or(RebaseError::NoApp)?;
    let plan = plan_rebase(api, force, &app, &reference, base)?;
    Ok(plan.run(&job.names, source, target, log)?)
}
