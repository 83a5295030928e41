//! rebuild
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod decode;
mod md5;
mod name;
mod resource;
mod termination;

pub use decode::{DecodeError, decode};
pub use name::child_name;
pub use resource::*;
pub use termination::{BuildMetadata, TerminationMessageError};
