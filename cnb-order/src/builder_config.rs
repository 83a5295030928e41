//! builder.toml: what people write to have a builder made.

use crate::decode::{DecodeError, Fields, parse_toml};
use crate::known_keys::only;
use crate::{Group, Order, RunImage, SystemBuildpacks, Target, TomlTable, TomlValue, go_toml};

/// The content of builder.toml.
///
/// Unknown keys are errors: the file is written by hand. `stack` and its successors `build` and `run` are the same here: what one
/// lacks is taken from the other when reading.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BuilderConfig {
    /// Text for people.
    pub description: String,
    /// The buildpacks to put in.
    pub buildpacks: Vec<ModuleSource>,
    /// The image extensions to put in.
    pub extensions: Vec<ModuleSource>,
    /// The order, with versions only where several of one buildpack are there.
    pub order: Order,
    /// The id of the stack; deprecated.
    pub stack_id: String,
    /// The image that builds run in.
    pub build_image: String,
    /// Variables for the buildpacks: files of `/cnb/build-config/env`.
    pub build_env: Vec<BuildEnv>,
    /// The run images; the first is the default.
    pub run_images: Vec<RunImage>,
    /// Where the lifecycle comes from.
    pub lifecycle: LifecycleSource,
    /// What the builder is made for.
    pub targets: Vec<Target>,
    /// Buildpacks put around every group.
    pub system: SystemBuildpacks,
}

/// Where a buildpack or extension comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ModuleSource {
    /// Address or path of a directory or archive.
    pub uri: String,
    /// An image with the package.
    pub image: String,
    /// The id that is expected to come; empty if any.
    pub id: String,
    /// The version that is expected to come; empty if any.
    pub version: String,
}

impl ModuleSource {
    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            uri: fields.text("uri")?,
            image: fields.text("image")?,
            id: fields.text("id")?,
            version: fields.text("version")?,
        })
    }

    fn write(&self) -> TomlTable {
        TomlTable::new()
            .text_if("id", &self.id)
            .text_if("version", &self.version)
            .text_if("uri", &self.uri)
            .text_if("image", &self.image)
    }
}

/// A variable for buildpacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildEnv {
    /// Name, not empty.
    pub name: String,
    /// Value.
    pub value: String,
    /// What to do with a value that is there: empty, `default`, `override`, `append` or `prepend`.
    pub suffix: String,
    /// What to put between the values, for `append` and `prepend`.
    pub delim: String,
}

/// Where the lifecycle comes from: one of both, or neither for the newest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleSource {
    /// Address or path of an archive.
    pub uri: String,
    /// Its version.
    pub version: String,
}

const KNOWN: &[&str] = &[
    "description",
    "buildpacks.id",
    "buildpacks.version",
    "buildpacks.name",
    "buildpacks.homepage",
    "buildpacks.description",
    "buildpacks.keywords",
    "buildpacks.licenses.type",
    "buildpacks.licenses.uri",
    "buildpacks.clear-env",
    "buildpacks.exec-env",
    "buildpacks.uri",
    "buildpacks.image",
    "extensions.id",
    "extensions.version",
    "extensions.name",
    "extensions.homepage",
    "extensions.description",
    "extensions.keywords",
    "extensions.licenses.type",
    "extensions.licenses.uri",
    "extensions.clear-env",
    "extensions.exec-env",
    "extensions.uri",
    "extensions.image",
    "order.group.id",
    "order.group.version",
    "order.group.optional",
    "order.group.exec-env",
    "order-extensions.group.id",
    "order-extensions.group.version",
    "order-extensions.group.optional",
    "order-extensions.group.exec-env",
    "stack.id",
    "stack.build-image",
    "stack.run-image",
    "stack.run-image-mirrors",
    "build.image",
    "build.env.name",
    "build.env.value",
    "build.env.suffix",
    "build.env.delim",
    "build.env.exec-env",
    "run.images.image",
    "run.images.mirrors",
    "lifecycle.uri",
    "lifecycle.version",
    "targets.os",
    "targets.arch",
    "targets.variant",
    "targets.distros.name",
    "targets.distros.version",
    "system.pre.buildpacks.id",
    "system.pre.buildpacks.version",
    "system.pre.buildpacks.optional",
    "system.post.buildpacks.id",
    "system.post.buildpacks.version",
    "system.post.buildpacks.optional",
];

impl BuilderConfig {
    /// Reads the text of builder.toml.
    ///
    /// # Errors
    /// When it is not TOML, has an unknown key, a value of the wrong type, or a variable that cannot be made into a file.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        only(&table, KNOWN)?;
        let fields = Fields::of(&table, text);
        let mut config = Self {
            description: fields.text("description")?,
            buildpacks: fields.list("buildpacks", ModuleSource::read)?.unwrap_or_default(),
            extensions: fields.list("extensions", ModuleSource::read)?.unwrap_or_default(),
            order: Order::from_toml(text)?,
            targets: fields.list("targets", Target::read)?.unwrap_or_default(),
            system: SystemBuildpacks::from_toml(text)?,
            ..Self::default()
        };
        if let Some(build) = fields.table("build")? {
            config.build_image = build.text("image")?;
            config.build_env = build.list("env", BuildEnv::read)?.unwrap_or_default();
        }
        if let Some(run) = fields.table("run")? {
            config.run_images = run.list("images", RunImage::read)?.unwrap_or_default();
        }
        if let Some(lifecycle) = fields.table("lifecycle")? {
            config.lifecycle.uri = lifecycle.text("uri")?;
            config.lifecycle.version = lifecycle.text("version")?;
        }
        if let Some(stack) = fields.table("stack")? {
            config.stack_id = stack.text("id")?;
            let (build, run) = (stack.text("build-image")?, stack.text("run-image")?);
            let mirrors = stack.texts("run-image-mirrors")?.unwrap_or_default();
            if config.build_image.is_empty() {
                config.build_image = build;
            }
            if config.run_images.is_empty() && !run.is_empty() {
                config.run_images.push(RunImage { image: run, mirrors });
            }
        }
        Ok(config)
    }

    /// Checks what a builder cannot do without.
    ///
    /// # Errors
    /// The first thing that is missing or contradicts another one.
    pub fn check(&self) -> Result<(), DecodeError> {
        let problem = if self.build_image.is_empty() {
            "build.image is required"
        } else if self.run_images.is_empty() {
            "run.images are required"
        } else if self.run_images.iter().any(|run| run.image.is_empty()) {
            "run.images.image is required"
        } else if !self.lifecycle.uri.is_empty() && !self.lifecycle.version.is_empty() {
            "only one of lifecycle.uri and lifecycle.version can be given"
        } else {
            return Ok(());
        };
        Err(DecodeError::Invalid {
            message: problem.to_owned(),
        })
    }

    /// Returns what is odd without being wrong, for people.
    pub fn warnings(&self) -> Vec<String> {
        match self.order.groups.is_empty() {
            true => vec!["empty 'order' definition".to_owned()],
            false => Vec::new(),
        }
    }

    /// Writes the text of builder.toml, in the form without `stack` but for its id.
    pub fn to_toml(&self) -> String {
        let group = |group: &Group| group.write();
        let mut document = TomlTable::new().text_if("description", &self.description);
        let mut lists: Vec<(&str, Vec<TomlTable>)> = vec![
            ("buildpacks", self.buildpacks.iter().map(ModuleSource::write).collect()),
            ("extensions", self.extensions.iter().map(ModuleSource::write).collect()),
            ("order", self.order.groups.iter().map(group).collect()),
            ("order-extensions", self.order.extensions.iter().map(group).collect()),
            ("targets", self.targets.iter().map(Target::write).collect()),
        ];
        lists.retain(|(_, tables)| !tables.is_empty());
        for (key, tables) in lists {
            document = document.tables(key, tables);
        }
        let env = self.build_env.iter().map(BuildEnv::write);
        let images = self.run_images.iter().map(|run| {
            let table = TomlTable::new().text("image", &run.image);
            match run.mirrors.is_empty() {
                true => table,
                false => table.texts("mirrors", &run.mirrors),
            }
        });
        let side = |entries: &[crate::Entry]| {
            let tables = entries.iter().map(|entry| {
                let table = TomlTable::new().text("id", entry.id.as_str());
                table.text_if("version", entry.version.as_str())
            });
            TomlValue::Table(TomlTable::new().tables("buildpacks", tables))
        };
        let some = |list: bool, table: TomlTable| if list { table } else { TomlTable::new() };
        let tables = [
            ("stack", TomlTable::new().text_if("id", &self.stack_id)),
            ("build", {
                let table = TomlTable::new().text_if("image", &self.build_image);
                match self.build_env.is_empty() {
                    true => table,
                    false => table.tables("env", env),
                }
            }),
            (
                "run",
                some(!self.run_images.is_empty(), TomlTable::new().tables("images", images)),
            ),
            (
                "lifecycle",
                TomlTable::new()
                    .text_if("uri", &self.lifecycle.uri)
                    .text_if("version", &self.lifecycle.version),
            ),
            ("system", {
                let sides = [("pre", &self.system.pre), ("post", &self.system.post)];
                let sides = sides.into_iter().filter(|(_, entries)| !entries.is_empty());
                sides.fold(TomlTable::new(), |table, (key, entries)| table.with(key, side(entries)))
            }),
        ];
        for (key, table) in tables {
            if !table.is_empty() {
                document = document.with(key, TomlValue::Table(table));
            }
        }
        go_toml(&document)
    }
}

impl BuildEnv {
    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        let env = Self {
            name: fields.text("name")?,
            value: fields.text("value")?,
            suffix: fields.text("suffix")?,
            delim: fields.text("delim")?,
        };
        let problem = match env.suffix.as_str() {
            _ if env.name.is_empty() => "build.env.name must not be empty".to_owned(),
            "append" | "prepend" if env.delim.is_empty() => {
                format!("build.env '{}' with suffix '{}' needs a delim", env.name, env.suffix)
            }
            "" | "default" | "override" | "append" | "prepend" => return Ok(env),
            other => format!(
                "build.env '{}' has the unknown suffix '{other}'; there are default, override, append and prepend",
                env.name
            ),
        };
        let line = fields.line_of("name", None).or_else(|| fields.line_of("value", None));
        let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
        Err(DecodeError::Invalid {
            message: format!("{line}{problem}"),
        })
    }

    fn write(&self) -> TomlTable {
        TomlTable::new()
            .text("name", &self.name)
            .text("value", &self.value)
            .text_if("suffix", &self.suffix)
            .text_if("delim", &self.delim)
    }
}
