//! Operating systems, architectures and distributions that buildpacks and images are made for.

use serde::{Deserialize, Serialize};

use crate::TomlTable;
use crate::decode::{DecodeError, Fields};

/// What a buildpack runs on, as its descriptor lists it; an empty text matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Operating system, such as `linux`.
    #[serde(default)]
    pub os: String,
    /// Architecture, such as `amd64`.
    #[serde(default)]
    pub arch: String,
    /// Variant of the architecture, such as `v8`.
    #[serde(
        default,
        rename = "arch-variant",
        alias = "variant",
        skip_serializing_if = "String::is_empty"
    )]
    pub arch_variant: String,
    /// Distributions, any of which will do; none listed means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distros: Vec<Distro>,
}

impl Target {
    /// Reads a target of a file that pack reads, where the variant is called `variant`.
    pub(crate) fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        let distro = |fields: &Fields<'_>| {
            Ok(Distro {
                name: fields.text("name")?,
                version: fields.text("version")?,
            })
        };
        Ok(Self {
            os: fields.text("os")?,
            arch: fields.text("arch")?,
            arch_variant: fields.text("variant")?,
            distros: fields.list("distros", distro)?.unwrap_or_default(),
        })
    }

    pub(crate) fn write(&self) -> TomlTable {
        let table = TomlTable::new()
            .text_if("os", &self.os)
            .text_if("arch", &self.arch)
            .text_if("variant", &self.arch_variant);
        if self.distros.is_empty() {
            return table;
        }
        let distro = |distro: &Distro| {
            TomlTable::new()
                .text("name", &distro.name)
                .text("version", &distro.version)
        };
        table.tables("distros", self.distros.iter().map(distro))
    }
}

/// A distribution of an operating system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distro {
    /// Name, such as `ubuntu`.
    #[serde(default)]
    pub name: String,
    /// Version, such as `24.04`.
    #[serde(default)]
    pub version: String,
}

/// What an image is: the run image's target in analyzed.toml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetData {
    /// Identifier of the target, if any.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Operating system.
    #[serde(default)]
    pub os: String,
    /// Architecture.
    #[serde(default)]
    pub arch: String,
    /// Variant of the architecture.
    #[serde(
        default,
        rename = "arch-variant",
        alias = "variant",
        skip_serializing_if = "String::is_empty"
    )]
    pub arch_variant: String,
    /// Distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distro: Option<Distro>,
}

fn equal_or_empty(a: &str, b: &str) -> bool {
    a.is_empty() || b.is_empty() || a == b
}

impl TargetData {
    /// Says whether a module made for `target` runs on this image.
    ///
    /// An empty field on either side matches; listed distributions need a distribution here.
    pub fn satisfies(&self, target: &Target) -> bool {
        equal_or_empty(&self.os, &target.os)
            && equal_or_empty(&self.arch, &target.arch)
            && equal_or_empty(&self.arch_variant, &target.arch_variant)
            && (target.distros.is_empty()
                || self.distro.as_ref().is_some_and(|have| {
                    target.distros.iter().any(|want| {
                        equal_or_empty(&have.name, &want.name) && equal_or_empty(&have.version, &want.version)
                    })
                }))
    }

    /// Says whether an application exported onto `application` may be rebased onto this image.
    ///
    /// Stricter than [`satisfies`](Self::satisfies): operating system and architecture must be equal, and the
    /// distribution, if this image has one, must be the application's.
    pub fn accepts_rebase_of(&self, application: &Self) -> bool {
        self.os == application.os
            && self.arch == application.arch
            && equal_or_empty(&self.arch_variant, &application.arch_variant)
            && match (&self.distro, &application.distro) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(new), Some(old)) => {
                    (new.name.is_empty() || new.name == old.name)
                        && (new.version.is_empty() || new.version == old.version)
                }
            }
    }
}
