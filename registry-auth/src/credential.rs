//! What proves to a registry who is asking.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::secret::Secret;

/// A credential for a registry: a user and password, or a token.
///
/// Sources such as docker's configuration may hold several forms at once; [`Credential::kind`] tells which is used.
/// `Debug` and `Display` name the kind and the user, never a secret.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Credential {
    user: String,
    password: Secret,
    basic: Secret,
    identity: Secret,
    registry: Secret,
}

/// A credential, taken apart by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialKind<'a> {
    /// Nothing: the request is sent without.
    Anonymous,
    /// A user name and a password.
    Basic {
        /// The user name; may be empty.
        user: &'a str,
        /// The password; may be empty.
        password: &'a Secret,
    },
    /// The base64 text that goes behind `Basic `, used as it was given.
    BasicToken(&'a Secret),
    /// A refresh token that a token server exchanges for access.
    Identity {
        /// The user it was found with; often empty.
        user: &'a str,
        /// The refresh token.
        token: &'a Secret,
    },
    /// A bearer token, used without any exchange.
    Registry(&'a Secret),
}

impl Credential {
    /// Returns the credential of nobody; found, it still ends the search through several keychains.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Makes a credential from a user name and a password.
    pub fn basic(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self::anonymous().with_user(user, password)
    }

    /// Makes a credential from the base64 text behind `Basic `, which is sent as it is.
    pub fn basic_token(token: impl Into<Secret>) -> Self {
        Self::anonymous().with_basic_token(token)
    }

    /// Makes a credential from a refresh token (OAuth), which the token server exchanges.
    pub fn identity_token(token: impl Into<Secret>) -> Self {
        Self {
            identity: token.into(),
            ..Self::default()
        }
    }

    /// Makes a credential from a bearer token that the registry itself accepts.
    pub fn registry_token(token: impl Into<Secret>) -> Self {
        Self {
            registry: token.into(),
            ..Self::default()
        }
    }

    /// Adds a user name and a password.
    #[must_use]
    pub fn with_user(mut self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.user = user.into();
        self.password = password.into();
        self
    }

    /// Adds base64 text that is sent as it is, before user and password.
    #[must_use]
    pub(crate) fn with_basic_token(mut self, token: impl Into<Secret>) -> Self {
        self.basic = token.into();
        self
    }

    /// Adds a refresh token, which then goes before user and password.
    #[must_use]
    pub fn with_identity_token(mut self, token: impl Into<Secret>) -> Self {
        self.identity = token.into();
        self
    }

    /// Adds a bearer token, which then goes before everything else.
    #[must_use]
    pub fn with_registry_token(mut self, token: impl Into<Secret>) -> Self {
        self.registry = token.into();
        self
    }

    /// Returns whether this proves nothing.
    pub fn is_anonymous(&self) -> bool {
        *self == Self::default()
    }

    /// Tells which form is used: a registry token before an identity token before basic text before a user.
    pub fn kind(&self) -> CredentialKind<'_> {
        if !self.registry.is_empty() {
            CredentialKind::Registry(&self.registry)
        } else if !self.identity.is_empty() {
            CredentialKind::Identity {
                user: &self.user,
                token: &self.identity,
            }
        } else if !self.basic.is_empty() {
            CredentialKind::BasicToken(&self.basic)
        } else if self.user.is_empty() && self.password.is_empty() {
            CredentialKind::Anonymous
        } else {
            CredentialKind::Basic {
                user: &self.user,
                password: &self.password,
            }
        }
    }

    /// Returns the user name; empty when there is none.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the password; empty when there is none.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// Returns the refresh token, also when a registry token goes before it; empty when there is none.
    pub fn identity(&self) -> &Secret {
        &self.identity
    }

    /// Returns the value of an `Authorization` header that answers a challenge of scheme `Basic`.
    ///
    /// `None` for what has neither basic text nor both a user and a password.
    pub fn basic_authorization(&self) -> Option<Secret> {
        if !self.basic.is_empty() {
            return Some(Secret::new(format!("Basic {}", self.basic.expose())));
        }
        if self.user.is_empty() || self.password.is_empty() {
            return None;
        }
        let text = STANDARD.encode(format!("{}:{}", self.user, self.password.expose()));
        Some(Secret::new(format!("Basic {text}")))
    }

    /// Returns what `CNB_REGISTRY_AUTH` holds for this credential; `None` for an anonymous one.
    pub fn to_header(&self) -> Option<Secret> {
        match self.kind() {
            CredentialKind::Registry(token) => Some(Secret::new(format!("Bearer {}", token.expose()))),
            CredentialKind::Identity { token, .. } => Some(Secret::new(format!("X-Identity {}", token.expose()))),
            _ => self.basic_authorization(),
        }
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            CredentialKind::Anonymous => f.write_str("anonymous"),
            CredentialKind::Basic { user, .. } => write!(f, "user {user:?} with password ****"),
            CredentialKind::BasicToken(_) => f.write_str("basic token ****"),
            CredentialKind::Identity { .. } => f.write_str("identity token ****"),
            CredentialKind::Registry(_) => f.write_str("registry token ****"),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_text_shows_a_secret() {
        for credential in [
            Credential::basic("me", "hunter2"),
            Credential::basic_token("hunter2"),
            Credential::identity_token("hunter2").with_user("me", "hunter2"),
            Credential::registry_token("hunter2"),
        ] {
            for text in [
                format!("{credential}"),
                format!("{credential:?}"),
                format!("{:?}", credential.kind()),
            ] {
                assert!(!text.contains("hunter2"), "{text}");
            }
        }
    }

    #[test]
    fn a_password_answers_a_basic_challenge_and_a_token_does_not() {
        let header = Credential::basic("user", "pass")
            .basic_authorization()
            .expect("a header");
        assert_eq!(header.expose(), "Basic dXNlcjpwYXNz");
        assert_eq!(Credential::registry_token("t").basic_authorization(), None);
    }
}
