//! The single questions, and what to advise when the answer is no.

use std::{
    error::Error,
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

use http::{HeaderMap, Request, Response};
use registry_auth::{
    Chain, Challenge, Credential, CredentialKind, Digest, HelperError, Keychain, KeychainError, Origin, RealmPolicy,
    Reference, Repository, Scheme, ScopeSet, Token, exchange_for, parse_token, token_request,
};
use registry_client::{Body, Client, HttpErrorKind, Reason, RegistryError, RequestTerms};

use crate::certificate::{Certificate, http_date};

/// One line of the report; with advice, it is a failure.
pub(crate) struct Finding {
    pub(crate) what: &'static str,
    pub(crate) text: String,
    pub(crate) advice: Option<String>,
}

impl Finding {
    fn good(what: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            what,
            text,
            advice: None,
        }
    }

    pub(crate) fn failed(what: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        let (text, advice) = (text.into(), Some(advice.into()));
        Self { what, text, advice }
    }

    fn error(what: &'static str, error: &RegistryError) -> Self {
        // What was done and where is plain from the line.
        Self::failed(what, causes(error.reason()), advice(error))
    }
}

fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn advice(error: &RegistryError) -> &'static str {
    match (error.reason(), error.status()) {
        (Reason::Http(error), _) => http_advice(error.kind),
        (Reason::Token(_), _) => "check the credentials, and that the token server may be asked for this registry",
        (Reason::Keychain(_), _) => "see what is said of the credential",
        (_, Some(401)) => "log in: docker login, or set CNB_REGISTRY_AUTH",
        (_, Some(403)) => "ask the registry's owner for this right, or use a token that has it",
        (_, Some(404)) => "check the repository's name; some registries want it to be made first",
        (_, Some(405)) => "the registry has this turned off (distribution: REGISTRY_STORAGE_DELETE_ENABLED=true)",
        (_, Some(429)) => "wait, and log in: limits of anonymous users are lower",
        (_, Some(500..)) => "the registry is out of order: try later, look at its log",
        _ => "look at the registry's log",
    }
}

fn http_advice(kind: HttpErrorKind) -> &'static str {
    match kind {
        HttpErrorKind::HostNotFound => "check the registry's name, and that this machine's DNS knows it",
        HttpErrorKind::Certificate => "set SSL_CERT_FILE to the certificate of the registry's authority",
        HttpErrorKind::Tls => "if the registry speaks plain http, list it in PLAIN_HTTP_HOSTS",
        HttpErrorKind::Connect => "check that the registry runs, its port, and the firewall between",
        HttpErrorKind::Deadline | HttpErrorKind::Timeout => {
            "it is slow, or a firewall drops packets: try again, or set HTTPS_PROXY"
        }
        _ => "look at the registry's log; a proxy between may break connections",
    }
}

/// What the keychain said, once and for all: a helper that hangs is not run again for each question.
#[derive(Default)]
pub(crate) struct Answered(OnceLock<Result<Option<Credential>, String>>);

impl Keychain for Answered {
    fn find(&self, _: &Repository) -> Result<Option<Credential>, KeychainError> {
        let failed = |keychain| KeychainError::new(keychain, "it has failed before");
        self.0.get().cloned().unwrap_or(Ok(None)).map_err(failed)
    }
}

/// Who answered for this repository, and why the others did not; `answered` takes in what counts.
pub(crate) fn credential(chain: &Chain, repository: &Repository, answered: &Answered) -> Vec<Finding> {
    let steps = chain.explain(repository);
    let last = steps.last().map(|step| match &step.answer {
        Ok(credential) => Ok(credential.clone()),
        Err(error) => Err(error.keychain.clone()),
    });
    answered.0.get_or_init(|| last.unwrap_or(Ok(None)));
    if !steps.iter().any(|step| matches!(step.answer, Ok(Some(_)) | Err(_))) {
        let asked: Vec<_> = steps.iter().map(ToString::to_string).collect();
        let asked = if asked.is_empty() {
            "no configuration found".to_owned()
        } else {
            asked.join("; ")
        };
        return vec![Finding::good("credential", format!("none, anonymous ({asked})"))];
    }
    let finding = |step: &registry_auth::Explanation| match &step.answer {
        Ok(_) => Finding::good("credential", step.to_string()),
        Err(error) => no_credential(error),
    };
    steps.iter().map(finding).collect()
}

fn no_credential(error: &KeychainError) -> Finding {
    let helper = error.source.as_ref().and_then(|source| source.downcast_ref());
    match helper {
        Some(HelperError::TimedOut { helper, source }) => Finding::failed(
            "credential",
            format!(
                "{}: docker-credential-{helper} does not answer: {source}",
                error.keychain
            ),
            format!(
                "run docker-credential-{helper} get by hand, with the registry's name as input, and look what it waits for"
            ),
        ),
        _ => Finding::failed(
            "credential",
            causes(error),
            "run the credential helper by hand; log in again",
        ),
    }
}

/// How the registry is spoken to, and what it asks for.
pub(crate) struct Contact {
    origin: Origin,
    challenge: Option<Challenge>,
}

/// Asks for `/v2/`: connection, certificates, clock.
pub(crate) fn contact(client: &Client, repository: &Repository) -> (Vec<Finding>, Option<Contact>) {
    let started = Instant::now();
    let origin = match client.origin(repository) {
        Ok(origin) => origin,
        Err(error) => return (vec![Finding::error("contact", &error)], None),
    };
    let address = format!("{}://{}/v2/", origin.scheme(), repository.registry());
    let until = SystemTime::now() + crate::CONTACT;
    let answer = match send(client, Request::get(address).body(Vec::new()), until) {
        Ok(answer) => answer,
        Err(failed) => return (vec![failed], None),
    };
    let mut findings = Vec::new();
    let time = started.elapsed();
    findings.push(Finding::good(
        "contact",
        format!("{origin} answers {} in {time:.0?}", answer.status()),
    ));
    findings.extend(tls(client, &origin));
    findings.extend(clock(answer.headers()));
    let challenge = Challenge::pick(answer.headers());
    (findings, Some(Contact { origin, challenge }))
}

/// Sends one request as everything else is sent, and reads its answer.
fn send(
    client: &Client,
    request: http::Result<Request<Vec<u8>>>,
    until: SystemTime,
) -> Result<Response<Vec<u8>>, Finding> {
    let failed = |text: String| Finding::failed("contact", text, http_advice(HttpErrorKind::Request));
    let mut request = request.map_err(|error| failed(error.to_string()))?.map(Body::from);
    request.extensions_mut().insert(RequestTerms {
        until: Some(until),
        ..RequestTerms::default()
    });
    let answer = client.http().send(request);
    let answer = answer.map_err(|error| Finding::failed("contact", causes(&error), http_advice(error.kind)))?;
    let (parts, body) = answer.into_parts();
    let body = body.read_at_most(1 << 20).map_err(|error| failed(error.to_string()))?;
    Ok(Response::from_parts(parts, body))
}

fn tls(client: &Client, origin: &Origin) -> Option<Finding> {
    if origin.scheme() == Scheme::Http {
        return Some(Finding::good(
            "tls",
            "none: plain http, everyone on the way can read along",
        ));
    }
    let chain = client.http().certificates(origin)?;
    let names: Vec<_> = chain.iter().filter_map(|der| Certificate::read(der)).collect();
    let first = names.first()?;
    let mut text = format!("trusted: {}", first.subject);
    for certificate in &names {
        text = format!("{text} <- {}", certificate.issuer);
    }
    let left = first.expires?.duration_since(SystemTime::now()).unwrap_or_default();
    let days = left.as_secs() / 86_400;
    text = format!("{text}; {days} days left");
    Some(match days {
        0..7 => Finding::failed("tls", text, "have the registry's certificate renewed now"),
        _ => Finding::good("tls", text),
    })
}

fn clock(headers: &HeaderMap) -> Option<Finding> {
    let there = http_date(headers.get("date")?.to_str().ok()?)?;
    let now = SystemTime::now();
    let apart = now.duration_since(there).unwrap_or_else(|error| error.duration());
    let text = format!("{} s apart from the registry's", apart.as_secs());
    Some(if apart > Duration::from_secs(60) {
        Finding::failed(
            "clock",
            text,
            "set this machine's clock (NTP): tokens and certificates depend on it",
        )
    } else {
        Finding::good("clock", text)
    })
}

/// Asks for a token as the client does, to tell how long it lives.
pub(crate) fn token(
    client: &Client,
    keychain: &Answered,
    repository: &Repository,
    contact: &Contact,
    until: SystemTime,
) -> Option<Finding> {
    let challenge = contact.challenge.as_ref()?;
    if challenge.scheme() != "bearer" {
        return Some(Finding::good(
            "token",
            format!("none needed: the registry asks for {}", challenge.scheme()),
        ));
    }
    let result = fetch_token(client, keychain, repository, contact, until);
    Some(match result {
        Ok((place, token)) => {
            let life = token.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
            let refresh = if token.refresh.is_some() {
                ", with a refresh token"
            } else {
                ""
            };
            // A moment has passed since it was given.
            Finding::good(
                "token",
                format!("from {place}, lives {:.0} s{refresh}", life.as_secs_f64()),
            )
        }
        Err(text) => Finding::failed(
            "token",
            text,
            "check the credentials, and that the token server may be asked for this registry",
        ),
    })
}

fn fetch_token(
    client: &Client,
    keychain: &Answered,
    repository: &Repository,
    contact: &Contact,
    until: SystemTime,
) -> Result<(Origin, Token), String> {
    let challenge = contact.challenge.as_ref().ok_or("the registry asks for nothing")?;
    let credential = keychain
        .find(repository)
        .map_err(|error| causes(&error))?
        .unwrap_or_default();
    if matches!(credential.kind(), CredentialKind::Registry(_)) {
        return Err("a token is given already; how long it lives is not known".to_owned());
    }
    let realm = challenge.parameter("realm").unwrap_or_default();
    let realm = contact.origin.check_realm(realm, &RealmPolicy::default());
    let realm = realm.map_err(|error| causes(&error))?;
    let scopes = ScopeSet::parse(&format!("repository:{}:pull,push", repository.path()));
    let service = challenge.parameter("service");
    let received_at = SystemTime::now();
    let request = token_request(&realm, service, &scopes, &credential, exchange_for(&credential));
    let answer = send(client, Ok(request.map_err(|error| causes(&error))?), until).map_err(|finding| finding.text)?;
    let token = parse_token(&realm, &answer, received_at).map_err(|error| causes(&error))?;
    Ok((realm.origin().clone(), token))
}

pub(crate) fn read(client: &Client, reference: &Reference) -> Option<Finding> {
    Some(match client.tags(reference.repository()) {
        Ok(tags) => Finding::good("read", format!("{} tags", tags.len())),
        Err(error) if error.is_not_found() => Finding::good("read", "nothing there yet"),
        Err(error) => Finding::error("read", &error),
    })
}

pub(crate) fn write(client: &Client, repository: &Repository) -> Option<Finding> {
    Some(match client.check_write(repository) {
        Ok(()) => Finding::good("write", "an upload can be begun"),
        Err(error) => Finding::error("write", &error),
    })
}

/// Mounts the first layer of an image into the repository where it is already.
pub(crate) fn mount(client: &Client, reference: &Reference) -> Option<Finding> {
    let repository = reference.repository();
    let found = match client.manifest(reference) {
        Ok(found) => found,
        Err(error) => return Some(Finding::error("mount", &error)),
    };
    let blob = found.as_ref().and_then(|manifest| {
        let document: serde_json::Value = serde_json::from_slice(&manifest.bytes).ok()?;
        document["config"]["digest"].as_str()?.parse::<Digest>().ok()
    });
    let Some(blob) = blob else {
        let text = format!("can't be told: there is no image {}", reference.identifier());
        return Some(Finding::good("mount", text));
    };
    Some(match client.mount_blob(repository, repository, &blob) {
        Ok(true) => Finding::good("mount", "blobs that the registry has are taken without sending them"),
        Ok(false) => Finding::failed(
            "mount",
            "the registry wants the blob sent instead",
            "nothing is broken, copies within the registry only take longer; a token with pull on both repositories helps",
        ),
        Err(error) => Finding::error("mount", &error),
    })
}

/// Asks to delete what does not exist: whoever may not is told so first.
pub(crate) fn delete(client: &Client, repository: &Repository) -> Option<Finding> {
    let nothing = Reference::pinned(repository, &Digest::from_sha256_bytes([0; 32]));
    Some(match client.delete(&nothing) {
        Ok(()) => Finding::good("delete", "manifests can be deleted"),
        Err(error) if error.is_not_found() => Finding::good("delete", "manifests can be deleted"),
        Err(error) => Finding::error("delete", &error),
    })
}
