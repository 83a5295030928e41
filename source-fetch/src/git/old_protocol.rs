//! The conversation of git's protocol before version 2, as requests to send and answers to read.

use std::io::{self, Read};

use super::{
    pkt_line::{self, Packet},
    protocol::{ListedRef, MAX_REFS, is_object_id, malformed, read_band, text_of},
};

/// All refs of a server, and what it can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advertisement {
    pub(crate) refs: Vec<ListedRef>,
    capabilities: Vec<String>,
}

/// How much history is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    One,
    All,
}

impl Advertisement {
    /// Reads the refs, the first line of which may have been read already.
    pub(crate) fn read(first: Option<&[u8]>, reader: &mut impl Read) -> io::Result<Self> {
        let mut found = Self::default();
        if let Some(line) = first {
            found.line(line)?;
        }
        loop {
            match pkt_line::read(reader)? {
                Some(Packet::Data(data)) => found.line(&data)?,
                Some(_) => break,
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
        for capability in &found.capabilities {
            let pair = capability.strip_prefix("symref=").and_then(|pair| pair.split_once(':'));
            if let Some((name, target)) = pair
                && let Some(listed) = found.refs.iter_mut().find(|listed| listed.name == name)
            {
                listed.target = Some(target.to_owned());
            }
        }
        Ok(found)
    }

    fn line(&mut self, data: &[u8]) -> io::Result<()> {
        let text = text_of(data)?;
        let (text, capabilities) = text.split_once('\0').unwrap_or((&text, ""));
        if self.refs.is_empty() {
            self.capabilities.extend(
                capabilities
                    .split(' ')
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned),
            );
        }
        if text.starts_with("shallow ") {
            return Ok(());
        }
        let pair = text.split_once(' ').filter(|(id, _)| is_object_id(id));
        let (id, name) = pair.ok_or_else(|| malformed("the server does not list refs as git does"))?;
        if name == "capabilities^{}" {
            return Ok(());
        }
        if let Some(peeled) = name.strip_suffix("^{}") {
            if let Some(listed) = self.refs.last_mut().filter(|listed| listed.name == peeled) {
                listed.peeled = Some(id.to_owned());
            }
            return Ok(());
        }
        if self.refs.len() == MAX_REFS {
            return Err(malformed("the server lists more than a million refs"));
        }
        self.refs.push(ListedRef {
            name: name.to_owned(),
            id: id.to_owned(),
            peeled: None,
            target: None,
        });
        Ok(())
    }

    fn can(&self, name: &str) -> bool {
        self.capabilities.iter().any(|capability| capability == name)
    }

    /// Whether objects are named by SHA-1.
    pub(crate) fn is_sha1(&self) -> bool {
        let format = self
            .capabilities
            .iter()
            .find_map(|word| word.strip_prefix("object-format="));
        format.is_none_or(|format| format == "sha1")
    }

    /// Whether the server gives out object `id` by itself.
    pub(crate) fn gives(&self, id: &str) -> bool {
        let any = ["allow-reachable-sha1-in-want", "allow-any-sha1-in-want"];
        any.iter().any(|name| self.can(name)) || self.refs.iter().any(|listed| listed.id == id)
    }

    /// Whether the server can leave history out.
    pub(crate) fn cuts_history(&self) -> bool {
        self.can("shallow")
    }

    /// Whether the pack comes in bands, without which its end and errors can't be told apart.
    pub(crate) fn has_bands(&self) -> bool {
        self.can("side-band-64k") || self.can("side-band")
    }

    /// A request for objects.
    pub(crate) fn fetch(&self, ids: &[&str], depth: Depth, filter: Option<&str>, agent: &str) -> Vec<u8> {
        let mut request = Vec::new();
        let mut capabilities = String::new();
        let band = if self.can("side-band-64k") {
            "side-band-64k"
        } else {
            "side-band"
        };
        for capability in [band, "ofs-delta", "no-progress"] {
            if self.can(capability) {
                capabilities.push(' ');
                capabilities.push_str(capability);
            }
        }
        if depth == Depth::One && self.cuts_history() {
            capabilities.push_str(" shallow");
        }
        let filter = filter.filter(|_| self.can("filter"));
        if filter.is_some() {
            capabilities.push_str(" filter");
        }
        if self
            .capabilities
            .iter()
            .any(|capability| capability.starts_with("agent="))
        {
            capabilities.push_str(" agent=");
            capabilities.push_str(agent);
        }
        for id in ids {
            pkt_line::write_line(&mut request, &format!("want {id}{}", std::mem::take(&mut capabilities)));
        }
        if depth == Depth::One && self.cuts_history() {
            pkt_line::write_line(&mut request, "deepen 1");
        }
        if let Some(filter) = filter {
            pkt_line::write_line(&mut request, &format!("filter {filter}"));
        }
        pkt_line::write_flush(&mut request);
        pkt_line::write_line(&mut request, "done");
        request
    }
}

/// Reads the answer to [`Advertisement::fetch`]: the pack in pieces; returns where history was cut off.
pub(crate) fn read_pack(
    reader: &mut impl Read,
    mut pack: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let mut shallow = Vec::new();
    let mut in_pack = false;
    loop {
        match pkt_line::read(reader)? {
            None if in_pack => return Err(io::ErrorKind::UnexpectedEof.into()),
            None => return Err(malformed("the server ended its answer before the pack")),
            Some(Packet::Data(data)) if in_pack => read_band(&data, &mut pack)?,
            Some(Packet::Data(data)) => {
                let line = text_of(&data)?;
                if line == "NAK" || line.starts_with("ACK ") {
                    in_pack = true;
                } else if let Some(id) = line.strip_prefix("shallow ").filter(|id| is_object_id(id))
                    && shallow.len() < MAX_REFS
                {
                    shallow.push(id.to_owned());
                }
            }
            // The end of the list of shallow commits comes before the pack.
            Some(_) if !in_pack => {}
            Some(_) => return Ok(shallow),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn refs_capabilities_and_peeled_tags_are_read() {
        let mut answer = Vec::new();
        for line in [
            format!("{ID} HEAD\0side-band-64k shallow symref=HEAD:refs/heads/main agent=git/2.1"),
            format!("{ID} refs/tags/v1"),
            format!("{ID} refs/tags/v1^{{}}"),
        ] {
            pkt_line::write_line(&mut answer, &line);
        }
        pkt_line::write_flush(&mut answer);
        let found = Advertisement::read(None, &mut answer.as_slice()).expect("valid");
        assert_eq!(found.refs[0].target.as_deref(), Some("refs/heads/main"));
        assert_eq!(found.refs[1].peeled.as_deref(), Some(ID));
        assert!(found.gives(ID) && !found.gives(&ID.replace('0', "1")));
        let request = String::from_utf8(found.fetch(&[ID], Depth::One, None, "me")).expect("text");
        assert!(request.contains(" side-band-64k shallow agent=me\n") && request.ends_with("done\n"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_a_reader_panic(text in "([0-9a-f]{4}[ -~\\x00]{0,60}){0,3}", bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                let _ = Advertisement::read(None, &mut { bytes });
                let _ = read_pack(&mut { bytes }, |_| Ok(()));
            }
        }
    }
}
