//! What a server says first: version 2 with its capabilities, or the older version with all of its refs.

use std::io::{self, Read};

use super::{
    old_protocol::Advertisement,
    pkt_line::{self, Packet},
    protocol::{Capabilities, MAX_CAPABILITIES, malformed, text_of},
};

/// What a server says first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    Version2(Capabilities),
    Older(Advertisement),
}

impl Greeting {
    /// Reads the answer to `GET …/info/refs?service=git-upload-pack`, or what `git-upload-pack` says first.
    pub(crate) fn read(reader: &mut impl Read) -> io::Result<Self> {
        let mut first = true;
        while let Some(packet) = pkt_line::read(reader)? {
            let Packet::Data(data) = packet else {
                // The flush behind `# service=…` is not the end; a second one is, of a server that has no refs at all.
                if std::mem::take(&mut first) {
                    continue;
                }
                return Ok(Self::Older(Advertisement::default()));
            };
            if data.starts_with(b"# service=") {
                continue;
            }
            return match &*text_of(&data)? {
                "version 2" => capabilities(reader).map(Self::Version2),
                "version 1" => Advertisement::read(None, reader).map(Self::Older),
                _ => Advertisement::read(Some(&data), reader).map(Self::Older),
            };
        }
        Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the server announced nothing",
        ))
    }
}

fn capabilities(reader: &mut impl Read) -> io::Result<Capabilities> {
    let mut lines = Vec::new();
    loop {
        match pkt_line::read(reader)? {
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(Packet::Data(_)) if lines.len() == MAX_CAPABILITIES => {
                return Err(malformed("the server announces too many capabilities"));
            }
            Some(Packet::Data(data)) => lines.push(text_of(&data)?.into_owned()),
            Some(_) => return Ok(Capabilities::new(lines)),
        }
    }
}
