//! What can befall a request.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::Arc,
    thread,
    time::Duration,
};

use crate::http::{Head, Request};

/// What befalls a request.
#[derive(Clone)]
pub enum Fault {
    /// The answer comes only after this time.
    Delay(Duration),
    /// There is no answer.
    Silence,
    /// The connection ends after so many bytes of the answer's body; without a body, in the middle of its head.
    CutAnswer(usize),
    /// The connection ends after so many bytes of the request's body; without a body, before the server sees it.
    CutRequest(usize),
    /// This is the answer; the server behind is not asked.
    Answer(Answer),
    /// The server's answer is changed.
    Change(Arc<dyn Fn(&mut Answer) + Send + Sync>),
    /// The answer's body never ends, and comes as fast as it is read.
    Endless,
    /// The answer's body never ends, and comes byte by byte with this pause between them.
    Drip(Duration),
    /// The request goes on with this `Authorization` in place of its own.
    Authorization(String),
}

impl Fault {
    /// The answer has this status, and one error in its body.
    pub fn status(status: u16) -> Self {
        let body = format!(r#"{{"errors":[{{"code":"INJECTED","message":"status {status}"}}]}}"#);
        Self::Answer(Answer::new(status).with_body(body.as_bytes()))
    }

    /// The answer asks to come back after so many seconds.
    pub fn too_many_requests(seconds: u64) -> Self {
        let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
        let answer = Answer::new(429).with_header("Retry-After", &seconds.to_string());
        Self::Answer(answer.with_body(body.as_bytes()))
    }

    /// The first bit of the body is another, and so is the digest in the header where there is no body.
    pub fn wrong_digest() -> Self {
        Self::Change(Arc::new(|answer| {
            if let Some(first) = answer.body.first_mut() {
                *first ^= 1;
            } else if answer.header("docker-content-digest").is_some() {
                let other = format!("sha256:{}", "0".repeat(64));
                answer.head.set("Docker-Content-Digest", other);
            }
        }))
    }

    /// The announced length is larger by `difference` than the body is, or smaller.
    pub fn wrong_length(difference: i64) -> Self {
        Self::Change(Arc::new(move |answer| {
            let length = answer
                .header("content-length")
                .and_then(|length| length.parse::<i64>().ok());
            if let Some(length) = length {
                let length = (length + difference).max(0);
                answer.head.set("Content-Length", length);
            }
        }))
    }

    /// The answer leads elsewhere.
    pub fn redirect(status: u16, address: &str) -> Self {
        Self::Answer(Answer::new(status).with_header("Location", address))
    }

    /// The answer asks for a token of the server at `realm`.
    pub fn realm(realm: &str, scope: &str) -> Self {
        let challenge = format!(
            "Bearer realm=\"{realm}\",service=\"{}\",scope=\"{scope}\"",
            crate::token_server::SERVICE
        );
        Self::Answer(Answer::new(401).with_header("WWW-Authenticate", &challenge))
    }
}

/// An answer that may be changed.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) head: Head,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// Makes an answer without headers and body.
    pub fn new(status: u16) -> Self {
        let line = format!("HTTP/1.1 {status} Injected");
        let mut head = Head {
            line,
            headers: Vec::new(),
        };
        head.set("Content-Length", 0);
        Self { head, body: Vec::new() }
    }

    pub(crate) fn forwarded(mut head: Head, body: Vec<u8>, no_body: bool) -> Self {
        head.remove("transfer-encoding");
        head.remove("connection");
        if !no_body {
            head.set("Content-Length", body.len());
        }
        Self { head, body }
    }

    /// Sets a body and its length.
    #[must_use]
    pub fn with_body(mut self, body: &[u8]) -> Self {
        self.head.set("Content-Length", body.len());
        self.body = body.to_vec();
        self
    }

    /// Sets a header in place of all of its name.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.head.set(name, value);
        self
    }

    /// Returns the first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .head
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    pub(crate) fn write(&self, client: &mut TcpStream, no_body: bool) -> io::Result<()> {
        self.write_bytes(client, if no_body { 0 } else { self.body.len() }, false)
    }

    /// Writes no more than `size` bytes of the body; where there is none, half of the head.
    pub(crate) fn write_part(&self, client: &mut TcpStream, size: usize, no_body: bool) -> io::Result<()> {
        self.write_bytes(client, size, no_body || self.body.is_empty())
    }

    fn write_bytes(&self, client: &mut TcpStream, size: usize, cut_head: bool) -> io::Result<()> {
        let mut bytes = self.head.to_bytes();
        if cut_head {
            bytes.truncate(bytes.len() / 2);
        } else {
            bytes.extend_from_slice(&self.body[..size.min(self.body.len())]);
        }
        client.write_all(&bytes)?;
        client.flush()
    }

    /// Announces no length; the body lasts as long as the connection.
    pub(crate) fn endless(&mut self) {
        self.head.remove("content-length");
        self.head.set("Connection", "close");
    }

    /// Sends the body and then spaces, a byte at a time, until the client has had enough.
    pub(crate) fn drip(&self, client: &mut TcpStream, pause: Duration) -> io::Result<()> {
        client.write_all(&self.head.to_bytes())?;
        for byte in self.body.iter().chain(std::iter::repeat(&b' ')) {
            client.write_all(&[*byte])?;
            client.flush()?;
            thread::sleep(pause);
        }
        Ok(())
    }
}

/// Which requests a fault befalls.
pub struct Rule {
    fits: Box<dyn Fn(&Request) -> bool + Send>,
    left: Option<usize>,
    fault: Fault,
}

impl Rule {
    /// Lets `fault` befall every request that `fits`, which sees line and headers but no body.
    pub fn new(fault: Fault, fits: impl Fn(&Request) -> bool + Send + 'static) -> Self {
        Self {
            fits: Box::new(fits),
            left: None,
            fault,
        }
    }

    /// Lets it befall only the first `count` of them.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.left = Some(count);
        self
    }

    pub(crate) fn applies(&mut self, request: &Request) -> Option<Fault> {
        if self.left == Some(0) || !(self.fits)(request) {
            return None;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
        Some(self.fault.clone())
    }
}
