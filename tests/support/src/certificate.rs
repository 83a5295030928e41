//! A certificate authority of this process's own, for servers that speak TLS.

use std::{fs, io, path::Path};

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

    /// Writes `server.crt` and `server.key` for `localhost` and `127.0.0.1` into `folder`.
    ///
    /// # Errors
    /// When they can't be made or written.
    pub fn issue_into(&self, folder: &Path) -> io::Result<()> {
        let key = rcgen::KeyPair::generate().map_err(io::Error::other)?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let parameters = rcgen::CertificateParams::new(names).map_err(io::Error::other)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        fs::write(folder.join("server.crt"), certificate.pem())?;
        fs::write(folder.join("server.key"), key.serialize_pem())
    }
}
