//! Git repositories.

mod fetch;
mod keychain;
mod pkt_line;
mod protocol;
mod resolve;
mod source;
mod transport;
mod url;

pub use fetch::{FetchError, FetchedGit, fetch_git};
pub use keychain::{GitCredential, GitKeychain};
pub use resolve::{ResolveError, resolve_git};
pub use source::{GitSource, ResolvedGit, RevisionKind};
pub use transport::TransportError;
pub use url::{GitUrl, InvalidGitUrl};
