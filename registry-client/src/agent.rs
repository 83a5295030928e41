//! Connections over `ureq`.

use std::{
    collections::HashMap,
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
};

use http::{
    Method, Request, Response,
    header::{CONTENT_LENGTH, HeaderValue},
};
use registry_auth::Origin;
use rustls::ClientConfig;
use ureq::{
    Agent, Proxy, SendBody,
    config::Config,
    unversioned::{
        resolver::DefaultResolver,
        transport::{ConnectProxyConnector, Connector, TcpConnector},
    },
};

use crate::{
    body::{AnswerBody, Body, BodyKind},
    http_client::{Transport, origin_text},
    http_error::{HttpError, HttpErrorKind, rustls_kind},
    policy::HttpPolicy,
    tls::{self, TlsConnector},
};

/// One agent for each way of connecting: which proxy, which trust. This is the only place that makes agents.
pub(crate) struct Agents {
    policy: HttpPolicy,
    verifying: Arc<ClientConfig>,
    trusting: Arc<ClientConfig>,
    made: Mutex<HashMap<Way, Agent>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Way {
    proxy: Option<String>,
    insecure: bool,
}

impl Agents {
    pub(crate) fn new(policy: &HttpPolicy) -> Result<Self, HttpError> {
        for proxy in [&policy.proxy.http, &policy.proxy.https].into_iter().flatten() {
            read_proxy(proxy)?;
        }
        Ok(Self {
            verifying: Arc::new(tls::verifying(&policy.extra_ca_pems)?),
            trusting: Arc::new(tls::trusting()?),
            policy: policy.clone(),
            made: Mutex::default(),
        })
    }

    fn agent(&self, origin: &Origin) -> Result<Agent, HttpError> {
        let host = format!("{}:{}", origin.host(), origin.port());
        let way = Way {
            proxy: self.policy.proxy.proxy_of(origin).map(str::to_owned),
            insecure: HttpPolicy::lists(&self.policy.insecure_hosts, &host),
        };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = made.get(&way) {
            return Ok(agent.clone());
        }
        let proxy = way.proxy.as_deref().map(read_proxy).transpose()?;
        let tls = if way.insecure { &self.trusting } else { &self.verifying };
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(TcpConnector::default())
                .chain(TlsConnector(Arc::clone(tls)));
        let agent = Agent::with_parts(self.config(proxy), connector, DefaultResolver::default());
        made.insert(way, agent.clone());
        Ok(agent)
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
    Proxy::new(text)
        .map_err(|_| HttpError::new("proxy", HttpErrorKind::Policy).because("the proxy's address is malformed"))
}

impl Transport for Agents {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        let place = origin_text(request.uri());
        let origin = Origin::of(request.uri());
        let origin = origin.map_err(|error| HttpError::new(&place, HttpErrorKind::Request).because(error))?;
        let agent = self.agent(&origin)?;
        let (mut parts, body) = request.into_parts();
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
                }),
            ),
        };
        if let Some(size) = size {
            parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        match agent.run(Request::from_parts(parts, body)) {
            Ok(answer) => Ok(answer.map(|body| AnswerBody::new(body.into_with_config().limit(u64::MAX).reader()))),
            Err(error) => Err(failed.take().map_or_else(
                || http_error(&place, error),
                |source| HttpError::new(&place, HttpErrorKind::Body).because(source),
            )),
        }
    }
}

/// Where a reader of a request's body leaves its error, which could not be told from the connection's otherwise.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<io::Error>>>);

impl Failure {
    fn put(&self, error: io::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }

    fn take(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Watched {
    reader: Box<dyn Read + Send>,
    left: Option<u64>,
    failed: Failure,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
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
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failed.put(error);
                Err(io::Error::other("the body could not be read"))
            }
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
