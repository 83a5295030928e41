//! A forward proxy, as companies have them.

use std::{
    io::{self, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::http::{Head, Listener, Request, lock};

/// A proxy on a free loopback port: tunnels by `CONNECT`, and plain requests with a whole address.
///
/// Names are not looked up: everything goes to the one target, so that hosts can be reached that do not exist.
pub struct ForwardProxy {
    listener: Listener,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl ForwardProxy {
    /// Starts a proxy that leads everything to `target` (`HOST:PORT`).
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(target: &str) -> io::Result<Self> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, target) = (Arc::clone(&seen), target.to_owned());
        let listener = Listener::start(Ipv4Addr::LOCALHOST.into(), move |client| pass(client, &target, &kept))?;
        Ok(Self { listener, seen })
    }

    /// Returns `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.listener.host()
    }

    /// Returns what the proxy itself was asked for; what went through tunnels is not among it.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.seen).clone()
    }
}

fn pass(client: TcpStream, target: &str, seen: &Mutex<Vec<Request>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let Some(mut head) = Head::read(&mut reader)? else {
        return Ok(());
    };
    lock(seen).push(Request::new(&head, Vec::new()));
    let server = TcpStream::connect(target)?;
    if head.line.starts_with("CONNECT ") {
        (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    } else {
        // One request a connection: the next might be for another host.
        head.remove("proxy-authorization");
        head.set("Connection", "close");
        (&server).write_all(&head.to_bytes())?;
    }
    let (mut up, mut down) = (server.try_clone()?, client);
    thread::spawn(move || {
        let sent = io::copy(&mut reader, &mut up);
        let _ = up.shutdown(std::net::Shutdown::Write);
        sent
    });
    io::copy(&mut server.take(u64::MAX), &mut down)?;
    down.shutdown(std::net::Shutdown::Both)
}
