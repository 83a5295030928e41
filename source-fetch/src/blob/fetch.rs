//! An archive, unpacked beneath a directory.

use std::{fs::File, io, path::Path};

use base64::Engine as _;
use registry_auth::Secret;
use registry_client::HttpError;
use sha2::{Digest as _, Sha256};

use super::{
    download::{download, hex},
    keychain::BlobAuthError,
    url::{BlobUrl, InvalidBlobUrl},
};
use crate::{
    access::Access,
    archive::{self, ArchiveError},
    beneath::Beneath,
    limits::LimitExceeded,
};

/// An archive behind a url.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlobSource {
    /// Where it is.
    pub url: String,
    /// How many leading components of each entry's name are dropped.
    pub strip_components: u32,
    /// Whether the download is authorized, with the credential that the access has for the host.
    pub authorize: bool,
    /// The SHA-256 that the archive must have, as hex digits; nothing is unpacked when it has another.
    pub sha256: Option<String>,
}

/// What was fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedBlob {
    /// The SHA-256 of the archive, as hex digits.
    pub sha256: String,
}

/// Why an archive could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// The url is none.
    #[error(transparent)]
    Url(#[from] InvalidBlobUrl),
    /// A `file` url, where it is not allowed.
    #[error("{url} is a file of the machine that builds, which is not allowed; serve it over https")]
    FileUrl {
        /// The url.
        url: String,
    },
    /// There is no credential for the host.
    #[error("failed to resolve creds")]
    Credential(#[from] BlobAuthError),
    /// No answer.
    #[error("cannot download {url}")]
    Unreachable {
        /// The url.
        url: String,
        /// The cause.
        source: HttpError,
    },
    /// The server answered something else than the file.
    #[error("failed to get blob {url}: {answer}")]
    Refused {
        /// The url.
        url: String,
        /// The http status.
        status: u16,
        /// The status and what the server said.
        answer: String,
    },
    /// The download broke off.
    #[error("the download of {url} broke off")]
    Broken {
        /// The url.
        url: String,
        /// The cause.
        source: io::Error,
    },
    /// The archive is larger than allowed, or somebody cancelled.
    #[error("{url} is not downloaded")]
    TooLarge {
        /// The url.
        url: String,
        /// Which bound was crossed.
        source: LimitExceeded,
    },
    /// The archive is not the one that was asked for.
    #[error("{url} has the SHA-256 {actual}, not {expected}; nothing of it is unpacked")]
    WrongDigest {
        /// The url.
        url: String,
        /// What it must be.
        expected: String,
        /// What it is.
        actual: String,
    },
    /// The archive could not be stored or read on this machine.
    #[error("cannot store the downloaded archive")]
    Spool(#[source] io::Error),
    /// The target could not be opened.
    #[error("cannot open the directory to unpack into")]
    Target(#[source] io::Error),
    /// The archive could not be unpacked.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

impl BlobError {
    /// Returns whether the same fetch may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.kind.is_retryable(),
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::Broken { .. } => true,
            Self::TooLarge { source, .. } => source.is_retryable(),
            _ => false,
        }
    }
}

/// Downloads an archive and unpacks it into `dir`, which must exist.
///
/// When it is to be authorized, having no credential for the host is an error. The archive is kept in a nameless file
/// of `dir` meanwhile. A broken download is resumed where the server has entity tags.
///
/// # Errors
/// As [`BlobError`] says. Files written before the failure stay.
pub fn fetch_blob(source: &BlobSource, dir: &Path, access: &Access) -> Result<FetchedBlob, BlobError> {
    let url: BlobUrl = source.url.parse()?;
    let access = &access.started();
    let fetched = fetched(source, &url, dir, access);
    // What failed because the time was over failed for that reason.
    fetched.map_err(|error| match access.limits.check() {
        Ok(()) => error,
        Err(source) => BlobError::TooLarge {
            url: url.to_string(),
            source,
        },
    })
}

fn fetched(source: &BlobSource, url: &BlobUrl, dir: &Path, access: &Access) -> Result<FetchedBlob, BlobError> {
    let mut into = Beneath::open(dir, &access.limits).map_err(BlobError::Target)?;
    let (mut file, sha256) = if url.is_file() {
        if !access.allow_file {
            return Err(BlobError::FileUrl { url: url.to_string() });
        }
        local(url)?
    } else {
        let authorization = match source.authorize {
            true => Some(access.blob.authorization(url)?),
            false => url.userinfo().map(|(user, password)| basic(&user, &password)),
        };
        let mut file = tempfile::tempfile_in(dir).map_err(BlobError::Spool)?;
        let sha256 = download(url, authorization.as_ref(), &mut file, &access.http, &access.limits)?;
        (file, sha256)
    };
    if let Some(expected) = source
        .sha256
        .as_ref()
        .filter(|expected| !expected.eq_ignore_ascii_case(&sha256))
    {
        return Err(BlobError::WrongDigest {
            url: url.to_string(),
            expected: expected.clone(),
            actual: sha256,
        });
    }
    archive::unpack(&mut file, &mut into, source.strip_components)?;
    into.finish().map_err(ArchiveError::from)?;
    Ok(FetchedBlob { sha256 })
}

fn local(url: &BlobUrl) -> Result<(File, String), BlobError> {
    let path = super::url::percent_decoded(url.path()).unwrap_or_else(|| url.path().to_owned());
    let mut file = File::open(path).map_err(BlobError::Spool)?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut Hashing(&mut hash)).map_err(BlobError::Spool)?;
    Ok((file, hex(hash)))
}

struct Hashing<'a>(&'a mut Sha256);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn basic(user: &str, password: &str) -> Secret {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}").into()
}
