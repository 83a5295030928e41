//! The detector, started as a program, against what the reference's detector did.

#[path = "scenario/binary.rs"]
mod binary;
#[path = "../../../cnb-detect/tests/random_case/mod.rs"]
mod random_case;
mod scenario;

use binary::run;
use cnb_order::{DetectedGroup, Plan};
use random_case::{check_selected, check_steps};
use scenario::{check_all, check_cases, detect, read};
use serde_json::{Map, Value, json};

macro_rules! files {
    ($($test:ident = $file:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            check_all(concat!("detect/", $file), |case, level| match run(&case["given"], level) {
                Some(outcome) => detect::check(case, level, &outcome),
                None => Ok(()), // needs root
            });
        }
    )*};
}

files! {
    orders_expand_as_in_the_reference = "order.jsonl",
    plans_resolve_as_in_the_reference = "resolve.jsonl",
    single_runs_go_as_in_the_reference = "run.jsonl",
    targets_match_as_in_the_reference = "targets.jsonl",
    random_targets_match_as_in_the_reference = "random-targets.jsonl",
    execution_environments_and_system_buildpacks_are_as_in_the_reference = "execenv-system.jsonl",
    extensions_are_as_in_the_reference = "extensions.jsonl",
    environments_are_as_in_the_reference = "env.jsonl",
    inputs_are_as_in_the_reference = "inputs.jsonl",
}

/// The random order as a scenario: real programs instead of data.
fn scenario_of(case: &Value) -> Value {
    let mut tree = Map::new();
    for (path, text) in random_case::files(case) {
        let mode = if path.ends_with("/bin/detect") { "0755" } else { "0644" };
        tree.insert(format!("<root>/{path}"), json!({ "text": text, "mode": mode }));
    }
    let order = random_case::order(case).to_toml();
    tree.insert("<conf>/order.toml".to_owned(), order.into());
    let given = json!({ "phase": "detector", "platform_api": "0.15", "tree": tree, "levels": ["debug"] });
    json!({ "name": case["name"], "given": given, "expect": case["expect"] })
}

#[test]
fn random_orders_resolve_as_in_the_reference() {
    let cases: Vec<Value> = random_case::cases().iter().map(scenario_of).collect();
    assert_eq!(cases.len(), 300);
    check_cases("random-plans.jsonl", &cases, |case, level| {
        let (expect, outcome) = (&case["expect"], run(&case["given"], level).expect("it needs no root"));
        check_steps(expect, &outcome.log)?;
        if outcome.exit.map(i64::from) != expect["exit"].as_i64() {
            return Err(format!("exit {} but found {:?}", expect["exit"], outcome.exit));
        }
        if outcome.exit != Some(0) {
            return Ok(());
        }
        let file = |name: &str| read(&outcome.root.path().join("layers").join(name)).unwrap_or_default();
        let group = DetectedGroup::from_toml(&file("group.toml")).map_err(|error| error.to_string())?;
        let plan = Plan::from_toml(&file("plan.toml")).map_err(|error| error.to_string())?;
        // The file is written when the extensions have provided theirs.
        let key = ["plan_after_generate", "plan"]
            .into_iter()
            .find(|key| expect.get(key).is_some())
            .unwrap_or("plan");
        check_selected(expect, &group, &plan, key)
    });
}
