//! The `Authorization` header of requests to one registry.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use registry_auth::{
    Challenge, Credential, CredentialKind, Exchange, Keychain, MAX_TOKEN_ANSWER, Origin, Realm, RealmPolicy,
    Repository, ScopeSet, Secret, Token, TokenError, exchange_for, parse_token, token_request,
};

use crate::{answer, body::Body, error::Reason, http_client::Http, http_client::origin_text, terms::RequestTerms};

/// What is known about how one registry wants to be asked.
#[derive(Debug, Default)]
pub(crate) struct Authorization {
    wanted: Option<Wanted>,
    credentials: HashMap<Repository, Credential>,
    tokens: Vec<Held>,
    /// Refresh tokens, by the credential they were given for and the token server that gave them.
    refresh: HashMap<(Credential, Origin), Secret>,
}

/// What the registry asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    Basic,
    Bearer {
        realm: Realm,
        service: Option<String>,
    },
    /// A realm that must not be asked; an error only when the registry insists.
    Other,
}

/// A token in store.
#[derive(Debug)]
struct Held {
    credential: Credential,
    scopes: ScopeSet,
    token: Token,
}

/// What went along with a request.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Whether the request went to the registry itself and not where it pointed to.
    pub(crate) to_registry: bool,
    /// The header, if there was one.
    pub(crate) header: Option<Secret>,
}

impl Authorization {
    /// Makes a header's value that is not shown.
    pub(crate) fn value(header: &Secret) -> Result<HeaderValue, Reason> {
        let mut value = HeaderValue::from_str(header.expose()).map_err(|_| Reason::Token(TokenError::Header))?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Returns the header to send for `scopes`, from store or from the token server.
    pub(crate) fn header(
        &mut self,
        http: &Http,
        terms: &RequestTerms,
        keychain: &dyn Keychain,
        repository: &Repository,
        scopes: &ScopeSet,
    ) -> Result<Option<Secret>, Reason> {
        let credential = self.credential(keychain, repository)?;
        if let Some(header) = registry_token(&credential) {
            return Ok(Some(header));
        }
        match self.wanted.clone() {
            None | Some(Wanted::Other) => Ok(None),
            Some(Wanted::Basic) => Ok(credential.basic_authorization()),
            Some(Wanted::Bearer { realm, service }) => {
                let ask = Ask {
                    http,
                    terms,
                    realm: &realm,
                    service: service.as_deref(),
                    scopes,
                };
                match self.token(&ask, &credential) {
                    Err(Reason::Token(TokenError::Refused { status, .. }))
                        if matches!(status.as_u16(), 401 | 403) && self.renew(keychain, repository, &credential)? =>
                    {
                        let credential = self.credential(keychain, repository)?;
                        match registry_token(&credential) {
                            Some(header) => Ok(Some(header)),
                            None => self.token(&ask, &credential).map(Some),
                        }
                    }
                    other => other.map(Some),
                }
            }
        }
    }

    /// Returns the header of a token, from store or from the token server.
    fn token(&mut self, ask: &Ask<'_>, credential: &Credential) -> Result<Secret, Reason> {
        let now = ask.http.policy().clock.now();
        let held = self.tokens.iter().find(|held| {
            held.credential == *credential && held.scopes.contains(ask.scopes) && held.token.is_fresh(now)
        });
        if let Some(held) = held {
            return Ok(held.token.authorization());
        }
        let token = self.fetch(ask, credential)?;
        let header = token.authorization();
        self.tokens.retain(|held| held.token.is_fresh(now));
        self.tokens.push(Held {
            credential: credential.clone(),
            scopes: ask.scopes.clone(),
            token,
        });
        Ok(header)
    }

    /// Asks the token server, with the refresh token it gave the last time if there is one.
    fn fetch(&mut self, ask: &Ask<'_>, credential: &Credential) -> Result<Token, Reason> {
        // Nobody else gets it, and a server that may not see credentials gets none back.
        let place = (credential.clone(), ask.realm.origin().clone());
        let refreshed = self.refresh.remove(&place).filter(|_| ask.realm.may_see_credentials());
        let token = match refreshed.map(|token| credential.clone().with_identity_token(token)) {
            // Refresh tokens end too; the credential itself is asked with then.
            Some(refreshed) => match ask.with(&refreshed) {
                Err(Reason::Token(TokenError::Refused { .. })) => ask.with(credential),
                other => other,
            },
            None => ask.with(credential),
        }?;
        if let Some(refresh) = &token.refresh {
            self.refresh.insert(place, refresh.clone());
        }
        Ok(token)
    }

    /// Takes in what a 401 asks for; `true` when another attempt may succeed.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a different thing, and there is one caller"
    )]
    pub(crate) fn learn(
        &mut self,
        keychain: &dyn Keychain,
        repository: &Repository,
        scopes: &mut ScopeSet,
        sent: &Sent,
        headers: &HeaderMap,
        origin: &Origin,
        policy: &RealmPolicy,
    ) -> Result<bool, Reason> {
        let credential = self.credential(keychain, repository)?;
        let challenge = Challenge::pick(headers);
        match &challenge {
            Some(challenge) if challenge.scheme() == "basic" => {
                self.wanted = Some(Wanted::Basic);
                let header = credential.basic_authorization();
                if header.is_some() && header == sent.header {
                    return self.renew(keychain, repository, &credential);
                }
                Ok(header.is_some())
            }
            Some(challenge) if challenge.scheme() == "bearer" => {
                self.wanted = Some(bearer(challenge, origin, policy)?);
                if matches!(credential.kind(), CredentialKind::Registry(_)) {
                    return self.renew(keychain, repository, &credential);
                }
                // The token that was just refused is of no more use, whatever it says about its life.
                self.tokens
                    .retain(|held| Some(held.token.authorization()) != sent.header);
                *scopes = scopes.union(&ScopeSet::parse(challenge.parameter("scope").unwrap_or_default()));
                Ok(true)
            }
            // Some registries don't say what they want; a password is all that is left to try.
            _ if sent.header.is_none() && credential.basic_authorization().is_some() => {
                self.wanted = Some(Wanted::Basic);
                Ok(true)
            }
            Some(challenge) => Err(Reason::Challenge(challenge.scheme().chars().take(40).collect())),
            None => Ok(false),
        }
    }

    /// Takes in what the first contact with a registry asks for.
    pub(crate) fn expect_challenge(&mut self, headers: &HeaderMap, origin: &Origin, policy: &RealmPolicy) {
        self.wanted = Challenge::pick(headers).map(|challenge| match challenge.scheme() {
            "basic" => Wanted::Basic,
            "bearer" => bearer(&challenge, origin, policy).unwrap_or(Wanted::Other),
            _ => Wanted::Other,
        });
    }

    /// Asks the keychain again for a credential that was refused: some end after hours. `true` when it has another one.
    fn renew(
        &mut self,
        keychain: &dyn Keychain,
        repository: &Repository,
        refused: &Credential,
    ) -> Result<bool, Reason> {
        if refused.is_anonymous() {
            return Ok(false);
        }
        self.credentials.remove(repository);
        let found = self.credential(keychain, repository)?;
        Ok(!found.is_anonymous() && found != *refused)
    }

    /// Asks the keychain, once for each repository.
    fn credential(&mut self, keychain: &dyn Keychain, repository: &Repository) -> Result<Credential, Reason> {
        if let Some(credential) = self.credentials.get(repository) {
            return Ok(credential.clone());
        }
        let found = keychain.find(repository).map_err(Reason::Keychain)?.unwrap_or_default();
        self.credentials.insert(repository.clone(), found.clone());
        Ok(found)
    }
}

fn bearer(challenge: &Challenge, origin: &Origin, policy: &RealmPolicy) -> Result<Wanted, Reason> {
    let realm = challenge.parameter("realm").unwrap_or_default();
    let realm = origin
        .check_realm(realm, policy)
        .map_err(|error| Reason::Token(error.into()))?;
    Ok(Wanted::Bearer {
        realm,
        service: challenge.parameter("service").map(str::to_owned),
    })
}

/// What a token server is asked for.
struct Ask<'a> {
    http: &'a Http,
    terms: &'a RequestTerms,
    realm: &'a Realm,
    service: Option<&'a str>,
    scopes: &'a ScopeSet,
}

impl Ask<'_> {
    /// Asks the token server.
    fn with(&self, credential: &Credential) -> Result<Token, Reason> {
        let (http, realm) = (self.http, self.realm);
        let mut terms = self.terms.clone();
        if !realm.may_see_credentials() {
            // It has nothing to do with the registry, which could point anywhere.
            let registry = format!("{}/", realm.registry()).parse().ok();
            terms.led_by = registry.and_then(|registry| Origin::of(&registry).ok());
        }
        let received_at = http.policy().clock.now();
        let exchange = exchange_for(credential);
        let request =
            |exchange| token_request(realm, self.service, self.scopes, credential, exchange).map_err(Reason::Token);
        let mut answer = ask(http, &terms, request(exchange)?)?;
        if exchange == Exchange::Refresh && answer.status() == StatusCode::NOT_FOUND {
            answer = ask(http, &terms, request(Exchange::Get)?)?;
        }
        parse_token(realm, &answer, received_at).map_err(Reason::Token)
    }
}

/// Returns the header of a token that needs no exchange.
fn registry_token(credential: &Credential) -> Option<Secret> {
    match credential.kind() {
        CredentialKind::Registry(token) => Some(Secret::new(format!("Bearer {}", token.expose()))),
        _ => None,
    }
}

fn ask(http: &Http, terms: &RequestTerms, mut request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Reason> {
    request.extensions_mut().insert(terms.clone());
    let place = origin_text(request.uri());
    let answer = if request.method() == Method::GET {
        http.send_following(request.map(|_| ()))
    } else {
        http.send(request.map(Body::from))
    };
    let (parts, body) = answer.map_err(Reason::Http)?.into_parts();
    let body = answer::read_body(&place, body, MAX_TOKEN_ANSWER as u64)?;
    Ok(Response::from_parts(parts, body))
}
