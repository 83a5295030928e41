//! The conversation of git's protocol version 2, as requests to send and answers to read; opens no connection.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use super::{
    pkt_line::{self, Packet},
    transport::ENDED,
};

/// What a server can do, from its capability advertisement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities(Vec<String>);

/// One ref that a server listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedRef {
    pub(crate) name: String,
    pub(crate) id: String,
    /// For an annotated tag, the object that it finally points to.
    pub(crate) peeled: Option<String>,
    /// For a symbolic ref such as HEAD, the ref that it points to.
    pub(crate) target: Option<String>,
}

/// Bounds on what is read of a listing.
pub(crate) const MAX_REFS: usize = 1_000_000;
pub(crate) const MAX_CAPABILITIES: usize = 1_000;

pub(crate) fn malformed(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}

/// The text of a line. Names of refs may be anything: what is no UTF-8 in them matches nothing.
pub(crate) fn text_of(data: &[u8]) -> io::Result<Cow<'_, str>> {
    let data = data.strip_suffix(b"\n").unwrap_or(data);
    match data.strip_prefix(b"ERR ") {
        // The words of a server are shown to people: no control characters.
        Some(words) => {
            let words = String::from_utf8_lossy(words).replace(|c: char| c.is_control(), " ");
            Err(io::Error::other(words))
        }
        None => Ok(String::from_utf8_lossy(data)),
    }
}

pub(crate) fn is_object_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl Capabilities {
    pub(crate) fn new(lines: Vec<String>) -> Self {
        Self(lines)
    }

    fn values(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|line| match line.split_once('=') {
            Some((key, values)) if key == name => Some(values),
            None if line == name => Some(""),
            _ => None,
        })
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.values(name)
            .is_some_and(|values| values.split(' ').any(|other| other == value))
    }

    /// Whether objects are named by SHA-1, the only kind that is understood here.
    pub(crate) fn is_sha1(&self) -> bool {
        self.values("object-format").is_none_or(|format| format == "sha1")
    }

    fn begin(&self, command: &str, agent: &str) -> Vec<u8> {
        let mut request = Vec::new();
        pkt_line::write_line(&mut request, &format!("command={command}"));
        if self.values("agent").is_some() {
            pkt_line::write_line(&mut request, &format!("agent={agent}"));
        }
        if self.values("object-format").is_some() {
            pkt_line::write_line(&mut request, "object-format=sha1");
        }
        pkt_line::write_delimiter(&mut request);
        request
    }

    /// A request for the refs that begin with one of `prefixes`.
    pub(crate) fn ls_refs(&self, prefixes: &[String], agent: &str) -> Vec<u8> {
        let mut request = self.begin("ls-refs", agent);
        pkt_line::write_line(&mut request, "peel");
        pkt_line::write_line(&mut request, "symrefs");
        for prefix in prefixes {
            pkt_line::write_line(&mut request, &format!("ref-prefix {prefix}"));
        }
        pkt_line::write_flush(&mut request);
        request
    }

    /// A request for one object with what it needs, without history where the server can cut it off, and without
    /// what `filter` leaves out where the server can do that, and without what the commit `have` holds.
    pub(crate) fn fetch(&self, id: &str, filter: Option<&str>, have: Option<&str>, agent: &str) -> Vec<u8> {
        let mut request = self.begin("fetch", agent);
        pkt_line::write_line(&mut request, "ofs-delta");
        pkt_line::write_line(&mut request, "no-progress");
        // Of a commit that grew out of `have` only the steps between them come, if there are not too many.
        let have = have.filter(|_| self.cuts_history());
        if self.cuts_history() {
            pkt_line::write_line(&mut request, if have.is_some() { "deepen 50" } else { "deepen 1" });
        }
        if let Some(filter) = filter.filter(|_| self.filters()) {
            pkt_line::write_line(&mut request, &format!("filter {filter}"));
        }
        pkt_line::write_line(&mut request, &format!("want {id}"));
        if let Some(have) = have {
            // That its history is not here is not said, or the server would send it.
            pkt_line::write_line(&mut request, &format!("have {have}"));
        }
        pkt_line::write_line(&mut request, "done");
        pkt_line::write_flush(&mut request);
        request
    }

    /// Whether the server can leave history out.
    pub(crate) fn cuts_history(&self) -> bool {
        self.has("fetch", "shallow")
    }

    /// Whether the server can leave objects out.
    pub(crate) fn filters(&self) -> bool {
        self.has("fetch", "filter")
    }
}

/// Reads the answer to [`Capabilities::ls_refs`].
pub(crate) fn read_refs(reader: &mut impl Read) -> io::Result<Vec<ListedRef>> {
    let mut refs = Vec::new();
    while let Some(packet) = pkt_line::read(reader)? {
        let Packet::Data(data) = packet else { break };
        let line = text_of(&data)?;
        let mut words = line.split(' ');
        let (Some(id), Some(name)) = (words.next(), words.next()) else {
            return Err(malformed("the server listed a ref without a name"));
        };
        // `unborn HEAD` is what an empty repository has.
        if id == "unborn" {
            continue;
        }
        if !is_object_id(id) {
            return Err(malformed("the server listed a ref whose id is none"));
        }
        let mut listed = ListedRef {
            name: name.to_owned(),
            id: id.to_owned(),
            peeled: None,
            target: None,
        };
        for attribute in words {
            if let Some(peeled) = attribute.strip_prefix("peeled:").filter(|id| is_object_id(id)) {
                listed.peeled = Some(peeled.to_owned());
            } else if let Some(target) = attribute.strip_prefix("symref-target:") {
                listed.target = Some(target.to_owned());
            }
        }
        if refs.len() == MAX_REFS {
            return Err(malformed("the server lists more than a million refs"));
        }
        refs.push(listed);
    }
    Ok(refs)
}

/// Reads the answer to [`Capabilities::fetch`]: hands each piece of the pack to `pack`; returns the commits at which
/// history was cut off.
pub(crate) fn read_pack(
    reader: &mut impl Read,
    mut pack: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let mut shallow = Vec::new();
    let mut section = String::new();
    loop {
        match pkt_line::read(reader)? {
            None => {
                let words = "the server ended its answer before the pack";
                return Err(io::Error::new(ENDED, words));
            }
            Some(Packet::Delimiter) => section.clear(),
            Some(Packet::Flush | Packet::End) if section == "packfile" => return Ok(shallow),
            Some(Packet::Flush | Packet::End) => return Err(malformed("the server sent no pack")),
            Some(Packet::Data(data)) if section == "packfile" => read_band(&data, &mut pack)?,
            Some(Packet::Data(data)) => {
                let line = text_of(&data)?;
                if section.is_empty() {
                    section = line.into_owned();
                } else if let Some(id) = line.strip_prefix("shallow ").filter(|id| is_object_id(id))
                    && shallow.len() < MAX_REFS
                {
                    shallow.push(id.to_owned());
                }
            }
        }
    }
}

/// One piece of what comes in bands: the pack, words on the progress, or an error.
pub(crate) fn read_band(data: &[u8], pack: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    match data.split_first() {
        Some((1, data)) => pack(data),
        Some((2, _)) => Ok(()),
        Some((3, data)) => {
            let words = String::from_utf8_lossy(data).replace(|c: char| c.is_control(), " ");
            Err(io::Error::other(words.trim().to_owned()))
        }
        _ => Err(malformed("the server sent a piece of a pack in an unknown band")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::greeting::Greeting, *};

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn lines(lines: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in lines {
            pkt_line::write_line(&mut bytes, line);
        }
        pkt_line::write_flush(&mut bytes);
        bytes
    }

    #[test]
    fn version_2_is_recognised_behind_the_service_line() {
        let mut answer = lines(&["# service=git-upload-pack"]);
        answer.extend(lines(&[
            "version 2",
            "agent=git/2.39",
            "ls-refs=unborn",
            "fetch=shallow filter",
        ]));
        let Greeting::Version2(capabilities) = Greeting::read(&mut answer.as_slice()).expect("valid") else {
            panic!("version 2")
        };
        assert!(capabilities.has("fetch", "shallow") && capabilities.is_sha1() && capabilities.filters());
    }

    #[test]
    fn an_older_server_is_told_apart() {
        let mut answer = lines(&["# service=git-upload-pack"]);
        answer.extend(lines(&[&format!("{ID} HEAD\0multi_ack side-band-64k")]));
        let greeting = Greeting::read(&mut answer.as_slice()).expect("valid");
        assert!(matches!(greeting, Greeting::Older(found) if found.refs.len() == 1));
    }

    #[test]
    fn the_words_of_a_server_are_an_error_without_control_characters() {
        let answer = lines(&["ERR no such \u{1b}[31mrepository"]);
        let error = Greeting::read(&mut answer.as_slice()).expect_err("an error");
        assert_eq!(error.to_string(), "no such  [31mrepository");
    }

    #[test]
    fn refs_come_with_what_they_peel_and_point_to() {
        let peeled = format!("{ID} refs/tags/v1 peeled:{ID}");
        let answer = lines(&[&peeled, &format!("{ID} HEAD symref-target:refs/heads/main")]);
        let refs = read_refs(&mut answer.as_slice()).expect("valid");
        assert_eq!(refs[0].peeled.as_deref(), Some(ID));
        assert_eq!(refs[1].target.as_deref(), Some("refs/heads/main"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_a_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..128), text in "[0-9a-f]{4}[ -~]{0,40}") {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = Greeting::read(&mut { bytes });
                let _ = read_refs(&mut { bytes });
                let _ = read_pack(&mut { bytes }, |_| Ok(()));
            }
        }
    }
}
