//! The detector, started as a program, against what the reference's detector did.

#[path = "scenario/binary.rs"]
mod binary;
mod scenario;

use binary::run;
use scenario::{check_all, detect};

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
