//! A certificate authority of this process's own, for servers that speak TLS.

use std::{fs, io, path::Path, sync::Arc};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// An authority that can sign certificates of loopback servers.
pub struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes a new authority.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn new() -> io::Result<Self> {
        let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "kpack-flow tests");
        parameters.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let certificate = parameters.self_signed(&key).map_err(io::Error::other)?;
        Ok(Self {
            pem: certificate.pem(),
            issuer: rcgen::Issuer::new(parameters, key),
        })
    }

    /// Returns the authority's own certificate as PEM, which clients must be told to trust.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes `server.crt` and `server.key` for `localhost`, `127.0.0.1` and `registry.test` into `folder`.
    ///
    /// # Errors
    /// When they can't be made or written.
    pub fn issue_into(&self, folder: &Path) -> io::Result<()> {
        let (certificate, key) = self.issue()?;
        fs::write(folder.join("server.crt"), certificate)?;
        fs::write(folder.join("server.key"), key)
    }

    /// Makes the TLS side of a server with such a certificate.
    pub(crate) fn server_config(&self) -> io::Result<Arc<rustls::ServerConfig>> {
        let (certificate, key) = self.issue()?;
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .map_err(io::Error::other)?;
        Ok(Arc::new(config))
    }

    /// Returns a new certificate and its key, both PEM.
    fn issue(&self) -> io::Result<(String, String)> {
        let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        let names = ["localhost", "127.0.0.1", "127.0.0.2", "registry.test"]
            .map(str::to_owned)
            .to_vec();
        let parameters = rcgen::CertificateParams::new(names).map_err(io::Error::other)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }
}
