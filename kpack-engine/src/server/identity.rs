//! Who the server is and who may ask: its certificate authority, its certificate, its token.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls::crypto::SecureRandom;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::StartServerError;
use super::private_file;

/// The files of the identity, made once and kept, so that clients stay able to connect.
pub(super) struct Identity {
    /// PEM of the authority that clients trust.
    pub(super) authority: String,
    /// The bearer token.
    pub(super) token: String,
    /// What TLS needs.
    pub(super) tls: Arc<rustls::ServerConfig>,
}

impl Identity {
    /// Reads the identity in `dir`, or makes it; the server's own certificate is new each time.
    pub(super) fn load_or_make(dir: &Path, address: IpAddr) -> Result<Self, StartServerError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| StartServerError::Identity { path, source }
        };
        private_file::make_dir(dir).map_err(failed(dir))?;
        let (certificate, key) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !certificate.exists() || !key.exists() {
            let (pem, key_pem) = new_authority()?;
            private_file::write(&key, key_pem.as_bytes()).map_err(failed(&key))?;
            private_file::write(&certificate, pem.as_bytes()).map_err(failed(&certificate))?;
        }
        let authority = fs::read_to_string(&certificate).map_err(failed(&certificate))?;
        let authority_key = fs::read_to_string(&key).map_err(failed(&key))?;
        let tls = server_config(&authority_key, address)?;
        let token_file = dir.join("token");
        if !token_file.exists() {
            private_file::write(&token_file, new_token()?.as_bytes()).map_err(failed(&token_file))?;
        }
        let token = fs::read_to_string(&token_file)
            .map_err(failed(&token_file))?
            .trim()
            .to_owned();
        if token.len() < 32 {
            let source = io::Error::new(io::ErrorKind::InvalidData, "the token is too short: remove the file");
            return Err(StartServerError::Identity {
                path: token_file,
                source,
            });
        }
        Ok(Self { authority, token, tls })
    }
}

fn new_authority() -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate()?;
    let certificate = authority_params().self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Always the same, so that the key alone is enough to sign as this authority.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kpackd");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params);
    params
}

fn server_config(authority_key: &str, address: IpAddr) -> Result<Arc<rustls::ServerConfig>, StartServerError> {
    let issuer = Issuer::new(authority_params(), KeyPair::from_pem(authority_key)?);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, "kpackd server");
    for address in [
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        address,
    ] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params);
    let certificate = params.signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|source| StartServerError::Tls { source })?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(|source| StartServerError::Tls { source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// From long ago to far ahead: the clock of the machine must not matter to a loopback server.
fn set_validity(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
}

fn new_token() -> Result<String, StartServerError> {
    let mut bytes = [0; 32];
    let random: &dyn SecureRandom = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bytes).map_err(|_| StartServerError::Randomness)?;
    let (high, low) = bytes.split_at(16);
    let hex = |half: &[u8]| format!("{:032x}", u128::from_be_bytes(std::array::from_fn(|index| half[index])));
    Ok(hex(high) + &hex(low))
}
