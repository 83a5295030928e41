//! Labels and annotations of the API.

/// Label of a Build: its number.
pub const BUILD_NUMBER_LABEL: &str = "image.kpack.io/buildNumber";
/// Label of a Build: the name of its Image.
pub const IMAGE_LABEL: &str = "image.kpack.io/image";
/// Label of a Build: the generation of its Image.
pub const IMAGE_GENERATION_LABEL: &str = "image.kpack.io/imageGeneration";
/// Label of a Pod: the name of its Build.
pub const BUILD_LABEL: &str = "kpack.io/build";

/// Annotation of a Build: why it was made, such as `COMMIT,CONFIG`.
pub const BUILD_REASON_ANNOTATION: &str = "image.kpack.io/reason";
/// Annotation of a Build: what changed, as JSON.
pub const BUILD_CHANGES_ANNOTATION: &str = "image.kpack.io/buildChanges";
/// Annotation of a Build: name of the builder.
pub const BUILDER_NAME_ANNOTATION: &str = "image.kpack.io/builderName";
/// Annotation of a Build: kind of the builder.
pub const BUILDER_KIND_ANNOTATION: &str = "image.kpack.io/builderKind";
/// Annotation of the newest Build: build again, whatever the value.
pub const BUILD_NEEDED_ANNOTATION: &str = "image.kpack.io/additionalBuildNeeded";
