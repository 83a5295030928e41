//! [`Server`]: the resources on a Kubernetes-shaped API over HTTPS.

/// The running server.
#[derive(Debug)]
pub struct Server {}
