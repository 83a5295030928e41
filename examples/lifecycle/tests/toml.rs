//! project-metadata.toml and report.toml against what the reference's decoder and encoder make of them.

use std::fs;

use cnb_layers::metadata::{ProjectMetadata, Report};
use cnb_order::{Fields, parse_toml};
use serde_json::{Map, Value, json};

fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/fixtures/toml/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("a fixture");
    let lines = text.split('\n').filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_str(line).expect("a case is JSON"))
        .collect()
}

/// Turns tagged values into the plain ones of a label, and leaves out what is empty there.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.get("type").is_some_and(Value::is_string) && map.contains_key("value") => {
            map["value"].clone()
        }
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null() && **value != json!(""));
            Value::Object(
                kept.map(|(key, value)| (key.clone(), plain(value)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(list) => list.iter().map(plain).collect(),
        value => value.clone(),
    }
}

#[test]
fn project_metadata_is_read_as_in_the_reference() {
    for case in cases("decode/project-metadata.jsonl") {
        let name = &case["name"];
        let found = ProjectMetadata::from_toml(case["text"].as_str().expect("text"));
        let expect = &case["expect"];
        match found {
            Err(error) => assert_eq!(expect["ok"], false, "{name}: {error}"),
            Ok(found) => {
                assert_eq!(expect["ok"], true, "{name}");
                let label: Value =
                    serde_json::from_str(&found.to_label().expect("it has a place in JSON")).expect("a label is JSON");
                assert_eq!(label, plain(&expect["value"]), "{name}");
            }
        }
    }
}

#[test]
fn reports_are_written_with_the_bytes_of_the_reference() {
    let mut checked = 0;
    for case in cases("encode.jsonl") {
        // Reports with an old bill of materials are shown by the unit tests of the crate: only phases make them.
        let is_report = case["format"].as_str().is_some_and(|format| format.ends_with("report"));
        if !is_report || case["name"] == "report-bom" || case["name"] == "report-empty" {
            continue;
        }
        let text = case["text"].as_str().expect("text");
        let table = parse_toml(text).expect("it is well formed");
        let image = Fields::of(&table, text)
            .table("image")
            .expect("a table")
            .expect("it is there");
        let mut report = Report::default();
        report.tags = image.texts("tags").expect("texts").unwrap_or_default();
        report.image_id = image.text("image-id").expect("text");
        report.digest = image.text("digest").expect("text");
        report.manifest_size = image.count("manifest-size").expect("a number").unwrap_or_default();
        assert_eq!(case["expect"]["out"], report.to_toml(), "{}", case["name"]);
        checked += 1;
    }
    assert_eq!(checked, 3);
}
