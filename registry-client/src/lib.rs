//! How do bytes get to a registry and back? Manifests and blobs as streams, over one blocking http client.
//!
//! ```no_run
//! use std::{io::Read, sync::Arc};
//!
//! use registry_auth::{AnonymousKeychain, Reference};
//! use registry_client::{Client, HttpPolicy};
//!
//! let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain))?;
//! let image = Reference::parse("registry.example.com/acme/app:v1")?;
//! if let Some(manifest) = client.manifest(&image)? {
//!     println!("{} is {} ({} bytes)", image, manifest.digest, manifest.bytes.len());
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - Operations: [`Client`]; what they give: [`Descriptor`], [`RawManifest`], [`BlobReader`], [`BlobUpload`],
//!   [`StreamedUpload`].
//! - When they end and who hears of them: [`Client::with_time_limit`], [`Cancellation`], [`Progress`].
//! - How connections are made: [`HttpPolicy`], [`HostPolicy`], [`ProxyPolicy`], [`RetryPolicy`], [`Clock`]; how much a host
//!   is asked for: [`HostLimits`]; where else to ask: [`Mirror`].
//! - Requests to what is no registry: [`Http`], [`Body`], [`AnswerBody`]; what carries them: [`Transport`] under
//!   [`RequestTerms`].
//! - Credential helpers as processes: [`HelperPrograms`].
//! - Why it failed: [`RegistryError`] with [`Operation`] and [`Reason`]; [`HttpError`].
//!
//! Not here: who one is (see `registry-auth`), what a manifest says (see `cnb-layers`).
//! Specification: OCI distribution specification 1.1.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod agent;
mod answer;
mod authorization;
mod begun_uploads;
mod blob;
mod body;
mod cancellation;
mod client;
mod clock;
mod credentials;
mod descriptor;
mod error;
mod facts;
mod foreign;
mod go_json;
mod hashing;
mod helper_programs;
mod host_policy;
mod http_client;
mod http_error;
mod limits;
mod location;
mod mirror;
mod pace;
mod patience;
mod policy;
mod progress;
mod proxy;
mod push;
mod resolver;
mod retry;
mod retry_after;
mod session;
mod tags;
mod terms;
mod tls;
mod upload;
mod watched;

pub use blob::BlobReader;
pub use body::{AnswerBody, Body};
pub use cancellation::Cancellation;
pub use client::Client;
pub use clock::{Clock, SystemClock};
pub use descriptor::{Descriptor, RawManifest};
pub use error::{ClientError, Operation, Reason, RegistryError, ServerError};
pub use helper_programs::HelperPrograms;
pub use host_policy::{ClientCertificate, HostPolicy};
pub use http_client::{Http, Transport};
pub use http_error::{HttpError, HttpErrorKind};
pub use limits::HostLimits;
pub use mirror::Mirror;
pub use policy::{HttpPolicy, ProxyPolicy, RetryPolicy};
pub use progress::Progress;
pub use terms::RequestTerms;
pub use upload::{BlobUpload, StreamedUpload};
