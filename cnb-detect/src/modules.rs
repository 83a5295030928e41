//! Where buildpacks and extensions lie on disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cnb_order::{BuildpackDescriptor, Entry, ExtensionDescriptor, Lookup, LookupError, ModuleDescriptor, ModuleKind};

use crate::os_text;

/// Directories of modules laid out as `<directory>/<id, / as _>/<version>/`.
///
/// Each descriptor is read once.
#[derive(Debug)]
pub struct ModuleStore {
    buildpacks: PathBuf,
    extensions: PathBuf,
    read: RefCell<HashMap<Entry, Rc<ModuleDescriptor>>>,
}

impl ModuleStore {
    /// Makes a store over a directory of buildpacks and one of extensions.
    pub fn new(buildpacks: impl Into<PathBuf>, extensions: impl Into<PathBuf>) -> Self {
        Self {
            buildpacks: buildpacks.into(),
            extensions: extensions.into(),
            read: RefCell::default(),
        }
    }

    /// Returns the directory of a module.
    pub fn root(&self, entry: &Entry) -> PathBuf {
        let mut path = match entry.kind {
            ModuleKind::Buildpack => &self.buildpacks,
            ModuleKind::Extension => &self.extensions,
        }
        .clone()
        .into_os_string();
        for part in [entry.id.escaped(), entry.version.as_str().to_owned()] {
            if !part.is_empty() {
                path.push("/");
                path.push(part);
            }
        }
        path.into()
    }

    fn load(&self, entry: &Entry) -> Result<ModuleDescriptor, LookupError> {
        let root = self.root(entry);
        let path = root.join(match entry.kind {
            ModuleKind::Buildpack => "buildpack.toml",
            ModuleKind::Extension => "extension.toml",
        });
        let bytes = fs::read(&path).map_err(|error| LookupError {
            message: format!("open {}: {}", path.display(), os_text(&error)),
        })?;
        let broken = |what: String| LookupError {
            message: format!("{what} in {}", path.display()),
        };
        let text = String::from_utf8(bytes).map_err(|_| broken("toml: invalid UTF-8".to_owned()))?;
        let bin = file_names(&root.join("bin"));
        let bin: Vec<&str> = bin.iter().map(String::as_str).collect();
        match entry.kind {
            ModuleKind::Buildpack => BuildpackDescriptor::from_toml(&text, &bin).map(ModuleDescriptor::Buildpack),
            ModuleKind::Extension => ExtensionDescriptor::from_toml(&text, &bin).map(ModuleDescriptor::Extension),
        }
        .map_err(|error| broken(error.to_string()))
    }
}

fn file_names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

impl Lookup for ModuleStore {
    fn descriptor(&self, entry: &Entry) -> Result<Rc<ModuleDescriptor>, LookupError> {
        let key = Entry {
            kind: entry.kind,
            ..Entry::new(entry.id.clone(), entry.version.clone())
        };
        if let Some(descriptor) = self.read.borrow().get(&key) {
            return Ok(Rc::clone(descriptor));
        }
        let descriptor = Rc::new(self.load(entry)?);
        self.read.borrow_mut().insert(key, Rc::clone(&descriptor));
        Ok(descriptor)
    }
}
