//! Which bytes make the image, and which of them already exist?
#![forbid(unsafe_code)]

pub mod analyze;
pub mod builder;
pub mod cache;
pub mod export;
pub mod rebase;
pub mod restore;
