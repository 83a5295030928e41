//! TLS over a connection, with authorities of the caller's besides the built-in ones.

use std::{
    collections::HashMap,
    fmt,
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use registry_auth::Origin;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::{
    host_policy::ClientCertificate,
    http_error::{HttpError, HttpErrorKind},
    patience,
    session::lock,
};

/// Makes the configuration that trusts the built-in authorities and those in `pems`.
pub(crate) fn verifying(pems: &[&[u8]], own: Option<&ClientCertificate>) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(TrustListed::new(pems, &provider)?);
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| HttpError::new("TLS", HttpErrorKind::Policy).because(error))?;
    with_client(builder.dangerous().with_custom_certificate_verifier(verifier), own)
}

/// Trusts a server that an authority vouches for, and one whose own certificate is listed among those of authorities.
///
/// A small registry signs its certificate itself, often as one that may sign others (as `openssl req -x509` makes them).
/// Go takes such a one from a server when it is listed, webpki never.
#[derive(Debug)]
struct TrustListed {
    authorities: Arc<WebPkiServerVerifier>,
    listed: Vec<CertificateDer<'static>>,
}

impl TrustListed {
    fn new(pems: &[&[u8]], provider: &Arc<CryptoProvider>) -> Result<Self, HttpError> {
        let listed = listed(pems)?;
        let mut roots = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        roots.add_parsable_certificates(listed.iter().cloned());
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
        let authorities = authorities.map_err(|error| HttpError::new("TLS", HttpErrorKind::Policy).because(error))?;
        Ok(Self { authorities, listed })
    }
}

impl ServerCertVerifier for TrustListed {
    fn verify_server_cert(
        &self,
        server: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let checked = self.authorities.verify_server_cert(server, chain, name, ocsp, now);
        match checked {
            // Its time has been looked at before this is found.
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(problem)))
                if problem.to_string() == "CaUsedAsEndEntity" && self.listed.contains(server) =>
            {
                verify_server_name(&ParsedCertificate::try_from(server)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Reads the certificates of authorities; each text must have one that can be used.
fn listed(pems: &[&[u8]]) -> Result<Vec<CertificateDer<'static>>, HttpError> {
    let refused = |text: &str| HttpError::new("extra certificates", HttpErrorKind::Policy).because(text.to_owned());
    let mut listed = Vec::new();
    for pem in pems {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|_| refused("a certificate is not well-formed PEM"))?;
        if certificates.is_empty() {
            return Err(refused(
                "a text holds no certificate; it must have lines of BEGIN and END CERTIFICATE",
            ));
        }
        // Bundles of machines hold old certificates that can't be used; the others still count.
        let (usable, _) = RootCertStore::empty().add_parsable_certificates(certificates.iter().cloned());
        if usable == 0 {
            return Err(refused("no certificate can be used as that of an authority"));
        }
        listed.extend(certificates);
    }
    Ok(listed)
}

/// Adds the certificate that the other side may ask for.
fn with_client(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    own: Option<&ClientCertificate>,
) -> Result<ClientConfig, HttpError> {
    let Some(own) = own else {
        return Ok(builder.with_no_client_auth());
    };
    // No cause is shown: it might quote the key.
    let refused = |text: &str| HttpError::new("client certificate", HttpErrorKind::Policy).because(text.to_owned());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&own.chain_pem).collect();
    let chain = chain.map_err(|_| refused("the certificate is not well-formed PEM"))?;
    if chain.is_empty() {
        return Err(refused(
            "there is no certificate; it must have lines of BEGIN and END CERTIFICATE",
        ));
    }
    let key = PrivateKeyDer::from_pem_slice(own.key_pem.expose().as_bytes());
    let key = key.map_err(|_| refused("the key is not well-formed PEM, or is encrypted"))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|_| refused("the key is not one for the certificate"))
}

/// Makes the configuration that trusts every certificate.
pub(crate) fn trusting(own: Option<&ClientCertificate>) -> Result<ClientConfig, HttpError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| HttpError::new("TLS", HttpErrorKind::Policy).because(error))?;
    let verifier = Arc::new(TrustEveryone(provider));
    with_client(builder.dangerous().with_custom_certificate_verifier(verifier), own)
}

/// Checks signatures, so that the key belongs to the certificate, but not whose certificate it is.
#[derive(Debug)]
struct TrustEveryone(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustEveryone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Wraps the connections to `https` addresses.
pub(crate) struct TlsConnector {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) shown: Arc<Shown>,
}

/// The certificates (DER) that each server, `HOST:PORT`, showed last.
pub(crate) type Shown = Mutex<HashMap<String, Vec<Vec<u8>>>>;

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsConnector")
    }
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else {
            return Err(ureq::Error::ConnectionFailed);
        };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name =
            ServerName::try_from(host).map_err(|_| ureq::Error::Tls("the host's name can't be in a certificate"))?;
        let mut connection = ClientConnection::new(Arc::clone(&self.config), name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        // Connecting has taken a part of the time.
        patience::connecting(details, || connection.complete_io(&mut socket))?;
        if let (Some(shown), Ok(server)) = (connection.peer_certificates(), Origin::of(details.uri)) {
            let shown = shown.iter().map(|certificate| certificate.to_vec()).collect();
            lock(&self.shown).insert(format!("{}:{}", server.host(), server.port()), shown);
        }
        let config = details.config;
        Ok(Some(Either::B(TlsTransport {
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            stream: StreamOwned::new(connection, socket),
        })))
    }
}

/// A connection protected by TLS.
pub(crate) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsTransport")
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        self.stream.write_all(&self.buffers.output()[..amount])?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// What `openssl req -x509` made for `registry.test`, valid from 2026-11-27 for ten years; it may sign others.
    const SELF_SIGNED: &[u8] = b"-----BEGIN CERTIFICATE-----
MIIBoDCCAUWgAwIBAgIUALvB2Bn6swAw2aFaiGrh5yuk4OwwCgYIKoZIzj0EAwIw
GDEWMBQGA1UEAwwNcmVnaXN0cnkudGVzdDAeFw0yNjExMjcxNjE3NDJaFw0zNjEx
MjQxNjE3NDJaMBgxFjAUBgNVBAMMDXJlZ2lzdHJ5LnRlc3QwWTATBgcqhkjOPQIB
BggqhkjOPQMBBwNCAARq0CJRvkM0NnRbwLVdAqOKnwWyTnxrznR1B/zIMow2RWvk
THSVyNrBy4W1jVtkAWugR1dEZGSujK2XtsXYcprWo20wazAdBgNVHQ4EFgQUA8tv
Yit8+PPX7e1VCg7ANrGA85cwHwYDVR0jBBgwFoAUA8tvYit8+PPX7e1VCg7ANrGA
85cwDwYDVR0TAQH/BAUwAwEB/zAYBgNVHREEETAPgg1yZWdpc3RyeS50ZXN0MAoG
CCqGSM49BAMCA0kAMEYCIQDYXVVYOE14IaVyhfr8+nKWdt6Iu0Mm/+tcSm4L2QoV
AgIhALFS5Enzwy7uussMYb9mfWiVTjjzclcp0pSlRtofisSv
-----END CERTIFICATE-----
";
    const IN_2030: u64 = 1_900_000_000;

    /// What is said of a server with this certificate.
    fn verified(listed: &[&[u8]], name: &str, seconds: u64) -> Result<(), rustls::Error> {
        let trust = TrustListed::new(listed, &Arc::new(ring::default_provider())).expect("it is a certificate");
        let server = CertificateDer::from_pem_slice(SELF_SIGNED).expect("it is a certificate");
        let name = ServerName::try_from(name).expect("it is a name");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        trust.verify_server_cert(&server, &[], &name, &[], now).map(|_| ())
    }

    #[test]
    fn a_certificate_that_a_registry_signed_itself_is_trusted_when_it_is_listed() {
        assert_eq!(verified(&[SELF_SIGNED], "registry.test", IN_2030), Ok(()));
        assert!(verified(&[], "registry.test", IN_2030).is_err());
    }

    #[test]
    fn a_listed_certificate_serves_its_own_name_in_its_own_time_only() {
        let problem = |name: &str, seconds: u64| match verified(&[SELF_SIGNED], name, seconds) {
            Err(rustls::Error::InvalidCertificate(problem)) => format!("{problem:?}"),
            other => panic!("{other:?}"),
        };
        assert!(problem("other.test", IN_2030).starts_with("NotValidForName"));
        assert!(problem("registry.test", IN_2030 * 2).starts_with("Expired"));
        assert!(problem("registry.test", 0).starts_with("NotValidYet"));
    }
}
