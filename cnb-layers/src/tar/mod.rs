//! Tar archives, byte for byte as Go's `archive/tar` makes and reads them.

mod encode;
pub(crate) use encode::clean;
mod header;
mod reader;
mod writer;

pub use header::{EntryKind, Format, Header, InvalidHeader, LAYER_TIME};
pub use reader::{TarError, TarReader};
pub use writer::TarWriter;
