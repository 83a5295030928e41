//! What the caller may do, and who it is: the one user of this server may do everything.
//!
//! Specification: Kubernetes `authorization.k8s.io/v1`, `authentication.k8s.io/v1`.

use serde_json::{Value, json};

use crate::ApiError;
use crate::store::Caller;

/// Answers a question about the caller.
pub(super) fn answer(review: &str, question: &Value, caller: &Caller) -> Result<Value, ApiError> {
    let (api_version, kind, status) = match review {
        "selfsubjectaccessreviews" => (
            "authorization.k8s.io/v1",
            "SelfSubjectAccessReview",
            json!({"allowed": true, "reason": "the token of this server's kubeconfig may do everything"}),
        ),
        "selfsubjectrulesreviews" => ("authorization.k8s.io/v1", "SelfSubjectRulesReview", rules()),
        "selfsubjectreviews" => (
            "authentication.k8s.io/v1",
            "SelfSubjectReview",
            json!({"userInfo": {"username": caller.username, "groups": caller.groups}}),
        ),
        _ => return Err(ApiError::NotServed),
    };
    let mut answer = json!({"kind": kind, "apiVersion": api_version, "metadata": {}});
    if let Some(spec) = question.get("spec") {
        answer["spec"] = spec.clone();
    }
    answer["status"] = status;
    Ok(answer)
}

fn rules() -> Value {
    json!({
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": false,
    })
}
