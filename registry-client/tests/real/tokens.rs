//! Registries that send clients to a token server.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use registry_auth::{AnonymousKeychain, Repository};
use registry_client::{Client, Clock, HttpPolicy};
use test_support::{FaultProxy, Registry, RegistryOptions, TokenServer, TokenServerOptions};

use crate::image::{anonymous, at, client_of, policy, pull_image, push, push_image, read, tagged};

fn with_tokens(options: &TokenServerOptions<'_>) -> (TokenServer, Registry) {
    let tokens = TokenServer::with_options(options).expect("a token server");
    let registry = Registry::with_options(&RegistryOptions {
        token_server: Some(&tokens),
        ..RegistryOptions::default()
    });
    (tokens, registry.expect("docker-registry starts"))
}

fn user(repository: &Repository) -> Client {
    client_of(policy(), repository, "user", "pass")
}

/// The scopes of each request to the token server.
fn asked(tokens: &TokenServer) -> Vec<String> {
    let scopes = |request: &test_support::Request| request.query("scope").join(" ") + &request.form("scope").join(" ");
    tokens.requests().iter().map(scopes).collect()
}

#[test]
fn an_image_is_pushed_and_pulled_with_one_token_for_each_scope() {
    let (tokens, registry) = with_tokens(&TokenServerOptions::default());
    let repository = at(&registry.host(), "team/app");
    let client = user(&repository);
    let image = push_image(&client, &repository, "v1");
    assert_eq!(asked(&tokens), ["repository:team/app:pull,push"]);
    assert!(pull_image(&client, &tagged(&repository, "v1")).is_ok());
    assert_eq!(client.tags(&repository).expect("it answers"), ["v1"]);
    assert_eq!(asked(&tokens).len(), 1, "what allows to push allows to pull");
    client
        .delete(&tagged(&repository, "v1").with_digest(&image))
        .expect("it is deleted");
    assert_eq!(asked(&tokens).len(), 2);
    assert!(asked(&tokens)[1].contains("delete"), "{:?}", asked(&tokens));
}

#[test]
fn a_mount_asks_for_both_repositories_in_one_token() {
    let (tokens, registry) = with_tokens(&TokenServerOptions::default());
    let (from, to) = (at(&registry.host(), "base/run"), at(&registry.host(), "team/app"));
    let blob = push(&user(&from), &from, b"layer");
    let client = user(&to);
    let before = asked(&tokens).len();
    assert!(client.mount_blob(&from, &to, &blob).expect("it answers"));
    assert_eq!(asked(&tokens).len() - before, 1);
    assert_eq!(read(&client, &to, &blob), b"layer");
}

#[test]
fn anyone_may_pull_what_is_public_and_nobody_what_is_forbidden() {
    let (tokens, registry) = with_tokens(&TokenServerOptions::default());
    let (public, team) = (at(&registry.host(), "public/app"), at(&registry.host(), "team/app"));
    for repository in [&public, &team] {
        push_image(&user(repository), repository, "v1");
    }
    assert!(pull_image(&anonymous(), &tagged(&public, "v1")).is_ok());
    let asks_with_password = |at: usize| tokens.requests()[at].header("authorization").is_some();
    assert!(!asks_with_password(tokens.requests().len() - 1));
    for refused in [
        anonymous().check_write(&public),
        anonymous().check_read(&tagged(&team, "v1")),
        user(&team).check_read(&tagged(&at(&registry.host(), "forbidden/app"), "v1")),
        client_of(policy(), &team, "user", "wrong").check_read(&tagged(&team, "v1")),
    ] {
        let error = refused.expect_err("it is not allowed");
        assert!(error.is_unauthorized() && !error.is_retryable(), "{error}");
        assert!(!format!("{error} {error:?}").contains("wrong\""), "{error:?}");
    }
}

#[test]
fn a_token_that_the_registry_finds_expired_is_replaced_once() {
    let (tokens, registry) = with_tokens(&TokenServerOptions::default());
    let repository = at(&registry.host(), "team/app");
    let client = user(&repository);
    client.tags(&repository).expect_err("there is no such repository yet");
    tokens.expire_next(1);
    push_image(&client, &repository, "v1");
    assert_eq!(asked(&tokens).len(), 3);
    tokens.expire_next(100);
    let other = at(&registry.host(), "team/other");
    let error = client.check_write(&other).expect_err("every token has expired");
    assert!(error.is_unauthorized() && !error.is_retryable(), "{error}");
    assert_eq!(asked(&tokens).len(), 5, "it is not asked for ever");
}

/// Starts now and goes on when told to.
#[derive(Clone)]
struct Settable(Arc<Mutex<SystemTime>>);

impl fmt::Debug for Settable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settable")
    }
}

impl Clock for Settable {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

#[test]
fn a_token_near_its_end_is_renewed_before_the_registry_refuses_it() {
    // The registry's clock is the machine's and goes on while the client's stands still, so that for the registry the
    // token must live longer than this test may take.
    let (tokens, registry) = with_tokens(&TokenServerOptions {
        lifetime: Duration::from_secs(86_400),
        announced_lifetime: Some(Duration::from_secs(100)),
        ..TokenServerOptions::default()
    });
    let proxy = FaultProxy::start(&registry.host()).expect("a proxy");
    let repository = at(&proxy.host(), "team/app");
    let clock = Settable(Arc::new(Mutex::new(SystemTime::now())));
    let policy = HttpPolicy {
        clock: Arc::new(clock.clone()),
        ..policy()
    };
    let client = client_of(policy, &repository, "user", "pass");
    push_image(&client, &repository, "v1");
    let (asked_before, seen_before) = (asked(&tokens).len(), proxy.requests().len());
    assert_eq!(client.tags(&repository).expect("it answers"), ["v1"]);
    clock.sleep(Duration::from_secs(101));
    assert_eq!(client.tags(&repository).expect("it answers"), ["v1"]);
    assert_eq!(asked(&tokens).len() - asked_before, 1);
    assert_eq!(proxy.requests().len() - seen_before, 2, "none is refused");
}

#[test]
fn a_refresh_token_is_used_instead_of_the_password_until_it_is_refused() {
    let (tokens, registry) = with_tokens(&TokenServerOptions {
        refresh_tokens: true,
        ..TokenServerOptions::default()
    });
    let (one, two, three) = (
        at(&registry.host(), "team/one"),
        at(&registry.host(), "team/two"),
        at(&registry.host(), "team/three"),
    );
    let client = user(&one);
    for repository in [&one, &two] {
        push_image(&client, repository, "v1");
    }
    tokens.forget_refresh_tokens();
    push_image(&client, &three, "v1");
    let kinds: Vec<_> = tokens
        .requests()
        .iter()
        .map(|request| match request.header("authorization") {
            Some(_) => "password",
            None if request.holds("refresh_token=") => "refresh",
            None => "nothing",
        })
        .collect();
    assert_eq!(kinds, ["password", "refresh", "refresh", "password"]);
}

#[test]
fn clients_in_many_threads_share_one_token() {
    let (tokens, registry) = with_tokens(&TokenServerOptions::default());
    let repository = at(&registry.host(), "public/app");
    push_image(&user(&repository), &repository, "v1");
    let client = Client::new(policy(), Arc::new(AnonymousKeychain)).expect("the policy is good");
    let before = asked(&tokens).len();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| pull_image(&client, &tagged(&repository, "v1")).expect("it is whole"));
        }
    });
    let more = asked(&tokens).len() - before;
    assert_eq!(more, 1, "the first asks, the others wait for it");
}
