//! Which blobs repositories were seen to hold, or not to hold.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use registry_auth::{Digest, Repository};

use crate::session::lock;

/// How long it is believed: registries collect what no manifest names, but not within minutes.
const FRESH: Duration = Duration::from_secs(120);
/// How many blobs are remembered at most; then all are forgotten.
const MOST: usize = 4096;

/// What was seen lately.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    blobs: Mutex<HashMap<Digest, Vec<Fact>>>,
}

#[derive(Debug)]
struct Fact {
    repository: Repository,
    held: bool,
    seen: SystemTime,
}

impl Fact {
    fn is_fresh(&self, now: SystemTime) -> bool {
        now.duration_since(self.seen).is_ok_and(|age| age < FRESH)
    }
}

impl Facts {
    /// Notes that a repository holds a blob or does not.
    pub(crate) fn note(&self, now: SystemTime, repository: &Repository, digest: &Digest, held: bool) {
        let mut blobs = lock(&self.blobs);
        if blobs.len() >= MOST && !blobs.contains_key(digest) {
            blobs.clear();
        }
        let facts = blobs.entry(digest.clone()).or_default();
        facts.retain(|fact| fact.repository != *repository && fact.is_fresh(now));
        facts.push(Fact {
            repository: repository.clone(),
            held,
            seen: now,
        });
    }

    /// Tells whether a repository holds a blob, if that was seen lately.
    pub(crate) fn holds(&self, now: SystemTime, repository: &Repository, digest: &Digest) -> Option<bool> {
        let blobs = lock(&self.blobs);
        let mut facts = blobs.get(digest)?.iter();
        let fact = facts.find(|fact| fact.repository == *repository && fact.is_fresh(now))?;
        Some(fact.held)
    }

    /// Finds another repository of the same registry that holds a blob: the one seen last.
    pub(crate) fn elsewhere(&self, now: SystemTime, to: &Repository, digest: &Digest) -> Option<Repository> {
        let blobs = lock(&self.blobs);
        let mut facts = blobs.get(digest)?.iter().rev();
        let fact = facts.find(|fact| {
            let there = &fact.repository;
            fact.held && fact.is_fresh(now) && there != to && there.registry() == to.registry()
        })?;
        Some(fact.repository.clone())
    }

    /// Forgets what was seen in a repository: something contradicts it.
    pub(crate) fn forget(&self, repository: &Repository) {
        let mut blobs = lock(&self.blobs);
        for facts in blobs.values_mut() {
            facts.retain(|fact| fact.repository != *repository);
        }
        blobs.retain(|_, facts| !facts.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(text: &str) -> Repository {
        text.parse().expect("a repository")
    }

    #[test]
    fn a_fact_holds_for_its_repository_until_it_is_stale_or_contradicted() {
        let (facts, digest, now) = (
            Facts::default(),
            Digest::from_sha256_bytes([1; 32]),
            SystemTime::UNIX_EPOCH,
        );
        let (here, there, far) = (
            repository("r.test/app"),
            repository("r.test/bpp"),
            repository("s.test/app"),
        );
        assert_eq!(facts.holds(now, &here, &digest), None);
        facts.note(now, &here, &digest, true);
        assert_eq!(facts.holds(now, &here, &digest), Some(true));
        assert_eq!(facts.elsewhere(now, &there, &digest), Some(here.clone()));
        assert_eq!(facts.elsewhere(now, &here, &digest), None);
        assert_eq!(
            facts.elsewhere(now, &far, &digest),
            None,
            "mounts stay within a registry"
        );
        assert_eq!(facts.holds(now + FRESH, &here, &digest), None);
        facts.note(now, &here, &digest, false);
        assert_eq!(facts.holds(now, &here, &digest), Some(false));
        assert_eq!(facts.elsewhere(now, &there, &digest), None);
        facts.forget(&here);
        assert_eq!(facts.holds(now, &here, &digest), None);
    }
}
