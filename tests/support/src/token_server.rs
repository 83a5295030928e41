//! A token server whose tokens a real registry believes.

use std::{
    collections::BTreeSet,
    io::{self, BufReader, Read, Write},
    net::{Ipv4Addr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::SigningKey as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::{
    Authority,
    http::{Head, Listener, Request, lock},
};

/// The name of the registry in tokens.
pub(crate) const SERVICE: &str = "registry.test";
/// The name of the token server in tokens.
pub(crate) const ISSUER: &str = "test-support";

/// How a [`TokenServer`] is set up.
pub struct TokenServerOptions<'a> {
    /// Who gets every action on every repository: users and passwords.
    pub users: &'a [(&'a str, &'a str)],
    /// How long tokens live.
    pub lifetime: Duration,
    /// How long answers say that tokens live, where that is not the truth.
    pub announced_lifetime: Option<Duration>,
    /// Whether a refresh token comes along with each token.
    pub refresh_tokens: bool,
    /// The authority that signs its certificate; `None` means plain http.
    pub tls: Option<&'a Authority>,
}

impl Default for TokenServerOptions<'_> {
    fn default() -> Self {
        Self {
            users: &[("user", "pass")],
            lifetime: Duration::from_secs(300),
            announced_lifetime: None,
            refresh_tokens: false,
            tls: None,
        }
    }
}

/// A token server on a free loopback port: the Docker token protocol, `GET` and `POST`, and JSON web tokens (ES256)
/// as `docker-registry` checks them.
///
/// Known users may do everything, anyone may pull beneath `public/`, and nobody anything beneath `forbidden/`.
pub struct TokenServer {
    listener: Listener,
    tls: bool,
    state: Arc<State>,
}

struct State {
    key: rcgen::KeyPair,
    certificate: rcgen::Certificate,
    users: Vec<(String, String)>,
    lifetime: Duration,
    announced_lifetime: Duration,
    refresh_tokens: bool,
    refresh: Mutex<BTreeSet<String>>,
    stale: AtomicUsize,
    seen: Mutex<Vec<Request>>,
}

impl TokenServer {
    /// Starts a token server that knows `user` with password `pass`.
    ///
    /// # Errors
    /// When no port or key can be had.
    pub fn start() -> io::Result<Self> {
        Self::with_options(&TokenServerOptions::default())
    }

    /// Starts a token server set up by `options`.
    ///
    /// # Errors
    /// As [`TokenServer::start`].
    pub fn with_options(options: &TokenServerOptions<'_>) -> io::Result<Self> {
        let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        let parameters = rcgen::CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        let certificate = parameters.self_signed(&key).map_err(io::Error::other)?;
        let users = options.users.iter();
        let state = Arc::new(State {
            key,
            certificate,
            users: users
                .map(|(user, password)| ((*user).to_owned(), (*password).to_owned()))
                .collect(),
            lifetime: options.lifetime,
            announced_lifetime: options.announced_lifetime.unwrap_or(options.lifetime),
            refresh_tokens: options.refresh_tokens,
            refresh: Mutex::default(),
            stale: AtomicUsize::new(0),
            seen: Mutex::default(),
        });
        let tls = options.tls.map(Authority::server_config).transpose()?;
        let (shared, is_tls) = (Arc::clone(&state), tls.is_some());
        let listener = Listener::start(Ipv4Addr::LOCALHOST.into(), move |stream| match &tls {
            None => shared.serve(stream),
            Some(config) => shared.serve(encrypted(stream, config)?),
        })?;
        Ok(Self {
            listener,
            tls: is_tls,
            state,
        })
    }

    /// Returns the address that registries name in their challenges.
    pub fn realm(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}/token", self.listener.host())
    }

    /// Returns the certificate (PEM) that registries check tokens with.
    pub fn certificate(&self) -> String {
        self.state.certificate.pem()
    }

    /// Returns every request so far.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.state.seen).clone()
    }

    /// Makes the next `count` tokens ones whose end is long past, although the answer says that they live.
    pub fn expire_next(&self, count: usize) {
        self.state.stale.store(count, Ordering::SeqCst);
    }

    /// Forgets every refresh token.
    pub fn forget_refresh_tokens(&self) {
        lock(&self.state.refresh).clear();
    }

    /// Makes a token for `scopes` (such as `repository:team/app:pull,push`) that ended two minutes ago.
    ///
    /// # Errors
    /// When it can't be signed.
    pub fn expired_token(&self, scopes: &str) -> io::Result<String> {
        self.state.sign("user", &access(scopes, true), true)
    }
}

fn encrypted(stream: TcpStream, config: &Arc<ServerConfig>) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Who asks for a token.
enum Asker {
    Anonymous,
    User(String),
    Wrong,
}

impl State {
    fn serve(&self, stream: impl Read + Write) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(head) = Head::read(&mut reader)? {
            let body = head.read_body(&mut reader)?;
            let request = Request::new(&head, body);
            let (status, answer) = self.answer(&request)?;
            lock(&self.seen).push(request);
            let (status, body) = (status, answer.to_string());
            write!(
                reader.get_mut(),
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )?;
            reader.get_mut().flush()?;
        }
        Ok(())
    }

    fn answer(&self, request: &Request) -> io::Result<(&'static str, Value)> {
        let given = |name: &str| match request.method.as_str() {
            "POST" => request.form(name),
            _ => request.query(name),
        };
        let user = match self.asker(request) {
            Asker::Wrong => return Ok(("401 Unauthorized", json!({"details": "incorrect username or password"}))),
            Asker::User(user) => Some(user),
            Asker::Anonymous => None,
        };
        let scopes = given("scope").join(" ");
        let stale = self
            .stale
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let subject = user.clone().unwrap_or_default();
        let token = self.sign(&subject, &access(&scopes, user.is_some()), stale.is_ok())?;
        let mut answer =
            json!({"token": token, "access_token": token, "expires_in": self.announced_lifetime.as_secs()});
        let wants = given("offline_token") == ["true"] || given("access_type") == ["offline"] || self.refresh_tokens;
        if let Some(user) = user.filter(|_| wants) {
            let mut known = lock(&self.refresh);
            let refresh = format!("{user}:refresh-{}", known.len());
            known.insert(refresh.clone());
            answer["refresh_token"] = refresh.into();
        }
        Ok(("200 OK", answer))
    }

    fn asker(&self, request: &Request) -> Asker {
        let first = |name: &str| request.form(name).into_iter().next().unwrap_or_default();
        let (user, password) = match request.header("authorization") {
            Some(header) => {
                let encoded = header.strip_prefix("Basic ").unwrap_or_default();
                let bytes = STANDARD.decode(encoded).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let (user, password) = text.split_once(':').unwrap_or_default();
                (user.to_owned(), password.to_owned())
            }
            None if first("grant_type") == "refresh_token" => {
                let refresh = first("refresh_token");
                let known = lock(&self.refresh).contains(&refresh);
                let user = refresh.split(':').next().unwrap_or_default();
                return if known {
                    Asker::User(user.to_owned())
                } else {
                    Asker::Wrong
                };
            }
            None if request.method == "POST" => (first("username"), first("password")),
            None => return Asker::Anonymous,
        };
        let known = self
            .users
            .iter()
            .any(|(name, right)| *name == user && *right == password);
        if known { Asker::User(user) } else { Asker::Wrong }
    }

    /// Makes a token; a stale one ended earlier than the minute that registries forgive.
    fn sign(&self, subject: &str, access: &Value, stale: bool) -> io::Result<String> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let begin = if stale { now - 420 } else { now - 5 };
        let end = if stale {
            now - 120
        } else {
            now + self.lifetime.as_secs()
        };
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(self.certificate.der())]});
        let claims = json!({
            "iss": ISSUER, "sub": subject, "aud": SERVICE, "iat": begin, "nbf": begin, "exp": end,
            "jti": format!("{now}-{}", lock(&self.seen).len()), "access": access,
        });
        let text = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = self.key.sign(text.as_bytes()).map_err(io::Error::other)?;
        let signature = fixed(&signature).ok_or_else(|| io::Error::other("the signature is not understood"))?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Turns scopes into what is granted of them.
fn access(scopes: &str, known: bool) -> Value {
    let granted = scopes.split_whitespace().filter_map(|scope| {
        let (resource, actions) = scope.rsplit_once(':')?;
        let (kind, name) = resource.split_once(':')?;
        let allowed = |action: &&str| {
            let public = name.starts_with("public/") && *action == "pull";
            !name.starts_with("forbidden/") && (known || public)
        };
        let actions: Vec<_> = actions.split(',').filter(allowed).collect();
        Some(json!({"type": kind, "name": name, "actions": actions}))
    });
    granted.collect()
}

/// Turns a signature from ASN.1 (two numbers) into the two numbers of 32 bytes each that a web token holds.
fn fixed(signature: &[u8]) -> Option<[u8; 64]> {
    let mut rest = signature.strip_prefix(&[0x30])?.get(1..)?;
    let mut all = [0; 64];
    for half in all.chunks_mut(32) {
        let length = usize::from(*rest.strip_prefix(&[0x02])?.first()?);
        let (number, tail) = rest.get(2..)?.split_at_checked(length)?;
        let number = &number[number.len().saturating_sub(32)..];
        half[32 - number.len()..].copy_from_slice(number);
        rest = tail;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_becomes_two_numbers_of_fixed_size() {
        let mut signature = vec![0x30, 39, 0x02, 33, 0];
        signature.extend([0xff; 32]);
        signature.extend([0x02, 2, 1, 2]);
        let found = fixed(&signature).expect("it is one");
        assert_eq!(
            (&found[..32], &found[62..], found[61]),
            (&[0xff; 32][..], &[1, 2][..], 0)
        );
        assert_eq!(fixed(&[0x30, 3, 0x02, 9, 1]), None);
    }

    #[test]
    fn only_known_users_get_everything() {
        let show = |scopes, known| access(scopes, known)[0]["actions"].to_string();
        assert_eq!(show("repository:team/app:pull,push", true), r#"["pull","push"]"#);
        assert_eq!(show("repository:team/app:pull,push", false), "[]");
        assert_eq!(show("repository:public/app:pull,push", false), r#"["pull"]"#);
        assert_eq!(show("repository:forbidden/app:pull", true), "[]");
    }
}
