//! The `Authorization` header of requests to one registry.

use std::collections::HashMap;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use registry_auth::{
    Challenge, Credential, CredentialKind, Exchange, MAX_TOKEN_ANSWER, Origin, Realm, RealmPolicy, ScopeSet, Secret,
    Token, TokenError, exchange_for, parse_token, token_request,
};

use crate::{answer, body::Body, error::Reason, http_client::Http, http_client::origin_text, terms::RequestTerms};

/// What is known about how one registry wants to be asked.
#[derive(Debug, Default)]
pub(crate) struct Authorization {
    wanted: Option<Wanted>,
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

/// What a 401 means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    /// Another attempt may succeed.
    Again,
    /// The credential itself is refused.
    Refused,
    /// Another attempt is of no use.
    Nothing,
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
        credential: &Credential,
        scopes: &ScopeSet,
    ) -> Result<Option<Secret>, Reason> {
        if let CredentialKind::Registry(token) = credential.kind() {
            // It needs no exchange.
            return Ok(Some(Secret::new(format!("Bearer {}", token.expose()))));
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
                self.token(&ask, credential).map(Some)
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

    /// Takes in what a 401 asks for.
    pub(crate) fn learn(
        &mut self,
        credential: &Credential,
        scopes: &mut ScopeSet,
        sent: &Sent,
        headers: &HeaderMap,
        origin: &Origin,
        policy: &RealmPolicy,
    ) -> Result<Learned, Reason> {
        let challenge = Challenge::pick(headers);
        match &challenge {
            Some(challenge) if challenge.scheme() == "basic" => {
                self.wanted = Some(Wanted::Basic);
                let header = credential.basic_authorization();
                if header.is_some() && header == sent.header {
                    return Ok(Learned::Refused);
                }
                Ok(match header {
                    Some(_) => Learned::Again,
                    None => Learned::Nothing,
                })
            }
            Some(challenge) if challenge.scheme() == "bearer" => {
                self.wanted = Some(bearer(challenge, origin, policy)?);
                if matches!(credential.kind(), CredentialKind::Registry(_)) {
                    return Ok(Learned::Refused);
                }
                // The token that was just refused is of no more use, whatever it says about its life.
                self.tokens
                    .retain(|held| Some(held.token.authorization()) != sent.header);
                *scopes = scopes.union(&ScopeSet::parse(challenge.parameter("scope").unwrap_or_default()));
                Ok(Learned::Again)
            }
            // Some registries don't say what they want; a password is all that is left to try.
            _ if sent.header.is_none() && credential.basic_authorization().is_some() => {
                self.wanted = Some(Wanted::Basic);
                Ok(Learned::Again)
            }
            Some(challenge) => Err(Reason::Challenge(challenge.scheme().chars().take(40).collect())),
            None => Ok(Learned::Nothing),
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
        if realm.is_chosen_by_registry() {
            // The registry could point anywhere.
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
