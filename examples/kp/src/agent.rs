//! The way to an API server: what is trusted there, what is shown there, and through which proxy it goes.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use registry_auth::Origin;
use registry_client::ProxyPolicy;
use ureq::{
    Agent, Proxy, ProxyProtocol,
    tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig},
};

use crate::kubeconfig::Connection;

/// Makes what sends requests over a connection; sends nothing yet.
pub(crate) fn agent(connection: &Connection, environment: &ProxyPolicy) -> anyhow::Result<Agent> {
    let proxy = proxy(connection, environment)?;
    let mut tls = TlsConfig::builder().disable_verification(connection.skip_verify);
    if let Some(pem) = &connection.authority {
        let certificates = certificates(pem);
        if certificates.is_empty() {
            bail!("the certificate authority of the kubeconfig holds no certificate");
        }
        tls = tls.root_certs(RootCerts::Specific(Arc::new(certificates)));
    }
    if let Some((certificate, key)) = &connection.client_certificate {
        let chain = certificates(certificate);
        if chain.is_empty() {
            bail!("the client certificate of the kubeconfig is not PEM");
        }
        let key = PrivateKey::from_pem(key).context("the client key of the kubeconfig")?;
        tls = tls.client_cert(Some(ClientCert::new_with_certs(&chain, key)));
    }
    let config = Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent("kp")
        .timeout_connect(Some(Duration::from_secs(10)))
        .proxy(proxy)
        .build();
    Ok(config.new_agent())
}

/// The proxy on the way to the server: that of the kubeconfig, else that of the environment.
fn proxy(connection: &Connection, environment: &ProxyPolicy) -> anyhow::Result<Option<Proxy>> {
    let server = connection.server.parse().ok();
    let origin = server.and_then(|server| Origin::of(&server).ok());
    let usual = || environment.proxy_of(origin.as_ref()?);
    let chosen = connection.proxy.as_deref().or_else(usual);
    // The address may hold a password.
    let proxy = chosen.map(Proxy::new).transpose();
    let proxy = proxy.map_err(|_| anyhow!("the address of the proxy to the API server is malformed"))?;
    match proxy.as_ref().map(Proxy::protocol) {
        None | Some(ProxyProtocol::Http | ProxyProtocol::Https) => Ok(proxy),
        Some(other) => bail!(
            "{other:?} proxies to the API server are not supported; give one with http:// or https:// in the kubeconfig's \
             proxy-url or in HTTPS_PROXY"
        ),
    }
}

/// The certificates in a PEM text.
fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = ureq::tls::parse_pem(pem).filter_map(Result::ok);
    let certificates = items.filter_map(|item| match item {
        ureq::tls::PemItem::Certificate(certificate) => Some(certificate),
        _ => None,
    });
    certificates.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_reached_through_the_proxy_of_the_kubeconfig_or_of_the_environment() {
        let environment = ProxyPolicy {
            https: Some("http://usual.example:3128".to_owned()),
            no_proxy: vec!["near.example".to_owned()],
            ..ProxyPolicy::default()
        };
        for (server, named, host) in [
            ("https://api.example:6443", None, Some("usual.example")),
            ("https://api.example", Some("http://own.example:1"), Some("own.example")),
            ("https://near.example:6443", None, None),
            ("https://127.0.0.1:6443", None, None),
        ] {
            let connection = Connection {
                server: server.to_owned(),
                proxy: named.map(str::to_owned),
                ..Connection::default()
            };
            let proxy = proxy(&connection, &environment).expect("it is an address");
            assert_eq!(proxy.as_ref().map(Proxy::host), host, "{server}");
        }
        for address in ["ftp://me:s3cret@x", "socks5://me:s3cret@x:1"] {
            let connection = Connection {
                proxy: Some(address.to_owned()),
                ..Connection::default()
            };
            let error = agent(&connection, &environment).expect_err("no proxy speaks so");
            assert!(!format!("{error:#}").contains("s3cret"), "{error:#}");
        }
    }

    #[test]
    fn all_certificates_of_a_chain_are_read() {
        let authority = || test_support::Authority::new().expect("an authority");
        let chain = [authority().pem(), authority().pem(), "and something else"].concat();
        assert_eq!(certificates(chain.as_bytes()).len(), 2);
        assert!(certificates(b"nothing").is_empty());
    }
}
