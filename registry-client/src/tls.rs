//! TLS over a connection, with authorities of the caller's besides the built-in ones.

use std::{
    collections::HashMap,
    fmt,
    io::{Read, Write},
    sync::{Arc, Mutex},
};

use registry_auth::Origin;
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, StreamOwned,
    client::{
        WantsClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
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
    let refused = |text: &str| HttpError::new("extra certificates", HttpErrorKind::Policy).because(text.to_owned());
    let mut roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    for pem in pems {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|_| refused("a certificate is not well-formed PEM"))?;
        if certificates.is_empty() {
            return Err(refused(
                "a text holds no certificate; it must have lines of BEGIN and END CERTIFICATE",
            ));
        }
        // Bundles of machines hold old certificates that can't be used; the others still count.
        let (added, _) = roots.add_parsable_certificates(certificates);
        if added == 0 {
            return Err(refused("no certificate can be used as that of an authority"));
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| HttpError::new("TLS", HttpErrorKind::Policy).because(error))?;
    with_client(builder.with_root_certificates(roots), own)
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
