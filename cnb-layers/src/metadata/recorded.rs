//! The documents against what the reference's decoder and encoder make of recorded files.

use cnb_order::toml::value::{Datetime, Offset};
use cnb_order::{TomlTable, TomlValue, go_toml, parse_toml};
use serde_json::{Map, Value, json};

use super::{
    Analyzed, AnalyzedRunImage, BuildMetadata, BuildpackLayers, Data, DecodeError, Group, LauncherVersion, LayerToml,
    LifecycleMetadata, ProjectMetadata, Report, RunImageNames, RunToml, StackToml, data_document, read_store,
};
use crate::phase::PlatformApi;

/// Returns the cases of a file whose text is text.
fn cases(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/fixtures/toml/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("a fixture");
    let lines = text.split('\n').filter(|line| !line.is_empty());
    let cases = lines.map(|line| serde_json::from_str::<Value>(line).expect("a case is JSON"));
    cases.filter(|case| case["text"].is_string()).collect()
}

/// Checks each case of a file with `check`, and that there are `count`.
fn check_all(file: &str, count: usize, check: impl Fn(&Value, &str) -> Result<(), String>) {
    let cases = cases(file);
    let failures: Vec<_> = cases
        .iter()
        .filter_map(|case| {
            let problem = check(case, case["text"].as_str().expect("text")).err()?;
            Some(format!("{}: {problem}", case["name"]))
        })
        .collect();
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(cases.len(), count, "cases of {file}");
}

/// Compares what was read with what the reference reads, or that both refuse it.
fn compare<T>(
    case: &Value,
    found: Result<T, DecodeError>,
    is_same: impl Fn(&T, &Value) -> Result<(), String>,
) -> Result<(), String> {
    match (found, case["expect"]["ok"] == true) {
        (Err(_), false) => Ok(()),
        (Ok(found), true) => is_same(&found, &case["expect"]["value"]),
        (Ok(_), false) => Err(format!("was read, but {}", case["expect"]["error"])),
        (Err(error), true) => Err(format!("was not read: {error}")),
    }
}

fn equal<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: expected {expected:?}, found {found:?}"))
    }
}

/// Turns a tagged value into data, with the spelling of dates and times made the same.
fn data(tagged: &Value) -> Data {
    match tagged {
        Value::Object(map) => match (map.get("type").and_then(Value::as_str), map.get("value")) {
            (Some(kind), Some(Value::String(text))) => scalar(kind, text),
            _ => Data::Table(map.iter().map(|(key, value)| (key.clone(), data(value))).collect()),
        },
        Value::Array(list) => Data::List(list.iter().map(data).collect()),
        _ => Data::Null,
    }
}

fn scalar(kind: &str, text: &str) -> Data {
    match kind {
        "string" => Data::Text(text.to_owned()),
        "integer" => Data::Integer(text.parse().expect("a whole number")),
        "float" => Data::Float(text.parse().expect("a number")),
        "bool" => Data::Flag(text == "true"),
        _ => normal(&Data::Time(text.parse().expect("a date or a time"))),
    }
}

/// Makes equal what is the same: `Z` and no offset at all from UTC, and what is not a number.
fn normal(data: &Data) -> Data {
    match data {
        Data::Time(time) => {
            let offset = time.offset.map(|offset| match offset {
                Offset::Custom { minutes: 0 } => Offset::Z,
                other => other,
            });
            Data::Time(Datetime { offset, ..*time })
        }
        Data::Float(number) if number.is_nan() => Data::Text("not a number".to_owned()),
        Data::List(list) => Data::List(list.iter().map(normal).collect()),
        Data::Table(fields) => {
            let fields = fields.iter().map(|(key, value)| (key.clone(), normal(value)));
            Data::Table(fields.collect())
        }
        other => other.clone(),
    }
}

fn same_data(what: &str, found: &Data, expected: &Value) -> Result<(), String> {
    equal(what, normal(found), normal(&data(expected)))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn names(value: &Value) -> RunImageNames {
    RunImageNames {
        image: text(&value["image"]),
        mirrors: texts(&value["mirrors"]),
    }
}

#[test]
fn free_form_data_is_that_of_the_reference() {
    check_all("syntax", 139, |case, text| {
        let read = parse_toml(text).map(|table| Data::from(&table));
        compare(case, read.map_err(DecodeError::from), |found, expected| {
            same_data("data", found, expected)
        })
    });
}

#[test]
fn every_document_takes_the_dialect_of_the_reference() {
    check_all("syntax", 139, |case, text| {
        let all = [
            ("analyzed", Analyzed::from_toml(text).err()),
            ("group", Group::from_toml(text).err()),
            ("layer", LayerToml::from_toml(text).err()),
            ("store", read_store(text).err()),
            ("run", RunToml::from_toml(text).err()),
            ("stack", StackToml::from_toml(text).err()),
            ("metadata", BuildMetadata::from_toml(text).err()),
            ("project", ProjectMetadata::from_toml(text).err()),
            ("build", Report::default().add_bom(text, "", "").err()),
        ];
        for (what, problem) in all {
            equal(what, problem.is_none(), case["expect"]["ok"] == true)?;
        }
        Ok(())
    });
}

#[test]
fn layers_are_read_as_in_the_reference() {
    check_all("decode/layer", 20, |case, text| {
        compare(case, LayerToml::from_toml(text), |found, expected| {
            let flags = [found.types.build, found.types.launch, found.types.cache];
            let wanted = ["build", "launch", "cache"].map(|flag| expected[flag] == true);
            equal("flags", flags, wanted)?;
            same_data("metadata", &found.metadata, &expected["metadata"])
        })
    });
}

#[test]
fn stores_are_read_as_in_the_reference() {
    check_all("decode/store", 6, |case, text| {
        compare(case, read_store(text), |found, expected| {
            same_data("metadata", found, &expected["metadata"])
        })
    });
}

#[test]
fn groups_are_read_as_in_the_reference() {
    check_all("decode/group", 4, |case, toml| {
        compare(case, Group::from_toml(toml), |found, expected| {
            for (list, found) in [("group", &found.buildpacks), ("group-extensions", &found.extensions)] {
                let found: Vec<_> = found.iter().map(|one| json!([one.id, one.version, one.api])).collect();
                let wanted = expected[list].as_array().into_iter().flatten();
                let wanted: Vec<_> = wanted
                    .map(|one| json!([one["id"], one["version"], one["api"]]))
                    .collect();
                equal(list, found, wanted)?;
            }
            Ok(())
        })
    });
}

#[test]
fn run_images_are_read_as_in_the_reference() {
    check_all("decode/run", 5, |case, text| {
        compare(case, RunToml::from_toml(text), |found, expected| {
            let wanted = expected["images"].as_array().into_iter().flatten().map(names);
            equal("images", found.images.clone(), wanted.collect())
        })
    });
    check_all("decode/stack", 3, |case, text| {
        compare(case, StackToml::from_toml(text), |found, expected| {
            equal("run image", found.run_image.clone(), names(&expected["run-image"]))
        })
    });
}

#[test]
fn analyzed_toml_is_read_as_in_the_reference() {
    check_all("decode/analyzed", 12, |case, toml| {
        compare(case, Analyzed::from_toml(toml), |found, expected| {
            let reference = |value: &Value| value["reference"].as_str().map(str::to_owned);
            equal("image", found.previous_image.clone(), reference(&expected["image"]))?;
            equal(
                "build image",
                found.build_image.clone(),
                reference(&expected["build-image"]),
            )?;
            same_run_image(found.run_image.as_ref(), &expected["run-image"])?;
            same_metadata(&found.metadata, &expected["metadata"])
        })
    });
}

fn same_run_image(found: Option<&AnalyzedRunImage>, expected: &Value) -> Result<(), String> {
    let found = found.map(|found| {
        let target = found.target.as_ref().map(|target| {
            let distro = target.distro.as_ref();
            json!({
                "id": target.id, "os": target.os, "arch": target.arch, "arch-variant": target.arch_variant,
                "distro": distro.map(|distro| json!({ "name": distro.name, "version": distro.version })),
            })
        });
        json!({ "reference": found.reference, "image": found.image, "extend": found.extend, "target": target })
    });
    equal("run image", found.unwrap_or_default(), expected.clone())
}

fn same_metadata(found: &LifecycleMetadata, expected: &Value) -> Result<(), String> {
    let sha = |value: &Value| value["sha"].as_str().map(str::to_owned);
    let app = expected["app"].as_array();
    let app = app.map(|layers| layers.iter().map(|layer| text(&layer["sha"])).collect());
    equal("app", found.app.clone(), app)?;
    equal("sbom", found.sbom.clone(), sha(&expected["sbom"]))?;
    for (key, found) in [
        ("config", &found.config),
        ("launcher", &found.launcher),
        ("process-types", &found.process_types),
    ] {
        equal(key, found.clone(), text(&expected[key]["sha"]))?;
    }
    let run_image = &expected["run-image"];
    equal(
        "top layer",
        found.run_image.top_layer.clone(),
        text(&run_image["top-layer"]),
    )?;
    equal("base", found.run_image.reference.clone(), text(&run_image["reference"]))?;
    equal("names", found.run_image.names.clone(), names(run_image))?;
    let stack = expected["stack"].as_object();
    equal(
        "stack",
        found.stack.clone(),
        stack.map(|stack| names(&stack["run-image"])),
    )?;
    let buildpacks = expected["buildpacks"].as_array();
    equal("buildpacks", found.buildpacks.is_some(), buildpacks.is_some())?;
    for (found, expected) in found.buildpacks.iter().flatten().zip(buildpacks.into_iter().flatten()) {
        same_layers(found, expected)?;
    }
    Ok(())
}

fn same_layers(found: &BuildpackLayers, expected: &Value) -> Result<(), String> {
    equal("key", found.key.clone(), text(&expected["key"]))?;
    equal("version", found.version.clone(), text(&expected["version"]))?;
    equal("no layers", found.says_nothing_of_layers, expected["layers"].is_null())?;
    let none = Map::new();
    let layers = expected["layers"].as_object().unwrap_or(&none);
    equal(
        "layers",
        found.layers.keys().collect(),
        layers.keys().collect::<Vec<_>>(),
    )?;
    for (name, layer) in &found.layers {
        let expected = &layers[name];
        equal(name, layer.sha.clone(), text(&expected["sha"]))?;
        let wanted = ["build", "launch", "cache"].map(|flag| expected[flag] == true);
        equal(name, [layer.build, layer.launch, layer.cache], wanted)?;
        same_data(name, &layer.data, &expected["metadata"])?;
    }
    equal("store", found.store.is_some(), !expected["store"].is_null())?;
    let store = found.store.clone().unwrap_or_default();
    same_data("store", &store, &expected["store"]["metadata"])
}

/// Returns the label at a platform API.
fn label(metadata: &BuildMetadata, minor: u64) -> Value {
    let api = PlatformApi::new(minor).expect("it is known");
    let label = metadata.to_label(&LauncherVersion::default(), api);
    serde_json::from_str(&label.expect("it has a place in JSON")).expect("a label is JSON")
}

#[test]
fn metadata_toml_is_read_as_in_the_reference() {
    check_all("decode/metadata", 7, |case, toml| {
        compare(case, BuildMetadata::from_toml(toml), |found, expected| {
            let list = |key: &str| expected[key].as_array().cloned().unwrap_or_default();
            let labels: Vec<_> = list("labels")
                .iter()
                .map(|one| (text(&one["key"]), text(&one["value"])))
                .collect();
            equal("labels", found.labels.clone(), labels)?;
            let slices: Vec<_> = list("slices").iter().map(|one| texts(&one["paths"])).collect();
            equal("slices", found.slices.clone(), slices)?;
            let default = text(&expected["buildpack-default-process-type"]);
            equal("default", found.default_process_type.clone(), default)?;
            let (label, old) = (label(found, 10), label(found, 8));
            for (key, label) in [
                ("buildpacks", &label),
                ("extensions", &label),
                ("processes", &label),
                ("bom", &old),
            ] {
                equal(key, kept(&label[key]), kept(&expected[key]))?;
            }
            Ok(())
        })
    });
}

/// Leaves out of a recorded value, or of a label, what is empty or not in labels; free-form data becomes plain.
fn kept(value: &Value) -> Value {
    match value {
        Value::Object(map) if map.get("type").is_some_and(Value::is_string) && map.contains_key("value") => {
            let number = text(&map["value"]).parse::<i64>();
            number.map_or_else(|_| map["value"].clone(), Value::from)
        }
        Value::Object(map) => {
            let fields = map.iter().filter(|(key, _)| *key != "api").map(|(key, value)| {
                let key = if key == "buildpackID" { "buildpack-id" } else { key };
                (key.to_owned(), kept(value))
            });
            let is_empty = |value: &Value| match value {
                Value::Null | Value::Bool(false) => true,
                Value::String(text) => text.is_empty(),
                Value::Array(list) => list.is_empty(),
                _ => false,
            };
            Value::Object(fields.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(list) => list.iter().map(kept).collect(),
        other => other.clone(),
    }
}

#[test]
fn old_bills_of_materials_are_read_as_in_the_reference() {
    check_all("decode/build", 6, |case, toml| {
        let mut report = Report::default();
        let read = report.add_bom(toml, "a", "1").map(|()| report.to_toml());
        if text(&case["name"]).starts_with("unmet-") {
            return Ok(()); // the exporter does not look at what is unmet
        }
        compare(case, read, |found, expected| {
            let entries = expected["bom"].as_array().into_iter().flatten().map(|entry| {
                let buildpack = TomlTable::new().text("id", "a").text("version", "1");
                let table = TomlTable::new()
                    .text("name", &text(&entry["name"]))
                    .text_if("version", &text(&entry["version"]));
                let table = data(&entry["metadata"]).add_to(table, "metadata");
                let table = table.expect("TOML can hold it");
                table.with("buildpack", TomlValue::Table(buildpack))
            });
            let entries: Vec<_> = entries.collect();
            let mut document = TomlTable::new();
            if !entries.is_empty() {
                document = document.with("build", TomlValue::Table(TomlTable::new().tables("bom", entries)));
            }
            let image = TomlTable::new().texts::<&str>("tags", &[]);
            let document = document.with("image", TomlValue::Table(image));
            equal("report", found.clone(), go_toml(&document))
        })
    });
}

/// Reads a file and writes it again; `None` for the formats of others.
fn again(format: &str, toml: &str) -> Option<Result<String, DecodeError>> {
    let data = |key: Data| data_document(&key).expect("TOML can hold it");
    Some(match format {
        "any" => parse_toml(toml).map_err(DecodeError::from).map(|table| {
            let written = Data::from(&table).to_toml().expect("TOML can hold it");
            match written {
                Some(TomlValue::Table(table)) => go_toml(&table),
                _ => String::new(),
            }
        }),
        "analyzed" => Analyzed::from_toml(toml).map(|read| read.to_toml().expect("TOML can hold it")),
        "layer" => LayerToml::from_toml(toml).map(|read| data(read.metadata)),
        "store" => read_store(toml).map(data),
        _ => return None,
    })
}

#[test]
fn documents_are_written_with_the_bytes_of_the_reference() {
    let checked = std::cell::Cell::new(0);
    check_all("encode", 43, |case, toml| {
        let Some(written) = again(case["format"].as_str().expect("a format"), toml) else {
            return Ok(());
        };
        checked.set(checked.get() + 1);
        let written = written.map_err(|error| error.to_string())?;
        equal("text", Some(written.as_str()), case["expect"]["out"].as_str())
    });
    assert_eq!(checked.get(), 17);
}
