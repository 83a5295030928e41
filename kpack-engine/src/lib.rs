//! Keeps every image up to date: resources in, container images in a registry out.
#![forbid(unsafe_code)]

pub mod engine;
pub mod kind;
pub mod logs;
pub mod object;
pub mod programs;
pub mod protobuf;
pub mod reconcile;
pub mod runner;
pub mod server;
pub mod store;
