//! Reading and writing TOML files against what the reference's decoder and encoder do.

use cnb_order::{
    Analyzed, BuildPlan, BuildpackDescriptor, BuildpackPlan, DecodeError, DetectedGroup, Distro, Entry,
    ExtensionDescriptor, Fields, ModuleInfo, ModuleKind, Order, Plan, Require, RunImage, RunInfo, SystemBuildpacks,
    Target, TargetData, TomlTable, go_toml, parse_toml, toml_text,
};
use serde_json::{Map, Value, json};
use toml::value::Offset;

fn tagged(value: &toml::Value) -> Value {
    let tag = |kind: &str, text: String| json!({ "type": kind, "value": text });
    match value {
        toml::Value::String(text) => tag("string", text.clone()),
        toml::Value::Integer(number) => tag("integer", number.to_string()),
        toml::Value::Float(number) => tag("float", number.to_string()),
        toml::Value::Boolean(flag) => tag("bool", flag.to_string()),
        toml::Value::Datetime(time) => {
            let kind = match (time.date, time.time, time.offset) {
                (Some(_), Some(_), Some(_)) => "datetime",
                (Some(_), Some(_), None) => "datetime-local",
                (Some(_), None, _) => "date-local",
                _ => "time-local",
            };
            tag(kind, time.to_string())
        }
        toml::Value::Array(list) => list.iter().map(tagged).collect(),
        toml::Value::Table(table) => table_value(table),
    }
}

fn table_value(table: &toml::Table) -> Value {
    Value::Object(table.iter().map(|(key, value)| (key.clone(), tagged(value))).collect())
}

fn free(table: Option<&toml::Table>) -> Value {
    table.map_or(Value::Null, table_value)
}

/// Brings a value into a form in which different spellings of one thing are equal, and what is empty is left out.
fn normal(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            if let (Some(kind), Some(text)) = (
                map.get("type").and_then(Value::as_str),
                map.get("value").and_then(Value::as_str),
            ) {
                return match kind {
                    "float" => json!([
                        "float",
                        format!("{:?}", text.parse::<f64>().unwrap_or(f64::NAN).abs() * sign(text))
                    ]),
                    "datetime" => json!(["datetime", instant(text)]),
                    "datetime-local" | "time-local" => json!([kind, fraction(text)]),
                    kind => json!([kind, text]),
                };
            }
            let kept = map
                .iter()
                .map(|(key, value)| (key.clone(), normal(value)))
                .filter(|(_, value)| !is_empty(value));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(list) => Value::Array(list.iter().map(normal).collect()),
        value => value.clone(),
    }
}

fn sign(text: &str) -> f64 {
    if text.starts_with('-') { -1.0 } else { 1.0 }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    }
}

/// The local time in minutes past some epoch, without its offset, and the rest of the text.
fn instant(text: &str) -> Value {
    let time: toml::value::Datetime = text.parse().expect("a date and time");
    let (date, clock) = (time.date.expect("a date"), time.time.expect("a time"));
    let offset = match time.offset {
        Some(Offset::Custom { minutes }) => i64::from(minutes),
        _ => 0,
    };
    let (year, month) = (i64::from(date.year), i64::from(date.month));
    let shifted = if month > 2 { year } else { year - 1 };
    let days = 365 * shifted + shifted / 4 - shifted / 100
        + shifted / 400
        + (153 * ((month + 9) % 12) + 2) / 5
        + i64::from(date.day);
    let minutes = days * 1440 + i64::from(clock.hour) * 60 + i64::from(clock.minute) - offset;
    json!([minutes, clock.second.unwrap_or(0), clock.nanosecond.unwrap_or(0)])
}

fn fraction(text: &str) -> String {
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    };
    text.replace(' ', "T")
}

fn entry(entry: &Entry) -> Value {
    json!({
        "id": entry.id, "version": entry.version, "api": entry.api, "homepage": entry.homepage,
        "optional": entry.optional, "extension": entry.kind == ModuleKind::Extension,
    })
}

fn info(info: &ModuleInfo) -> Value {
    json!({
        "id": info.id, "name": info.name, "version": info.version, "homepage": info.homepage,
        "clear-env": info.clear_env, "exec-env": info.exec_env, "sbom-formats": info.sbom_formats,
    })
}

fn distro(distro: &Distro) -> Value {
    json!({ "name": distro.name, "version": distro.version })
}

fn target(target: &Target) -> Value {
    json!({
        "os": target.os, "arch": target.arch, "arch-variant": target.arch_variant,
        "distros": target.distros.iter().map(distro).collect::<Vec<_>>(),
    })
}

fn target_data(target: &TargetData) -> Value {
    json!({
        "id": target.id, "os": target.os, "arch": target.arch, "arch-variant": target.arch_variant,
        "distro": target.distro.as_ref().map(distro),
    })
}

fn require(require: &Require) -> Value {
    json!({ "name": require.name, "version": require.version, "metadata": free(require.metadata.as_ref()) })
}

fn build_plan(plan: &BuildPlan) -> Value {
    json!({
        "provides": plan.provides.iter().map(|provide| json!({ "name": provide.name })).collect::<Vec<_>>(),
        "requires": plan.requires.iter().map(require).collect::<Vec<_>>(),
        "or": plan.or.iter().map(build_plan).collect::<Vec<_>>(),
    })
}

fn run_image(image: &RunImage) -> Value {
    json!({ "image": image.image, "mirrors": image.mirrors })
}

fn entries(list: &[Entry]) -> Value {
    list.iter().map(entry).collect()
}

fn decode(case: &Value, text: &str) -> Result<Value, DecodeError> {
    let names = case["bin"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let bin: Vec<&str> = names.map(|name| name.trim_end_matches('/')).collect();
    Ok(match case["format"].as_str().expect("a format") {
        "any" => table_value(&parse_toml(text)?),
        "buildpack" => {
            let found = BuildpackDescriptor::from_toml(text, &bin)?;
            let group = |group: &cnb_order::Group| json!({ "group": entries(&group.entries) });
            json!({
                "api": found.api, "buildpack": info(&found.info),
                "order": found.order.iter().map(group).collect::<Vec<_>>(),
                "targets": found.targets.iter().map(target).collect::<Vec<_>>(),
                "stacks": found.stacks.iter().map(|stack| json!({ "id": stack.id })).collect::<Vec<_>>(),
            })
        }
        "extension" => {
            let mut found = ExtensionDescriptor::from_toml(text, &bin)?;
            found.info.sbom_formats.clear(); // of no use in an extension, and not read by the reference
            json!({
                "api": found.api, "extension": info(&found.info),
                "targets": found.targets.iter().map(target).collect::<Vec<_>>(),
            })
        }
        "order" => {
            let found = Order::from_toml(text)?;
            let group = |group: &cnb_order::Group| json!({ "group": entries(&group.entries) });
            let list = |groups: &[cnb_order::Group]| groups.iter().map(group).collect::<Vec<_>>();
            json!({ "order": list(&found.groups), "order-extensions": list(&found.extensions) })
        }
        "build-plan" => build_plan(&BuildPlan::from_toml(text)?),
        "group" => {
            let found = DetectedGroup::from_toml(text)?;
            json!({ "group": entries(&found.buildpacks), "group-extensions": entries(&found.extensions) })
        }
        "plan" => {
            let found = Plan::from_toml(text)?;
            let provider = |provider: &cnb_order::Provider| json!({ "id": provider.id, "version": provider.version, "extension": provider.kind == ModuleKind::Extension });
            let entry = |entry: &cnb_order::PlanEntry| {
                json!({
                    "providers": entry.providers.iter().map(provider).collect::<Vec<_>>(),
                    "requires": entry.requires.iter().map(require).collect::<Vec<_>>(),
                })
            };
            json!({ "entries": found.entries.iter().map(entry).collect::<Vec<_>>() })
        }
        "run" => json!({ "images": RunInfo::from_toml(text)?.images.iter().map(run_image).collect::<Vec<_>>() }),
        "stack" => json!({ "run-image": RunInfo::from_stack_toml(text)?.images.first().map(run_image) }),
        "system" => {
            let found = SystemBuildpacks::from_toml(text)?;
            json!({ "pre": { "buildpacks": entries(&found.pre) }, "post": { "buildpacks": entries(&found.post) } })
        }
        "analyzed" => {
            let found = Analyzed::from_toml(text)?;
            let run = found.run_image.as_ref().map(|run| {
                json!({
                    "reference": run.reference, "image": run.image, "extend": run.extend,
                    "target": run.target.as_ref().map(target_data),
                })
            });
            json!({
                "image": found.image.as_ref().map(|image| json!({ "reference": image.reference })),
                "build-image": found.build_image.as_ref().map(|image| json!({ "reference": image.reference })),
                "run-image": run,
            })
        }
        other => panic!("no reader for {other}"),
    })
}

/// Leaves out what these types do not keep: parts that only other tools read.
fn known(case: &Value, mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        if case["format"] == "analyzed" {
            map.remove("metadata");
        }
        for group in map.get_mut("order").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(group) = group.as_object_mut() {
                group.remove("group-extensions");
            }
        }
        if case["format"] == "plan" {
            for entry in map
                .get_mut("entries")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                for provider in entry
                    .get_mut("providers")
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    if let Some(provider) = provider.as_object_mut() {
                        for key in ["api", "homepage", "optional"] {
                            provider.remove(key);
                        }
                    }
                }
            }
        }
    }
    value
}

/// Returns the text of a case; `None` when its bytes are no text, which no reader here can be given.
fn text(case: &Value) -> Option<String> {
    match case["text"].as_str() {
        Some(text) => Some(text.to_owned()),
        None => toml_text(&bytes(case)).ok().map(str::to_owned),
    }
}

fn bytes(case: &Value) -> Vec<u8> {
    base64(case["base64"].as_str().expect("text or base64"))
}

#[test]
fn bytes_that_are_no_text_are_named_with_their_line() {
    let cases = cases(include_str!("fixtures/toml/syntax.jsonl"));
    let mut checked = 0;
    for case in cases.iter().filter(|case| text(case).is_none()) {
        let error = toml_text(&bytes(case)).unwrap_err().to_string();
        // The reference names the key as well.
        let expected = case["expect"]["error"].as_str().expect("an error");
        let expected = expected.replace(" (last key \"a\")", "");
        assert_eq!(error, expected, "{}", case["name"]);
        checked += 1;
    }
    assert_eq!(checked, 4);
    let second = toml_text(b"a = 1\nb = \"\xff\"").unwrap_err();
    assert_eq!(second.to_string(), "toml: line 2: invalid UTF-8 byte: 0xff");
}

fn base64(text: &str) -> Vec<u8> {
    let digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_usize, 0, Vec::new());
    for digit in text.chars().filter_map(|c| digits.find(c)) {
        bits = (bits << 6 | digit) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).expect("it is masked"));
        }
    }
    bytes
}

fn check_decode(case: &Value) -> Result<(), String> {
    let expect = &case["expect"];
    let Some(text) = text(case) else {
        return match expect["ok"] == false {
            true => Ok(()),
            false => Err("the reference reads it although it is no text".to_owned()),
        };
    };
    if expect["crash"].is_string() {
        let _ = decode(case, &text);
        return Ok(());
    }
    match (decode(case, &text), expect["ok"].as_bool().unwrap_or(false)) {
        (Err(_), false) => Ok(()),
        (Ok(found), true) => {
            let (expected, found) = (normal(&known(case, expect["value"].clone())), normal(&found));
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

fn encode(case: &Value, text: &str) -> Result<Option<String>, DecodeError> {
    Ok(Some(match case["format"].as_str().expect("a format") {
        "any" => go_toml(&TomlTable::from(&parse_toml(text)?)),
        "group" => DetectedGroup::from_toml(text)?.to_toml(),
        "plan" => Plan::from_toml(text)?.to_toml(),
        "buildpack-plan" => {
            let table = parse_toml(text)?;
            let read = |fields: &Fields<'_>| {
                Ok(Require {
                    name: fields.text("name")?,
                    version: fields.text("version")?,
                    metadata: fields.free("metadata"),
                })
            };
            BuildpackPlan {
                entries: Fields::new(&table).list("entries", read)?.unwrap_or_default(),
            }
            .to_toml()
        }
        "analyzed" => Analyzed::from_toml(text)?.to_toml(),
        _ => return Ok(None), // formats of other crates
    }))
}

fn cases(text: &str) -> Vec<Value> {
    text.split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("a case is JSON"))
        .collect()
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
            check_all(include_str!(concat!("fixtures/toml/", $file)), check_decode);
        }
    )*};
}

formats! {
    the_dialect_is_that_of_the_reference = "syntax.jsonl",
    descriptors_with_published_features_are_read = "descriptors.jsonl",
    buildpack_toml_is_read = "decode/buildpack.jsonl",
    extension_toml_is_read = "decode/extension.jsonl",
    order_toml_is_read = "decode/order.jsonl",
    build_plans_are_read = "decode/build-plan.jsonl",
    group_toml_is_read = "decode/group.jsonl",
    plan_toml_is_read = "decode/plan.jsonl",
    analyzed_toml_is_read = "decode/analyzed.jsonl",
    run_toml_is_read = "decode/run.jsonl",
    stack_toml_is_read = "decode/stack.jsonl",
    system_toml_is_read = "decode/system.jsonl",
}

#[test]
fn files_are_written_with_the_bytes_of_the_reference() {
    check_all(include_str!("fixtures/toml/encode.jsonl"), |case| {
        let text = text(case).expect("what is written again is text");
        match encode(case, &text) {
            Err(error) => Err(error.to_string()),
            Ok(None) => Ok(()),
            Ok(Some(found)) => match case["expect"]["out"].as_str() {
                Some(expected) if expected == found => Ok(()),
                expected => Err(format!(
                    "\n--- expected\n{}\n--- found\n{found}",
                    expected.unwrap_or("(an error)")
                )),
            },
        }
    });
}
