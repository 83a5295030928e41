//! Service bindings: credentials of services that buildpacks may read.

use serde_json::{Value, json};

use super::account::secret_volume;
use super::volumes::read_only;
use crate::resource::CnbBinding;

const BINDINGS_DIR: &str = "/platform/bindings";

/// A service binding whose secret is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// The binding of a service.
    Service {
        /// Name of the binding.
        name: String,
        /// Secret with type and credentials.
        secret: String,
    },
    /// A legacy binding.
    Legacy(CnbBinding),
}

pub(super) fn volumes(bindings: &[Binding]) -> Vec<Value> {
    let mut volumes = Vec::new();
    for binding in bindings {
        match binding {
            Binding::Service { name, secret } => volumes.push(secret_volume(&format!("binding-{name}"), secret)),
            Binding::Legacy(binding) => {
                let name = &binding.name;
                let metadata = binding.metadata_ref.clone().unwrap_or_default().name;
                volumes.push(json!({"name": format!("binding-metadata-{name}"), "configMap": {"name": metadata}}));
                if let Some(secret) = &binding.secret_ref {
                    volumes.push(secret_volume(&format!("binding-secret-{name}"), &secret.name));
                }
            }
        }
    }
    volumes
}

pub(super) fn mounts(bindings: &[Binding]) -> Vec<Value> {
    let mut mounts = Vec::new();
    for binding in bindings {
        match binding {
            Binding::Service { name, .. } => {
                mounts.push(read_only(&format!("binding-{name}"), &format!("{BINDINGS_DIR}/{name}")));
            }
            Binding::Legacy(binding) => {
                let name = &binding.name;
                mounts.push(read_only(
                    &format!("binding-metadata-{name}"),
                    &format!("{BINDINGS_DIR}/{name}/metadata"),
                ));
                if binding.secret_ref.is_some() {
                    mounts.push(read_only(
                        &format!("binding-secret-{name}"),
                        &format!("{BINDINGS_DIR}/{name}/secret"),
                    ));
                }
            }
        }
    }
    mounts
}
