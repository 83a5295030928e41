//! A source of any kind, and how it is fetched.

use std::path::Path;

use crate::{
    Access, BlobError, BlobSource, BlobUrl, FetchError, Fetched, GitSource, GitUrl, ImageSourceError, ResolvedGit,
    fetch_blob, fetch_git, fetch_image,
};

/// Where the source of an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A revision of a git repository.
    Git(GitSource),
    /// An archive behind a url.
    Blob(BlobSource),
    /// An image whose layers are the source.
    Image(String),
}

/// Why a source could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// From git.
    #[error(transparent)]
    Git(#[from] FetchError),
    /// An archive.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// An image.
    #[error(transparent)]
    Image(#[from] ImageSourceError),
    /// An image, and nothing is there to pull it with.
    #[error("source image {image} can't be pulled: no registry client was given")]
    NoRegistry {
        /// The image.
        image: String,
    },
}

impl SourceError {
    /// Returns whether the same fetch may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Git(error) => error.is_retryable(),
            Self::Blob(error) => error.is_retryable(),
            Self::Image(error) => error.is_retryable(),
            Self::NoRegistry { .. } => false,
        }
    }
}

/// Fetches `source` into `dir`, which must exist and be empty, and tells `log` in the words of kpack's `prepare`.
///
/// # Errors
/// As [`SourceError`] says. Files written before the failure stay.
///
/// # Examples
/// ```no_run
/// use registry_client::{Http, HttpPolicy};
/// use source_fetch::{Access, BlobSource, Source, fetch};
///
/// let access = Access::new(Http::new(&HttpPolicy::default())?);
/// let source = Source::Blob(BlobSource {
///     url: "https://example.com/app.tar.gz".into(),
///     strip_components: 1,
///     ..BlobSource::default()
/// });
/// let fetched = fetch(&source, "/workspace".as_ref(), &access, &mut |line| println!("{line}"))?;
/// print!("{}", fetched.project_metadata());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn fetch(source: &Source, dir: &Path, access: &Access, log: &mut dyn FnMut(&str)) -> Result<Fetched, SourceError> {
    let access = &access.started();
    let place = dir.display();
    match source {
        Source::Git(git) => {
            // The url may hold a password; a url that is none is shown by the error, masked.
            let shown = git.url().parse::<GitUrl>().map(|url| url.as_given());
            let shown = shown.map_err(FetchError::from)?;
            // A log is read by people whose cursor must not be moved.
            let revision = git.revision().replace(|c: char| c.is_control(), "?");
            log(&format!("Cloning \"{shown}\" @ \"{revision}\"..."));
            let fetched = fetch_git(&ResolvedGit::unasked(git), dir, access, log)?;
            log(&format!(
                "Successfully cloned \"{shown}\" @ \"{revision}\" in path \"{place}\""
            ));
            Ok(Fetched::Git {
                url: shown,
                revision: git.revision().to_owned(),
                id: fetched.revision,
            })
        }
        Source::Blob(blob) => {
            let url: BlobUrl = blob.url.parse().map_err(BlobError::from)?;
            let shown = url.place();
            log(&format!("Downloading {shown}..."));
            let fetched = fetch_blob(blob, dir, access)?;
            log(&format!("Successfully downloaded {shown} in path \"{place}\""));
            Ok(Fetched::Blob {
                url: url.to_string(),
                sha256: fetched.sha256,
            })
        }
        Source::Image(image) => {
            log(&format!("Pulling {image}..."));
            let client = access
                .registry
                .as_ref()
                .ok_or_else(|| SourceError::NoRegistry { image: image.clone() })?;
            let fetched = fetch_image(image, dir, client, &access.limits)?;
            log(&format!("Successfully pulled {image} in path \"{place}\""));
            Ok(Fetched::Registry {
                repository: fetched.repository,
                digest: fetched.digest.to_string(),
            })
        }
    }
}
