//! Requests to registries: with credentials, answers to challenges, and further attempts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use http::{Method, Request, Response, StatusCode, Uri, header::AUTHORIZATION};
use registry_auth::{Keychain, Origin, RegistryHost, Repository, Scheme, ScopeSet};

use crate::{
    answer,
    authorization::{Authorization, Sent},
    body::{AnswerBody, Body},
    error::{Operation, Reason, RegistryError},
    http_client::{Http, redirect_of},
    http_error::{HttpError, HttpErrorKind},
    location,
    retry::Attempts,
};

/// How many redirects are followed in a row.
const REDIRECTS: u32 = 10;

/// What all operations of one client share.
pub(crate) struct Session {
    pub(crate) http: Http,
    keychain: Arc<dyn Keychain>,
    hosts: Mutex<HashMap<RegistryHost, Arc<Host>>>,
    uploads: Mutex<HashMap<Repository, Vec<Uri>>>,
}

/// What was learned about one registry.
struct Host {
    name: RegistryHost,
    scheme: Mutex<Option<Scheme>>,
    authorization: Mutex<Authorization>,
}

/// One operation on a repository.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) operation: Operation,
    pub(crate) scopes: ScopeSet,
    /// Whether a failed request is sent again; else only a challenge is answered.
    pub(crate) retry: bool,
    /// Whether redirects of reads are followed.
    pub(crate) follow: bool,
}

impl<'a> Call<'a> {
    pub(crate) fn new(repository: &'a Repository, operation: Operation, scopes: impl Into<ScopeSet>) -> Self {
        Self {
            repository,
            operation,
            scopes: scopes.into(),
            retry: true,
            follow: true,
        }
    }

    /// Makes the same call without further attempts.
    pub(crate) fn once(&self) -> Self {
        Self {
            retry: false,
            ..self.clone()
        }
    }

    /// Makes the same call without following redirects.
    pub(crate) fn direct(&self) -> Self {
        Self {
            follow: false,
            ..self.clone()
        }
    }

    pub(crate) fn error(&self, reason: impl Into<Reason>) -> RegistryError {
        RegistryError::new(self.repository, self.operation.clone(), reason)
    }
}

/// Where a request of a call is sent: the registry's root, `https://HOST`.
pub(crate) struct Root<'a> {
    origin: &'a Origin,
    registry: &'a RegistryHost,
}

impl Root<'_> {
    /// Makes an address below `/v2/PATH/` of the call's repository.
    pub(crate) fn address(&self, repository: &Repository, rest: &str) -> Result<Uri, Reason> {
        let text = format!(
            "{}://{}/v2/{}/{rest}",
            self.origin.scheme(),
            self.registry,
            repository.path()
        );
        text.parse()
            .map_err(|_| Reason::Answer(format!("{} is no address", repository.path())))
    }
}

impl Session {
    pub(crate) fn new(http: Http, keychain: Arc<dyn Keychain>) -> Self {
        Self {
            http,
            keychain,
            hosts: Mutex::default(),
            uploads: Mutex::default(),
        }
    }

    /// Keeps an upload that was begun and not used.
    pub(crate) fn keep_upload(&self, repository: &Repository, upload: Uri) {
        lock(&self.uploads).entry(repository.clone()).or_default().push(upload);
    }

    /// Takes an upload that was begun and not used.
    pub(crate) fn take_upload(&self, repository: &Repository) -> Option<Uri> {
        lock(&self.uploads).get_mut(repository)?.pop()
    }

    /// Sends the request that `build` makes until `read` accepts the answer, as often as the policy allows.
    ///
    /// `build` is called for each attempt. `read` gets every answer but a challenge that can be met.
    pub(crate) fn run<T>(
        &self,
        call: &Call<'_>,
        mut build: impl FnMut(&Root<'_>) -> Result<Request<Body>, Reason>,
        mut read: impl FnMut(&Uri, Response<AnswerBody>) -> Result<T, Reason>,
    ) -> Result<T, RegistryError> {
        let policy = self.http.policy();
        let host = self.host(call.repository.registry());
        let mut attempts = Attempts::new(&policy.retry, &*policy.clock);
        let mut scopes = call.scopes.clone();
        let mut challenged = false;
        loop {
            let reason = match self.attempt(&host, call, &scopes, &mut build) {
                Ok(Attempt { address, answer, sent }) => {
                    // Once is enough: what is asked for is known then, and its token is a new one.
                    if answer.status() == StatusCode::UNAUTHORIZED && !challenged && sent.to_registry {
                        challenged = true;
                        match self.learn(&host, call, &mut scopes, &sent, &answer) {
                            Ok(true) => {
                                // Reading the rest lets the connection be used again.
                                drop(answer::failure(answer));
                                continue;
                            }
                            Ok(false) => {}
                            Err(reason) => return Err(call.error(reason)),
                        }
                    }
                    match read(&address, answer) {
                        Ok(value) => return Ok(value),
                        Err(reason) => reason,
                    }
                }
                Err(reason) => reason,
            };
            let error = call.error(reason);
            if !(call.retry && error.is_retryable() && attempts.wait(error.retry_after())) {
                return Err(error);
            }
        }
    }

    fn attempt(
        &self,
        host: &Host,
        call: &Call<'_>,
        scopes: &ScopeSet,
        build: &mut dyn FnMut(&Root<'_>) -> Result<Request<Body>, Reason>,
    ) -> Result<Attempt, Reason> {
        let origin = self.origin(host)?;
        let root = Root {
            origin: &origin,
            registry: &host.name,
        };
        let mut request = build(&root)?;
        for _ in 0..=REDIRECTS {
            let mut sent = Sent {
                to_registry: Origin::of(request.uri())? == origin,
                header: None,
            };
            if sent.to_registry {
                let mut authorization = lock(&host.authorization);
                sent.header = authorization.header(&self.http, &*self.keychain, call.repository, scopes)?;
            }
            if let Some(header) = &sent.header {
                request
                    .headers_mut()
                    .insert(AUTHORIZATION, Authorization::value(header)?);
            }
            let (method, address) = (request.method().clone(), request.uri().clone());
            let mut headers = request.headers().clone();
            let answer = self.http.send(request).map_err(http_reason)?;
            if sent.to_registry {
                *lock(&host.scheme) = Some(origin.scheme());
            }
            let target = redirect_of(&answer).filter(|_| call.follow && matches!(method, Method::GET | Method::HEAD));
            let Some(target) = target else {
                return Ok(Attempt { address, answer, sent });
            };
            // Wherever it leads, credentials are added anew, and only for the registry itself.
            headers.remove(AUTHORIZATION);
            let target = location::follow(&address, target)?;
            let mut next = Request::new(Body::empty());
            (*next.method_mut(), *next.uri_mut(), *next.headers_mut()) = (method, target, headers);
            request = next;
        }
        Err(Reason::Answer("there are more than ten redirects in a row".to_owned()))
    }

    fn learn(
        &self,
        host: &Host,
        call: &Call<'_>,
        scopes: &mut ScopeSet,
        sent: &Sent,
        answer: &Response<AnswerBody>,
    ) -> Result<bool, Reason> {
        let origin = self.origin(host)?;
        let mut authorization = lock(&host.authorization);
        let keychain = &*self.keychain;
        let policy = &self.http.policy().realms;
        authorization.learn(
            keychain,
            call.repository,
            scopes,
            sent,
            answer.headers(),
            &origin,
            policy,
        )
    }

    fn host(&self, name: &RegistryHost) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        let host = hosts.entry(name.clone()).or_insert_with(|| {
            Arc::new(Host {
                name: name.clone(),
                scheme: Mutex::default(),
                authorization: Mutex::default(),
            })
        });
        Arc::clone(host)
    }

    /// Finds out how the registry is spoken to, at its first use.
    fn origin(&self, host: &Host) -> Result<Origin, Reason> {
        let mut known = lock(&host.scheme);
        let scheme = if let Some(scheme) = *known {
            scheme
        } else {
            let (scheme, certain) = self.probe(host)?;
            *known = certain.then_some(scheme);
            scheme
        };
        Ok(Origin::of_registry(&host.name, scheme)?)
    }

    /// Where both schemes are possible, asks with https first; what the answer asks for is not asked again.
    ///
    /// Tells also whether the result is certain: a server that is down now may speak TLS when it is up again.
    fn probe(&self, host: &Host) -> Result<(Scheme, bool), Reason> {
        let schemes = self.http.schemes(&host.name);
        let (last, others) = schemes.split_last().expect("there is always a scheme");
        let mut certain = true;
        for scheme in others {
            let origin = Origin::of_registry(&host.name, *scheme)?;
            let address = format!("{scheme}://{}/v2/", host.name);
            let request = Request::get(address).body(Body::empty());
            let request = request.map_err(|_| Reason::Answer("the registry's name is no address".to_owned()))?;
            match self.http.send(request) {
                Ok(answer) => {
                    let policy = &self.http.policy().realms;
                    lock(&host.authorization).expect_challenge(answer.headers(), &origin, policy);
                    return Ok((*scheme, true));
                }
                // A server with the wrong certificate does speak TLS, and must not be spoken to without.
                Err(error) if error.kind == HttpErrorKind::Certificate => return Err(Reason::Http(error)),
                Err(error) => certain = error.kind == HttpErrorKind::Tls,
            }
        }
        Ok((*last, certain))
    }
}

struct Attempt {
    address: Uri,
    answer: Response<AnswerBody>,
    sent: Sent,
}

/// A failure to read what is sent is the caller's own.
fn http_reason(error: HttpError) -> Reason {
    match error {
        HttpError {
            kind: HttpErrorKind::Body,
            source: Some(source),
            ..
        } => Reason::Local(std::io::Error::other(source)),
        error => Reason::Http(error),
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is valid after every statement, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
