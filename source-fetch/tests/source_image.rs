//! The recorded source images are unpacked as the reference unpacks them.

mod support;

use std::{io::Write as _, sync::Arc};

use registry_auth::{AnonymousKeychain, Digest, Reference};
use registry_client::{Client, HttpPolicy, RetryPolicy};
use serde_json::{Value, json};
use sha2::Digest as _;
use source_fetch::{ArchiveError, Fetched, ImageSourceError, Limits, fetch_image};
use test_support::Registry;

fn entries(list: &Value) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in list.as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        let mut header = tar::Header::new_gnu();
        let content = match text("inner") {
            "" => text("content").as_bytes().to_vec(),
            inner => archive(inner, &entry["entries"]),
        };
        let kind = match text("type") {
            "dir" => tar::EntryType::Directory,
            "symlink" => tar::EntryType::Symlink,
            "hardlink" => tar::EntryType::Link,
            _ => tar::EntryType::Regular,
        };
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(u32::from_str_radix(entry["mode"].as_str().unwrap_or("644"), 8).expect("octal"));
        let name = if text("name").is_empty() {
            "source"
        } else {
            text("name")
        };
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        let target = text("target");
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        builder.append(&header, content.as_slice()).expect("appended");
    }
    builder.into_inner().expect("finished")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("finished")
}

fn archive(kind: &str, list: &Value) -> Vec<u8> {
    match kind {
        "tar" => entries(list),
        "tar.gz" => gzip(&entries(list)),
        _ => {
            let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            for entry in list.as_array().into_iter().flatten() {
                let name = entry["name"].as_str().expect("a name");
                let mode = u32::from_str_radix(entry["mode"].as_str().unwrap_or("644"), 8).expect("octal");
                let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
                if entry["type"] == "dir" {
                    zip.add_directory(name, options).expect("a directory");
                } else {
                    zip.start_file(name, options).expect("a file");
                    zip.write_all(entry["content"].as_str().unwrap_or_default().as_bytes())
                        .expect("written");
                }
            }
            zip.finish().expect("finished").into_inner()
        }
    }
}

fn push_blob(client: &Client, reference: &Reference, bytes: &[u8]) -> Value {
    let digest = Digest::from_sha256_bytes(sha2::Sha256::digest(bytes).into());
    let mut open = || Ok(Box::new(std::io::Cursor::new(bytes.to_vec())) as Box<dyn std::io::Read + Send>);
    client
        .push_blob(reference.repository(), &digest, bytes.len() as u64, &mut open)
        .expect("a blob is pushed");
    json!({"digest": digest.to_string(), "size": bytes.len()})
}

fn push(client: &Client, reference: &Reference, case: &Value) -> Digest {
    let plain = case["uncompressed_layers"] == true;
    let mut layers = Vec::new();
    for layer in case["layers"].as_array().expect("layers") {
        let tar = entries(layer);
        let mut descriptor = push_blob(client, reference, &if plain { tar } else { gzip(&tar) });
        let suffix = if plain { "" } else { ".gzip" };
        descriptor["mediaType"] = format!("application/vnd.docker.image.rootfs.diff.tar{suffix}").into();
        layers.push(descriptor);
    }
    let labels = case["label"]
        .as_str()
        .map(|label| json!({"source.contenttype.kpack.io": label}));
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": []}});
    let mut config = push_blob(client, reference, config.to_string().as_bytes());
    config["mediaType"] = "application/vnd.docker.container.image.v1+json".into();
    let media_type = "application/vnd.docker.distribution.manifest.v2+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers});
    client
        .push_manifest(reference, media_type, manifest.to_string().as_bytes())
        .expect("a manifest is pushed")
}

// Cases `label-zip`, `label-tar`, `label-tar-gz` (G1), `no-label` (G2), `no-dir-headers` (G3), `by-digest` and every other (G4).
// rows 10.5/G1 10.5/G2 10.5/G3 10.5/G4
#[test]
fn recorded_source_images_are_unpacked_as_the_reference_does() {
    let registry = Registry::start().expect("a registry");
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("a client");
    let cases = support::recorded("source/registry.json");
    let mut problems = Vec::new();
    for case in cases["cases"].as_array().expect("cases") {
        // A damaged pull secret is found out about before the image is asked for: kpack-engine replays it with `prepare`.
        if case["pull"].is_object() {
            continue;
        }
        let place = |text: &str| text.replace("<registry>", &registry.host());
        let image = place(case["image"].as_str().expect("an image"));
        let mut digest = None;
        if case["layers"].is_array() {
            let tagged = image.split('@').next().expect("a name");
            let reference = Reference::parse(tagged).expect("a reference");
            digest = Some(push(&client, &reference, case));
        }
        let image = digest
            .as_ref()
            .map_or_else(|| image.clone(), |digest| image.replace("<digest>", digest.as_str()));
        let outside = tempfile::tempdir().expect("a directory");
        let dir = outside.path().join("workspace");
        std::fs::create_dir(&dir).expect("a directory");
        let result = fetch_image(&image, &dir, &client, &Limits::default());
        let (recorded, hostile) = (&case["out"], case["hostile"] == true);
        let mut problem = |text: String| problems.push(format!("{}: {text}", case["name"]));
        match &result {
            Err(error) if recorded["exit"] == 0 && !hostile => problem(format!("refused: {error:?}")),
            Ok(_) if recorded["exit"] != 0 && !hostile => problem("not refused".into()),
            Err(error) => {
                let last = recorded["log"]
                    .as_array()
                    .and_then(|log| log.last()?.as_str())
                    .unwrap_or_default();
                let own = last.starts_with("expected ");
                if own && last.replace("<tmp>/", "") != error.to_string() && !last.contains("/dir'") {
                    problem(format!("message {error}, not {last}"));
                }
                if std::fs::read_dir(&dir).expect("readable").count() > 0 && !hostile {
                    problem("something was left behind".into());
                }
            }
            Ok(fetched) => {
                let metadata = Fetched::Registry {
                    repository: fetched.repository.clone(),
                    digest: fetched.digest.to_string(),
                };
                let expected = recorded["project_metadata"].as_str().map(place);
                let expected = expected.map(|text| text.replace("<digest>", fetched.digest.as_str()));
                if Some(metadata.project_metadata()) != expected || Some(&fetched.digest) != digest.as_ref() {
                    problem(metadata.project_metadata());
                }
                let expected = support::recorded_tree(&recorded["tree"], place);
                let mut differences = support::differences(&expected, &support::tree_of(&dir));
                // The archive that is kept as it is was written by another program.
                differences.retain(|line| !line.starts_with("source: "));
                if !differences.is_empty() {
                    problem(differences.join("; "));
                }
            }
        }
        assert_eq!(
            std::fs::read_dir(outside.path()).expect("readable").count(),
            1,
            "{} escaped",
            case["name"]
        );
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_name_that_leads_out_of_the_target_is_refused() {
    let registry = Registry::start().expect("a registry");
    let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("a client");
    let image = format!("{}/hostile:v1", registry.host());
    let case = json!({"layers": [[{"name": "../../escaped", "content": "x", "mode": "644"}]]});
    push(&client, &Reference::parse(&image).expect("a reference"), &case);
    let dir = tempfile::tempdir().expect("a directory");
    let error = fetch_image(&image, dir.path(), &client, &Limits::default()).expect_err("refused");
    assert!(
        matches!(error, ImageSourceError::Archive(ArchiveError::Name { .. })),
        "{error}"
    );
}

// row 10.5/G5
#[test]
fn what_the_registry_said_reaches_whoever_asked_for_the_source() {
    let policy = HttpPolicy {
        retry: RetryPolicy::never(),
        ..HttpPolicy::default()
    };
    let client = Client::new(policy, Arc::new(AnonymousKeychain)).expect("a client");
    // Nobody listens there.
    let image = "127.0.0.1:1/team/source:v1";
    let dir = tempfile::tempdir().expect("a directory");
    let error = fetch_image(image, dir.path(), &client, &Limits::default()).expect_err("it can't be reached");
    let asked = client.manifest(&Reference::parse(image).expect("a reference"));
    assert_eq!(error.to_string(), asked.expect_err("it can't be reached").to_string());
}
