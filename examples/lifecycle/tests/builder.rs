//! The builder, started as a program, against what the reference's builder did.

#[path = "scenario/binary.rs"]
mod binary;
mod scenario;

use binary::run;
use scenario::{build, check_all};

macro_rules! files {
    ($($test:ident = $file:literal),* $(,)?) => {$(
        #[test]
        fn $test() {
            check_all(concat!("build/", $file), |case, level| match run(&case["given"], level) {
                Some(outcome) => build::check(case, level, &outcome),
                None => Ok(()), // needs root
            });
        }
    )*};
}

files! {
    single_runs_go_as_in_the_reference = "run.jsonl",
    plans_are_passed_on_as_in_the_reference = "plan.jsonl",
    groups_are_read_as_in_the_reference = "group.jsonl",
    layers_are_processed_as_in_the_reference = "layers.jsonl",
    environments_are_as_in_the_reference = "env.jsonl",
    random_environments_are_as_in_the_reference = "random-env.jsonl",
    launch_data_is_as_in_the_reference = "launch.jsonl",
    random_processes_are_as_in_the_reference = "random-processes.jsonl",
    sbom_files_are_as_in_the_reference = "sbom.jsonl",
    larger_scenarios_are_as_in_the_reference = "mixed.jsonl",
}
