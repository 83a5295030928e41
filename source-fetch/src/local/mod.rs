//! A directory or zip of the user's machine, as an image whose one layer is the source.

mod error;
mod ignored;
mod image;
mod tar_writer;
mod walk;
mod zipped;

pub use error::LocalError;
pub use ignored::IgnoreFiles;
pub use image::{LocalImage, LocalOptions};
