//! Keeps every image up to date: resources in, container images in a registry out.
//!
//! The engine holds kpack's resources (and the few core kinds they need), serves them on a
//! Kubernetes-shaped API, reconciles them, and runs the pods of builds in a sandbox.
//!
//! - What is held: [`Object`], of a [`Kind`], selected by a [`Selector`].
//! - The one interface to it: [`Resources`] with [`ObjectList`], [`WatchFilter`], [`Watch`],
//!   [`WatchEvent`]; why it refuses: [`ApiError`].
//! - On files: [`store::Store`]. On HTTPS: [`server::Server`].
//! - What happens to objects: [`reconcile`]. What happens to pods: [`runner`], with their [`logs`] and the
//!   [`programs`] that run in them.
//! - All of it together: [`engine::Engine`].
//!
//! ```
//! use kpack_engine::{Kind, Object, Selector};
//!
//! let mut build = Object::new(Kind::Build, Some("demo"), "shop-build-1");
//! build.set_label("image.kpack.io/image", "shop");
//! let selector = Selector::parse(Kind::Build, "image.kpack.io/image in (shop, tea)", "")?;
//! assert!(selector.matches(&build));
//! # Ok::<(), kpack_engine::ApiError>(())
//! ```
//!
//! Not here: what a builder is made of (`cnb-order`, `cnb-layers`), whether to build (`rebuild-policy`),
//! how to get source (`source-fetch`).
//! Specification: Kubernetes API conventions; kpack 0.17.2.
#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, reason = "a test that cannot go on should fail there")
)]

pub mod engine;
pub mod logs;
pub mod programs;
pub mod reconcile;
pub mod runner;
pub mod server;
pub mod store;

mod api_error;
mod kind;
mod object;
mod protobuf;
mod resources;
mod selector;

pub use api_error::{ApiError, Cause};
pub use kind::Kind;
pub use object::{InvalidObject, Object, Owner, ResourceVersion};
pub use resources::{Change, ObjectList, Resources, Watch, WatchEvent, WatchFilter, WatchSource};
pub use selector::Selector;
