//! Is a rebase enough?

use crate::key::BUILD_REASON_ANNOTATION;
use crate::resource::Build;

/// Returns whether a Build is done by a rebase: nothing but the run image changed, and the stack is the same.
///
/// `builder_stack_id` is the label `io.buildpacks.stack.id` of the builder image.
pub fn is_rebase(build: &Build, builder_stack_id: &str) -> bool {
    build
        .metadata
        .annotations
        .get(BUILD_REASON_ANNOTATION)
        .is_some_and(|reason| reason == "STACK")
        && build
            .spec
            .last_build
            .as_ref()
            .is_some_and(|last| last.stack_id == builder_stack_id)
}
