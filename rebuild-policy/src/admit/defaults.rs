//! What users may leave out.

use crate::resource::{
    BuildSpec, BuilderSpec, BuildpackSpec, ClusterBuilderSpec, ImageCache, ImageSpec, ImageVolumeCache, ObjectReference,
};

const SERVICE_ACCOUNT: &str = "default";
const HISTORY: i64 = 10;
const CACHE_SIZE: &str = "2G";

fn or_default(field: &mut String, default: &str) {
    if field.is_empty() {
        default.clone_into(field);
    }
}

fn lifecycle(lifecycle: &mut ObjectReference) {
    or_default(&mut lifecycle.name, "default-lifecycle");
    or_default(&mut lifecycle.kind, "ClusterLifecycle");
}

impl ImageSpec {
    /// Fills in what users may leave out; a cache only where volumes can be had without asking.
    pub fn set_defaults(&mut self, has_default_storage_class: bool) {
        or_default(&mut self.service_account_name, SERVICE_ACCOUNT);
        or_default(&mut self.image_tagging_strategy, "BuildNumber");
        self.failed_build_history_limit.get_or_insert(HISTORY);
        self.success_build_history_limit.get_or_insert(HISTORY);
        if self.cache.is_none() && has_default_storage_class {
            let size = CACHE_SIZE.parse().ok();
            self.cache = Some(ImageCache {
                volume: Some(ImageVolumeCache {
                    size,
                    storage_class_name: String::new(),
                }),
                registry: None,
            });
        }
    }
}

impl BuildSpec {
    /// Fills in what users may leave out.
    pub fn set_defaults(&mut self) {
        or_default(&mut self.service_account_name, SERVICE_ACCOUNT);
    }
}

impl BuilderSpec {
    /// Fills in what users may leave out; the legacy `serviceAccount` stands in for `serviceAccountName`.
    pub fn set_defaults(&mut self) {
        if self.service_account.is_empty() {
            or_default(&mut self.service_account_name, SERVICE_ACCOUNT);
        }
        or_default(&mut self.stack.kind, "ClusterStack");
        or_default(&mut self.store.kind, "ClusterStore");
        lifecycle(&mut self.lifecycle);
    }
}

impl ClusterBuilderSpec {
    /// Fills in what users may leave out.
    pub fn set_defaults(&mut self) {
        lifecycle(&mut self.lifecycle);
    }
}

impl BuildpackSpec {
    /// Fills in what users may leave out.
    pub fn set_defaults(&mut self) {
        or_default(&mut self.service_account_name, SERVICE_ACCOUNT);
    }
}
