//! Whatever JSON comes, admission answers; what it lets in, it lets in again as it is; and no environment takes a value
//! from a secret.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rebuild_policy::{AdmissionContext, Operation, admit};

fuzz_target!(|text: &str| {
    let Ok(object) = serde_json::from_str::<serde_json::Value>(text) else {
        return;
    };
    let context = AdmissionContext::default();
    let Ok(admission) = admit(&object, Operation::Create, context) else {
        return;
    };
    let again = admit(&admission.object, Operation::Create, context).expect("what was let in is let in again");
    assert_eq!(admission.object, again.object);
    let spec = &admission.object["spec"];
    let is_kpack = admission.object["apiVersion"] == "kpack.io/v1alpha2";
    for env in [&spec["env"], &spec["build"]["env"]] {
        if is_kpack && (admission.object["kind"] == "Image" || admission.object["kind"] == "Build") {
            assert!(!env.to_string().contains("\"secretKeyRef\":{"));
        }
    }
});
