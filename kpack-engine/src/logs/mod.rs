//! What containers printed: append-only files, and readers that follow them.
//!
//! - The files: [`LogStore`]; which one: [`LogName`].
//! - Writing: [`LogWriter`]. Reading, also while it is written: [`LogReader`] with [`ReadOptions`].
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use kpack_engine::logs::{LogName, LogStore, ReadOptions};
//!
//! let dir = tempfile::tempdir()?;
//! let logs = LogStore::open(dir.path())?;
//! let name = LogName::new("demo", "shop-build-1-build-pod", "5d0c", "detect")?;
//! let mut writer = logs.writer(&name)?;
//! writer.write_all(b"3 of 4 buildpacks participating\n")?;
//! drop(writer);
//!
//! let mut text = String::new();
//! logs.reader(&name, &ReadOptions::default())?.read_to_string(&mut text)?;
//! assert_eq!(text, "3 of 4 buildpacks participating\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Specification
//! The lines on disk are those of the Kubernetes container runtime interface (`TIME stdout F TEXT`), so that
//! other tools read them too.

mod error;
mod feed;
mod line;
mod name;
mod reader;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use error::LogError;
pub use name::{InvalidLogName, LogName};
pub use reader::{LogReader, ReadOptions};
pub use store::{DEFAULT_LOG_BYTES, LogStore};
pub use writer::LogWriter;
