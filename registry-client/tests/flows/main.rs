//! Recorded exchanges of the reference client, done by ours against a real registry: the same results, and no
//! more requests.

mod documents;
mod operations;
#[path = "../page/mod.rs"]
mod page;
mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
};

use registry_auth::{AnonymousKeychain, Credential, Keychain, StaticKeychain};
use registry_client::{Client, Http, HttpPolicy, RetryPolicy};
use serde_json::Value;
use test_support::{Authority, Registry, RegistryOptions};

use documents::Documents;
use operations::{Outcome, run};
use page::assert_page;
use stage::{REGISTRY, Stage, Still};

fn keychain(auth: &Value) -> Arc<dyn Keychain> {
    let text = |key: &str| auth[key].as_str().unwrap_or_default();
    if auth.is_null() {
        return Arc::new(AnonymousKeychain);
    }
    let credential = Credential::basic(text("username"), text("password"))
        .with_identity_token(text("identitytoken"))
        .with_registry_token(text("registrytoken"));
    Arc::new(StaticKeychain::new().with(REGISTRY.parse().expect("a registry"), credential))
}

/// Tells how one step ended differently.
fn difference(found: &Outcome, expected: &Value, stage: &Stage) -> Option<String> {
    match (found, expected.get("error")) {
        (Ok(_), Some(error)) => Some(format!("succeeded instead of {error}")),
        (Err(failure), None) => Some(format!("failed: {}", failure.text)),
        (Ok(found), None) => {
            let wanted: Value = serde_json::from_str(&stage.fill(&expected.to_string())).expect("JSON");
            let fields = wanted.as_object().into_iter().flatten();
            let wrong =
                fields.filter(|(field, wanted)| *field != "op" && differs(field, &found[field.as_str()], wanted));
            let wrong: Vec<_> = wrong
                .map(|(field, wanted)| format!("{field} {}, not {wanted}", found[field]))
                .collect();
            (!wrong.is_empty()).then(|| wrong.join(", "))
        }
        (Err(failure), Some(_)) => {
            let status = expected["status"].as_u64();
            let codes: Vec<_> = expected["codes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if status.is_some() && failure.status != status {
                return Some(format!(
                    "failed with {:?}, not {status:?}: {}",
                    failure.status, failure.text
                ));
            }
            let head_only = failure.codes.is_empty();
            (!head_only && !codes.is_empty() && failure.codes != codes)
                .then(|| format!("codes {:?}, not {codes:?}", failure.codes))
        }
    }
}

/// Fields whose value only the reference tells so.
fn differs(field: &str, found: &Value, wanted: &Value) -> bool {
    let sorted = |value: &Value| {
        let mut texts: Vec<_> = value.as_array().into_iter().flatten().map(Value::to_string).collect();
        texts.sort();
        texts
    };
    match field {
        // In the registry's order, which is none.
        "tags" | "repositories" => sorted(found) != sorted(wanted),
        _ => found != wanted,
    }
}

/// Where the cases are played: a registry with TLS and one without, and how they are reached.
struct Theatre {
    plain: Registry,
    encrypted: Registry,
    trusting: Http,
    distrusting: Http,
    policy: HttpPolicy,
    /// What was put in place for cases that only read, and where.
    filled: Mutex<BTreeMap<String, String>>,
}

impl Theatre {
    fn open(retry: RetryPolicy) -> Self {
        let authority = Authority::new().expect("an authority");
        let encrypted = Registry::with_options(&RegistryOptions {
            tls: Some(&authority),
            ..RegistryOptions::default()
        });
        let policy = HttpPolicy {
            retry,
            clock: Arc::new(Still::default()),
            ..HttpPolicy::default()
        };
        let trusting = HttpPolicy {
            extra_ca_pems: vec![authority.pem().as_bytes().to_vec()],
            ..policy.clone()
        };
        Self {
            plain: Registry::start().expect("docker-registry starts"),
            encrypted: encrypted.expect("docker-registry starts"),
            trusting: Http::new(&trusting).expect("the policy is good"),
            distrusting: Http::new(&policy).expect("the policy is good"),
            policy,
            filled: Mutex::default(),
        }
    }

    /// Puts in place what a case finds, and returns where; cases that only read share it.
    fn fill(&self, case: &Value, prefix: &str, documents: &Documents) -> String {
        const READS: [&str; 9] = [
            "get",
            "head",
            "image",
            "index",
            "layer",
            "list",
            "verify_read",
            "referrers",
            "kpack_fetch",
        ];
        let steps = case["steps"].as_array().expect("there are steps");
        let only_reads = steps.iter().all(|step| READS.iter().any(|op| step["op"] == *op));
        let given = format!("{} {}", case["mode"] == "tls", case["given"]);
        let mut filled = self.filled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = filled.get(&given).filter(|_| only_reads) {
            return known.clone();
        }
        let mut quiet = case.clone();
        (quiet["faults"], quiet["no_ca"]) = (Value::Null, Value::Null);
        if case["mode"] != "tls" {
            quiet["mode"] = "anon".into();
        }
        let stage = self.stage(&quiet, prefix, documents);
        let client = self.client(&stage, Arc::new(AnonymousKeychain));
        for step in case["given"].as_array().into_iter().flatten() {
            run(&client, step, &stage, documents).expect("the registry is filled");
        }
        if only_reads {
            filled.insert(given, prefix.to_owned());
        }
        prefix.to_owned()
    }

    fn stage(&self, case: &Value, prefix: &str, documents: &Documents) -> Arc<Stage> {
        let base = match case["mode"] == "tls" {
            true => format!("https://{}", self.encrypted.host()),
            false => format!("http://{}", self.plain.host()),
        };
        let real = match case["no_ca"] == true {
            true => &self.distrusting,
            false => &self.trusting,
        };
        Arc::new(Stage::new(real, &base, prefix, case, &documents.digests))
    }

    fn client(&self, stage: &Arc<Stage>, keychain: Arc<dyn Keychain>) -> Client {
        Client::with_http(Http::with_transport(&self.policy, Arc::clone(stage) as _), keychain)
    }
}

/// How one case went.
struct Played {
    wrong: String,
    requests: u64,
    lines: Vec<String>,
}

fn play(theatre: &Theatre, case: &Value, out: &str, prefix: &str, documents: &Documents) -> Played {
    let prefix = theatre.fill(case, prefix, documents);
    let stage = theatre.stage(case, &prefix, documents);
    let shared = theatre.client(&stage, keychain(&case["auth"]));
    let mut wrong = String::new();
    let results = case[out]["results"].as_array().expect("there are results");
    for (step, expected) in case["steps"].as_array().into_iter().flatten().zip(results) {
        let own = theatre.client(&stage, keychain(&case["auth"]));
        let client = if case["reuse"] == true { &shared } else { &own };
        let mut step = step.clone();
        step["streamed"] = STREAMED.iter().any(|name| case["name"] == *name).into();
        if let Some(difference) = difference(&run(client, &step, &stage, documents), expected, &stage) {
            write!(wrong, " {}: {difference};", step["op"]).expect("a String takes every write");
        }
    }
    for seen in stage.seen() {
        let secret = seen.authorization.is_some();
        let at_home = seen.host == REGISTRY || seen.host == stage::AUTH;
        assert!(!secret || at_home, "{}: {seen:?}", case["name"]);
    }
    let line = |seen: &stage::Seen| format!("{} {}", seen.host, seen.line);
    Played {
        wrong,
        requests: stage.seen().len() as u64,
        lines: stage.seen().iter().map(line).collect(),
    }
}

#[test]
fn recorded_exchanges_end_alike_with_no_more_requests() {
    let flows: Value = serde_json::from_str(include_str!("../fixtures/registry/flows.json")).expect("JSON");
    let documents = Documents::read(&flows);
    let tries = RetryPolicy {
        attempts: 3,
        ..RetryPolicy::default()
    };
    let theatre = Theatre::open(tries.clone());
    let differences: BTreeMap<&str, &str> = DIFFERENCES.iter().copied().collect();
    let (mut report, mut alike, mut unused) = (String::new(), BTreeSet::new(), differences.clone());
    let (mut done, mut ours_all, mut theirs_all) = (0, 0, 0);
    let mut table = String::new();
    for (at, case) in flows["cases"].as_array().expect("there are cases").iter().enumerate() {
        let name = case["name"].as_str().expect("a name");
        let lists_all = case["steps"][0]["op"] == "catalog";
        // What lists all repositories must be alone.
        let played = match lists_all {
            true => play(&Theatre::open(tries.clone()), case, "out", "", &documents),
            false => play(&theatre, case, "out", &format!("case{at}"), &documents),
        };
        let (ours, theirs) = (played.requests, case["out"]["requests"].as_u64().expect("a number"));
        let mut wrong = played.wrong;
        // Where the reference gives up early, going on costs requests.
        let results = case["out"]["results"].as_array().into_iter().flatten();
        let succeeded = results.into_iter().all(|result| result.get("error").is_none());
        if ours > theirs && succeeded {
            write!(wrong, " {ours} requests, not {theirs};").expect("a String takes every write");
        }
        done += 1;
        let difference = differences.get(name);
        if wrong.is_empty() {
            (ours_all, theirs_all) = (ours_all + ours, theirs_all + theirs);
            alike.insert(name);
        } else if difference.is_some() {
            let as_told = match name {
                REFUSED => wrong.contains(" failed: "),
                _ => wrong.contains(" succeeded instead of "),
            };
            assert!(as_told, "{name}:{wrong}");
            unused.remove(name);
        } else {
            writeln!(report, "{name}:{wrong}\n    {}", played.lines.join("\n    "))
                .expect("a String takes every write");
        }
        let note = difference.copied().unwrap_or_default();
        writeln!(table, "| {name} | {theirs} | {ours} | {note} |").expect("a String takes every write");
    }
    assert!(report.is_empty(), "{report}");
    assert!(unused.is_empty(), "these end alike: {unused:?}");
    assert_eq!((done, alike.len() + differences.len()), (269, 269));
    writeln!(
        table,
        "\n{} end alike: {theirs_all} requests of the reference, {ours_all} here.",
        alike.len()
    )
    .expect("a String takes every write");
    assert_page("docs/requests.md", "|---|--:|--:|---|\n", &table);
    assert!(
        ours_all * 100 < theirs_all * 80,
        "{ours_all} requests, {theirs_all} by the reference"
    );
}

/// kpack's older client, whose retries can be chosen.
#[test]
fn where_kpacks_client_differs_its_retries_are_followed() {
    let flows: Value = serde_json::from_str(include_str!("../fixtures/registry/flows.json")).expect("JSON");
    let documents = Documents::read(&flows);
    let theatre = Theatre::open(RetryPolicy::kpack());
    let (mut report, mut done, mut unused) = (String::new(), 0, BTreeSet::from(NOT_KPACKS.map(|(name, _)| name)));
    for (at, case) in flows["cases"].as_array().expect("there are cases").iter().enumerate() {
        let name = case["name"].as_str().expect("a name");
        if case["out_kpack"]["results"].is_null() || DIFFERENCES.iter().any(|(known, _)| *known == name) {
            continue;
        }
        done += 1;
        let played = play(&theatre, case, "out_kpack", &format!("kpack{at}"), &documents);
        if !played.wrong.is_empty() && !unused.remove(name) {
            writeln!(report, "{name}:{}\n    {}", played.wrong, played.lines.join("\n    "))
                .expect("a String takes every write");
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(unused.is_empty(), "these end alike: {unused:?}");
    assert!(done > 20, "{done}");
}

/// Where kpack's client is not followed, and why.
const NOT_KPACKS: [(&str, &str); 3] = [
    ("list-tags-link-to-other-host", "it asks the other host"),
    ("ping-429-once", "nothing is asked before the question itself"),
    ("blob-longer-than-it-should-be", "it takes more bytes than the blob has"),
];

/// Cases about the answer to a `PATCH`, which only blobs of unknown size are sent in here.
const STREAMED: [&str; 5] = [
    "patch-without-location",
    "patch-answers-200",
    "patch-answers-201",
    "patch-answers-202",
    "patch-answers-204",
];

/// Cases that end differently here, and why. The reference fails in all of them and this client does not, but for
/// [`REFUSED`], where it is the other way round.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "token-expired-in-the-middle-of-a-push-at-patch",
        "the reference can't send a body twice; here the blob is sent again with a new token",
    ),
    (
        "token-expired-at-manifest-put",
        "the same: the manifest is sent again with a new token",
    ),
    (
        "blob-redirect-to-private-address",
        "`localhost` is in a private network itself, so it may lead there; no credential goes along. A public registry may not",
    ),
    ("upload-location-private-address", "the same for an upload"),
    (
        "patch-400-blob-upload-unknown-once",
        "the blob is at hand, so an upload that the registry forgot is made anew",
    ),
    (
        "ping-500-for-ever",
        "`GET /v2/` is not asked: the question itself is, and it is answered",
    ),
    ("blob-truncated", "the rest is asked for, and the digest is right"),
    ("manifest-truncated", "it is asked for again, and whole then"),
    (
        REFUSED,
        "other bytes than the registry itself announced are not taken; the reference looks only where a digest was asked for",
    ),
    (
        "head-without-docker-content-digest",
        "the manifest is read instead, and its digest taken",
    ),
    (
        "head-without-content-type",
        "the digest is what is asked for; the type is empty then",
    ),
    (
        "head-without-content-length",
        "the digest is what is asked for; the size is `None` then",
    ),
    (
        "head-bad-digest-header",
        "a malformed digest is none: the manifest is read instead",
    ),
];

const REFUSED: &str = "manifest-wrong-digest-header-by-tag";
