use std::collections::BTreeMap;

/// What a tar entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryKind {
    /// A regular file, with content.
    File,
    /// Another name of a file that came before in the archive.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// Records for all entries that follow; has no name or content of its own.
    PaxGlobal,
    /// Something else, by its type flag. Its content is passed over or copied, never used.
    Other(u8),
}

impl EntryKind {
    pub(crate) fn flag(self) -> u8 {
        match self {
            Self::File => b'0',
            Self::HardLink => b'1',
            Self::Symlink => b'2',
            Self::CharDevice => b'3',
            Self::BlockDevice => b'4',
            Self::Directory => b'5',
            Self::Fifo => b'6',
            Self::PaxGlobal => b'g',
            Self::Other(flag) => flag,
        }
    }

    pub(crate) fn from_flag(flag: u8) -> Self {
        match flag {
            b'0' => Self::File,
            b'1' => Self::HardLink,
            b'2' => Self::Symlink,
            b'3' => Self::CharDevice,
            b'4' => Self::BlockDevice,
            b'5' => Self::Directory,
            b'6' => Self::Fifo,
            b'g' => Self::PaxGlobal,
            other => Self::Other(other),
        }
    }

    /// Returns whether entries of this kind never have content, whatever their size field says.
    pub(crate) fn is_header_only(self) -> bool {
        matches!(
            self,
            Self::HardLink | Self::Symlink | Self::CharDevice | Self::BlockDevice | Self::Directory | Self::Fifo
        )
    }
}

/// Which form of header an entry has or may get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Format(u8);

impl Format {
    /// No form is asked for: the first of USTAR, PAX and GNU that can express the entry is used.
    pub const ANY: Self = Self(0);
    /// POSIX.1-1988.
    pub const USTAR: Self = Self(1);
    /// POSIX.1-2001.
    pub const PAX: Self = Self(2);
    /// GNU tar's.
    pub const GNU: Self = Self(4);
    pub(super) const ALL: Self = Self(7);

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    #[must_use]
    pub(super) fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    #[must_use]
    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A time in an archive: seconds and nanoseconds after 1970-01-01T00:00:00Z.
pub(crate) type TarTime = (i64, u32);

/// The time that every entry of a layer carries, 1980-01-01T00:00:01Z, in seconds after 1970.
pub const LAYER_TIME: i64 = 315_532_801;

/// One entry of a tar archive, without its content.
///
/// Names are raw bytes: what is not UTF-8 is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the entry is.
    pub kind: EntryKind,
    /// The name, as it stands in the archive.
    pub name: Vec<u8>,
    /// The target of a link.
    pub link: Vec<u8>,
    /// Permission bits, set-user-id, set-group-id and sticky bit.
    pub mode: i64,
    /// The owner.
    pub uid: i64,
    /// The group.
    pub gid: i64,
    /// The size of the content in bytes.
    pub size: i64,
    /// When the content changed, seconds and nanoseconds after 1970; `None` writes zero.
    pub mtime: Option<TarTime>,
    /// When it was read; written only in PAX and GNU form.
    pub(crate) atime: Option<TarTime>,
    /// When the metadata changed; written only in PAX and GNU form.
    pub(crate) ctime: Option<TarTime>,
    /// The owner's name; layers never have it.
    pub user: Vec<u8>,
    /// The group's name; layers never have it.
    pub group: Vec<u8>,
    /// The device's major and minor number.
    pub device: (i64, i64),
    /// PAX records, such as `SCHILY.xattr.security.capability`.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The form to write.
    pub format: Format,
}

impl Header {
    /// Returns the header of a layer's entry: no names of owner or group, [`LAYER_TIME`].
    pub fn new(kind: EntryKind, name: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            name: name.into(),
            link: Vec::new(),
            mode: 0,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: Some((LAYER_TIME, 0)),
            atime: None,
            ctime: None,
            user: Vec::new(),
            group: Vec::new(),
            device: (0, 0),
            records: BTreeMap::new(),
            format: Format::ANY,
        }
    }

    /// Returns the header with permission bits and owner.
    #[must_use]
    pub fn owned(mut self, mode: u32, uid: i64, gid: i64) -> Self {
        (self.mode, self.uid, self.gid) = (i64::from(mode), uid, gid);
        self
    }

    /// Sets what all entries of a layer have in common: the time, and no names of owner and group.
    pub fn normalize(&mut self) {
        self.mtime = Some((LAYER_TIME, 0));
        self.user.clear();
        self.group.clear();
    }
}

/// Why an entry cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tar entry {name:?} cannot be written: {problem}")]
pub struct InvalidHeader {
    /// The entry's name, with what is not UTF-8 replaced.
    pub name: String,
    /// What is wrong.
    pub problem: &'static str,
}
