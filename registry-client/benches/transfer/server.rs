//! A registry with one blob and one manifest, that keeps nothing and is as quick as sockets are.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use registry_auth::Digest;
use sha2::{Digest as _, Sha256};

use crate::transfers::{PATTERN, SIZE, manifest, pattern};

pub(crate) struct Server {
    address: String,
    digest: Digest,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
        let address = listener.local_addr().expect("it has an address").to_string();
        let bytes = Arc::new(pattern());
        let mut hasher = Sha256::new();
        for _ in 0..SIZE / PATTERN as u64 {
            hasher.update(&*bytes);
        }
        let digest = Digest::from_sha256_bytes(hasher.finalize().into());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let bytes = Arc::clone(&bytes);
                thread::spawn(move || serve(stream, &bytes));
            }
        });
        Self { address, digest }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn digest(&self) -> String {
        self.digest.to_string()
    }
}

fn serve(stream: TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut to = stream.try_clone()?;
    let mut from = BufReader::with_capacity(256 << 10, stream);
    let mut drain = vec![0; 256 << 10];
    loop {
        let (mut first, mut size) = (String::new(), 0_u64);
        if from.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while from.read_line(&mut line)? > 2 {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                size = value.trim().parse().unwrap_or(0);
            }
            line.clear();
        }
        let mut body = from.by_ref().take(size);
        while body.read(&mut drain)? > 0 {}
        let manifest = manifest();
        match first.split(' ').next().unwrap_or_default() {
            "HEAD" => to.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?,
            "POST" => to.write_all(b"HTTP/1.1 202 Accepted\r\nlocation: /up\r\ncontent-length: 0\r\n\r\n")?,
            "PUT" => to.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n")?,
            _ if first.contains("/manifests/") => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: {}\r\n\r\n",
                    manifest.len()
                );
                to.write_all(&[head.as_bytes(), &manifest].concat())?;
            }
            _ => {
                write!(to, "HTTP/1.1 200 OK\r\ncontent-length: {SIZE}\r\n\r\n")?;
                for _ in 0..SIZE / PATTERN as u64 {
                    to.write_all(bytes)?;
                }
            }
        }
    }
}
