//! package.toml: what people write to have a buildpack or an extension packed.

use crate::builder_config::ModuleSource;
use crate::decode::{DecodeError, Fields, parse_toml};
use crate::known_keys::only;
use crate::{ModuleKind, Target, TomlTable, TomlValue, go_toml};

/// The content of package.toml.
///
/// Unknown keys are errors: the file is written by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageConfig {
    /// Whether a buildpack or an extension is packed.
    pub kind: ModuleKind,
    /// Where it lies: a path or an address.
    pub uri: String,
    /// What the buildpack needs of others, each by `uri` or by `image`.
    pub dependencies: Vec<ModuleSource>,
    /// The operating system that the package is for.
    pub os: String,
    /// What the package is for.
    pub targets: Vec<Target>,
}

const KNOWN: &[&str] = &[
    "buildpack.uri",
    "extension.uri",
    "dependencies.uri",
    "dependencies.image",
    "platform.os",
    "targets.os",
    "targets.arch",
    "targets.variant",
    "targets.distros.name",
    "targets.distros.version",
];

impl PackageConfig {
    /// Reads the text of package.toml; the operating system is `linux` if none is given.
    ///
    /// # Errors
    /// When it is not TOML, has an unknown key or a value of the wrong type, names neither a buildpack nor an extension or both, a
    /// dependency has both or neither of `uri` and `image`, or the operating system is not `linux` or `windows`.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        only(&table, KNOWN)?;
        let fields = Fields::of(&table, text);
        let uri = |key: &str| -> Result<String, DecodeError> {
            Ok(fields
                .table(key)?
                .map(|module| module.text("uri"))
                .transpose()?
                .unwrap_or_default())
        };
        let wrong = |message: &str| DecodeError::Invalid {
            message: message.to_owned(),
        };
        let (kind, uri) = match (uri("buildpack")?, uri("extension")?) {
            (buildpack, extension) if extension.is_empty() && !buildpack.is_empty() => {
                (ModuleKind::Buildpack, buildpack)
            }
            (buildpack, extension) if buildpack.is_empty() && !extension.is_empty() => {
                (ModuleKind::Extension, extension)
            }
            (buildpack, _) if buildpack.is_empty() => {
                return Err(wrong("missing 'buildpack.uri' or 'extension.uri' configuration"));
            }
            _ => return Err(wrong("only one of 'buildpack.uri' and 'extension.uri' can be given")),
        };
        let os = match fields.table("platform")? {
            Some(platform) => platform.text("os")?,
            None => String::new(),
        };
        let os = if os.is_empty() { "linux".to_owned() } else { os };
        if !matches!(os.as_str(), "linux" | "windows") {
            return Err(DecodeError::Invalid {
                message: format!(
                    "invalid 'platform.os' configuration: only ['linux', 'windows'] is permitted, found '{os}'"
                ),
            });
        }
        Ok(Self {
            kind,
            uri,
            dependencies: fields.list("dependencies", dependency)?.unwrap_or_default(),
            os,
            targets: fields.list("targets", Target::read)?.unwrap_or_default(),
        })
    }

    /// Writes the text of package.toml.
    pub fn to_toml(&self) -> String {
        let table = |key: &str, text: &str| TomlValue::Table(TomlTable::new().text(key, text));
        let mut document = TomlTable::new().with(self.kind.word(), table("uri", &self.uri));
        if !self.dependencies.is_empty() {
            let write = |dependency: &ModuleSource| {
                TomlTable::new()
                    .text_if("uri", &dependency.uri)
                    .text_if("image", &dependency.image)
            };
            document = document.tables("dependencies", self.dependencies.iter().map(write));
        }
        document = document.with("platform", table("os", &self.os));
        if !self.targets.is_empty() {
            document = document.tables("targets", self.targets.iter().map(Target::write));
        }
        go_toml(&document)
    }
}

fn dependency(fields: &Fields<'_>) -> Result<ModuleSource, DecodeError> {
    let found = ModuleSource {
        uri: fields.text("uri")?,
        image: fields.text("image")?,
        ..ModuleSource::default()
    };
    let problem = match (found.uri.is_empty(), found.image.is_empty()) {
        (false, false) => "dependency configured with both 'uri' and 'image'",
        (true, true) => "dependency without 'uri' and 'image'",
        _ => return Ok(found),
    };
    let line = fields.line_of("uri", None).map(|line| format!("line {line}: "));
    Err(DecodeError::Invalid {
        message: format!("{}{problem}", line.unwrap_or_default()),
    })
}
