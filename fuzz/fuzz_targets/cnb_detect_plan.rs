//! Build plans of a group, separated by lines of dashes: the resolver ends with an answer or an error, never a panic.
#![no_main]

use cnb_detect::{Candidate, MemoryLog, PlanFailure, resolve_plan};
use cnb_order::{BuildPlan, Entry};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut candidates = Vec::new();
    for (at, plan) in text.split("---\n").enumerate().take(8) {
        let Ok(plan) = BuildPlan::from_toml(plan) else { return };
        let entry = Entry {
            optional: at % 2 == 1,
            ..Entry::new(format!("m{at}"), "1")
        };
        candidates.push(Candidate { entry, plan });
    }
    match resolve_plan(&candidates, &mut MemoryLog::new()) {
        Ok(None) => drop(PlanFailure::of(&candidates)),
        Ok(Some(agreement)) => assert!(!agreement.participants.is_empty()),
        Err(_) => {}
    }
});
