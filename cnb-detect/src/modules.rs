//! Where buildpacks and extensions lie on disk.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use cnb_order::{
    BuildpackDescriptor, Entry, ExtensionDescriptor, Group, Lookup, LookupError, ModuleDescriptor, ModuleKind, Order,
    go_clean_path,
};

use crate::{os_text, read_problem};

/// Directories of modules: laid out as in a builder, `<directory>/<id, / as _>/<version>/`, or found by
/// [`scan`](Self::scan).
///
/// Each descriptor is read once.
#[derive(Debug)]
pub struct ModuleStore {
    buildpacks: PathBuf,
    extensions: PathBuf,
    /// Modules found elsewhere, by their names.
    found: BTreeMap<Entry, PathBuf>,
    read: RefCell<HashMap<Entry, Rc<ModuleDescriptor>>>,
}

/// The entry that names a module, without what a group says of it.
fn name_of(entry: &Entry) -> Entry {
    Entry {
        kind: entry.kind,
        ..Entry::new(entry.id.clone(), entry.version.clone())
    }
}

impl ModuleStore {
    /// Makes a store over a directory of buildpacks and one of extensions.
    pub fn new(buildpacks: impl Into<PathBuf>, extensions: impl Into<PathBuf>) -> Self {
        Self {
            buildpacks: buildpacks.into(),
            extensions: extensions.into(),
            found: BTreeMap::new(),
            read: RefCell::default(),
        }
    }

    /// Finds the buildpacks in `directory`: a `buildpack.toml` in it, in a directory in it, or one level deeper, whatever the
    /// directories are called. So works a check-out of one buildpack, a directory of them, and the layout of builders.
    ///
    /// # Errors
    /// When a directory or a descriptor cannot be read, or two directories hold the same version of a buildpack.
    pub fn scan(directory: impl AsRef<Path>) -> Result<Self, LookupError> {
        let directory = directory.as_ref();
        let mut store = Self::new(directory, directory);
        store.scan_below(directory, 2)?;
        Ok(store)
    }

    fn scan_below(&mut self, directory: &Path, levels: usize) -> Result<(), LookupError> {
        if directory.join("buildpack.toml").is_file() {
            let descriptor = load(ModuleKind::Buildpack, directory)?;
            let entry = Entry::new(descriptor.info().id.clone(), descriptor.info().version.clone());
            if let Some(other) = self.found.get(&entry) {
                return Err(LookupError {
                    message: format!(
                        "{} and {} both hold buildpack {}",
                        other.display(),
                        directory.display(),
                        entry.full_name()
                    ),
                });
            }
            self.read.get_mut().insert(entry.clone(), Rc::new(descriptor));
            self.found.insert(entry, directory.to_owned());
            return Ok(());
        }
        if levels == 0 {
            return Ok(());
        }
        let entries = fs::read_dir(directory).map_err(|error| LookupError {
            message: format!("open {}: {}", directory.display(), os_text(&error)),
        })?;
        let mut below: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        below.sort();
        below
            .iter()
            .filter(|path| path.is_dir())
            .try_for_each(|path| self.scan_below(path, levels - 1))
    }

    /// Returns the buildpacks that [`scan`](Self::scan) found, sorted by name.
    pub fn found(&self) -> impl Iterator<Item = &Entry> {
        self.found.keys()
    }

    /// Returns an order to try what [`scan`](Self::scan) found with: a group for each composite that no other one mentions, or,
    /// if there is no composite, one group of all, each optional, sorted by name.
    pub fn order(&self) -> Order {
        let mentioned: Vec<Entry> = self
            .found
            .keys()
            .filter_map(|entry| self.descriptor(entry).ok())
            .flat_map(|descriptor| descriptor.order().to_vec())
            .flat_map(|group| group.entries)
            .map(|entry| name_of(&entry))
            .collect();
        let is_root = |entry: &&Entry| {
            let composite = self.descriptor(entry).is_ok_and(|found| !found.order().is_empty());
            composite && !mentioned.contains(entry)
        };
        let of = |entries: Vec<Entry>| Group { entries };
        let mut groups: Vec<Group> = self
            .found
            .keys()
            .filter(is_root)
            .map(|entry| of(vec![entry.clone()]))
            .collect();
        if groups.is_empty() {
            let optional = |entry: &Entry| Entry {
                optional: true,
                ..entry.clone()
            };
            groups.push(of(self.found.keys().map(optional).collect()));
        }
        Order {
            groups,
            extensions: Vec::new(),
        }
    }

    /// Returns the directory of a module.
    pub fn root(&self, entry: &Entry) -> PathBuf {
        if let Some(path) = self.found.get(&name_of(entry)) {
            return path.clone();
        }
        let mut path = match entry.kind {
            ModuleKind::Buildpack => &self.buildpacks,
            ModuleKind::Extension => &self.extensions,
        }
        .clone()
        .into_os_string();
        for part in [entry.id.escaped(), entry.version.as_str().to_owned()] {
            path.push("/");
            path.push(part);
        }
        go_clean_path(Path::new(&path))
    }
}

fn load(kind: ModuleKind, root: &Path) -> Result<ModuleDescriptor, LookupError> {
    let path = root.join(match kind {
        ModuleKind::Buildpack => "buildpack.toml",
        ModuleKind::Extension => "extension.toml",
    });
    let bytes = fs::read(&path).map_err(|error| LookupError {
        message: read_problem(&path, &error),
    })?;
    let broken = |what: String| LookupError {
        message: format!("{what} in {}", path.display()),
    };
    let text = String::from_utf8(bytes).map_err(|_| broken("toml: invalid UTF-8".to_owned()))?;
    let bin = file_names(&root.join("bin"));
    let bin: Vec<&str> = bin.iter().map(String::as_str).collect();
    match kind {
        ModuleKind::Buildpack => BuildpackDescriptor::from_toml(&text, &bin).map(ModuleDescriptor::Buildpack),
        ModuleKind::Extension => ExtensionDescriptor::from_toml(&text, &bin).map(ModuleDescriptor::Extension),
    }
    .map_err(|error| broken(error.to_string()))
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
        let key = name_of(entry);
        if let Some(descriptor) = self.read.borrow().get(&key) {
            return Ok(Rc::clone(descriptor));
        }
        let descriptor = Rc::new(load(entry.kind, &self.root(entry))?);
        self.read.borrow_mut().insert(key, Rc::clone(&descriptor));
        Ok(descriptor)
    }
}
