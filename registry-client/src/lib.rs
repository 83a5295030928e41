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
//! - Operations: [`Client`]; what they give: [`Descriptor`], [`RawManifest`], [`BlobReader`], [`BlobUpload`].
//! - How connections are made: [`HttpPolicy`], [`ProxyPolicy`], [`RetryPolicy`], [`Clock`].
//! - Requests to what is no registry: [`Http`], [`Body`], [`AnswerBody`]; what carries them: [`Transport`].
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
mod blob;
mod body;
mod client;
mod clock;
mod descriptor;
mod error;
mod helper_programs;
mod http_client;
mod http_error;
mod location;
mod policy;
mod proxy;
mod push;
mod retry;
mod session;
mod tags;
mod tls;
mod upload;

pub use blob::BlobReader;
pub use body::{AnswerBody, Body};
pub use client::Client;
pub use clock::{Clock, SystemClock};
pub use descriptor::{Descriptor, RawManifest};
pub use error::{ClientError, Operation, Reason, RegistryError, ServerError};
pub use helper_programs::HelperPrograms;
pub use http_client::{Http, Transport};
pub use http_error::{HttpError, HttpErrorKind};
pub use policy::{HttpPolicy, ProxyPolicy, RetryPolicy};
pub use upload::BlobUpload;
