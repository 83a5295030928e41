//! buildpack.toml and extension.toml.

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::decode::{DecodeError, Fields, parse_toml};
use crate::order::null_is_empty;
use crate::{ApiVersion, BuildpackId, BuildpackVersion, Distro, Group, ModuleKind, Target};

/// The content of buildpack.toml.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuildpackDescriptor {
    /// The Buildpack API, as written.
    pub api: String,
    /// The `[buildpack]` table.
    pub info: ModuleInfo,
    /// The order of a composite buildpack; empty for a component.
    pub order: Vec<Group>,
    /// What it runs on, including what follows from stacks and from the files in `bin/`; none means everything.
    pub targets: Vec<Target>,
    /// The stacks it supports; deprecated since Buildpack API 0.10.
    pub stacks: Vec<Stack>,
    /// Free-form data of the author.
    pub metadata: Option<Table>,
}

/// The content of extension.toml.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExtensionDescriptor {
    /// The Buildpack API, as written.
    pub api: String,
    /// The `[extension]` table.
    pub info: ModuleInfo,
    /// What it runs on; never empty, an empty [`Target`] matches everything.
    pub targets: Vec<Target>,
    /// Free-form data of the author.
    pub metadata: Option<Table>,
}

/// What both kinds of module say about themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// Name of the module.
    pub id: BuildpackId,
    /// Name for people.
    pub name: String,
    /// Version.
    pub version: BuildpackVersion,
    /// Home page.
    pub homepage: String,
    /// Description.
    pub description: String,
    /// Keywords.
    pub keywords: Vec<String>,
    /// Whether the platform's variables are kept from it.
    pub clear_env: bool,
    /// Execution environments it is for; none means all.
    pub exec_env: Vec<String>,
    /// Media types of the SBOM files it writes, parameters included.
    pub sbom_formats: Vec<String>,
}

/// A stack that a buildpack supports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stack {
    /// Identifier, or `*` for any.
    #[serde(default)]
    pub id: String,
    /// Mixins it needs there.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub mixins: Vec<String>,
}

impl ModuleInfo {
    fn read(fields: Option<&Fields<'_>>) -> Result<Self, DecodeError> {
        let Some(fields) = fields else {
            return Ok(Self::default());
        };
        Ok(Self {
            id: fields.text("id")?.into(),
            name: fields.text("name")?,
            version: fields.text("version")?.into(),
            homepage: fields.text("homepage")?,
            // Known to other readers only, so a strange type is not an error.
            description: fields.text("description").unwrap_or_default(),
            keywords: fields.texts("keywords").ok().flatten().unwrap_or_default(),
            clear_env: fields.flag("clear-env")?,
            exec_env: fields.texts("exec-env")?.unwrap_or_default(),
            sbom_formats: fields.texts("sbom-formats")?.unwrap_or_default(),
        })
    }

    /// Returns `id@version`.
    pub fn full_name(&self) -> String {
        format!("{}@{}", self.id, self.version)
    }
}

fn read_target(fields: &Fields<'_>) -> Result<Target, DecodeError> {
    let distro = |fields: &Fields<'_>| {
        Ok(Distro {
            name: fields.text("name")?,
            version: fields.text("version")?,
        })
    };
    Ok(Target {
        os: fields.text("os")?,
        arch: fields.text("arch")?,
        arch_variant: fields.text("arch-variant")?,
        distros: fields.list("distros", distro)?.unwrap_or_default(),
    })
}

impl BuildpackDescriptor {
    /// Reads the text of buildpack.toml.
    ///
    /// `bin` are the names of the entries in the buildpack's `bin` directory: where neither targets nor stacks say
    /// anything, an entry `build` makes it one for Linux.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str, bin: &[&str]) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let stack = |fields: &Fields<'_>| {
            Ok(Stack {
                id: fields.text("id")?,
                mixins: fields.texts("mixins").ok().flatten().unwrap_or_default(),
            })
        };
        let mut descriptor = Self {
            api: fields.text("api")?,
            info: ModuleInfo::read(fields.table("buildpack")?.as_ref())?,
            order: fields.list("order", Group::read)?.unwrap_or_default(),
            targets: fields.list("targets", read_target)?.unwrap_or_default(),
            stacks: fields.list("stacks", stack)?.unwrap_or_default(),
            metadata: fields.free("metadata"),
        };
        if descriptor.targets.is_empty() {
            descriptor.infer_targets(bin);
        }
        Ok(descriptor)
    }

    fn infer_targets(&mut self, bin: &[&str]) {
        let new_api = self.api.parse::<ApiVersion>().is_ok_and(|api| api.at_least(10));
        for stack in &self.stacks {
            match stack.id.as_str() {
                "io.buildpacks.stacks.bionic" if new_api || self.stacks.len() == 1 => {
                    self.targets.push(Target {
                        os: "linux".to_owned(),
                        arch: "amd64".to_owned(),
                        arch_variant: String::new(),
                        distros: vec![Distro {
                            name: "ubuntu".to_owned(),
                            version: "18.04".to_owned(),
                        }],
                    });
                }
                "*" => self.targets.push(Target::default()),
                _ => {}
            }
        }
        if self.targets.is_empty() && bin.contains(&"build") {
            self.targets.push(Target {
                os: "linux".to_owned(),
                ..Target::default()
            });
        }
    }

    /// Says whether this is a composite buildpack: one that only names others.
    pub fn is_composite(&self) -> bool {
        !self.order.is_empty()
    }
}

impl ExtensionDescriptor {
    /// Reads the text of extension.toml; `bin` as for [`BuildpackDescriptor::from_toml`].
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str, bin: &[&str]) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let mut targets = fields.list("targets", read_target)?.unwrap_or_default();
        if targets.is_empty() {
            let linux = bin.iter().any(|name| matches!(*name, "detect" | "generate"));
            targets.push(Target {
                os: if linux { "linux".to_owned() } else { String::new() },
                ..Target::default()
            });
        }
        Ok(Self {
            api: fields.text("api")?,
            info: ModuleInfo::read(fields.table("extension")?.as_ref())?,
            targets,
            metadata: fields.free("metadata"),
        })
    }
}

/// The descriptor of a module of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum ModuleDescriptor {
    /// buildpack.toml
    Buildpack(BuildpackDescriptor),
    /// extension.toml
    Extension(ExtensionDescriptor),
}

impl ModuleDescriptor {
    /// Returns which kind it is.
    pub fn kind(&self) -> ModuleKind {
        match self {
            Self::Buildpack(_) => ModuleKind::Buildpack,
            Self::Extension(_) => ModuleKind::Extension,
        }
    }

    /// Returns the Buildpack API as written.
    pub fn api(&self) -> &str {
        match self {
            Self::Buildpack(descriptor) => &descriptor.api,
            Self::Extension(descriptor) => &descriptor.api,
        }
    }

    /// Returns the parsed Buildpack API, or `None` if the text is no version.
    pub fn api_version(&self) -> Option<ApiVersion> {
        self.api().parse().ok()
    }

    /// Returns what the module says about itself.
    pub fn info(&self) -> &ModuleInfo {
        match self {
            Self::Buildpack(descriptor) => &descriptor.info,
            Self::Extension(descriptor) => &descriptor.info,
        }
    }

    /// Returns what the module runs on.
    pub fn targets(&self) -> &[Target] {
        match self {
            Self::Buildpack(descriptor) => &descriptor.targets,
            Self::Extension(descriptor) => &descriptor.targets,
        }
    }

    /// Returns the order of a composite; empty for all others.
    pub fn order(&self) -> &[Group] {
        match self {
            Self::Buildpack(descriptor) => &descriptor.order,
            Self::Extension(_) => &[],
        }
    }
}
