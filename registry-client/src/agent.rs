//! Connections over `ureq`.

use std::{
    collections::HashMap,
    io::{self, Read},
    sync::{Arc, Mutex},
    time::SystemTime,
};

use http::{
    Method, Request, Response,
    header::{CONTENT_LENGTH, HeaderValue},
};
use registry_auth::Origin;
use rustls::ClientConfig;
use ureq::{
    Agent, Proxy, ProxyProtocol, SendBody,
    config::Config,
    unversioned::transport::{ConnectProxyConnector, Connector, TcpConnector},
};

use crate::{
    body::{AnswerBody, Body, BodyKind},
    cancellation,
    host_policy::HostPolicy,
    http_client::{Transport, origin_text},
    http_error::{HttpError, HttpErrorKind, rustls_kind},
    pace::{Pace, Paced},
    policy::HttpPolicy,
    resolver::{Names, Private},
    session::lock,
    terms::RequestTerms,
    tls::{self, Shown, TlsConnector},
    watched::Watching,
};

/// One agent for each way of connecting: which proxy, which trust. This is the only place that makes agents.
pub(crate) struct Agents {
    policy: HttpPolicy,
    /// For everyone who has no entry of its own.
    tls: HostTls,
    /// By the place in the policy's `host_tls`.
    host_tls: Vec<HostTls>,
    private: Arc<Private>,
    shown: Arc<Shown>,
    made: Mutex<HashMap<Way, Agent>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Way {
    proxy: Option<String>,
    insecure: bool,
    /// The place of the host's own settings.
    host: Option<usize>,
    public_only: bool,
}

/// With the certificate checked and without.
struct HostTls {
    verifying: Arc<ClientConfig>,
    trusting: Arc<ClientConfig>,
}

impl HostTls {
    fn new(policy: &HttpPolicy, own: Option<&HostPolicy>) -> Result<Self, HttpError> {
        let own_pems = own.map(|own| own.extra_ca_pems.as_slice()).unwrap_or_default();
        let pems: Vec<_> = policy.extra_ca_pems.iter().chain(own_pems).map(Vec::as_slice).collect();
        let certificate = own.and_then(|own| own.client_certificate.as_ref());
        Ok(Self {
            verifying: Arc::new(tls::verifying(&pems, certificate)?),
            trusting: Arc::new(tls::trusting(certificate)?),
        })
    }
}

impl Agents {
    pub(crate) fn new(policy: &HttpPolicy) -> Result<Self, HttpError> {
        for proxy in [&policy.proxy.http, &policy.proxy.https].into_iter().flatten() {
            read_proxy(proxy)?;
        }
        let host_tls = policy.hosts.iter().map(|own| HostTls::new(policy, Some(own)));
        Ok(Self {
            tls: HostTls::new(policy, None)?,
            host_tls: host_tls.collect::<Result<_, _>>()?,
            policy: policy.clone(),
            private: Arc::default(),
            shown: Arc::default(),
            made: Mutex::default(),
        })
    }

    fn agent(&self, origin: &Origin, led_by: Option<&Origin>) -> Result<Agent, HttpError> {
        let host = format!("{}:{}", origin.host(), origin.port());
        let proxy = self.policy.proxy.proxy_of(origin).map(str::to_owned);
        let way = Way {
            insecure: HttpPolicy::lists(&self.policy.insecure_hosts, &host),
            host: self.policy.host_place(&host),
            // A proxy looks names up by itself; its own address may well be a private one.
            public_only: proxy.is_none() && led_by.is_some_and(|led_by| self.is_confined(origin, led_by)),
            proxy,
        };
        let mut made = lock(&self.made);
        if let Some(agent) = made.get(&way) {
            return Ok(agent.clone());
        }
        let proxy = way.proxy.as_deref().map(read_proxy).transpose()?;
        let tls = way.host.and_then(|place| self.host_tls.get(place)).unwrap_or(&self.tls);
        let tls = if way.insecure { &tls.trusting } else { &tls.verifying };
        let sockets = ().chain(ConnectProxyConnector::default()).chain(TcpConnector::default());
        let connector = Watching(sockets).chain(TlsConnector {
            config: Arc::clone(tls),
            shown: Arc::clone(&self.shown),
        });
        let names = Names::new(&self.private, way.public_only);
        let agent = Agent::with_parts(self.config(proxy), connector, names);
        made.insert(way, agent.clone());
        Ok(agent)
    }

    /// Tells whether a server may lead to addresses of the public internet only: to other hosts, also those of its own
    /// domain, whose names it may make lead anywhere.
    fn is_confined(&self, origin: &Origin, led_by: &Origin) -> bool {
        led_by.host() != origin.host() && !led_by.is_private() && !self.private.holds(led_by.host())
    }

    fn config(&self, proxy: Option<Proxy>) -> Config {
        Config::builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(self.policy.user_agent.as_str())
            // Compressed answers would hide the bytes that digests are made of.
            .accept_encoding("identity")
            .proxy(proxy)
            .timeout_resolve(Some(self.policy.connect_timeout))
            .timeout_connect(Some(self.policy.connect_timeout))
            .timeout_send_request(Some(self.policy.idle_timeout))
            .timeout_recv_response(Some(self.policy.idle_timeout))
            .timeout_per_read(Some(self.policy.idle_timeout))
            .timeout_per_write(Some(self.policy.idle_timeout))
            .max_response_header_size(64 << 10)
            .input_buffer_size(128 << 10)
            .output_buffer_size(128 << 10)
            .max_idle_connections(64)
            .max_idle_connections_per_host(16)
            .build()
    }
}

fn read_proxy(text: &str) -> Result<Proxy, HttpError> {
    // Neither the text nor the cause is shown: there may be a password in it.
    let refused = |why: &str| HttpError::new("proxy", HttpErrorKind::Policy).because(why.to_owned());
    let proxy = Proxy::new(text).map_err(|_| refused("the proxy's address is malformed"))?;
    // Others would be passed by, and the registry be reached without a proxy.
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        other => Err(refused(&format!(
            "{other:?} proxies are not supported; give one with http:// or https://"
        ))),
    }
}

impl Transport for Agents {
    fn certificates(&self, server: &Origin) -> Option<Vec<Vec<u8>>> {
        let server = format!("{}:{}", server.host(), server.port());
        lock(&self.shown).get(&server).cloned()
    }

    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let place = origin_text(request.uri());
        let origin = Origin::of(request.uri());
        let origin = origin.map_err(|error| HttpError::new(&place, HttpErrorKind::Request).because(error))?;
        let terms = request.extensions().get::<RequestTerms>().cloned().unwrap_or_default();
        let left = terms.time_left(&place, &*self.policy.clock)?;
        let agent = self.agent(&origin, terms.led_by.as_ref())?;
        let (mut parts, body) = request.into_parts();
        let pace = || Pace::new(&self.policy.clock, self.policy.idle_timeout, self.policy.lowest_rate);
        let takes_body = matches!(parts.method, Method::POST | Method::PUT | Method::PATCH);
        let failed = Failure::default();
        let (size, body) = match (body.0, takes_body) {
            (BodyKind::Empty, false) => (None, SendBody::none()),
            (BodyKind::Empty, true) => (Some(0), SendBody::from_owned_reader(io::empty())),
            (BodyKind::Bytes(bytes), _) => (
                Some(bytes.len() as u64),
                SendBody::from_owned_reader(io::Cursor::new(bytes)),
            ),
            (BodyKind::Reader { size, reader }, _) => (
                size,
                SendBody::from_owned_reader(Watched {
                    reader,
                    left: size,
                    failed: failed.clone(),
                    pace: pace(),
                    read_at: None,
                }),
            ),
        };
        if let Some(size) = size {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        let mut request = Request::from_parts(parts, body);
        if left.is_some() {
            request = agent.configure_request(request).timeout_global(left).build();
        }
        match cancellation::within(terms.cancellation.as_ref(), || agent.run(request)) {
            Ok(answer) => Ok(answer.map(|body| {
                AnswerBody::new(Paced {
                    reader: body.into_with_config().limit(u64::MAX).reader(),
                    pace: pace(),
                    cancellation: terms.cancellation.clone(),
                })
            })),
            Err(error) => Err(match failed.take() {
                Some(Fault::Slow(source)) => HttpError::new(&place, HttpErrorKind::Timeout).because(source),
                Some(Fault::Local(source)) => HttpError::new(&place, HttpErrorKind::Body).because(source),
                None => http_error(&place, error),
            }),
        }
    }
}

/// Where a reader of a request's body leaves its error, which could not be told from the connection's otherwise.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<Fault>>>);

enum Fault {
    /// The bytes could not be had.
    Local(io::Error),
    /// The other side hardly takes any.
    Slow(io::Error),
}

impl Failure {
    fn put(&self, fault: Fault) -> io::Error {
        *lock(&self.0) = Some(fault);
        io::Error::other("the body could not be read")
    }

    fn take(&self) -> Option<Fault> {
        lock(&self.0).take()
    }
}

struct Watched {
    reader: Box<dyn Read + Send>,
    left: Option<u64>,
    failed: Failure,
    pace: Pace,
    /// When bytes were handed over last, and how many: until the next ones are wanted, the network is busy with them.
    read_at: Option<(SystemTime, usize)>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some((at, count)) = self.read_at.take()
            && let Err(error) = self.pace.moved(at, count)
        {
            return Err(self.failed.put(Fault::Slow(error)));
        }
        let room = match self.left {
            Some(left) => buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX)),
            None => buffer.len(),
        };
        if room == 0 {
            return Ok(0);
        }
        let result = match self.reader.read(&mut buffer[..room]) {
            Ok(0) if self.left.is_some() => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "there are fewer bytes than were announced",
            )),
            other => other,
        };
        match result {
            Ok(count) => {
                self.left = self.left.map(|left| left - count as u64);
                self.read_at = Some((self.pace.now(), count));
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => Err(self.failed.put(Fault::Local(error))),
        }
    }
}

fn http_error(place: &str, error: ureq::Error) -> HttpError {
    let kind = kind_of(&error);
    HttpError::new(place, kind).because(error)
}

/// Tells what kind of failure an error of ureq is.
pub(crate) fn kind_of(error: &ureq::Error) -> HttpErrorKind {
    use ureq::Error;
    match error {
        Error::Io(error) => HttpError::kind_of(error),
        Error::Timeout(ureq::Timeout::Global) => HttpErrorKind::Deadline,
        Error::Timeout(_) => HttpErrorKind::Timeout,
        Error::HostNotFound => HttpErrorKind::HostNotFound,
        Error::ConnectionFailed | Error::ConnectProxyFailed(_) => HttpErrorKind::Connect,
        Error::Rustls(error) => rustls_kind(error),
        Error::Tls(_) | Error::TlsRequired => HttpErrorKind::Tls,
        Error::Http(_) | Error::BadUri(_) | Error::BodyExceedsLimit(_) => HttpErrorKind::Request,
        Error::InvalidProxyUrl | Error::Pem(_) => HttpErrorKind::Policy,
        _ => HttpErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_host_leads_no_other_host_into_a_private_network_whoever_owns_it() {
        let agents = Agents::new(&HttpPolicy::default()).expect("the policy is sound");
        let origin = |text: &str| Origin::of(&text.parse().expect("an address")).expect("an origin");
        for (led_by, to, confined) in [
            ("https://reg.example.com", "https://auth.example.com", true),
            ("https://reg.example.com", "https://storage.example.net", true),
            ("https://reg.example.com", "https://reg.example.com:8443", false),
            ("https://10.0.0.1", "https://auth.example.com", false),
        ] {
            assert_eq!(
                agents.is_confined(&origin(to), &origin(led_by)),
                confined,
                "{led_by} {to}"
            );
        }
        agents.private.note(
            "reg.example.com".to_owned(),
            ["10.0.0.1".parse().expect("an address")].into_iter(),
        );
        assert!(!agents.is_confined(&origin("https://auth.example.com"), &origin("https://reg.example.com")));
    }
}
