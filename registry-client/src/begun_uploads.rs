//! Uploads that a registry has begun and nobody has used: it answers a mount that it refuses so.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use http::Uri;
use registry_auth::{Digest, Repository};

use crate::session::lock;

/// How long a registry is trusted to remember an upload that nothing was sent to.
const LIFE: Duration = Duration::from_secs(300);
/// How many of one repository are kept.
const MOST: usize = 32;

/// An upload that was begun for a blob and not used.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) digest: Digest,
    pub(crate) address: Uri,
    /// When it was begun.
    pub(crate) at: SystemTime,
}

/// The uploads in store.
#[derive(Debug, Default)]
pub(crate) struct BegunUploads(Mutex<HashMap<Repository, Vec<Begun>>>);

impl BegunUploads {
    /// Keeps one for later.
    pub(crate) fn keep(&self, repository: &Repository, upload: Begun) {
        let mut uploads = lock(&self.0);
        let kept = uploads.entry(repository.clone()).or_default();
        kept.push(upload);
        let over = kept.len().saturating_sub(MOST);
        kept.drain(..over);
    }

    /// Tells whether there is one that was begun for this blob.
    pub(crate) fn has(&self, repository: &Repository, digest: &Digest) -> bool {
        let uploads = lock(&self.0);
        let mut begun = uploads.get(repository).into_iter().flatten();
        begun.any(|begun| begun.digest == *digest)
    }

    /// Takes one, rather one for this blob.
    pub(crate) fn take(&self, now: SystemTime, repository: &Repository, digest: Option<&Digest>) -> Option<Begun> {
        let oldest = now.checked_sub(LIFE);
        let mut uploads = lock(&self.0);
        let begun = uploads.get_mut(repository)?;
        begun.retain(|begun| oldest.is_none_or(|oldest| begun.at > oldest));
        match begun.iter().position(|begun| Some(&begun.digest) == digest) {
            Some(at) => Some(begun.swap_remove(at)),
            None => begun.pop(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_for_the_blob_goes_first_and_only_the_newest_are_kept() {
        let repository: Repository = "r.test/app".parse().expect("a repository");
        let (uploads, now) = (BegunUploads::default(), SystemTime::UNIX_EPOCH + LIFE * 2);
        let digest = |number: u8| Digest::from_sha256_bytes([number; 32]);
        let begun = |number: u8, at| Begun {
            digest: digest(number),
            address: format!("https://r.test/up/{number}").parse().expect("an address"),
            at,
        };
        for number in 0..40 {
            uploads.keep(&repository, begun(number, now));
        }
        assert!(!uploads.has(&repository, &digest(7)) && uploads.has(&repository, &digest(8)));
        let taken = |wanted: Option<u8>| {
            let wanted = wanted.map(digest);
            Some(uploads.take(now, &repository, wanted.as_ref())?.digest)
        };
        assert_eq!(taken(Some(20)), Some(digest(20)));
        assert!(taken(Some(20)).is_some(), "any other is as good");
        let left = std::iter::from_fn(|| taken(None)).count();
        assert_eq!(left, MOST - 2);
        uploads.keep(&repository, begun(1, now - LIFE));
        assert_eq!(taken(None), None, "it is too old");
    }
}
