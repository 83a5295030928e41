//! Reading the descriptor, and doing what it says.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use cap_std::fs::Dir;
use toml::{Table, Value};

use super::pattern::Patterns;
use crate::SubPath;

/// What `project.toml` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectDescriptor {
    /// Only these files are kept, when given.
    pub include: Option<Vec<String>>,
    /// These files are removed, when given.
    pub exclude: Option<Vec<String>>,
    /// Variables of the build, by name.
    pub env: BTreeMap<String, String>,
    /// What it asks for that does not count here, a line each, and warnings.
    pub notes: Vec<String>,
}

/// Why a descriptor could not be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// A path was set, and no file is there.
    #[error("project descriptor path set but no file found: {path}")]
    Missing {
        /// The path, relative to the source.
        path: String,
    },
    /// It could not be read.
    #[error("cannot read project descriptor {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It is no TOML.
    #[error("project descriptor {} is not valid TOML", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        source: Box<toml::de::Error>,
    },
    /// A value has the wrong type.
    #[error("{key} of project descriptor {} must be {expected}", path.display())]
    Type {
        /// The file.
        path: PathBuf,
        /// Where in it.
        key: String,
        /// What it must be.
        expected: &'static str,
    },
    /// Both lists are there.
    #[error("project descriptor cannot have both include and exclude defined")]
    IncludeAndExclude,
    /// A variable's name is no file name.
    #[error("environment variable {name:?} of project descriptor {} has no usable name", path.display())]
    VariableName {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// A file could not be removed or written.
    #[error("cannot change {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectReport {
    /// Lines for the log.
    pub notes: Vec<String>,
    /// Files that were removed, relative to the source, sorted.
    pub removed: Vec<String>,
    /// Names of the variables that were written.
    pub variables: Vec<String>,
}

/// Follows the descriptor of the source in `root`: removes files of its directory `sub_path` by the include or exclude
/// patterns, and writes the variables into `platform_env`, a file each.
///
/// `path` is relative to the sub path and stays within `root`; `None` means `project.toml`, which may be missing.
/// Directories are never removed, and links are not followed out of `root`.
///
/// # Errors
/// As [`ProjectError`] says; nothing is removed when the descriptor is not valid.
///
/// # Specification
/// kpack 0.17.2, "Project descriptor" (kpack.md §3.7). Keys match without regard to case where the reference has fields.
///
/// # Deviation
/// A variable whose name leads out of `platform_env` is refused; the reference writes there. An inline list of
/// variables is read like the long form; the reference refuses it.
pub fn process_project_descriptor(
    root: &Path,
    sub_path: &SubPath,
    path: Option<&str>,
    platform_env: &Path,
) -> Result<ProjectReport, ProjectError> {
    let relative = Path::new(sub_path.as_str()).join(path.unwrap_or("project.toml").trim_start_matches('/'));
    let file = root.join(&relative);
    let unreadable = |source| ProjectError::Read {
        path: file.clone(),
        source,
    };
    let handle = Dir::open_ambient_dir(root, cap_std::ambient_authority()).map_err(unreadable)?;
    // Read through the handle, so that neither `..` nor a link can lead out of the source.
    let text = match handle.read_to_string(&relative) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return match path {
                Some(path) => Err(ProjectError::Missing { path: path.to_owned() }),
                None => Ok(ProjectReport::default()),
            };
        }
        Err(source) => return Err(unreadable(source)),
    };
    let app = &root.join(sub_path.as_str());
    let root = match sub_path.is_root() {
        true => handle,
        false => handle.open_dir(sub_path.as_str()).map_err(unreadable)?,
    };
    let descriptor = ProjectDescriptor::parse(&text, &file)?;
    let mut report = ProjectReport {
        notes: descriptor.notes.clone(),
        ..ProjectReport::default()
    };
    if let Some(exclude) = &descriptor.exclude {
        let patterns = Patterns::new(exclude.iter().map(String::as_str));
        remove(&root, app, "", &|path| patterns.matches(path), &mut report.removed)?;
    }
    if let Some(include) = descriptor.include.as_ref().filter(|include| !include.is_empty()) {
        let patterns = Patterns::new(include.iter().map(String::as_str));
        remove(&root, app, "", &|path| !patterns.matches(path), &mut report.removed)?;
    }
    report.removed.sort();
    for (name, value) in &descriptor.env {
        if name.is_empty() || name.contains('/') || name.contains('\0') || name == "." || name == ".." {
            return Err(ProjectError::VariableName {
                path: file,
                name: name.clone(),
            });
        }
        let place = platform_env.join(name);
        let written = fs::create_dir_all(platform_env).and_then(|()| fs::write(&place, value));
        written.map_err(|source| ProjectError::Write { path: place, source })?;
        report.variables.push(name.clone());
    }
    Ok(report)
}

fn remove(
    dir: &Dir,
    app: &Path,
    prefix: &str,
    unwanted: &dyn Fn(&str) -> bool,
    removed: &mut Vec<String>,
) -> Result<(), ProjectError> {
    let failed = |path: &str, source| ProjectError::Write {
        path: app.join(path),
        source,
    };
    for entry in dir.entries().map_err(|source| failed(prefix, source))? {
        let entry = entry.map_err(|source| failed(prefix, source))?;
        let name = entry.file_name();
        let path = match prefix {
            "" => name.to_string_lossy().into_owned(),
            prefix => format!("{prefix}/{}", name.to_string_lossy()),
        };
        let kind = entry.file_type().map_err(|source| failed(&path, source))?;
        if kind.is_dir() {
            let inner = dir.open_dir(&name).map_err(|source| failed(&path, source))?;
            remove(&inner, app, &path, unwanted, removed)?;
        } else if unwanted(&path) {
            dir.remove_file(&name).map_err(|source| failed(&path, source))?;
            removed.push(path);
        }
    }
    Ok(())
}

impl ProjectDescriptor {
    /// Reads the text of a descriptor; `path` is for errors and notes.
    ///
    /// # Errors
    /// [`ProjectError::Toml`], [`ProjectError::Type`] or [`ProjectError::IncludeAndExclude`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ProjectError> {
        let toml: Table = text.parse().map_err(|source| ProjectError::Toml {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let at = |key: &str, expected| ProjectError::Type {
            path: path.to_owned(),
            key: key.to_owned(),
            expected,
        };
        let table = |parent: &Table, key: &str, full: &str| match field(parent, key) {
            None => Ok(Table::new()),
            Some(Value::Table(table)) => Ok(table.clone()),
            Some(_) => Err(at(full, "a table")),
        };
        let version = match field(&table(&toml, "_", "_")?, "schema-version") {
            None => None,
            Some(Value::String(version)) if version.is_empty() => None,
            Some(Value::String(version)) => Some(version.clone()),
            Some(_) => return Err(at("_.schema-version", "a string")),
        };
        let mut descriptor = Self::default();
        let (build, prefix) = match version.as_deref() {
            None => (table(&toml, "build", "build")?, "build"),
            Some("0.2") => {
                let io = table(&toml, "io", "io")?;
                (table(&io, "buildpacks", "io.buildpacks")?, "io.buildpacks")
            }
            Some(version) => {
                let shown = path.display();
                let note =
                    format!("warning: project descriptor version {version} is unsupported and {shown} will be ignored");
                descriptor.notes.push(note);
                return Ok(descriptor);
            }
        };
        let reader = Reader { path, prefix };
        descriptor.include = reader.strings(&build, "include")?;
        descriptor.exclude = reader.strings(&build, "exclude")?;
        if descriptor.include.is_some() && descriptor.exclude.is_some() {
            return Err(ProjectError::IncludeAndExclude);
        }
        let groups = if version.is_some() { "group" } else { "buildpacks" };
        if field(&build, groups).is_some() {
            descriptor
                .notes
                .push("info: buildpacks provided in project descriptor file will be ignored".to_owned());
        }
        if field(&build, "builder")
            .and_then(Value::as_str)
            .is_some_and(|builder| !builder.is_empty())
        {
            descriptor
                .notes
                .push("info: builder provided in project descriptor file will be ignored".to_owned());
        }
        descriptor.env = reader.env(&build, version.is_some())?;
        Ok(descriptor)
    }
}

struct Reader<'a> {
    path: &'a Path,
    prefix: &'static str,
}

impl Reader<'_> {
    fn wrong(&self, key: &str, expected: &'static str) -> ProjectError {
        ProjectError::Type {
            path: self.path.to_owned(),
            key: format!("{}.{key}", self.prefix),
            expected,
        }
    }

    fn strings(&self, table: &Table, key: &str) -> Result<Option<Vec<String>>, ProjectError> {
        let Some(value) = field(table, key) else {
            return Ok(None);
        };
        let wrong = || self.wrong(key, "a list of strings");
        let list = value.as_array().ok_or_else(wrong)?;
        list.iter()
            .map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The first spelling that is there, of `build.env`, then `env.build` or `env`.
    fn env(&self, build: &Table, version_2: bool) -> Result<BTreeMap<String, String>, ProjectError> {
        if !version_2 {
            return self.variables(field(build, "env"), "env", field);
        }
        let newer = match field(build, "build") {
            Some(Value::Table(table)) => field(table, "env"),
            Some(_) => return Err(self.wrong("build", "a table")),
            None => None,
        };
        if newer.is_some() {
            return self.variables(newer, "build.env", field);
        }
        // Below `env` the reference has no fields, only a map, whose keys match exactly.
        match field(build, "env") {
            // `[io.buildpacks.env.build]` with names as keys is no spelling of this list, and no error either.
            Some(Value::Table(table)) if table.get("build").is_some_and(Value::is_table) => Ok(BTreeMap::new()),
            Some(Value::Table(table)) => self.variables(table.get("build"), "env.build", exact),
            other => self.variables(other, "env", exact),
        }
    }

    fn variables(
        &self,
        value: Option<&Value>,
        key: &str,
        field: impl for<'t> Fn(&'t Table, &str) -> Option<&'t Value>,
    ) -> Result<BTreeMap<String, String>, ProjectError> {
        let Some(value) = value else { return Ok(BTreeMap::new()) };
        let entries = value
            .as_array()
            .ok_or_else(|| self.wrong(key, "a list of tables with name and value"))?;
        let mut variables = BTreeMap::new();
        for entry in entries {
            let of_entry = |key: &str| entry.as_table().and_then(|entry| field(entry, key));
            let Some(Value::String(name)) = of_entry("name") else {
                return Err(self.wrong(&format!("{key}.name"), "a string"));
            };
            let value = match of_entry("value") {
                Some(Value::String(value)) => value.clone(),
                None => String::new(),
                Some(_) => return Err(self.wrong(&format!("{key}.value of variable {name:?}"), "a string")),
            };
            // Of two with one name the last wins.
            variables.insert(name.clone(), value);
        }
        Ok(variables)
    }
}

/// The value of a field: of the exact key, or else of the first that differs only by case.
fn field<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    let like = || table.iter().find(|(have, _)| have.eq_ignore_ascii_case(key));
    exact(table, key).or_else(|| like().map(|(_, value)| value))
}

fn exact<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    table.get(key)
}
