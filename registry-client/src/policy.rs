//! How connections are made, and how hard it is tried.

use std::{fmt, sync::Arc, time::Duration};

use registry_auth::RealmPolicy;

use crate::{
    clock::{Clock, SystemClock},
    host_policy::HostPolicy,
    limits::HostLimits,
    mirror::Mirror,
};

/// How connections are made: one value for everything that speaks http.
///
/// # Examples
/// ```
/// use registry_client::HttpPolicy;
///
/// let policy = HttpPolicy {
///     plain_http_hosts: vec!["registry.test:5000".to_owned()],
///     ..HttpPolicy::default()
/// };
/// assert_eq!(policy.retry.attempts, 4);
/// ```
#[derive(Clone)]
pub struct HttpPolicy {
    /// The `User-Agent` header.
    pub user_agent: String,
    /// How long looking up a name, connecting and agreeing on TLS may take.
    pub connect_timeout: Duration,
    /// How long a connection may stand still: waiting for an answer, or in the middle of a body in either direction. What
    /// comes of a body without a byte for whoever reads it is standing still, too.
    pub idle_timeout: Duration,
    /// The fewest bytes a second that a body must come or go with, averaged over each `idle_timeout` that is spent
    /// waiting for the other side. A slower server counts as one that does not answer.
    pub lowest_rate: u64,
    /// How long an operation may take altogether, attempts and waits included, unless it moves a blob.
    ///
    /// Blobs take as long as they are large; [`Client::with_time_limit`](crate::Client::with_time_limit) limits them.
    pub operation_timeout: Duration,
    /// Certificates (PEM, each text one or more) of authorities trusted besides the built-in ones; a registry that shows one
    /// of these as its own is trusted, too.
    pub extra_ca_pems: Vec<Vec<u8>>,
    /// Hosts (`HOST` for every port, or `HOST:PORT`) that are spoken to with plain http only.
    pub plain_http_hosts: Vec<String>,
    /// Hosts whose certificate is not checked and that may speak plain http instead.
    pub insecure_hosts: Vec<String>,
    /// What holds for single hosts besides: authorities, client certificates. The first entry that fits counts.
    pub hosts: Vec<HostPolicy>,
    /// How much a host (`HOST`, `HOST:PORT`, or `*` for all that have no own entry) is asked for at a time.
    pub limits: Vec<(String, HostLimits)>,
    /// Where manifests and blobs of a registry are asked for before the registry itself.
    pub mirrors: Vec<Mirror>,
    /// The proxies; none by default, whatever the environment says.
    pub proxy: ProxyPolicy,
    /// When and how often a failed request is tried again.
    pub retry: RetryPolicy,
    /// Which token servers get credentials besides those of the registry's own domain.
    pub realms: RealmPolicy,
    /// How many bytes of a blob of unknown size are sent in one request, and so held in memory.
    pub upload_chunk: usize,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

impl Default for HttpPolicy {
    fn default() -> Self {
        Self {
            user_agent: concat!("kpack-flow/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(15),
            idle_timeout: Duration::from_secs(120),
            lowest_rate: 1 << 10,
            operation_timeout: Duration::from_secs(600),
            extra_ca_pems: Vec::new(),
            hosts: Vec::new(),
            limits: Vec::new(),
            mirrors: Vec::new(),
            plain_http_hosts: Vec::new(),
            insecure_hosts: Vec::new(),
            proxy: ProxyPolicy::default(),
            retry: RetryPolicy::default(),
            realms: RealmPolicy::default(),
            upload_chunk: 8 << 20,
            clock: Arc::new(SystemClock),
        }
    }
}

impl HttpPolicy {
    /// Tells whether `host` (`NAME` or `NAME:PORT`) is in `list`.
    pub(crate) fn lists(list: &[String], host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => name,
            _ => host,
        };
        list.iter()
            .any(|listed| listed.eq_ignore_ascii_case(host) || listed.eq_ignore_ascii_case(name))
    }

    /// Finds what holds for `host` (`NAME:PORT`) alone: its place among the entries.
    pub(crate) fn host_place(&self, host: &str) -> Option<usize> {
        let fits = |own: &HostPolicy| Self::lists(std::slice::from_ref(&own.host), host);
        self.hosts.iter().position(fits)
    }
}

impl fmt::Debug for HttpPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpPolicy")
            .field("user_agent", &self.user_agent)
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("extra_ca_pems", &self.extra_ca_pems.len())
            .field("plain_http_hosts", &self.plain_http_hosts)
            .field("insecure_hosts", &self.insecure_hosts)
            .field("lowest_rate", &self.lowest_rate)
            .field("operation_timeout", &self.operation_timeout)
            .field("hosts", &self.hosts)
            .field("limits", &self.limits)
            .field("mirrors", &self.mirrors)
            .field("proxy", &self.proxy)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// Which proxies are used for which requests.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyPolicy {
    /// The proxy of requests to `http://` addresses, such as `http://proxy.example.com:3128`; `http` or `https`, not SOCKS.
    pub http: Option<String>,
    /// The proxy of requests to `https://` addresses.
    pub https: Option<String>,
    /// Hosts, domains (`.example.com`) that are reached directly, as in `NO_PROXY`; loopback always is.
    pub no_proxy: Vec<String>,
}

impl ProxyPolicy {
    /// Takes the proxies from the usual environment variables (lower case first), which `variable` looks up; an empty one
    /// counts as not set, and so does an `ALL_PROXY` that speaks SOCKS, which is there for other programs.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let find = |name: &str| set(&name.to_ascii_lowercase()).or_else(|| set(name));
        let no_proxy = find("NO_PROXY").unwrap_or_default();
        let no_proxy = no_proxy.split(',').map(str::trim).filter(|host| !host.is_empty());
        let speaks_socks = |proxy: &String| proxy.to_ascii_lowercase().starts_with("socks");
        let for_all = || find("ALL_PROXY").filter(|proxy| !speaks_socks(proxy));
        Self {
            http: find("HTTP_PROXY").or_else(for_all),
            https: find("HTTPS_PROXY").or_else(for_all),
            no_proxy: no_proxy.map(str::to_owned).collect(),
        }
    }
}

/// Proxies may hold a password, so only their hosts are shown.
impl fmt::Debug for ProxyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = |proxy: &Option<String>| {
            let proxy = proxy.as_ref()?;
            Some(
                proxy
                    .rsplit_once('@')
                    .map_or(proxy.as_str(), |(_, host)| host)
                    .to_owned(),
            )
        };
        f.debug_struct("ProxyPolicy")
            .field("http", &host(&self.http))
            .field("https", &host(&self.https))
            .field("no_proxy", &self.no_proxy)
            .finish()
    }
}

/// When and how often a failed request is tried again.
///
/// Tried again are: connections that fail or break, and the statuses 408, 429, 499, 500, 502, 503, 504 and 522.
/// A `Retry-After` (seconds or a date) is obeyed when it fits into the budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often a request is sent at most, the first time included.
    pub attempts: u32,
    /// The wait before the second attempt; each further wait is three times as long.
    pub first_wait: Duration,
    /// How long all waits of one operation may be together.
    pub budget: Duration,
    /// Whether a request is tried again that was one too many (429).
    pub too_many_requests: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 4,
            first_wait: Duration::from_millis(500),
            budget: Duration::from_secs(120),
            too_many_requests: true,
        }
    }
}

impl RetryPolicy {
    /// Never tries again.
    pub fn never() -> Self {
        Self {
            attempts: 1,
            ..Self::default()
        }
    }

    /// Tries again as kpack's own client does: three times, a tenth of a second apart at first, and never after a 429.
    pub fn kpack() -> Self {
        Self {
            attempts: 3,
            first_wait: Duration::from_millis(100),
            too_many_requests: false,
            ..Self::default()
        }
    }
}
