//! What reads the bytes of git servers and repositories, for the fuzz targets.

use std::{collections::HashMap, io};

use git2::{ObjectType, Oid};

use super::{
    gitmodules as modules,
    greeting::Greeting,
    old_protocol,
    pack_scan::{Keep, PackScan},
    pkt_line,
    protocol::{self, is_object_id},
};

/// Reads a whole conversation: the greeting, a listing, and a pack. Returns how many bytes of a pack came.
///
/// # Panics
/// When something was accepted that no caller could use.
pub fn conversation(bytes: &[u8]) -> usize {
    let mut reader = bytes;
    let mut received = 0;
    let mut count = |piece: &[u8]| {
        received += piece.len();
        Ok(())
    };
    let Ok(greeting) = Greeting::read(&mut reader) else {
        return 0;
    };
    let (refs, shallow) = match &greeting {
        Greeting::Version2(capabilities) => {
            // Requests hold what the server announced, and so must be lines whatever that is.
            let id = "0".repeat(40);
            assert!(lines(&capabilities.fetch(&id, Some("blob:none"), Some(&id), "me")).is_some());
            assert!(lines(&capabilities.ls_refs(&["refs/".to_owned()], "me")).is_some());
            let Ok(refs) = protocol::read_refs(&mut reader) else {
                return 0;
            };
            (refs, protocol::read_pack(&mut reader, &mut count))
        }
        Greeting::Older(found) => (found.refs.clone(), old_protocol::read_pack(&mut reader, &mut count)),
    };
    assert!(refs.iter().all(|listed| is_object_id(&listed.id)));
    assert!(
        refs.iter()
            .all(|listed| listed.peeled.as_deref().is_none_or(is_object_id))
    );
    assert!(shallow.unwrap_or_default().iter().all(|id| is_object_id(id)));
    received
}

/// Lines that are written are never longer: ids, names and capabilities.
const MAX_LINE: usize = 65_000;

/// Reads lines to their end, and writes them again; `None` when they are none.
///
/// # Panics
/// When what is written is not read as the same.
pub fn lines(bytes: &[u8]) -> Option<usize> {
    let mut reader = bytes;
    let mut count = 0;
    while let Some(packet) = pkt_line::read(&mut reader).ok()? {
        count += 1;
        if let pkt_line::Packet::Data(data) = packet
            && let Ok(text) = std::str::from_utf8(&data)
            && data.len() < MAX_LINE
        {
            let mut written = Vec::new();
            pkt_line::write_line(&mut written, text.strip_suffix('\n').unwrap_or(text));
            let again = pkt_line::read(&mut written.as_slice());
            let expected = format!("{}\n", text.strip_suffix('\n').unwrap_or(text));
            assert!(
                matches!(&again, Ok(Some(pkt_line::Packet::Data(data))) if data == expected.as_bytes()),
                "{text:?} became {again:?}"
            );
        }
    }
    Some(count)
}

/// Reads a `.gitmodules` file.
///
/// # Panics
/// When the directory of a submodule's objects would lie elsewhere.
pub fn gitmodules(text: &str) -> usize {
    let found = modules::parse(text);
    for directory in found.iter().filter_map(modules::Module::directory) {
        let is_plain = |part| matches!(part, std::path::Component::Normal(_));
        assert!(directory.components().all(is_plain), "{}", directory.display());
    }
    found.len()
}

/// Reads a pack in pieces of `size` bytes. Returns how many objects were kept.
///
/// # Panics
/// When what was kept depends on where the pack was cut.
pub fn pack(bytes: &[u8], size: usize) -> usize {
    let scan = |size: usize| {
        let mut kept = Kept::default();
        let mut scan = PackScan::new(&mut kept);
        let read = bytes.chunks(size.max(1)).try_for_each(|piece| scan.push(piece));
        let is_all = read.and_then(|()| scan.finish());
        (is_all.ok(), kept)
    };
    let (is_all, kept) = scan(size);
    let (again, whole) = scan(bytes.len());
    assert!(is_all == again && kept.0 == whole.0, "it matters where the pack is cut");
    kept.0.len()
}

/// Keeps objects in memory.
#[derive(Default)]
pub(super) struct Kept(pub(super) HashMap<Oid, (ObjectType, Vec<u8>)>);

impl Keep for &mut Kept {
    fn keep(&mut self, kind: ObjectType, content: &[u8]) -> io::Result<Oid> {
        let id = Oid::hash_object(kind, content).map_err(io::Error::other)?;
        self.0.insert(id, (kind, content.to_owned()));
        Ok(id)
    }

    fn has(&mut self, id: Oid) -> bool {
        self.0.contains_key(&id)
    }

    fn content(&mut self, id: Oid) -> io::Result<(ObjectType, Vec<u8>)> {
        self.0.get(&id).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
