//! Counting requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cnb_layers::RegistryStore;
use http::{Request, Response};
use registry_auth::AnonymousKeychain;
use registry_client::{AnswerBody, Body, Client, Http, HttpError, HttpPolicy, Transport};

/// Passes requests on and counts them.
struct Counting {
    inner: Http,
    count: Arc<AtomicU64>,
}

impl Transport for Counting {
    fn send(&self, request: Request<Body>) -> Result<Response<AnswerBody>, HttpError> {
        self.count.fetch_add(1, Ordering::Relaxed);
        if std::env::var_os("SHOW_REQUESTS").is_some() {
            eprintln!("{} {}", request.method(), request.uri());
        }
        self.inner.send(request)
    }
}

/// Makes a store of registries, spoken to over plain http, whose requests are counted.
pub(crate) fn registries(hosts: &[&str]) -> (RegistryStore, Arc<AtomicU64>) {
    let policy = HttpPolicy {
        plain_http_hosts: hosts.iter().map(ToString::to_string).collect(),
        ..HttpPolicy::default()
    };
    let count = Arc::new(AtomicU64::new(0));
    let inner = Http::new(&policy).expect("the policy is sound");
    let counting = Counting {
        inner,
        count: count.clone(),
    };
    let http = Http::with_transport(&policy, Arc::new(counting));
    let client = Client::with_http(http, Arc::new(AnonymousKeychain));
    (RegistryStore::new(client), count)
}
