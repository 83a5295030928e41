//! Who am I at this registry? Image references, credentials and the token exchange of container registries,
//! without any input or output: values come in, requests to send come out.
//!
//! ```
//! use registry_auth::{Chain, Credential, EnvKeychain, Keychain, Reference, StaticKeychain};
//!
//! let image = Reference::parse("ghcr.io/acme/app:v1")?;
//! let keychain = Chain::default()
//!     .then(EnvKeychain::parse(r#"{"quay.io": "Basic bWU6c2VjcmV0"}"#)?)
//!     .then(StaticKeychain::new().with("ghcr.io".parse()?, Credential::basic("me", "secret")));
//! let credential = keychain.find(image.repository())?.expect("the second keychain knows ghcr.io");
//! assert_eq!(credential.to_string(), "user \"me\" with password ****");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Names: [`Reference`], [`Repository`], [`RegistryHost`], [`Digest`]; how they are read: [`ParseOptions`].
//! - What proves who asks: [`Credential`], [`Secret`].
//! - The one question asked of a source of credentials: [`Keychain`]; sources: [`DockerConfig`], [`EnvKeychain`],
//!   [`KubernetesKeychain`], [`StaticKeychain`], [`AnonymousKeychain`]; several in turn: [`Chain`].
//! - What servers ask for: [`Challenge`], [`Scope`], [`ScopeSet`]; the exchange: [`token_request`], [`parse_token`].
//! - To whom a credential may go: [`Origin`], [`RealmPolicy`].
//!
//! Not here: sending requests (see `registry-client`), reading files or the environment, starting helper programs
//! (see [`HelperRunner`]). A native source of cloud credentials is one more [`Keychain`].
//!
//! Specification: Docker Registry v2 authentication; the reference rules of go-containerregistry.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod challenge;
mod credential;
mod credential_helper;
mod credential_set;
mod digest;
mod docker_auth;
mod docker_config;
mod domain;
mod env;
mod go_json;
mod go_url;
mod host;
mod keychain;
mod keyring;
mod kubernetes;
mod kubernetes_secret;
mod origin;
mod private_address;
mod reference;
mod repository;
mod scope;
mod secret;
mod token;

pub use challenge::Challenge;
pub use credential::{Credential, CredentialKind};
pub use credential_helper::{HelperError, HelperOutput, HelperRunner};
pub use credential_set::{CredentialSet, CredentialSetError, key_serves};
pub use digest::{Digest, DigestProblem, InvalidDigest};
pub use docker_auth::EntryProblem;
pub use docker_config::{DockerConfig, DockerConfigError, DockerConfigPlaces};
pub use env::EnvKeychain;
pub use go_json::tolerable as tolerable_json;
pub use host::{DOCKER_HUB, InvalidRegistryHost, RegistryHost, Scheme};
pub use keychain::{AnonymousKeychain, Chain, Explanation, Keychain, KeychainError, StaticKeychain};
pub use keyring::PullKeyring;
pub use kubernetes::{KubernetesKeychain, SecretError};
pub use kubernetes_secret::{DOCKER_ANNOTATION, KubernetesSecret};
pub use origin::{InvalidOrigin, Origin, Realm, RealmError, RealmPolicy, RealmProblem};
pub use private_address::is_private_address;
pub use reference::{InvalidReference, LocalhostRule, ParseOptions, Reference, ReferenceProblem};
pub use repository::{Repository, RepositoryProblem};
pub use scope::{InvalidScope, Scope, ScopeSet};
pub use secret::Secret;
pub use token::{Exchange, MAX_TOKEN_ANSWER, Token, TokenError, exchange_for, parse_token, token_request};
