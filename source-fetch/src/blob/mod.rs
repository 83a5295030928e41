//! Archives behind urls.

mod download;
mod fetch;
mod keychain;
mod url;

pub use fetch::{BlobError, BlobSource, FetchedBlob, fetch_blob};
pub use keychain::{BlobAuthError, BlobKeychain};
pub(crate) use url::percent_decoded;
pub use url::{BlobUrl, InvalidBlobUrl};
