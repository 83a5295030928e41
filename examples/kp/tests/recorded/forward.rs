//! A loopback port of four digits, as wide as those of the recording: tables are compared blank by blank.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

/// Listens on a free port of four digits and passes every connection on; returns its host and port.
pub(crate) fn to(host: &str) -> String {
    let listener = (2000..=9999)
        .rev()
        .find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let listener = listener.expect("a port of four digits is free");
    let address = listener.local_addr().unwrap().to_string();
    let target = host.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&target) else {
                continue;
            };
            let (client_back, server_back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || copy(client, server));
            thread::spawn(move || copy(server_back, client_back));
        }
    });
    address
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}
