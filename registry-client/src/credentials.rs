//! Who one is at each repository, as the keychain says.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use registry_auth::{Credential, Keychain, KeychainError, Repository};

use crate::{clock::Clock, error::Reason, session::lock, terms::RequestTerms};

/// Asks the keychain once for each repository, however many want to know at the same time.
///
/// A keychain may start a program that hangs. Whoever waits for it waits within its own limits, and what it says after
/// that is kept for the next.
pub(crate) struct Credentials {
    keychain: Arc<dyn Keychain>,
    known: Mutex<HashMap<Repository, Known>>,
}

enum Known {
    Found(Credential),
    /// The keychain is busy with it.
    Asked(Arc<Lookup>),
}

/// One question to the keychain.
#[derive(Default)]
struct Lookup {
    answer: Mutex<Option<Answer>>,
    answered: Condvar,
}

type Answer = Result<Credential, KeychainError>;

impl Credentials {
    pub(crate) fn new(keychain: Arc<dyn Keychain>) -> Self {
        Self {
            keychain,
            known: Mutex::default(),
        }
    }

    /// Returns the credential for a repository, from store or from the keychain; the anonymous one if there is none.
    pub(crate) fn find(
        self: &Arc<Self>,
        repository: &Repository,
        terms: &RequestTerms,
        clock: &dyn Clock,
    ) -> Result<Credential, Reason> {
        let lookup = {
            let mut known = lock(&self.known);
            match known.get(repository) {
                Some(Known::Found(credential)) => return Ok(credential.clone()),
                Some(Known::Asked(lookup)) => Arc::clone(lookup),
                None => {
                    let lookup = self.ask(repository);
                    known.insert(repository.clone(), Known::Asked(Arc::clone(&lookup)));
                    lookup
                }
            }
        };
        let answer = lookup.wait(repository.registry().as_str(), terms, clock)?;
        answer.map_err(Reason::Keychain)
    }

    /// Forgets a credential that was refused, so that the keychain is asked again: some end after hours.
    pub(crate) fn forget(&self, repository: &Repository, refused: &Credential) {
        let mut known = lock(&self.known);
        if matches!(known.get(repository), Some(Known::Found(found)) if found == refused) {
            known.remove(repository);
        }
    }

    /// Asks the keychain on a thread of its own.
    fn ask(self: &Arc<Self>, repository: &Repository) -> Arc<Lookup> {
        let lookup = Arc::new(Lookup::default());
        let (this, asked, repository) = (Arc::clone(self), Arc::clone(&lookup), repository.clone());
        thread::spawn(move || {
            let found = catch_unwind(AssertUnwindSafe(|| this.keychain.find(&repository)));
            let found = found.unwrap_or_else(|_| Err(KeychainError::new("the keychain", "it panicked")));
            let answer = found.map(Option::unwrap_or_default);
            let mut known = lock(&this.known);
            match &answer {
                Ok(credential) => known.insert(repository, Known::Found(credential.clone())),
                // Whoever comes later may have more luck.
                Err(_) => known.remove(&repository),
            };
            drop(known);
            *lock(&asked.answer) = Some(answer);
            asked.answered.notify_all();
        });
        lookup
    }
}

impl Lookup {
    /// Waits for the answer, but no longer than `terms` allow.
    fn wait(&self, place: &str, terms: &RequestTerms, clock: &dyn Clock) -> Result<Answer, Reason> {
        const SLICE: Duration = Duration::from_millis(100);
        let mut answer = lock(&self.answer);
        loop {
            if let Some(answer) = &*answer {
                return Ok(answer.clone());
            }
            let left = terms.time_left(place, clock).map_err(Reason::Http)?;
            let slice = left.map_or(SLICE, |left| left.min(SLICE));
            let waited = self.answered.wait_timeout(answer, slice);
            answer = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
