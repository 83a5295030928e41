//! Git repositories.

mod channel;
mod fetch;
mod git_dir;
mod gitmodules;
mod greeting;
mod http_channel;
mod keychain;
mod local;
mod objects;
mod old_protocol;
mod pkt_line;
mod protocol;
mod resolve;
mod source;
mod stream_channel;
mod sub_tree;
mod transport;
mod url;

pub use fetch::{FetchError, FetchedGit, fetch_git};
pub use keychain::{GitCredential, GitKeychain};
pub use resolve::{ResolveError, resolve_git, resolve_git_with_tree};
pub use source::{GitSource, ResolvedGit, RevisionKind};
pub use transport::TransportError;
pub use url::{GitUrl, InvalidGitUrl};
