//! Tar archives, byte for byte as Go's `archive/tar` makes and reads them.

mod encode;
mod header;
mod reader;
mod writer;

pub use header::{EntryKind, Format, Header, InvalidHeader, LAYER_TIME};
pub use reader::{TarError, TarReader};
pub use writer::TarWriter;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_owners_that_are_not_ascii_stand_in_records_alone() {
        let mut header = Header::new(EntryKind::Directory, "d/");
        header.user = b"plain".to_vec();
        header.group = "gé".as_bytes().to_vec();
        let mut archive = TarWriter::new(Vec::new());
        archive.entry(&header).expect("PAX can express it");
        let bytes = archive.finish().expect("memory takes all");
        // A header of records, the records, the entry.
        assert_eq!(&bytes[512..512 + 13], "13 gname=gé\n".as_bytes());
        assert_eq!(&bytes[1024 + 265..][..7], b"plain\0\0");
        assert_eq!(&bytes[1024 + 297..][..4], b"g\0\0\0");
        let read = TarReader::new(bytes.as_slice()).next().expect("a proper archive");
        assert_eq!(read.expect("one entry").group, header.group);
    }

    #[test]
    fn an_empty_long_name_counts_as_none() {
        let mut header = Header::new(EntryKind::File, vec![b'a'; 150]);
        header.format = Format::GNU;
        let mut archive = TarWriter::new(Vec::new());
        archive.entry(&header).expect("GNU can express it");
        let mut bytes = archive.finish().expect("memory takes all");
        // Behind the header of the long name stands the name.
        bytes[512] = 0;
        let read = TarReader::new(bytes.as_slice()).next().expect("a proper archive");
        assert_eq!(read.expect("one entry").name, vec![b'a'; 100]);
    }

    #[test]
    fn records_for_all_entries_may_name_themselves() {
        let mut global = Header::new(EntryKind::PaxGlobal, "");
        global.mtime = None;
        global.records.insert(b"path".to_vec(), b"x".to_vec());
        let mut archive = TarWriter::new(Vec::new());
        archive.entry(&global).expect("PAX can express it");
        let bytes = archive.finish().expect("memory takes all");
        let read = TarReader::new(bytes.as_slice()).next().expect("a proper archive");
        let read = read.expect("one entry");
        assert_eq!((read.name, read.records), (b"x".to_vec(), global.records));
    }
}
