//! API versions, targets and os-release files against what the reference made of them.

use cnb_order::{ApiSet, ApiVersion, OsRelease, TargetData};
use serde_json::Value;

fn version(text: &str) -> ApiVersion {
    text.parse().expect("the case names a version")
}

fn texts(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

fn check(case: &Value) -> Result<(), String> {
    let (given, expect) = (&case["given"], &case["expect"]);
    let same = |what: &str, found: Value| {
        if found == expect[what] {
            Ok(())
        } else {
            Err(format!("{what} is {found} instead of {}", expect[what]))
        }
    };
    match case["fn"].as_str().expect("a function") {
        "parse-api" => match given.as_str().expect("text").parse::<ApiVersion>() {
            Ok(version) => same("ok", true.into()).and_then(|()| same("text", version.to_string().into())),
            Err(_) => same("ok", false.into()),
        },
        "compare-api" => {
            let (a, b) = (
                version(given[0].as_str().expect("text")),
                version(given[1].as_str().expect("text")),
            );
            same("compare", (a.cmp(&b) as i8).into())?;
            same("at_least", (a >= b).into())?;
            same("less_than", (a < b).into())?;
            same("superset", a.supports(b).into())
        }
        "api-set" => match ApiSet::new(&texts(&given["supported"]), &texts(&given["deprecated"])) {
            Err(_) => same("ok", false.into()),
            Ok(set) => {
                let query = texts(&given["query"]);
                let those = |is: &dyn Fn(ApiVersion) -> bool| -> Value {
                    query
                        .iter()
                        .filter(|text| is(version(text)))
                        .copied()
                        .collect::<Vec<_>>()
                        .into()
                };
                same("supported", those(&|version| set.supports(version)))?;
                same("deprecated", those(&|version| set.deprecates(version)))
            }
        },
        "rebase-target" => {
            let target = |value: &Value| serde_json::from_value::<TargetData>(value.clone()).expect("target data");
            same(
                "satisfied",
                target(&given["new"]).accepts_rebase_of(&target(&given["app"])).into(),
            )
        }
        "os-release" => {
            let found = OsRelease::parse(given.as_str().expect("text"));
            if expect["crash"] == true {
                return Ok(()); // reading on is all that is asked
            }
            same("name", found.name.into())?;
            same("version", found.version.into())
        }
        other => Err(format!("unknown function {other}")),
    }
}

// row 11.9/X10: its cases of `rebase-target`
// row 11.9/X11: its cases of `os-release`
#[test]
fn functions_give_what_the_reference_gives() {
    let failures: Vec<String> = include_str!("fixtures/functions.jsonl")
        .split('\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str::<Value>(line).expect("a case is JSON"))
        .filter_map(|case| check(&case).err().map(|problem| format!("{}: {problem}", case["name"])))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
