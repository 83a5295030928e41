//! The recorded cases, and what is prepared before each.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// One command and what came of it.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) argv: Vec<String>,
    #[serde(default)]
    pub(crate) stdin: String,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// Parts that differed between two recordings.
    #[serde(default)]
    pub(crate) varies: Vec<String>,
}

impl Case {
    /// Whether the command ends only after the build that it causes.
    pub(crate) fn waits(&self) -> bool {
        self.argv.iter().any(|word| word == "-w" || word == "--wait")
    }
}

/// What is needed around a case.
#[derive(Clone, Default, Deserialize)]
pub(crate) struct Setup {
    pub(crate) case: String,
    #[serde(default)]
    pub(crate) before: Vec<Value>,
    #[serde(default)]
    pub(crate) kubeconfig: Option<String>,
}

#[derive(Deserialize)]
struct Cases {
    cases: Vec<Case>,
}

/// Reads the cases of a suite.
pub(crate) fn cases(text: &str) -> Vec<Case> {
    serde_json::from_str::<Cases>(text).unwrap().cases
}

/// Reads what the cases of a suite need.
pub(crate) fn setups(suite: &str) -> BTreeMap<String, Setup> {
    let all: Value = serde_json::from_str(include_str!("../fixtures/setup.json")).unwrap();
    let of_suite: Vec<Setup> = serde_json::from_value(all[suite].clone()).unwrap();
    of_suite.into_iter().map(|setup| (setup.case.clone(), setup)).collect()
}
