//! A proxy before a registry that makes what passes through suffer.

use std::{
    io::{self, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    fault::{Answer, Fault, Rule},
    http::{Head, Listener, Request, lock},
};

/// A server on a free loopback port that passes requests on to a real one, unless a [`Rule`] says otherwise, and
/// keeps every request line and header it sees.
///
/// A request is read whole and answered whole, so that what a fault does is exact; a connection may carry many.
pub struct FaultProxy {
    listener: Listener,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    target: Option<String>,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Request>>,
    suffered: Mutex<usize>,
}

impl FaultProxy {
    /// Starts a proxy before the server at `target` (`HOST:PORT`, plain http).
    ///
    /// # Errors
    /// When no port can be had.
    pub fn start(target: &str) -> io::Result<Self> {
        Self::serve(Ipv4Addr::LOCALHOST.into(), Some(target.to_owned()))
    }

    /// Starts a server of another origin (its address is `127.0.0.2`) that answers 404 unless a rule says otherwise.
    ///
    /// # Errors
    /// As [`FaultProxy::start`].
    pub fn stranger() -> io::Result<Self> {
        Self::serve(Ipv4Addr::new(127, 0, 0, 2).into(), None)
    }

    fn serve(address: IpAddr, target: Option<String>) -> io::Result<Self> {
        let state = Arc::new(State {
            target,
            ..State::default()
        });
        let shared = Arc::clone(&state);
        let listener = Listener::start(address, move |client| shared.converse(client))?;
        Ok(Self { listener, state })
    }

    /// Returns address and port.
    pub fn host(&self) -> String {
        self.listener.host()
    }

    /// Adds a rule; of several that fit, the first that is not used up acts.
    pub fn inject(&self, rule: Rule) {
        lock(&self.state.rules).push(rule);
    }

    /// Forgets all rules and all requests.
    pub fn reset(&self) {
        lock(&self.state.rules).clear();
        lock(&self.state.seen).clear();
        *lock(&self.state.suffered) = 0;
    }

    /// Returns every request so far, those that suffered too. Greetings by TLS are not among them.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.seen).clone()
    }

    /// Returns how many requests a rule has acted on.
    pub fn suffered(&self) -> usize {
        *lock(&self.state.suffered)
    }
}

impl State {
    fn converse(&self, mut client: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        // The first byte of TLS, which is not spoken here; any answer that is none of TLS ends the attempt.
        if io::BufRead::fill_buf(&mut reader)?.first() == Some(&0x16) {
            return client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
        while let Some(head) = Head::read(&mut reader)? {
            let fault = self.fault(&Request::new(&head, Vec::new()));
            if let Some(Fault::CutRequest(size)) = fault {
                return self.cut(&head, &mut reader, size);
            }
            let body = head.read_body(&mut reader)?;
            let request = Request::new(&head, body);
            lock(&self.seen).push(request.clone());
            if !self.act(fault, &head, &request, &mut client)? {
                let _ = client.shutdown(std::net::Shutdown::Both);
                return Ok(());
            }
        }
        Ok(())
    }

    fn fault(&self, request: &Request) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let fault = rules.iter_mut().find_map(|rule| rule.applies(request))?;
        *lock(&self.suffered) += 1;
        Some(fault)
    }

    /// Answers one request; `false` when the connection is of no more use.
    fn act(&self, fault: Option<Fault>, head: &Head, request: &Request, client: &mut TcpStream) -> io::Result<bool> {
        let no_body = request.method == "HEAD";
        match fault {
            None => {
                let answer = self.forward(head, request)?;
                answer.write(client, no_body)?;
            }
            Some(Fault::Delay(time)) => {
                let answer = self.forward(head, request)?;
                thread::sleep(time);
                answer.write(client, no_body)?;
            }
            Some(Fault::Silence) => {
                // Until the client gives up; or this proxy ends, which closes the connection too.
                client.set_read_timeout(None)?;
                let _ = client.read(&mut [0]);
                return Ok(false);
            }
            Some(Fault::Answer(answer)) => answer.write(client, no_body)?,
            Some(Fault::Change(change)) => {
                let mut answer = self.forward(head, request)?;
                change(&mut answer);
                // What was announced may not be what was sent; the next request must not meet the end of this connection.
                answer.head.set("Connection", "close");
                answer.write(client, no_body)?;
                return Ok(false);
            }
            Some(Fault::CutAnswer(size)) => {
                let answer = self.forward(head, request)?;
                answer.write_part(client, size, no_body)?;
                return Ok(false);
            }
            Some(Fault::Endless) => {
                let mut answer = self.forward(head, request)?;
                answer.endless();
                client.write_all(&answer.head.to_bytes())?;
                while !no_body && client.write_all(&[b' '; 16 << 10]).is_ok() {}
                return Ok(false);
            }
            Some(Fault::Drip(pause)) => {
                let mut bytes = self.forward(head, request)?;
                bytes.endless();
                let _ = bytes.drip(client, pause);
                return Ok(false);
            }
            Some(Fault::Authorization(value)) => {
                let mut head = head.clone();
                head.set("Authorization", value);
                self.forward(&head, request)?.write(client, no_body)?;
            }
            Some(Fault::CutRequest(_)) => return Ok(false),
        }
        Ok(true)
    }

    fn forward(&self, head: &Head, request: &Request) -> io::Result<Answer> {
        let Some(target) = &self.target else {
            return Ok(Answer::new(404));
        };
        let mut head = head.clone();
        head.remove("transfer-encoding");
        head.remove("connection");
        if !request.body.is_empty() || !head.header("content-length").is_empty() {
            head.set("Content-Length", request.body.len());
        }
        let mut server = TcpStream::connect(target)?;
        // The connection is not to be closed, and so a server that answers early reads the rest all the same.
        server.write_all(&[head.to_bytes(), request.body.clone()].concat())?;
        let mut reader = BufReader::new(server);
        let head = Head::read(&mut reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let body = match request.method.as_str() {
            "HEAD" => Vec::new(),
            // Without a length the end of the connection is the end of the answer, as with `git http-backend`.
            _ if head.line.contains(" 200")
                && head.header("transfer-encoding").is_empty()
                && head.header("content-length").is_empty() =>
            {
                let mut body = Vec::new();
                reader.read_to_end(&mut body)?;
                body
            }
            _ => head.read_body(&mut reader)?,
        };
        Ok(Answer::forwarded(head, body, request.method == "HEAD"))
    }

    /// Passes on only the first `size` bytes of a request's body, and nothing at all when it has none; then both sides
    /// see the connection break.
    fn cut(&self, head: &Head, reader: &mut impl Read, size: usize) -> io::Result<()> {
        let length = head.header("content-length").parse().unwrap_or(0);
        let mut body = vec![0; size.min(length)];
        reader.read_exact(&mut body)?;
        lock(&self.seen).push(Request::new(head, body.clone()));
        if let Some(target) = self.target.as_ref().filter(|_| length > 0) {
            let mut server = TcpStream::connect(target)?;
            server.write_all(&[head.to_bytes(), body].concat())?;
            server.shutdown(std::net::Shutdown::Write)?;
            // Until the server has taken note, so that what comes next finds it settled.
            let _ = io::copy(&mut server, &mut io::sink());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    fn ask(proxy: &FaultProxy, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(proxy.host()).expect("it listens");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nX-Mark: seen\r\nConnection: close\r\n\r\n",
            proxy.host()
        );
        stream.write_all(request.as_bytes()).expect("it reads");
        stream.shutdown(std::net::Shutdown::Write).expect("the request ends");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    #[test]
    fn what_passes_is_kept_and_what_fits_a_rule_suffers() {
        let registry = Registry::start().expect("docker-registry starts");
        let proxy = FaultProxy::start(&registry.host()).expect("a proxy");
        assert!(ask(&proxy, "GET", "/v2/").starts_with("HTTP/1.1 200 OK\r\n"));
        proxy.inject(Rule::new(Fault::status(502), |request| request.path() == "/v2/").times(1));
        proxy.inject(Rule::new(Fault::CutAnswer(3), |request| request.path() == "/v2/").times(1));
        assert!(ask(&proxy, "GET", "/v2/").starts_with("HTTP/1.1 502 "));
        let cut = ask(&proxy, "GET", "/v2/");
        assert!(
            cut.contains("Content-Length: 2\r\n") || cut.contains("content-length: 2\r\n"),
            "{cut}"
        );
        assert!(ask(&proxy, "GET", "/v2/").ends_with("\r\n\r\n{}"));
        assert!(ask(&proxy, "GET", "/v2/none/tags/list").contains("NAME_UNKNOWN"));
        let seen = proxy.requests();
        assert_eq!((seen.len(), proxy.suffered()), (5, 2));
        assert!(seen.iter().all(|request| request.header("x-mark") == Some("seen")));
    }

    #[test]
    fn a_body_is_cut_where_the_rule_says() {
        let registry = Registry::start().expect("docker-registry starts");
        let proxy = FaultProxy::start(&registry.host()).expect("a proxy");
        proxy.inject(Rule::new(Fault::CutAnswer(1), |_| true).times(1));
        proxy.inject(Rule::new(Fault::wrong_length(5), |_| true).times(1));
        proxy.inject(Rule::new(Fault::wrong_digest(), |_| true).times(1));
        assert!(ask(&proxy, "GET", "/v2/").ends_with("\r\n\r\n{"));
        let longer = ask(&proxy, "GET", "/v2/");
        assert!(
            longer.contains("Content-Length: 7\r\n") && longer.ends_with("\r\n\r\n{}"),
            "{longer}"
        );
        assert!(ask(&proxy, "GET", "/v2/").ends_with("\r\n\r\nz}"));
    }
}
