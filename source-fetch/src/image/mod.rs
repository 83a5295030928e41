//! Images whose layers are the source.

mod document;
mod fetch;

pub use fetch::{FetchedImage, ImageSourceError, fetch_image};
