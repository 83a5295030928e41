//! What holds for one host only.

use std::fmt;

use registry_auth::Secret;

/// What holds for one host besides what holds for all.
#[derive(Clone, Debug, Default)]
pub struct HostPolicy {
    /// The host: `HOST` for every port, or `HOST:PORT`.
    pub host: String,
    /// Certificates (PEM) of authorities that are trusted for this host only.
    pub extra_ca_pems: Vec<Vec<u8>>,
    /// Who this machine is to this host, if it asks.
    pub client_certificate: Option<ClientCertificate>,
}

/// A certificate with its key, to be shown to a server that asks for one.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate (PEM), then those of the authorities between it and the one the server knows.
    pub chain_pem: Vec<u8>,
    /// The private key (PEM, not encrypted).
    pub key_pem: Secret,
}

/// The key is not shown.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate({} bytes, key ***)", self.chain_pem.len())
    }
}
