//! The recorded change logs and Build statuses.

mod fixture;

use fixture::{all_pass, cases, normalise, read};
use rebuild_policy::{Build, build_status, change_log, failed_step};
use serde_json::Value;

#[test]
fn recorded_change_logs_are_printed_again() {
    let cases = cases(include_str!("fixtures/policy/change-log.json"));
    let failures = cases.iter().filter_map(|case| {
        let got = change_log(case["changes"].as_str()?);
        let want = case["expect"]["log"].as_str()?;
        match got {
            Err(error) => case["expect"]["error"]
                .is_null()
                .then(|| format!("{}: {error}", case["name"])),
            Ok(got) => {
                let got = got.replace("Mon, 05 Jan 2026 09:30:00 +0000", "<RFC1123Z>");
                (got != want).then(|| format!("{}:\n  got  {got:?}\n  want {want:?}", case["name"]))
            }
        }
    });
    all_pass(cases.len(), failures.collect());
}

#[test]
fn a_pod_gives_its_build_the_recorded_status() {
    let cases = cases(include_str!("fixtures/resources/reconcile-build.json"));
    let mut checked = 0;
    let failures: Vec<String> = cases
        .iter()
        .filter_map(|case| {
            let objects = case["input"]["objects"].as_array()?;
            let pod = objects.iter().find(|object| object["kind"] == "Pod")?;
            let build: Build = read(objects.iter().find(|object| object["kind"] == "Build")?);
            if !build.is_running() {
                return None;
            }
            checked += 1;
            let log = failed_step(pod).and_then(|_| case["input"]["log"].as_str());
            let got = build_status(&build, pod, log.map(str::as_bytes), "<now>");
            let writes = case["expect"]["writes"].as_array().cloned().unwrap_or_default();
            let want = writes.iter().find(|write| write["resource"] == "builds");
            match (got, want) {
                (Err(_), None) => None,
                (Ok(status), Some(want)) => {
                    let got = serde_json::to_value(status).ok()?;
                    let got: Value = serde_json::from_str(&normalise(&got.to_string())).ok()?;
                    let want = &want["object"]["status"];
                    (got != *want).then(|| format!("{}:\n  got  {got}\n  want {want}", case["name"]))
                }
                (got, want) => Some(format!("{}: got {got:?}, want {want:?}", case["name"])),
            }
        })
        .collect();
    assert!(checked > 30, "{checked}");
    all_pass(checked, failures);
}
