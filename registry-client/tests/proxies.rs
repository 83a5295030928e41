//! Requests through a proxy that only knows `CONNECT`.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use registry_auth::{AnonymousKeychain, Repository};
use registry_client::{Client, HttpPolicy, ProxyPolicy, RetryPolicy};
use test_support::Registry;

/// Passes every tunnel on to `target`, whatever it asks for, and keeps the heads of the requests.
fn proxy(target: String) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let host = format!("127.0.0.1:{}", listener.local_addr().expect("an address").port());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (target, kept) = (target.clone(), Arc::clone(&kept));
            thread::spawn(move || tunnel(client, &target, &kept));
        }
    });
    (host, heads)
}

fn tunnel(client: TcpStream, target: &str, heads: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    heads.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    let server = TcpStream::connect(target)?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut up, mut down) = (server.try_clone()?, client);
    thread::spawn(move || io::copy(&mut reader, &mut up));
    io::copy(&mut &server, &mut down)?;
    Ok(())
}

fn policy(proxy: &str, no_proxy: &[&str]) -> HttpPolicy {
    HttpPolicy {
        proxy: ProxyPolicy {
            http: Some(format!("http://me:hunter2@{proxy}")),
            https: Some(format!("http://me:hunter2@{proxy}")),
            no_proxy: no_proxy.iter().map(|host| (*host).to_owned()).collect(),
        },
        plain_http_hosts: vec!["registry.invalid".to_owned()],
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    }
}

#[test]
fn a_registry_that_only_the_proxy_can_find_is_reached_through_it() {
    let registry = Registry::start().expect("docker-registry starts");
    let (host, heads) = proxy(registry.host());
    let repository: Repository = "registry.invalid:5000/team/app".parse().expect("a repository");
    let client = Client::new(policy(&host, &[]), Arc::new(AnonymousKeychain)).expect("the policy is good");
    client.check_write(&repository).expect("the proxy leads there");
    let heads = heads.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let head = heads[0].to_ascii_lowercase();
    assert!(head.starts_with("connect registry.invalid:5000 "), "{head}");
    assert!(head.contains("proxy-authorization: basic bwu6ahvudgvymg=="), "{head}");
}

#[test]
fn what_the_policy_excepts_and_this_machine_itself_are_reached_directly() {
    let registry = Registry::start().expect("docker-registry starts");
    let (host, heads) = proxy(registry.host());
    let client = Client::new(policy(&host, &[".invalid"]), Arc::new(AnonymousKeychain)).expect("the policy is good");
    let repository = |host: &str| -> Repository { format!("{host}/team/app").parse().expect("a repository") };
    let error = client
        .check_write(&repository("registry.invalid:5000"))
        .expect_err("there is no such host");
    assert!(
        error.status().is_none() && !format!("{error} {error:?}").contains("hunter2"),
        "{error}"
    );
    client
        .check_write(&repository(&registry.host()))
        .expect("it is on this machine");
    assert!(heads.lock().unwrap_or_else(PoisonError::into_inner).is_empty());
}
