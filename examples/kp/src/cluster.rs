//! The API server: get, list, create, patch, delete, watch.

use std::{
    env,
    io::{BufRead, BufReader, Read},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use http::{StatusCode, header::RETRY_AFTER};
use registry_client::ProxyPolicy;
use serde_json::{Value, json};

use crate::{agent::agent, kubeconfig::Connection, print::err};

/// A kind of resource as the API addresses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// What messages about its objects call it.
    pub(crate) said: &'static str,
    pub(crate) plural: &'static str,
    /// `kpack.io/v1alpha2` or `v1`.
    pub(crate) api_version: &'static str,
    pub(crate) namespaced: bool,
}

const KPACK: &str = "kpack.io/v1alpha2";
/// How often a request is sent again because the server asks for it.
const MOST_REPETITIONS: u32 = 10;

const fn kpack(name: &'static str, plural: &'static str, namespaced: bool) -> Kind {
    Kind {
        name,
        said: name,
        plural,
        api_version: KPACK,
        namespaced,
    }
}

const fn core(name: &'static str, plural: &'static str) -> Kind {
    Kind {
        name,
        said: name,
        plural,
        api_version: "v1",
        namespaced: true,
    }
}

pub(crate) const IMAGE: Kind = Kind {
    said: "Image Resource",
    ..kpack("Image", "images", true)
};
pub(crate) const BUILD: Kind = kpack("Build", "builds", true);
pub(crate) const BUILDER: Kind = kpack("Builder", "builders", true);
pub(crate) const CLUSTER_BUILDER: Kind = kpack("ClusterBuilder", "clusterbuilders", false);
pub(crate) const BUILDPACK: Kind = kpack("Buildpack", "buildpacks", true);
pub(crate) const CLUSTER_BUILDPACK: Kind = Kind {
    said: "Cluster Buildpack",
    ..kpack("ClusterBuildpack", "clusterbuildpacks", false)
};
pub(crate) const CLUSTER_STORE: Kind = kpack("ClusterStore", "clusterstores", false);
pub(crate) const CLUSTER_STACK: Kind = kpack("ClusterStack", "clusterstacks", false);
pub(crate) const CLUSTER_LIFECYCLE: Kind = kpack("ClusterLifecycle", "clusterlifecycles", false);
pub(crate) const SOURCE_RESOLVER: Kind = kpack("SourceResolver", "sourceresolvers", true);
pub(crate) const CONFIG_MAP: Kind = core("ConfigMap", "configmaps");
pub(crate) const SECRET: Kind = core("Secret", "secrets");
pub(crate) const SERVICE_ACCOUNT: Kind = core("ServiceAccount", "serviceaccounts");
pub(crate) const POD: Kind = core("Pod", "pods");

impl Kind {
    /// The error text that the API gives for an object that is not there.
    pub(crate) fn not_found(self, name: &str) -> anyhow::Error {
        match self.api_version.split_once('/') {
            Some((group, _)) => anyhow::anyhow!("{}.{group} \"{name}\" not found", self.plural),
            None => anyhow::anyhow!("{} \"{name}\" not found", self.plural),
        }
    }

    /// The path of the API that the kind belongs to.
    fn api(self) -> String {
        if self.api_version == "v1" {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}", self.api_version)
        }
    }

    /// The path of all objects of the kind: in a namespace, or everywhere.
    fn path(self, namespace: &str) -> String {
        let mut path = self.api();
        if self.namespaced && !namespace.is_empty() {
            path += &format!("/namespaces/{}", escape(namespace));
        }
        path + &format!("/{}", self.plural)
    }

    /// The path of one object.
    ///
    /// # Errors
    /// When the name would make it the path of something else: an empty one that of all objects.
    fn path_of(self, namespace: &str, name: &str) -> anyhow::Result<String> {
        check_name(name)?;
        Ok(format!("{}/{}", self.path(namespace), escape(name)))
    }
}

/// Refuses what is no part of a path, in the words of the API's own clients.
fn check_name(name: &str) -> anyhow::Result<()> {
    let problems: Vec<_> = match name {
        "" => bail!("resource name may not be empty"),
        "." | ".." => vec![format!("may not be '{name}'")],
        _ => ["/", "%"]
            .into_iter()
            .filter(|part| name.contains(part))
            .map(|part| format!("may not contain '{part}'"))
            .collect(),
    };
    if problems.is_empty() {
        return Ok(());
    }
    bail!(
        "invalid resource name {}: [{}]",
        cnb_order::go_quoted(name),
        problems.join(" ")
    )
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A connection to an API server.
pub(crate) struct Cluster {
    agent: ureq::Agent,
    connection: Connection,
}

/// Events of a watch, of which the server's own error is no event, until the server ends it.
pub(crate) struct Watch(BufReader<Box<dyn Read + Send>>);

impl Iterator for Watch {
    type Item = anyhow::Result<(String, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(read_event(&line)),
            Err(error) => Some(Err(error).context("the API server ended the watch")),
        }
    }
}

fn read_event(line: &str) -> anyhow::Result<(String, Value)> {
    let mut event: Value = serde_json::from_str(line).context("the API server sent a watch event that is not JSON")?;
    let kind = event["type"].as_str().unwrap_or_default().to_owned();
    let object = event["object"].take();
    if kind == "ERROR" {
        let message = object["message"].as_str().unwrap_or("no message");
        bail!("the API server ended the watch: {message}");
    }
    Ok((kind, object))
}

impl Cluster {
    /// Connects as the kubeconfig of the environment says; sends nothing yet.
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let connection = Connection::from_environment()?;
        // As other clients of API servers do, which know nothing of ALL_PROXY.
        let variable = |name: &str| (!name.eq_ignore_ascii_case("ALL_PROXY")).then(|| env::var(name).ok())?;
        let agent = agent(&connection, &ProxyPolicy::from_env(variable))?;
        Ok(Self { agent, connection })
    }

    /// Returns `given`, or the namespace of the current context.
    pub(crate) fn namespace<'a>(&'a self, given: &'a str) -> &'a str {
        if given.is_empty() {
            &self.connection.namespace
        } else {
            given
        }
    }

    /// Reads an object; `None` when it is not there.
    pub(crate) fn find(&self, kind: Kind, namespace: &str, name: &str) -> anyhow::Result<Option<Value>> {
        match self.call("GET", &kind.path_of(namespace, name)?, None)? {
            (404, status) if status["reason"] == "NotFound" || status["kind"] == "Status" => Ok(None),
            answer => accept(answer).map(Some),
        }
    }

    /// Reads an object that must be there.
    pub(crate) fn get(&self, kind: Kind, namespace: &str, name: &str) -> anyhow::Result<Value> {
        self.find(kind, namespace, name)?.ok_or_else(|| kind.not_found(name))
    }

    /// Lists the objects of a namespace (of all, when it is empty), optionally by label selector.
    pub(crate) fn list(&self, kind: Kind, namespace: &str, selector: &str) -> anyhow::Result<Vec<Value>> {
        let query = match selector {
            "" => String::new(),
            selector => format!("labelSelector={}", escape(selector)),
        };
        self.list_by(kind, namespace, &query)
    }

    /// Lists the objects of a namespace (of all, when it is empty) that a query selects.
    pub(crate) fn list_by(&self, kind: Kind, namespace: &str, query: &str) -> anyhow::Result<Vec<Value>> {
        let mut path = kind.path(namespace);
        if !query.is_empty() {
            path += &format!("?{query}");
        }
        let mut list = accept(self.call("GET", &path, None)?)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            _ => Ok(Vec::new()),
        }
    }

    /// Fails when the server does not serve the API of a kind.
    pub(crate) fn check_serves(&self, kind: Kind) -> anyhow::Result<()> {
        accept(self.call("GET", &kind.api(), None)?).map(drop)
    }

    /// Creates an object, which carries its own apiVersion, kind and metadata.
    pub(crate) fn create(&self, kind: Kind, namespace: &str, object: &Value) -> anyhow::Result<Value> {
        accept(self.call("POST", &kind.path(namespace), Some(("application/json", object)))?)
    }

    /// Sends a JSON merge patch.
    pub(crate) fn patch(&self, kind: Kind, namespace: &str, name: &str, patch: &Value) -> anyhow::Result<Value> {
        let path = kind.path_of(namespace, name)?;
        accept(self.call("PATCH", &path, Some(("application/merge-patch+json", patch)))?)
    }

    /// Deletes an object.
    pub(crate) fn delete(&self, kind: Kind, namespace: &str, name: &str) -> anyhow::Result<()> {
        let body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        match self.call(
            "DELETE",
            &kind.path_of(namespace, name)?,
            Some(("application/json", &body)),
        )? {
            (404, _) => Err(kind.not_found(name)),
            answer => accept(answer).map(drop),
        }
    }

    /// Watches a kind: without `version` it starts with what is there.
    pub(crate) fn watch(
        &self,
        kind: Kind,
        namespace: &str,
        query: &str,
        version: Option<&str>,
    ) -> anyhow::Result<Watch> {
        let mut path = format!("{}?watch=true", kind.path(namespace));
        if !query.is_empty() {
            path += &format!("&{query}");
        }
        if let Some(version) = version {
            path += &format!("&resourceVersion={version}");
        }
        self.stream(&path).map(|body| Watch(BufReader::new(body)))
    }

    /// Opens the log of a container and follows it to its end.
    pub(crate) fn logs(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        timestamps: bool,
    ) -> anyhow::Result<impl Read> {
        let path = format!(
            "{}/log?container={}&follow=true&timestamps={timestamps}",
            POD.path_of(namespace, pod)?,
            escape(container)
        );
        self.stream(&path)
    }

    /// A selector query of the given labels: `labelSelector=a%3Db%2Cc%3Dd`.
    pub(crate) fn by_labels(labels: &[(&str, &str)]) -> String {
        let text: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("labelSelector={}", escape(&text.join(",")))
    }

    /// A field query that selects one object by name.
    pub(crate) fn by_name(name: &str) -> String {
        format!("fieldSelector={}", escape(&format!("metadata.name={name}")))
    }

    fn stream(&self, path: &str) -> anyhow::Result<Box<dyn Read + Send>> {
        let response = self.send("GET", path, None)?;
        if response.status().is_success() {
            return Ok(Box::new(response.into_body().into_reader()));
        }
        let status = response.status().as_u16();
        let text = response.into_body().read_to_string().unwrap_or_default();
        Err(
            accept((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
                .err()
                .unwrap_or_else(|| anyhow::anyhow!("the API server answered {status} to a request for {path}")),
        )
    }

    fn call(&self, method: &str, path: &str, body: Option<(&str, &Value)>) -> anyhow::Result<(u16, Value)> {
        let response = self.send(method, path, body)?;
        let status = response.status().as_u16();
        let text = response
            .into_body()
            .with_config()
            .limit(256 << 20)
            .read_to_string()
            .with_context(|| format!("cannot read the answer of {}", self.connection.server))?;
        let answer = serde_json::from_str(&text).unwrap_or(Value::String(text));
        // Of what it serves, it says in JSON that it is not there.
        if status == 404 && !answer.is_object() && path.starts_with("/apis/kpack.io/") {
            bail!(
                "kpack.io group not found: is kpack installed in {}?",
                self.connection.server
            );
        }
        Ok((status, answer))
    }

    /// Sends a request, and sends it again when the server asks for that, as one does that has too much to do.
    fn send(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> anyhow::Result<http::Response<ureq::Body>> {
        for _ in 0..MOST_REPETITIONS {
            let response = self.send_once(method, path, body)?;
            match asked_to_wait(&response) {
                Some(wait) => {
                    let (server, seconds) = (&self.connection.server, wait.as_secs());
                    err(&format!(
                        "the API server {server} answers {} and asks to wait; trying again in {seconds} s\n",
                        response.status()
                    ));
                    thread::sleep(wait);
                }
                None => return Ok(response),
            }
        }
        self.send_once(method, path, body)
    }

    fn send_once(
        &self,
        method: &str,
        path: &str,
        body: Option<(&str, &Value)>,
    ) -> anyhow::Result<http::Response<ureq::Body>> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.connection.server))
            .header("Accept", "application/json");
        if let Some(authorization) = &self.connection.authorization {
            request = request.header("Authorization", authorization);
        }
        let unreachable = || {
            format!(
                "cannot reach the API server {}; is kpackd running, and KUBECONFIG the file that it wrote?",
                self.connection.server
            )
        };
        let malformed = || {
            format!(
                "no request can be made of {} and its credentials",
                self.connection.server
            )
        };
        match body {
            Some((media_type, value)) => {
                let request = request
                    .header("Content-Type", media_type)
                    .body(serde_json::to_vec(value)?)
                    .with_context(malformed)?;
                // DELETE with a body is what every client of this API sends.
                let request = self
                    .agent
                    .configure_request(request)
                    .allow_non_standard_methods(true)
                    .build();
                self.agent.run(request).with_context(unreachable)
            }
            None => self
                .agent
                .run(request.body(()).with_context(malformed)?)
                .with_context(unreachable),
        }
    }
}

/// How long to wait before the same request is sent again; at most a minute. Clients of this API go by seconds alone.
fn asked_to_wait<B>(response: &http::Response<B>) -> Option<Duration> {
    let status = response.status();
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    let asks = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    asks.then(|| Duration::from_secs(seconds).min(Duration::from_secs(60)))
}

/// The object of a good answer, or the API's own message.
fn accept((status, body): (u16, Value)) -> anyhow::Result<Value> {
    if (200..300).contains(&status) {
        return Ok(body);
    }
    match (body["message"].as_str(), &body) {
        (Some(message), _) => bail!("{message}"),
        (None, Value::String(text)) if !text.trim().is_empty() => {
            bail!("the API server answered {status}: {}", text.trim())
        }
        _ => bail!("the API server answered {status}"),
    }
}

/// Computes the JSON merge patch (RFC 7386) that makes `new` of `old`.
pub(crate) fn merge_patch(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else {
        return new.clone();
    };
    let mut patch = serde_json::Map::new();
    for (key, before) in old {
        match new.get(key) {
            None => drop(patch.insert(key.clone(), Value::Null)),
            Some(after) if after == before => {}
            Some(after) => drop(patch.insert(key.clone(), merge_patch(before, after))),
        }
    }
    for (key, after) in new {
        if !old.contains_key(key) {
            patch.insert(key.clone(), after.clone());
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_patch_holds_only_what_differs() {
        let old = json!({"spec": {"a": 1, "b": {"c": 2}}, "keep": true});
        let new = json!({"spec": {"a": 1, "b": {"d": 3}}, "keep": true, "list": [1]});
        assert_eq!(
            merge_patch(&old, &new),
            json!({"spec": {"b": {"c": null, "d": 3}}, "list": [1]})
        );
        assert_eq!(merge_patch(&old, &old), json!({}));
    }

    #[test]
    fn an_error_that_a_server_sends_among_the_events_ends_a_watch() {
        let events = concat!(
            r#"{"type":"ADDED","object":{"kind":"Pod"}}"#,
            "\n",
            r#"{"type":"ERROR","object":{"kind":"Status","message":"too old resource version","code":410}}"#,
            "\n",
        );
        let mut watch = Watch(BufReader::new(Box::new(events.as_bytes())));
        let (kind, object) = watch.next().expect("there is one").expect("it is an event");
        assert_eq!((kind.as_str(), object), ("ADDED", json!({"kind": "Pod"})));
        let error = watch.next().expect("there is another").expect_err("it is an error");
        assert_eq!(
            error.to_string(),
            "the API server ended the watch: too old resource version"
        );
        assert!(watch.next().is_none());
    }

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(
            IMAGE.path_of("demo", "a").expect("a name"),
            "/apis/kpack.io/v1alpha2/namespaces/demo/images/a"
        );
        assert_eq!(CLUSTER_STORE.path(""), "/apis/kpack.io/v1alpha2/clusterstores");
        assert_eq!(POD.path(""), "/api/v1/pods");
    }

    #[test]
    fn a_name_that_would_lead_to_another_path_is_refused() {
        for (name, words) in [
            ("", "resource name may not be empty"),
            (".", "invalid resource name \".\": [may not be '.']"),
            ("..", "invalid resource name \"..\": [may not be '..']"),
            (
                "%/",
                "invalid resource name \"%/\": [may not contain '/' may not contain '%']",
            ),
        ] {
            let error = CLUSTER_STORE.path_of("", name).expect_err(name);
            assert_eq!(error.to_string(), words);
        }
    }

    /// A connection to whoever listens.
    fn connected(listener: &std::net::TcpListener) -> Cluster {
        let address = listener.local_addr().expect("it is bound");
        Cluster {
            agent: ureq::Agent::config_builder()
                .http_status_as_error(false)
                .build()
                .new_agent(),
            connection: Connection {
                server: format!("http://{address}"),
                ..Connection::default()
            },
        }
    }

    /// A connection to a server that gives these answers, one after the other.
    fn answering(answers: &'static [&'static str]) -> (Cluster, thread::JoinHandle<()>) {
        use std::io::Write as _;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let cluster = connected(&listener);
        let server = thread::spawn(move || {
            for answer in answers {
                let (mut caller, _) = listener.accept().expect("somebody calls");
                let mut request = BufReader::new(caller.try_clone().expect("it is a socket")).lines();
                while request
                    .next()
                    .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                {}
                caller
                    .write_all(format!("HTTP/1.1 {answer}").as_bytes())
                    .expect("it listens");
            }
        });
        (cluster, server)
    }

    #[test]
    fn a_server_without_kpack_is_told_from_one_without_the_object() {
        const NOT_FOUND: &str = "404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\n404\n";
        let (cluster, server) = answering(&[NOT_FOUND; 2]);
        for error in [
            cluster.find(IMAGE, "demo", "a").err(),
            cluster.check_serves(IMAGE).err(),
        ] {
            let error = error.expect("there is no kpack").to_string();
            assert!(error.starts_with("kpack.io group not found"), "{error}");
        }
        server.join().expect("it answers");
    }

    #[test]
    fn a_request_is_sent_again_when_the_server_asks_for_that_only() {
        const BUSY: &str = "429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        const FAILED: &str = "503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        const GOOD: &str = "200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let (cluster, server) = answering(&[BUSY, BUSY, GOOD, FAILED]);
        cluster.get(IMAGE, "demo", "a").expect("the third answer is good");
        let error = cluster
            .get(IMAGE, "demo", "a")
            .expect_err("nothing is said of another time");
        assert_eq!(error.to_string(), "the API server answered 503");
        server.join().expect("it answers");

        let (cluster, server) = answering(&[BUSY; 11]);
        let error = cluster.get(IMAGE, "demo", "a").expect_err("it is busy for ever");
        assert_eq!(error.to_string(), "the API server answered 429");
        server.join().expect("it has given all answers");
    }

    #[test]
    fn nothing_is_sent_about_an_object_without_a_name() {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("it is a socket");
        let cluster = connected(&listener);
        for error in [
            cluster.find(IMAGE, "demo", "").err(),
            cluster.get(IMAGE, "demo", "").err(),
            cluster.patch(IMAGE, "demo", "", &json!({})).err(),
            cluster.delete(IMAGE, "demo", "").err(),
            cluster.logs("demo", "", "build", false).err(),
        ] {
            assert_eq!(
                error.expect("it is refused").to_string(),
                "resource name may not be empty"
            );
        }
        let nobody = listener.accept().expect_err("nobody called");
        assert_eq!(nobody.kind(), std::io::ErrorKind::WouldBlock);
    }
}
