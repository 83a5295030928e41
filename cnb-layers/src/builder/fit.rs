use cnb_order::{ApiLists, ApiVersion, StoredBuildpack};

use super::{LifecycleInfo, StackInfo};

/// The platform APIs of which kpack's lifecycle must have one, to be in a builder.
pub const KPACK_PLATFORM_APIS: [&str; 6] = ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8"];

/// Why a builder cannot be made of its parts. Texts are kpack's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MisfitError {
    /// The lifecycle has none of the platform APIs that are needed.
    #[error("unsupported platform apis in kpack lifecycle: {}, expecting one of: {}", .found.join(", "), KPACK_PLATFORM_APIS.join(", "))]
    PlatformApis {
        /// The lifecycle's.
        found: Vec<String>,
    },
    /// One of the lifecycle's platform APIs is no version. The reference crashes.
    #[error(
        "invalid semantic version: the lifecycle lists the platform api {api:?}; correct its label io.buildpacks.lifecycle.apis"
    )]
    InvalidPlatformApi {
        /// Its text.
        api: String,
    },
    /// The lifecycle does not run buildpacks of this API.
    #[error("validating buildpack {buildpack}: unsupported buildpack api: {api}, expecting: {}", .supported.join(", "))]
    BuildpackApi {
        /// `id@version`.
        buildpack: String,
        /// The buildpack's API.
        api: String,
        /// The lifecycle's.
        supported: Vec<String>,
    },
    /// The buildpack's API is no version, so that it cannot be told whether it may run on any stack.
    #[error("validating buildpack {buildpack}: invalid semantic version")]
    InvalidApi {
        /// `id@version`.
        buildpack: String,
    },
    /// The buildpack is made for other stacks.
    #[error("validating buildpack {buildpack}: stack {stack} is not supported")]
    Stack {
        /// `id@version`.
        buildpack: String,
        /// The builder's stack.
        stack: String,
    },
    /// The stack lacks what the buildpack needs.
    #[error("validating buildpack {buildpack}: stack missing mixin(s): {}", .missing.join(", "))]
    Mixins {
        /// `id@version`.
        buildpack: String,
        /// The mixins that are not there.
        missing: Vec<String>,
    },
}

/// Checks whether buildpacks run with a lifecycle on a stack, as kpack does before it makes a builder.
///
/// Composite buildpacks are not checked; targets are not looked at.
///
/// # Errors
/// The first thing that does not fit: the lifecycle, then the buildpacks in the order given.
pub fn check_fit(
    lifecycle: &LifecycleInfo,
    stack: &StackInfo,
    buildpacks: &[StoredBuildpack],
) -> Result<(), MisfitError> {
    let platform = all(&lifecycle.apis.platform);
    if !platform.iter().any(|api| KPACK_PLATFORM_APIS.contains(&api.as_str())) {
        return Err(MisfitError::PlatformApis { found: platform });
    }
    let relaxed = !buildpacks.is_empty() && is_relaxed(&platform)?;
    let apis = all(&lifecycle.apis.buildpack);
    buildpacks
        .iter()
        .try_for_each(|buildpack| check_buildpack(buildpack, &apis, stack, relaxed))
}

fn check_buildpack(
    buildpack: &StoredBuildpack,
    apis: &[String],
    stack: &StackInfo,
    relaxed: bool,
) -> Result<(), MisfitError> {
    if !buildpack.order.is_empty() {
        return Ok(());
    }
    let title = || format!("{}@{}", buildpack.id, buildpack.version);
    if !apis.contains(&buildpack.api) {
        let (api, supported) = (buildpack.api.clone(), apis.to_vec());
        return Err(MisfitError::BuildpackApi {
            buildpack: title(),
            api,
            supported,
        });
    }
    if buildpack.stacks.is_empty() {
        return Ok(());
    }
    if buildpack.api.parse::<ApiVersion>().is_err() {
        return Err(MisfitError::InvalidApi { buildpack: title() });
    }
    let any = at_least(&buildpack.api, 5);
    // The first entry that names the stack decides, even if a later one asks for less.
    let entry = buildpack
        .stacks
        .iter()
        .find(|entry| entry.id == stack.id || (entry.id == "*" && any));
    let Some(entry) = entry else {
        return Err(MisfitError::Stack {
            buildpack: title(),
            stack: stack.id.clone(),
        });
    };
    let missing: Vec<String> = entry
        .mixins
        .iter()
        .filter(|mixin| !has_mixin(&stack.mixins, mixin, relaxed))
        .cloned()
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(MisfitError::Mixins {
            buildpack: title(),
            missing,
        })
    }
}

/// Whether mixins are compared as platforms from API 0.7 on do. What follows the first such API is not looked at.
fn is_relaxed(platform: &[String]) -> Result<bool, MisfitError> {
    for api in platform {
        if api.parse::<ApiVersion>().is_err() {
            return Err(MisfitError::InvalidPlatformApi { api: api.clone() });
        }
        if at_least(api, 7) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the versions of an API, deprecated ones first.
fn all(lists: &ApiLists) -> Vec<String> {
    [&lists.deprecated, &lists.supported]
        .into_iter()
        .flatten()
        .flatten()
        .cloned()
        .collect()
}

fn at_least(api: &str, minor: u64) -> bool {
    api.parse::<ApiVersion>()
        .is_ok_and(|api| api.major() > 0 || api.minor() >= minor)
}

/// Returns whether a stack has a mixin. Relaxed, what is in both images serves either, and what is in
/// each image serves both.
fn has_mixin(there: &[String], wanted: &str, relaxed: bool) -> bool {
    let has = |mixin: &str| there.iter().any(|there| there == mixin);
    if has(wanted) || !relaxed {
        return has(wanted);
    }
    match wanted.strip_prefix("build:").or_else(|| wanted.strip_prefix("run:")) {
        Some(plain) => has(plain),
        None => has(&format!("build:{wanted}")) && has(&format!("run:{wanted}")),
    }
}
