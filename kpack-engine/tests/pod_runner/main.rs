//! Real pods of real images in real sandboxes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should fail there")]

mod containment;
mod crash;
mod credentials;
mod pods;
mod volumes;
mod world;
