//! What the application will run on, and whether a module is made for it.

use cnb_order::{ModuleDescriptor, OsRelease, Target, TargetData, go_json_of};
use serde::Serialize;

use crate::{Environment, Level, Log};

/// The text of `/etc/os-release`, or why it could not be read.
pub type OsReleaseText = Result<String, String>;

/// The run image's target, completed from the build environment where the image does not say.
#[derive(Clone, Debug)]
pub struct BaseTarget {
    given: TargetData,
    host_arch: String,
    os_release: OsReleaseText,
    complete: Option<TargetData>,
}

impl BaseTarget {
    /// Takes what analyzed.toml says of the run image, the architecture of this machine (`amd64`) and the text of
    /// `/etc/os-release`.
    pub fn new(given: TargetData, host_arch: impl Into<String>, os_release: OsReleaseText) -> Self {
        Self {
            given,
            host_arch: host_arch.into(),
            os_release,
            complete: None,
        }
    }

    /// Returns the complete target; the first time it says so when the build environment had to be asked.
    pub fn complete(&mut self, log: &mut dyn Log) -> TargetData {
        if let Some(complete) = &self.complete {
            return complete.clone();
        }
        let mut complete = self.given.clone();
        if complete.distro.is_none() {
            log.log(
                Level::Info,
                "target distro name/version labels not found, reading /etc/os-release file",
            );
            if complete.os.is_empty() {
                "linux".clone_into(&mut complete.os);
            }
            if complete.arch.is_empty() {
                complete.arch.clone_from(&self.host_arch);
            }
            match &self.os_release {
                Ok(text) => {
                    let found = OsRelease::parse(text);
                    if !found.name.is_empty() || !found.version.is_empty() {
                        complete.distro = Some(cnb_order::Distro {
                            name: found.name,
                            version: found.version,
                        });
                    }
                }
                Err(error) => {
                    log.log(
                        Level::Warn,
                        &format!("Encountered error trying to read /etc/os-release file: {error}"),
                    );
                }
            }
        }
        self.complete = Some(complete.clone());
        complete
    }

    /// Sets `CNB_TARGET_*`.
    pub fn set_variables(&mut self, env: &mut Environment, log: &mut dyn Log) {
        let target = self.complete(log);
        env.set("CNB_TARGET_OS", target.os);
        env.set("CNB_TARGET_ARCH", target.arch);
        let distro = target.distro.unwrap_or_default();
        for (name, value) in [
            ("CNB_TARGET_ARCH_VARIANT", target.arch_variant),
            ("CNB_TARGET_DISTRO_NAME", distro.name),
            ("CNB_TARGET_DISTRO_VERSION", distro.version),
        ] {
            if !value.is_empty() {
                env.set(name, value);
            }
        }
    }

    /// Says why a module is not made for the target, or `None` if it is; no targets means all.
    pub(crate) fn mismatch(&mut self, descriptor: &ModuleDescriptor, log: &mut dyn Log) -> Option<String> {
        let targets = descriptor.targets();
        if targets.is_empty() {
            return None;
        }
        let mut base = TargetData::default();
        for target in targets {
            log.log(
                Level::Debug,
                &format!("Checking for match against descriptor: {}", shown(target)),
            );
            base = self.complete(log);
            if base.satisfies(target) {
                return None;
            }
        }
        Some(format!(
            "unable to satisfy target os/arch constraints; run image: {}, buildpack: {}",
            json(&base),
            json(&targets)
        ))
    }
}

fn json<T: Serialize + ?Sized>(value: &T) -> String {
    go_json_of(value).unwrap_or_default()
}

fn shown(target: &Target) -> String {
    let distros: Vec<String> = target
        .distros
        .iter()
        .map(|distro| format!("{{{} {}}}", distro.name, distro.version))
        .collect();
    format!(
        "{{{} {} {} [{}]}}",
        target.os,
        target.arch,
        target.arch_variant,
        distros.join(" ")
    )
}
