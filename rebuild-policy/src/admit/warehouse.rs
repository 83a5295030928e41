//! Rules of the kinds that name images: buildpacks, stores, stacks, lifecycles.

use registry_auth::Reference;

use super::{AdmissionContext, Admit, FieldErrors, parts};
use crate::resource::{Buildpack, ClusterBuildpack, ClusterLifecycle, ClusterStack, ClusterStore, ServiceAccountRef};

impl Admit for Buildpack {
    fn set_defaults(&mut self, _context: AdmissionContext<'_>) {
        self.spec.set_defaults();
    }

    fn validate(&self, _old: Option<&Self>, _context: AdmissionContext<'_>) -> FieldErrors {
        let mut errors = FieldErrors::default();
        parts::required_image(&self.spec.image, "spec.image", &mut errors);
        errors
    }
}

impl Admit for ClusterBuildpack {
    fn validate(&self, _old: Option<&Self>, _context: AdmissionContext<'_>) -> FieldErrors {
        with_account(self.spec.service_account_ref.as_ref(), |errors| {
            parts::required_image(&self.spec.image, "spec.image", errors);
        })
    }
}

impl Admit for ClusterStore {
    fn validate(&self, _old: Option<&Self>, _context: AdmissionContext<'_>) -> FieldErrors {
        with_account(self.spec.service_account_ref.as_ref(), |errors| {
            if self.spec.sources.is_empty() {
                errors.missing("spec.sources");
            }
            for (index, source) in self.spec.sources.iter().enumerate() {
                if Reference::parse(&source.image).is_err() {
                    errors.invalid(&format!("{{{}}}", source.image), &format!("spec.sources[{index}]"));
                }
            }
        })
    }
}

impl Admit for ClusterStack {
    fn validate(&self, _old: Option<&Self>, _context: AdmissionContext<'_>) -> FieldErrors {
        with_account(self.spec.service_account_ref.as_ref(), |errors| {
            if self.spec.id.is_empty() {
                errors.missing("spec.id");
            }
            parts::required_image(&self.spec.build_image.image, "spec.buildImage.image", errors);
            parts::required_image(&self.spec.run_image.image, "spec.runImage.image", errors);
        })
    }
}

impl Admit for ClusterLifecycle {
    fn validate(&self, _old: Option<&Self>, _context: AdmissionContext<'_>) -> FieldErrors {
        with_account(self.spec.service_account_ref.as_ref(), |errors| {
            // The reference does not parse it; a bad one shows when it is read.
            if self.spec.image.is_empty() {
                errors.missing("spec.image");
            }
        })
    }
}

fn with_account(account: Option<&ServiceAccountRef>, more: impl FnOnce(&mut FieldErrors)) -> FieldErrors {
    let mut errors = FieldErrors::default();
    if let Some(account) = account {
        parts::account(account, &mut errors);
    }
    more(&mut errors);
    errors
}
