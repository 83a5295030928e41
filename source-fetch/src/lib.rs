//! What is the source now, and give it to me.
//!
//! ```no_run
//! use std::time::{Duration, Instant};
//! use registry_client::{Http, HttpPolicy};
//! use source_fetch::{Access, GitSource, Resolver, fetch_git};
//!
//! let access = Access::new(Http::new(&HttpPolicy::default())?);
//! let source = GitSource::new("https://git.example.com/team/mono", "main").with_sub_path("app");
//! // Watch: as long as the tree stays the same, no commit has changed anything in the directory.
//! let resolver = Resolver::new("/var/lib/app/mirrors".into(), Duration::from_secs(60));
//! let found = resolver.resolve(&source, &access, Instant::now())?;
//! println!("{} is {}, and app is tree {:?}", source.revision(), found.revision, found.tree);
//! // Fetch: that commit and nothing else, whatever has been pushed meanwhile.
//! fetch_git(&found, "/tmp/app".as_ref(), &access, &mut |line| println!("{line}"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Any kind: [`Source`] → [`fetch`] → [`Fetched`], with an [`Access`] that holds connections, credentials and [`Limits`].
//! - Git: [`GitSource`] → [`resolve_git`] (one listing of the refs that can match) → [`ResolvedGit`] →
//!   [`fetch_git`] (that commit alone, checked out beneath a directory), or [`fetch_git_sub_path`] (a directory of it).
//!   Credentials: [`GitKeychain`].
//! - Many git sources, again and again: [`Resolver`], one listing a period for all sources of one repository.
//!   What counts as a change of one: its sub path, and a [`PathFilter`].
//! - Archives behind urls: [`BlobSource`] → [`fetch_blob`] → [`FetchedBlob`]. Credentials: [`BlobKeychain`].
//! - Images whose layers are the source: [`fetch_image`] → [`FetchedImage`].
//! - A directory or zip of this machine, as such an image: [`LocalImage`], which heeds [`IgnoreFiles`].
//! - How far a fetch is: [`Progress`] in the [`Limits`]; how long it may take: [`TimeLimit`].
//! - What a source says about its own build: [`ProjectDescriptor`].
//! - Where a sub path leads: [`SubPath`], which can't leave the source.
//!
//! Not here: running anything that a source brings (hooks, filters, helpers), polling, deciding whether to build.
//! Specification: git protocol version 2; kpack 0.17.2, "Source".
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod access;
mod archive;
mod beneath;
mod blob;
mod fetched;
#[doc(hidden)]
pub mod fuzzing;
mod git;
mod image;
mod limits;
mod local;
mod progress;
mod project;
mod source;
mod sub_path;
mod time_limit;
mod tree;

pub use access::{Access, Ssh};
pub use archive::ArchiveError;
pub use beneath::WriteError;
pub use blob::{BlobAuthError, BlobError, BlobKeychain, BlobSource, BlobUrl, FetchedBlob, InvalidBlobUrl, fetch_blob};
pub use fetched::Fetched;
pub use git::{
    FetchError, FetchedGit, GitCredential, GitKeychain, GitSource, GitUrl, InvalidGitUrl, InvalidPathFilter,
    PathFilter, ResolveError, ResolvedGit, Resolver, RevisionKind, TransportError, fetch_git, fetch_git_sub_path,
    resolve_git, resolve_git_with_tree,
};
pub use image::{FetchedImage, ImageSourceError, fetch_image};
pub use limits::{LimitExceeded, Limits};
pub use local::{IgnoreFiles, LocalError, LocalImage, LocalOptions};
pub use progress::{Progress, Step};
pub use project::{ProjectDescriptor, ProjectError, ProjectReport, process_project_descriptor};
pub use source::{Source, SourceError, fetch};
pub use sub_path::{InvalidSubPath, SubPath};
pub use time_limit::TimeLimit;
