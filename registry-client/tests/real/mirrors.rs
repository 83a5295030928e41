//! A registry that fetches from another one what it is asked for.

use std::sync::Arc;

use registry_auth::AnonymousKeychain;
use registry_client::Client;
use test_support::{Registry, RegistryOptions, TokenServer};

use crate::image::{anonymous, at, client_of, policy, pull_image, push_image, tagged};

fn mirror(of: &Registry, login: Option<(&str, &str)>) -> Registry {
    let address = format!("http://{}", of.host());
    let options = RegistryOptions {
        mirror_of: Some((&address, login)),
        ..RegistryOptions::default()
    };
    Registry::with_options(&options).expect("docker-registry starts")
}

#[test]
fn what_the_upstream_has_is_read_through_the_mirror_and_stays_when_the_upstream_is_gone() {
    let mut upstream = Registry::start().expect("docker-registry starts");
    let origin = at(&upstream.host(), "library/app");
    let image = push_image(&anonymous(), &origin, "v1");
    let mirror = mirror(&upstream, None);
    let mirrored = tagged(&at(&mirror.host(), "library/app"), "v1");
    let client = Client::new(policy(), Arc::new(AnonymousKeychain)).expect("the policy is good");
    let size = pull_image(&client, &mirrored).expect("it is whole");
    assert_eq!(Some(size), pull_image(&client, &tagged(&origin, "v1")).ok());
    upstream.pause();
    let pinned = mirrored.with_digest(&image);
    assert_eq!(pull_image(&client, &pinned).ok(), Some(size));
}

#[test]
fn a_mirror_takes_nothing() {
    let upstream = Registry::start().expect("docker-registry starts");
    let mirror = mirror(&upstream, None);
    let error = anonymous()
        .check_write(&at(&mirror.host(), "library/app"))
        .expect_err("it only reads");
    assert_eq!(
        (error.status(), error.codes()),
        (Some(405), vec!["UNSUPPORTED"]),
        "{error}"
    );
}

#[test]
fn the_password_of_the_upstream_is_the_mirrors_own_matter() {
    let tokens = TokenServer::start().expect("a token server");
    let upstream = Registry::with_options(&RegistryOptions {
        token_server: Some(&tokens),
        ..RegistryOptions::default()
    });
    let upstream = upstream.expect("docker-registry starts");
    let origin = at(&upstream.host(), "library/app");
    push_image(&client_of(policy(), &origin, "user", "pass"), &origin, "v1");
    let mirror = mirror(&upstream, Some(("user", "pass")));
    let mirrored = tagged(&at(&mirror.host(), "library/app"), "v1");
    assert!(pull_image(&anonymous(), &mirrored).is_ok());
    assert!(anonymous().check_read(&tagged(&origin, "v1")).is_err());
}
