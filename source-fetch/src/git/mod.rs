//! Git repositories.

mod channel;
mod delta;
mod fetch;
pub(crate) mod fuzzing;
mod git_dir;
mod gitmodules;
mod greeting;
mod http_channel;
mod keychain;
mod local;
mod loose;
mod mirror;
mod objects;
mod old_protocol;
mod pack_scan;
mod partial;
mod path_filter;
mod patient;
mod pkt_line;
mod protocol;
mod resolve;
mod resolver;
mod source;
mod stream_channel;
mod transport;
mod url;

pub use fetch::{FetchError, FetchedGit, fetch_git};
pub use keychain::{GitCredential, GitKeychain};
pub use partial::fetch_git_sub_path;
pub use path_filter::{InvalidPathFilter, PathFilter};
pub use resolve::{ResolveError, resolve_git, resolve_git_with_tree};
pub use resolver::Resolver;
pub use source::{GitSource, ResolvedGit, RevisionKind};
pub use transport::TransportError;
pub use url::{GitUrl, InvalidGitUrl};
