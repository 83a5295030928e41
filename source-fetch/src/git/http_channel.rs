//! The conversation over http: each request by itself, redirects followed for the first one only.

use std::io::{self, Read};

use base64::Engine as _;
use http::{Method, Request, Response, StatusCode, Uri, header};
use registry_auth::{Origin, Scheme, Secret};
use registry_client::{AnswerBody, Body, Http, HttpError};

use super::{
    channel::Channel,
    greeting::Greeting,
    keychain::GitCredential,
    transport::{AGENT, MAX_LISTING, TransportError, protocol_error},
    url::GitUrl,
};
use crate::{access::Access, limits::Limits};

pub(super) struct HttpChannel {
    url: String,
    http: Http,
    /// The address, after redirects.
    base: String,
    authorization: Option<Secret>,
    /// Where the credential is from, for people.
    credential: String,
}

const LISTING: &str = "/info/refs?service=git-upload-pack";
/// The type of an answer that is git's.
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const MAX_REDIRECTS: usize = 5;

impl HttpChannel {
    /// Asks for the greeting.
    pub(super) fn open(url: &GitUrl, access: &Access) -> Result<(Self, Greeting), TransportError> {
        let (authorization, credential) = match (access.git.find(url), url.userinfo()) {
            (Some((secret, GitCredential::Basic { user, password })), _) => {
                (Some(basic(user, password.expose())), format!("secret {secret}"))
            }
            (_, Some((user, password))) => (Some(basic(&user, &password)), "the user of the url".to_owned()),
            _ => (None, String::new()),
        };
        let mut channel = Self {
            url: url.to_string(),
            http: access.http.clone(),
            base: url.http_base(),
            authorization,
            credential,
        };
        let answer = channel.listing(&access.limits)?;
        let kind = answer.headers().get(header::CONTENT_TYPE);
        let is_git = kind.is_some_and(|kind| kind.as_bytes() == ADVERTISEMENT.as_bytes());
        let mut body = answer.into_body().take(MAX_LISTING);
        let greeting = Greeting::read(&mut body).map_err(|error| match is_git {
            true => protocol_error(&channel.url, error),
            // Git itself asks such a server for one file after the other, of which it can't be told what they will be.
            false => channel.refused(
                "answers as a server of plain files or pages does; check the url, or serve it with git http-backend",
            ),
        })?;
        Ok((channel, greeting))
    }

    /// Asks for the listing and follows redirects, which then count for all that is asked.
    fn listing(&mut self, limits: &Limits) -> Result<Response<AnswerBody>, TransportError> {
        for _ in 0..=MAX_REDIRECTS {
            let address = format!("{}{LISTING}", self.base);
            let request = self.request(Method::GET, &address, limits);
            let request = request.body(Body::empty()).map_err(|error| self.malformed(error))?;
            let answer = self.http.send(request).map_err(|source| self.unreachable(source))?;
            if !answer.status().is_redirection() {
                self.check(answer.status())?;
                return Ok(answer);
            }
            let target = answer.headers().get(header::LOCATION);
            let target = target.and_then(|target| target.to_str().ok());
            self.redirect(&address, target.unwrap_or_default())?;
        }
        Err(self.refused("redirects more than five times"))
    }

    /// Goes to where a redirect leads, without the credential when that is another origin.
    fn redirect(&mut self, from: &str, target: &str) -> Result<(), TransportError> {
        let from: Uri = from.parse().map_err(|error| self.malformed(error))?;
        let target = if let Some(rest) = target.strip_prefix("//") {
            format!("{}://{rest}", from.scheme_str().unwrap_or("https"))
        } else if target.starts_with('/') {
            let origin = (from.scheme_str().zip(from.authority())).ok_or_else(|| self.refused("has no host"))?;
            format!("{}://{}{target}", origin.0, origin.1)
        } else {
            target.to_owned()
        };
        let base = target.strip_suffix(LISTING);
        let base = base.ok_or_else(|| self.refused("redirects to what is no git repository"))?;
        let to: Uri = target.parse().map_err(|error| self.malformed(error))?;
        let origins = Origin::of(&from).ok().zip(Origin::of(&to).ok());
        let (from, to) = origins.ok_or_else(|| self.refused("redirects to what is no http address"))?;
        if from != to {
            if from.scheme() == Scheme::Https && to.scheme() == Scheme::Http {
                return Err(self.refused("redirects from https to plain http, which is not followed"));
            }
            if to.is_private() && !from.is_private() {
                return Err(self.refused("redirects into a private network, which is not followed"));
            }
            self.authorization = None;
            self.credential.clear();
        }
        base.clone_into(&mut self.base);
        Ok(())
    }

    fn request(&self, method: Method, address: &str, limits: &Limits) -> http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(address)
            .extension(limits.terms())
            .header("Git-Protocol", "version=2")
            .header(header::USER_AGENT, format!("git/2.39 ({AGENT})"));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization.expose());
        }
        request
    }

    fn malformed(&self, error: impl Into<http::Error>) -> TransportError {
        protocol_error(&self.url, io::Error::other(error.into()))
    }

    fn refused(&self, problem: &'static str) -> TransportError {
        TransportError::Unsupported {
            url: self.url.clone(),
            problem,
        }
    }

    fn unreachable(&self, source: HttpError) -> TransportError {
        TransportError::Unreachable {
            url: self.url.clone(),
            source,
        }
    }

    fn check(&self, status: StatusCode) -> Result<(), TransportError> {
        let url = self.url.clone();
        match status.as_u16() {
            200 => Ok(()),
            401 | 403 => Err(TransportError::Unauthorized {
                url,
                hint: match self.credential.as_str() {
                    "" => "no credential was found; add a secret annotated kpack.io/git to the service account".into(),
                    credential => format!("the server refused {credential}; check its user and password"),
                },
            }),
            404 => Err(TransportError::NotFound { url }),
            status => Err(TransportError::Status { url, status }),
        }
    }
}

impl Channel for HttpChannel {
    fn is_stateless(&self) -> bool {
        true
    }

    fn ask(&mut self, request: Vec<u8>, limits: &Limits) -> Result<Box<dyn Read + '_>, TransportError> {
        let request = self
            .request(Method::POST, &format!("{}/git-upload-pack", self.base), limits)
            .header(header::CONTENT_TYPE, "application/x-git-upload-pack-request")
            .header(header::ACCEPT, "application/x-git-upload-pack-result")
            .body(Body::from(request))
            .map_err(|error| self.malformed(error))?;
        let answer = self.http.send(request).map_err(|source| self.unreachable(source))?;
        self.check(answer.status())?;
        Ok(Box::new(answer.into_body()))
    }
}

fn basic(user: &str, password: &str) -> Secret {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {pair}").into()
}
