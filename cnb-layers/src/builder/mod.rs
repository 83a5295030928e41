//! Builder images and what they are made of: buildpackages, lifecycle images, stacks.
//!
//! - Reading what images say: [`read_buildpackages`], [`read_stack`], [`read_lifecycle`].
//! - Making them: [`write_buildpackage`] from directories, [`lifecycle_image`] from programs,
//!   [`assemble_builder`] from all of these, as kpack does it.
//! - Whether the parts fit together: [`check_fit`].
//!
//! Which buildpacks a builder has is decided before, by [`cnb_order::resolve_order`].

mod assemble;
mod fit;
mod label;
mod lifecycle;
mod package;
mod read;

pub use assemble::{
    AssembleError, AssembledBuilder, BuilderInputs, BuildpackLayerSource, Located, RUN_IMAGE_SUFFIX, assemble_builder,
    relocate_run_image,
};
pub use fit::{KPACK_PLATFORM_APIS, MisfitError, check_fit};
pub use label::LabelError;
pub use lifecycle::{LifecycleImage, lifecycle_image};
pub use package::{PackageError, write_buildpackage};
pub use read::{
    LifecycleInfo, ReadBuildpackageError, ReadStackError, StackInfo, read_buildpackages, read_lifecycle, read_stack,
};
