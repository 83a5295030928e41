//! Registries behind a forward proxy.

use std::sync::Arc;

use registry_auth::AnonymousKeychain;
use registry_client::{Client, HttpPolicy, ProxyPolicy};
use test_support::{Authority, ForwardProxy, Registry, RegistryOptions};

use crate::image::{at, policy, pull_image, push_image, tagged};

fn proxied(proxy: &str, no_proxy: &[&str]) -> HttpPolicy {
    HttpPolicy {
        proxy: ProxyPolicy {
            http: Some(format!("http://me:hunter2@{proxy}")),
            https: Some(format!("http://me:hunter2@{proxy}")),
            no_proxy: no_proxy.iter().map(|host| (*host).to_owned()).collect(),
        },
        plain_http_hosts: vec!["registry.invalid".to_owned()],
        ..policy()
    }
}

#[test]
fn a_registry_that_only_the_proxy_can_find_is_reached_through_it() {
    let registry = Registry::start().expect("docker-registry starts");
    let proxy = ForwardProxy::start(&registry.host()).expect("a proxy");
    let repository = at("registry.invalid:5000", "team/app");
    let client = Client::new(proxied(&proxy.host(), &[]), Arc::new(AnonymousKeychain)).expect("the policy is good");
    push_image(&client, &repository, "v1");
    assert!(pull_image(&client, &tagged(&repository, "v1")).is_ok());
    for request in proxy.requests() {
        assert_eq!(
            (request.method.as_str(), request.target.as_str()),
            ("CONNECT", "registry.invalid:5000")
        );
        assert_eq!(
            request.header("proxy-authorization"),
            Some("Basic bWU6aHVudGVyMg=="),
            "{request:?}"
        );
    }
    assert!(!proxy.requests().is_empty());
}

#[test]
fn tls_goes_through_the_proxy_to_the_registry_itself() {
    let authority = Authority::new().expect("an authority");
    let registry = Registry::with_options(&RegistryOptions {
        tls: Some(&authority),
        ..RegistryOptions::default()
    });
    let registry = registry.expect("docker-registry starts");
    let proxy = ForwardProxy::start(&registry.host()).expect("a proxy");
    let policy = HttpPolicy {
        extra_ca_pems: vec![authority.pem().as_bytes().to_vec()],
        ..proxied(&proxy.host(), &[])
    };
    let client = Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is good");
    let repository = at("registry.test", "team/app");
    push_image(&client, &repository, "v1");
    assert!(pull_image(&client, &tagged(&repository, "v1")).is_ok());
    let asked: Vec<_> = proxy.requests().into_iter().map(|request| request.target).collect();
    assert!(
        !asked.is_empty() && asked.iter().all(|target| target == "registry.test:443"),
        "{asked:?}"
    );
    let error = client
        .check_write(&at("other.test", "team/app"))
        .expect_err("the certificate is not for this name");
    assert!(error.status().is_none(), "{error}");
}

#[test]
fn what_the_policy_excepts_and_this_machine_itself_are_reached_directly() {
    let registry = Registry::start().expect("docker-registry starts");
    let proxy = ForwardProxy::start(&registry.host()).expect("a proxy");
    let policy = proxied(&proxy.host(), &[".invalid"]);
    let client = Client::new(policy, Arc::new(AnonymousKeychain)).expect("the policy is good");
    let error = client
        .check_write(&at("registry.invalid:5000", "team/app"))
        .expect_err("there is no such host");
    assert!(
        error.status().is_none() && !format!("{error} {error:?}").contains("hunter2"),
        "{error}"
    );
    client
        .check_write(&at(&registry.host(), "team/app"))
        .expect("it is on this machine");
    assert_eq!(proxy.requests(), []);
}
