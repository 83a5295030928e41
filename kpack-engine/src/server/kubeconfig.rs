//! The kubeconfig with which clients reach the server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Returns the text of a kubeconfig: one cluster, one user, one context with the namespace `default`.
pub(super) fn text(url: &str, authority_pem: &str, token: &str) -> String {
    let authority = STANDARD.encode(authority_pem);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: kpackd
  cluster:
    server: {url}
    certificate-authority-data: {authority}
users:
- name: kpackd
  user:
    token: {token}
contexts:
- name: kpackd
  context:
    cluster: kpackd
    user: kpackd
    namespace: default
current-context: kpackd
"
    )
}
