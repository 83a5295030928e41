//! Just enough http for the servers of this crate.

use std::{
    io::{self, BufRead, Read},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// The first line and the headers of a request or an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// Reads a head; `None` when the connection ends before it begins.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let mut head = Self {
            line: line.trim_end().to_owned(),
            headers: Vec::new(),
        };
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                return Ok(Some(head));
            }
            if let Some((name, value)) = line.split_once(':') {
                head.headers.push((name.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// Returns the first header of that name; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value)
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    pub(crate) fn set(&mut self, name: &str, value: impl ToString) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.to_string()));
    }

    /// Reads the body that belongs to this head of a request.
    pub(crate) fn read_body(&self, reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.header("transfer-encoding").eq_ignore_ascii_case("chunked") {
            read_chunks(reader, &mut body)?;
        } else {
            let length = self.header("content-length").parse().unwrap_or(0);
            if reader.by_ref().take(length).read_to_end(&mut body)? as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(body)
    }

    /// Writes the head as it goes over the wire.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        (text + "\r\n").into_bytes()
    }
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let size = line.trim().split(';').next().unwrap_or_default();
        let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
        reader.by_ref().take(size).read_to_end(body)?;
        reader.read_line(&mut String::new())?;
        if size == 0 {
            return Ok(());
        }
    }
}

/// One request as a server has seen it, with everything that was in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, such as `GET`.
    pub method: String,
    /// Path and query; the whole address where a proxy was asked.
    pub target: String,
    /// All headers in their order, names as they were sent.
    pub headers: Vec<(String, String)>,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(head: &Head, body: Vec<u8>) -> Self {
        let mut words = head.line.split(' ');
        Self {
            method: words.next().unwrap_or_default().to_owned(),
            target: words.next().unwrap_or_default().to_owned(),
            headers: head.headers.clone(),
            body,
        }
    }

    /// Returns the first header of that name; `None` when there is none.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns the target up to its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Returns the decoded values of a parameter of the query.
    pub fn query(&self, name: &str) -> Vec<String> {
        parameters(self.target.split_once('?').map_or("", |(_, query)| query), name)
    }

    /// Returns the decoded values of a field of the form in the body.
    pub fn form(&self, name: &str) -> Vec<String> {
        parameters(&String::from_utf8_lossy(&self.body), name)
    }

    /// Returns whether `text` stands anywhere in it: in its line, in a header, in its body.
    pub fn holds(&self, text: &str) -> bool {
        self.target.contains(text)
            || self
                .headers
                .iter()
                .any(|(name, value)| name.contains(text) || value.contains(text))
            || self.body.windows(text.len().max(1)).any(|part| part == text.as_bytes())
    }
}

fn parameters(text: &str, name: &str) -> Vec<String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| decoded(value))
        .collect()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let escaped = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match (first, escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            (byte, _) => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Accepts connections on a free port until it is dropped, which also ends the connections.
pub(crate) struct Listener {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Listener {
    /// Serves each connection in a thread of its own. A client that goes away is its own business.
    pub(crate) fn start(
        address: IpAddr,
        serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((address, 0))?;
        let (address, shared) = (listener.local_addr()?, Arc::new(Shared::default()));
        let (kept, serve) = (Arc::clone(&shared), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if kept.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let _ = stream.set_nodelay(true);
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let (Ok(kept_copy), Ok(copy)) = (stream.try_clone(), stream.try_clone()) else {
                    continue;
                };
                lock(&kept.connections).push(kept_copy);
                let serve = Arc::clone(&serve);
                thread::spawn(move || {
                    let _ = serve(stream);
                    // The copies would keep it open.
                    copy.shutdown(std::net::Shutdown::Both)
                });
            }
        });
        Ok(Self { address, shared })
    }

    /// Returns address and port.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the accept loop, which then ends.
        let _ = TcpStream::connect(self.address);
        for connection in lock(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_chunks_and_its_form() {
        let text = "POST /token?scope=a%3Ab+c&x=1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na=1&\r\n3;x=y\r\nb=%\r\n0\r\n\r\n";
        let mut reader = text.as_bytes();
        let head = Head::read(&mut reader).expect("it is read").expect("there is one");
        let body = head.read_body(&mut reader).expect("it is whole");
        let request = Request::new(&head, body);
        assert_eq!((request.method.as_str(), request.path()), ("POST", "/token"));
        assert_eq!(
            (request.query("scope"), request.form("b")),
            (vec!["a:b c".to_owned()], vec!["%".to_owned()])
        );
        assert!(request.holds("a=1&") && request.holds("chunked") && !request.holds("secret"));
        assert_eq!(Head::read(&mut reader).expect("it is the end"), None);
    }
}
