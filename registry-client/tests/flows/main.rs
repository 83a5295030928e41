//! Recorded exchanges of the reference client, done by ours against a real registry: the same results, and no
//! more requests.

mod stage;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Read},
    sync::Arc,
};

use registry_auth::{AnonymousKeychain, Credential, Digest, Keychain, Reference, Repository, StaticKeychain};
use registry_client::{Client, Http, HttpPolicy, RegistryError, RetryPolicy};
use serde_json::Value;
use test_support::Registry;

use stage::{REGISTRY, Stage, Still};

/// Operations of other layers: they are composed of those here.
const NOT_HERE: &[&str] = &[
    "append",
    "catalog",
    "kpack_save",
    "kpack_fetch",
    "multi_write",
    "referrers",
    "write_index",
];

struct Documents {
    images: Vec<(Value, String, String)>,
    digests: BTreeMap<String, String>,
}

impl Documents {
    fn read(flows: &Value) -> Self {
        let images = flows["images"].as_object().expect("there are images");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let images = images
            .values()
            .map(|image| (image["spec"].clone(), text(&image["config"]), text(&image["manifest"])));
        let digests = flows["digests"].as_object().expect("there are digests");
        Self {
            images: images.collect(),
            digests: digests
                .iter()
                .map(|(digest, name)| (text(name), digest.clone()))
                .collect(),
        }
    }

    fn image(&self, spec: &Value) -> Option<&(Value, String, String)> {
        self.images.iter().find(|(known, _, _)| known == spec)
    }
}

type Outcome = Result<String, Failure>;

#[derive(Debug)]
struct Failure {
    status: Option<u64>,
    codes: Vec<String>,
    text: String,
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self {
            status: error.status().map(u64::from),
            codes: error.codes().into_iter().map(str::to_owned).collect(),
            text: error.to_string(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self {
            status: None,
            codes: Vec::new(),
            text: error.to_string(),
        }
    }
}

fn not_found() -> Failure {
    Failure {
        status: Some(404),
        codes: Vec::new(),
        text: "not found".to_owned(),
    }
}

fn push_blob(client: &Client, to: &Repository, bytes: &[u8]) -> Result<(), RegistryError> {
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    client.push_blob(to, &digest(bytes), bytes.len() as u64, &mut open)
}

fn digest(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_sha256_bytes(sha2::Sha256::digest(bytes).into())
}

/// Pushes an image as the reference does: nothing if it is there, else blobs, then the manifest.
fn write(client: &Client, reference: &Reference, (spec, config, manifest): &(Value, String, String)) -> Outcome {
    let wanted = digest(manifest.as_bytes());
    // Whoever may push may have no right to look.
    match client.head(reference) {
        Ok(Some(found)) if found.digest == wanted => return Ok(wanted.to_string()),
        Ok(_) => {}
        Err(error) if error.status() == Some(403) => {}
        Err(error) => return Err(error.into()),
    }
    let foreign = manifest.contains("foreign") || manifest.contains("nondistributable");
    let mut blobs = vec![config.clone()];
    if !foreign {
        blobs.extend(
            spec["layers"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|layer| layer.as_str().map(str::to_owned)),
        );
    }
    blobs.sort();
    blobs.dedup();
    for blob in blobs {
        push_blob(client, reference.repository(), blob.as_bytes())?;
    }
    let document: Value = serde_json::from_str(manifest).expect("JSON");
    let media_type = document["mediaType"].as_str().expect("a text");
    Ok(client
        .push_manifest(reference, media_type, manifest.as_bytes())?
        .to_string())
}

fn read(client: &Client, repository: &Repository, digest: &str) -> Result<usize, Failure> {
    let mut bytes = Vec::new();
    client
        .blob(repository, &digest.parse().expect("a digest"))?
        .read_to_end(&mut bytes)?;
    Ok(bytes.len())
}

fn image(client: &Client, reference: &Reference, step: &Value) -> Outcome {
    let mut manifest = client.manifest(reference)?.ok_or_else(not_found)?;
    let mut document: Value = serde_json::from_slice(&manifest.bytes).map_err(io::Error::from)?;
    if let Some(children) = document["manifests"].as_array() {
        let arch = step["arch"].as_str().unwrap_or("amd64");
        let child = children
            .iter()
            .find(|child| child["platform"]["architecture"] == arch)
            .ok_or_else(not_found)?;
        let child = child["digest"].as_str().expect("a text").parse().expect("a digest");
        manifest = client.manifest(&reference.with_digest(&child))?.ok_or_else(not_found)?;
        document = serde_json::from_slice(&manifest.bytes).map_err(io::Error::from)?;
    }
    read(
        client,
        reference.repository(),
        document["config"]["digest"].as_str().ok_or_else(not_found)?,
    )?;
    if step["read_layers"] == true {
        for layer in document["layers"].as_array().into_iter().flatten() {
            read(
                client,
                reference.repository(),
                layer["digest"].as_str().expect("a text"),
            )?;
        }
    }
    Ok(manifest.digest.to_string())
}

fn copy(client: &Client, from: &Reference, to: &Reference) -> Outcome {
    let manifest = client.manifest(from)?.ok_or_else(not_found)?;
    let document: Value = serde_json::from_slice(&manifest.bytes).map_err(io::Error::from)?;
    let parts = document["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([&document["config"]]);
    for part in parts {
        let digest = part["digest"].as_str().expect("a text").parse().expect("a digest");
        if client.has_blob(to.repository(), &digest)?.is_some()
            || client.mount_blob(from.repository(), to.repository(), &digest)?
        {
            continue;
        }
        let mut open =
            || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(client.blob(from.repository(), &digest)?)) };
        client.push_blob(
            to.repository(),
            &digest,
            part["size"].as_u64().expect("a size"),
            &mut open,
        )?;
    }
    Ok(client
        .push_manifest(to, &manifest.media_type, &manifest.bytes)?
        .to_string())
}

fn run(client: &Client, step: &Value, stage: &Stage, documents: &Documents) -> Outcome {
    let name = stage.fill(step["ref"].as_str().unwrap_or_default());
    let op = step["op"].as_str().unwrap_or_default();
    if op == "list" {
        return Ok(client.tags(&name.parse().expect("a repository"))?.join(","));
    }
    let reference = Reference::parse(&name).expect("a name");
    let from = || Reference::parse(&stage.fill(step["from"].as_str().unwrap_or_default())).expect("a name");
    match op {
        "head" => Ok(client.head(&reference)?.ok_or_else(not_found)?.digest.to_string()),
        "get" | "index" => Ok(client.manifest(&reference)?.ok_or_else(not_found)?.digest.to_string()),
        "image" => image(client, &reference, step),
        "layer" => read(client, reference.repository(), reference.identifier().as_str()).map(|size| size.to_string()),
        "delete" => Ok(client.delete(&reference).map(|()| String::new())?),
        "verify_write" => Ok(client.check_write(reference.repository()).map(|()| String::new())?),
        "verify_read" => Ok(client.check_read(&reference).map(|()| String::new())?),
        "write" | "put" => match documents.image(&step["image"]) {
            Some(known) if op == "write" => write(client, &reference, known),
            Some((_, _, manifest)) => {
                let document: Value = serde_json::from_str(manifest).expect("JSON");
                let media_type = document["mediaType"].as_str().expect("a text");
                Ok(client
                    .push_manifest(&reference, media_type, manifest.as_bytes())?
                    .to_string())
            }
            None => panic!("no document for {}", step["image"]),
        },
        "write_layer" => {
            let layer = step["layer"].as_str().expect("a text");
            Ok(push_blob(client, reference.repository(), layer.as_bytes()).map(|()| String::new())?)
        }
        "copy" => copy(client, &from(), &reference),
        "tag" => {
            let known = documents.image(&step["image"]);
            let (_, _, manifest) = known.expect("a document");
            let document: Value = serde_json::from_str(manifest).expect("JSON");
            let media_type = document["mediaType"].as_str().expect("a text");
            Ok(client
                .push_manifest(&reference, media_type, manifest.as_bytes())?
                .to_string())
        }
        other => panic!("unknown operation {other}"),
    }
}

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
            let wanted = stage.fill(expected["digest"].as_str().unwrap_or(found));
            (*found != wanted && !found.is_empty()).then(|| format!("gave {found}, not {wanted}"))
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

#[test]
fn recorded_exchanges_end_alike_with_no_more_requests() {
    let flows: Value = serde_json::from_str(include_str!("../fixtures/registry/flows.json")).expect("JSON");
    let differences: BTreeMap<&str, &str> = DIFFERENCES.iter().copied().collect();
    let documents = Documents::read(&flows);
    let open = Registry::start().expect("docker-registry starts");
    let policy = HttpPolicy {
        retry: RetryPolicy {
            attempts: 3,
            ..RetryPolicy::default()
        },
        clock: Arc::new(Still::default()),
        ..HttpPolicy::default()
    };
    let mut filled: BTreeMap<String, String> = BTreeMap::new();
    let real = Http::new(&policy).expect("the policy is good");
    let (mut report, mut done, mut ours_all, mut theirs_all, mut unused) =
        (String::new(), 0, 0, 0, differences.clone());
    for (at, case) in flows["cases"].as_array().expect("there are cases").iter().enumerate() {
        let name = case["name"].as_str().expect("a name");
        let steps = case["steps"].as_array().expect("there are steps");
        let elsewhere = |step: &Value| NOT_HERE.iter().any(|op| step["op"] == *op) || step["page_size"].is_number();
        if case["mode"] == "tls" || case["client"] == "kpack" || steps.iter().any(elsewhere) {
            continue;
        }
        let given = case["given"].as_array().cloned().unwrap_or_default();
        if given
            .iter()
            .any(|step| step["op"] != "write" || documents.image(&step["image"]).is_none())
        {
            continue;
        }
        let needs_image = |step: &Value| matches!(step["op"].as_str(), Some("write" | "put" | "tag"));
        if steps
            .iter()
            .any(|step| needs_image(step) && documents.image(&step["image"]).is_none())
        {
            continue;
        }
        // Cases that only read share what is given to them.
        let reads = ["get", "head", "image", "index", "layer", "list", "verify_read"];
        let only_reads = steps.iter().all(|step| reads.iter().any(|op| step["op"] == *op));
        let fresh = format!("case{at}");
        let known = filled.get(&case["given"].to_string()).filter(|_| only_reads);
        let (prefix, is_filled) = known.map_or((fresh, false), |known| (known.clone(), true));
        let mut quiet = case.clone();
        quiet["faults"] = Value::Null;
        quiet["mode"] = "anon".into();
        let fill = Arc::new(Stage::new(&real, &open.host(), &prefix, &quiet, &documents.digests));
        let filler = Client::with_http(
            Http::with_transport(&policy, Arc::clone(&fill) as _),
            Arc::new(AnonymousKeychain),
        );
        for step in given.iter().filter(|_| !is_filled) {
            run(&filler, step, &fill, &documents).expect("the registry is filled");
        }
        if only_reads {
            filled.insert(case["given"].to_string(), prefix.clone());
        }
        let stage = Arc::new(Stage::new(&real, &open.host(), &prefix, case, &documents.digests));
        let client = || {
            Client::with_http(
                Http::with_transport(&policy, Arc::clone(&stage) as _),
                keychain(&case["auth"]),
            )
        };
        let shared = client();
        let mut wrong = String::new();
        for (step, expected) in steps
            .iter()
            .zip(case["out"]["results"].as_array().expect("there are results"))
        {
            let found = if case["reuse"] == true {
                run(&shared, step, &stage, &documents)
            } else {
                run(&client(), step, &stage, &documents)
            };
            if let Some(difference) = difference(&found, expected, &stage) {
                write!(wrong, " {}: {difference};", step["op"]).expect("a String takes every write");
            }
        }
        let (ours, theirs) = (
            stage.seen().len() as u64,
            case["out"]["requests"].as_u64().expect("a number"),
        );
        // Where the reference gives up early, going on costs requests.
        let succeeded = case["out"]["results"]
            .as_array()
            .into_iter()
            .flatten()
            .all(|result| result.get("error").is_none());
        if ours > theirs && succeeded {
            write!(wrong, " {ours} requests, not {theirs};").expect("a String takes every write");
        }
        for seen in stage.seen() {
            let secret = seen.authorization.is_some();
            assert!(
                !secret || seen.host == REGISTRY || seen.host == stage::AUTH,
                "{name}: {seen:?}"
            );
        }
        done += 1;
        match (wrong.is_empty(), differences.get(name)) {
            (true, None) => {
                ours_all += ours;
                theirs_all += theirs;
            }
            (false, Some(_)) => drop(unused.remove(name)),
            (true, Some(_)) => {}
            (false, None) => {
                let lines: Vec<_> = stage
                    .seen()
                    .iter()
                    .map(|seen| format!("{} {}", seen.host, seen.line))
                    .collect();
                writeln!(report, "{name}:{wrong}\n    {}", lines.join("\n    ")).expect("a String takes every write");
            }
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(unused.is_empty(), "these end alike: {unused:?}");
    assert!(done > 200, "{done}");
    assert!(
        ours_all * 100 < theirs_all * 85,
        "{ours_all} requests, {theirs_all} by the reference"
    );
}

/// Cases that end differently here, and why.
const DIFFERENCES: &[(&str, &str)] = &[
    ("patch-without-location", "a blob of known size is sent without a PATCH"),
    ("patch-answers-200", "the same"),
    ("index-of-an-image", "what a manifest is, is for the caller to see"),
    (
        "token-expired-in-the-middle-of-a-push-at-patch",
        "the blob is sent again with a new token",
    ),
    (
        "token-expired-at-manifest-put",
        "the manifest is sent again with a new token",
    ),
    (
        "copy-from-another-registry",
        "a blob of another registry is not asked to be mounted, but sent",
    ),
    (
        "blob-redirect-to-private-address",
        "the registry is in a private network itself; no credential goes along",
    ),
    ("upload-location-private-address", "the same for an upload"),
    (
        "put-blob-answers-200",
        "the blob has been taken; a lie comes out when the manifest is pushed",
    ),
    ("put-blob-answers-204", "the same"),
    (
        "put-manifest-400-blob-upload-unknown-once",
        "an upload that the registry forgot is worth another attempt",
    ),
    ("patch-400-blob-upload-unknown-once", "the same"),
    ("ping-500-for-ever", "nothing is asked before the question itself"),
    ("blob-truncated", "the rest is asked for"),
    ("manifest-truncated", "it is asked for again"),
    (
        "manifest-wrong-digest-header-by-tag",
        "other bytes than announced are not taken",
    ),
    ("head-without-docker-content-digest", "the manifest is read instead"),
    ("head-without-content-type", "the digest suffices"),
    ("head-without-content-length", "the digest suffices"),
    ("head-bad-digest-header", "the manifest is read instead"),
];
