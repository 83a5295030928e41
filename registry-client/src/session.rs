//! Requests to registries: with credentials, answers to challenges, and further attempts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::{Duration, SystemTime},
};

use http::{Method, Request, Response, StatusCode, Uri, header::AUTHORIZATION};
use registry_auth::{Credential, Keychain, Origin, RegistryHost, Repository, Scheme, ScopeSet, Secret, TokenError};

use crate::{
    answer,
    authorization::{Authorization, Learned, Sent},
    begun_uploads::BegunUploads,
    body::{AnswerBody, Body},
    credentials::Credentials,
    error::{Operation, Reason, RegistryError},
    facts::Facts,
    http_client::{Http, redirect_of},
    http_error::{HttpError, HttpErrorKind},
    location,
    mirror::Mirrors,
    progress::Progress,
    retry::Attempts,
    terms::{RequestTerms, Terms},
};

/// How many requests one question may take that is led on by redirects.
const HOPS: u32 = 10;

/// What all operations of one client share.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) http: Http,
    pub(crate) terms: Terms,
    pub(crate) mirrors: Arc<Mirrors>,
    pub(crate) facts: Arc<Facts>,
    credentials: Arc<Credentials>,
    hosts: Arc<Mutex<HashMap<RegistryHost, Arc<Host>>>>,
    pub(crate) uploads: Arc<BegunUploads>,
}

/// What was learned about one registry.
struct Host {
    name: RegistryHost,
    scheme: Mutex<Option<Scheme>>,
    authorization: Mutex<Authorization>,
    takes_whole: Mutex<Option<bool>>,
}

/// One operation on a repository.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) operation: Operation,
    pub(crate) scopes: ScopeSet,
    /// Whether a failed request is sent again; else only a challenge is answered.
    pub(crate) retry: bool,
    /// When it must be over.
    pub(crate) until: Option<SystemTime>,
}

impl Call<'_> {
    /// Makes the same call without further attempts.
    pub(crate) fn once(&self) -> Self {
        Self {
            retry: false,
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
    /// Makes the address of the list of repositories.
    pub(crate) fn catalog(&self) -> Result<Uri, Reason> {
        let text = format!("{}://{}/v2/_catalog", self.origin.scheme(), self.registry);
        text.parse()
            .map_err(|_| Reason::Answer(format!("{} is no address", self.registry)))
    }

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
            terms: Terms::default(),
            mirrors: Arc::default(),
            facts: Arc::default(),
            credentials: Arc::new(Credentials::new(keychain)),
            hosts: Arc::default(),
            uploads: Arc::default(),
        }
    }

    /// Begins an operation: its time runs from here.
    pub(crate) fn call<'a>(
        &self,
        repository: &'a Repository,
        operation: Operation,
        scopes: impl Into<ScopeSet>,
    ) -> Call<'a> {
        let policy = self.http.policy();
        let moves_blob = matches!(operation, Operation::ReadBlob(_) | Operation::PushBlob(_));
        let general = (!moves_blob).then_some(policy.operation_timeout);
        let limit = self.terms.time_limit.into_iter().chain(general).min();
        Call {
            repository,
            operation,
            scopes: scopes.into(),
            retry: true,
            // Beyond the end of time there is no limit.
            until: limit.and_then(|limit| policy.clock.now().checked_add(limit)),
        }
    }

    /// Counts the attempts of an operation.
    pub(crate) fn attempts(&self, call: &Call<'_>) -> Attempts<'_> {
        let policy = self.http.policy();
        Attempts::new(&policy.retry, &*policy.clock, self.request_terms(call))
    }

    /// Tells whether an operation is to be tried again, after it has waited for that.
    pub(crate) fn again(&self, call: &Call<'_>, attempts: &mut Attempts<'_>, error: &RegistryError) -> bool {
        let allowed = self.http.policy().retry.too_many_requests || error.status() != Some(429);
        allowed
            && error.is_retryable()
            && attempts.wait(error.retry_after(), |wait| {
                let repository = call.repository;
                self.terms.tell(Progress::Waiting { repository, wait });
            })
    }

    /// Says that a mirror could not help; one that does not answer is left alone for a while.
    pub(crate) fn mirror_failed(&self, mirror: &Repository, error: &RegistryError) {
        if matches!(error.reason(), Reason::Http(_)) || error.status().is_some_and(|status| status >= 500) {
            self.mirrors.rest(self.http.policy(), mirror.registry());
        }
        self.terms.tell(Progress::MirrorFailed { repository: mirror });
    }

    pub(crate) fn request_terms(&self, call: &Call<'_>) -> RequestTerms {
        RequestTerms {
            until: call.until,
            cancellation: self.terms.cancellation.clone(),
            led_by: None,
        }
    }

    /// Makes the terms of a small request on the way to that of a call, which is never without an end.
    fn small_terms(&self, call: &Call<'_>) -> RequestTerms {
        let policy = self.http.policy();
        let mut terms = self.request_terms(call);
        let general = policy.clock.now().checked_add(policy.operation_timeout);
        terms.until = terms.until.into_iter().chain(general).min();
        terms
    }

    /// Tells how the registry is spoken to, as far as that is known.
    pub(crate) fn scheme(&self, call: &Call<'_>) -> Result<Scheme, Reason> {
        let registry = call.repository.registry();
        let host = self.host(registry);
        let known = *self.lock_in_time(call, &host.scheme)?;
        Ok(known.unwrap_or_else(|| self.http.schemes(registry)[0]))
    }

    /// Tells whether a registry is known to take blobs in the request that starts an upload.
    pub(crate) fn takes_whole(&self, registry: &RegistryHost) -> Option<bool> {
        *lock(&self.host(registry).takes_whole)
    }

    pub(crate) fn note_takes_whole(&self, registry: &RegistryHost, takes: bool) {
        *lock(&self.host(registry).takes_whole) = Some(takes);
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
        let host = self.host(call.repository.registry());
        let mut attempts = self.attempts(call);
        let mut scopes = call.scopes.clone();
        let mut challenges = 0;
        loop {
            let reason = match self.attempt(&host, call, &scopes, &mut build) {
                Ok(Attempt { address, answer, sent }) => {
                    // Once is enough, unless it asks for more than before: its token is a new one then.
                    if answer.status() == StatusCode::UNAUTHORIZED && challenges < 2 && sent.to_registry {
                        challenges += 1;
                        let asked = scopes.clone();
                        match self.learn(&host, call, &mut scopes, &sent, &answer) {
                            Ok(true) if challenges == 1 || scopes != asked => {
                                // Reading the rest lets the connection be used again.
                                drop(answer::failure(answer));
                                continue;
                            }
                            Ok(_) => {}
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
            if !(call.retry && self.again(call, &mut attempts, &error)) {
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
        let origin = self.origin(host, call)?;
        let root = Root {
            origin: &origin,
            registry: &host.name,
        };
        let mut request = match build(&root) {
            // Starting again is of use only if there is a new token.
            Err(Reason::Expired) => {
                self.header(host, call, scopes)?;
                return Err(Reason::Expired);
            }
            built => built?,
        };
        request.extensions_mut().insert(self.request_terms(call));
        for _ in 0..HOPS {
            let mut sent = Sent {
                to_registry: Origin::of(request.uri())? == origin,
                header: None,
            };
            if !sent.to_registry
                && let Some(terms) = request.extensions_mut().get_mut::<RequestTerms>()
            {
                // Redirects and the addresses of uploads: the registry chose them.
                terms.led_by = Some(origin.clone());
            }
            if sent.to_registry {
                sent.header = self.header(host, call, scopes)?;
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
                *self.lock_in_time(call, &host.scheme)? = Some(origin.scheme());
            }
            let target = redirect_of(&answer).filter(|_| matches!(method, Method::GET | Method::HEAD));
            let Some(target) = target else {
                return Ok(Attempt { address, answer, sent });
            };
            // Wherever it leads, credentials are added anew, and only for the registry itself.
            headers.remove(AUTHORIZATION);
            let target = location::follow(&address, target)?;
            let mut next = Request::new(Body::empty());
            (*next.method_mut(), *next.uri_mut(), *next.headers_mut()) = (method, target, headers);
            next.extensions_mut().insert(self.request_terms(call));
            request = next;
        }
        Err(Reason::Answer("there are ten redirects in a row".to_owned()))
    }

    /// Returns the header to send; a credential that the token server refuses is looked for again.
    fn header(&self, host: &Host, call: &Call<'_>, scopes: &ScopeSet) -> Result<Option<Secret>, Reason> {
        let credential = self.credential(call)?;
        match self.header_of(host, call, scopes, &credential) {
            Err(Reason::Token(TokenError::Refused { status, .. }))
                if matches!(status.as_u16(), 401 | 403) && self.renew(call, &credential)? =>
            {
                self.header_of(host, call, scopes, &self.credential(call)?)
            }
            other => other,
        }
    }

    fn header_of(
        &self,
        host: &Host,
        call: &Call<'_>,
        scopes: &ScopeSet,
        credential: &Credential,
    ) -> Result<Option<Secret>, Reason> {
        let mut authorization = self.lock_in_time(call, &host.authorization)?;
        authorization.header(&self.http, &self.small_terms(call), credential, scopes)
    }

    /// Takes in what a 401 asks for; `true` when another attempt may succeed.
    fn learn(
        &self,
        host: &Host,
        call: &Call<'_>,
        scopes: &mut ScopeSet,
        sent: &Sent,
        answer: &Response<AnswerBody>,
    ) -> Result<bool, Reason> {
        let origin = self.origin(host, call)?;
        let credential = self.credential(call)?;
        let policy = &self.http.policy().realms;
        let learned = self.lock_in_time(call, &host.authorization)?.learn(
            &credential,
            scopes,
            sent,
            answer.headers(),
            &origin,
            policy,
        )?;
        match learned {
            Learned::Again => Ok(true),
            Learned::Refused => self.renew(call, &credential),
            Learned::Nothing => Ok(false),
        }
    }

    /// Finds out who one is. Nothing is locked meanwhile that others need: the keychain may take its time.
    fn credential(&self, call: &Call<'_>) -> Result<Credential, Reason> {
        let clock = &*self.http.policy().clock;
        self.credentials.find(call.repository, &self.small_terms(call), clock)
    }

    /// Asks the keychain again for a credential that was refused. `true` when it has another one.
    fn renew(&self, call: &Call<'_>, refused: &Credential) -> Result<bool, Reason> {
        if refused.is_anonymous() {
            return Ok(false);
        }
        self.credentials.forget(call.repository, refused);
        let found = self.credential(call)?;
        Ok(!found.is_anonymous() && found != *refused)
    }

    /// Locks what another operation may keep while it asks a server, but waits no longer than this one may take.
    fn lock_in_time<'m, T>(&self, call: &Call<'_>, mutex: &'m Mutex<T>) -> Result<MutexGuard<'m, T>, Reason> {
        const PAUSE: Duration = Duration::from_millis(1);
        /// Nearly always it is kept for a moment only.
        const MOMENTS: u32 = 100;
        let terms = self.request_terms(call);
        let mut waited = 0;
        loop {
            match mutex.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if waited < MOMENTS => thread::yield_now(),
                Err(TryLockError::WouldBlock) => {
                    let place = call.repository.registry().as_str();
                    let left = terms.time_left(place, &*self.http.policy().clock);
                    left.map_err(Reason::Http)?;
                    thread::sleep(PAUSE);
                }
            }
            waited = waited.saturating_add(1);
        }
    }

    fn host(&self, name: &RegistryHost) -> Arc<Host> {
        let mut hosts = lock(&self.hosts);
        let host = hosts.entry(name.clone()).or_insert_with(|| {
            Arc::new(Host {
                name: name.clone(),
                scheme: Mutex::default(),
                authorization: Mutex::default(),
                takes_whole: Mutex::default(),
            })
        });
        Arc::clone(host)
    }

    /// Finds out how a registry is spoken to.
    pub(crate) fn find_origin(&self, call: &Call<'_>) -> Result<Origin, RegistryError> {
        let host = self.host(call.repository.registry());
        self.origin(&host, call).map_err(|reason| call.error(reason))
    }

    /// Finds out how the registry is spoken to, at its first use.
    fn origin(&self, host: &Host, call: &Call<'_>) -> Result<Origin, Reason> {
        let mut known = self.lock_in_time(call, &host.scheme)?;
        let scheme = if let Some(scheme) = *known {
            scheme
        } else {
            let (scheme, certain) = self.probe(host, call)?;
            *known = certain.then_some(scheme);
            scheme
        };
        Ok(Origin::of_registry(&host.name, scheme)?)
    }

    /// Where both schemes are possible, asks with https first; what the answer asks for is not asked again.
    ///
    /// Tells also whether the result is certain: a server that is down now may speak TLS when it is up again.
    fn probe(&self, host: &Host, call: &Call<'_>) -> Result<(Scheme, bool), Reason> {
        let schemes = self.http.schemes(&host.name);
        let (last, others) = schemes.split_last().expect("there is always a scheme");
        let mut certain = true;
        for scheme in others {
            let origin = Origin::of_registry(&host.name, *scheme)?;
            let address = format!("{scheme}://{}/v2/", host.name);
            let request = Request::get(address).body(Body::empty());
            let mut request = request.map_err(|_| Reason::Answer("the registry's name is no address".to_owned()))?;
            request.extensions_mut().insert(self.small_terms(call));
            match self.http.send(request) {
                Ok(answer) => {
                    let policy = &self.http.policy().realms;
                    let mut authorization = self.lock_in_time(call, &host.authorization)?;
                    authorization.expect_challenge(answer.headers(), &origin, policy);
                    return Ok((*scheme, true));
                }
                // A server with the wrong certificate does speak TLS, and must not be spoken to without.
                Err(error)
                    if matches!(
                        error.kind,
                        HttpErrorKind::Certificate | HttpErrorKind::Deadline | HttpErrorKind::Cancelled
                    ) =>
                {
                    return Err(Reason::Http(error));
                }
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
