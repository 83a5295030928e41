//! Every recorded conversion.

mod fixture;

use fixture::{all_pass, cases};
use rebuild_policy::convert;
use serde_json::Value;

/// The reference writes times that are not there as null.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[test]
fn recorded_conversions_are_repeated() {
    let cases = cases(include_str!("fixtures/resources/conversion.json"));
    let failures = cases.iter().filter_map(|case| {
        let (input, expect) = (&case["input"], &case["expect"]);
        let got = convert(&input["object"], input["to"].as_str()?);
        match got {
            Ok(got) => {
                let (got, want) = (without_nulls(&got), without_nulls(&expect["object"]));
                (got != want).then(|| format!("{}:\n  got  {got}\n  want {want}", case["name"]))
            }
            Err(error) => (Some(error.to_string().as_str()) != expect["error"].as_str())
                .then(|| format!("{}: {error}, want {}", case["name"], expect["error"])),
        }
    });
    all_pass(cases.len(), failures.collect());
}

#[test]
fn an_image_survives_the_way_there_and_back() {
    let cases = cases(include_str!("fixtures/resources/conversion.json"));
    let mut image = cases[0]["input"]["object"].clone();
    let old = convert(&image, "kpack.io/v1alpha1").unwrap();
    let back = convert(&old, "kpack.io/v1alpha2").unwrap();
    image["spec"].as_object_mut().unwrap().remove("additionalTags");
    image["spec"]["build"].as_object_mut().unwrap().remove("creationTime");
    assert_eq!(back, image);
}
