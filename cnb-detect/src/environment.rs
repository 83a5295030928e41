//! The environment of buildpack executables and of launched processes, and the rules by which files change it.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat, statat};
use rustix::io::{Errno, read};

use crate::{DirPath, os_text};

/// Variables and their values.
///
/// Values are bytes, taken from files without trimming.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<OsString, OsString>);

/// What layer directories add to which list variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerUse {
    /// For the buildpacks that run later in the same build.
    Build,
    /// For processes of the built image.
    Launch,
}

impl LayerUse {
    fn paths(self) -> &'static [(&'static str, &'static [&'static str])] {
        match self {
            Self::Build => &[
                ("bin", &["PATH"]),
                ("lib", &["LD_LIBRARY_PATH", "LIBRARY_PATH"]),
                ("include", &["CPATH"]),
                ("pkgconfig", &["PKG_CONFIG_PATH"]),
            ],
            Self::Launch => &[("bin", &["PATH"]), ("lib", &["LD_LIBRARY_PATH"])],
        }
    }
}

/// What a file of an environment directory does when its name has no suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Sets the variable.
    Override,
    /// Sets the variable unless it has a value that is not empty.
    Default,
}

/// Why an environment directory could not be applied.
#[derive(Debug, thiserror::Error)]
#[error("{}{operation} {}: {}", within(.directory.as_deref()), .path.display(), os_text(.source))]
pub struct EnvFileError {
    /// The directory of files with suffix rules, if it is one.
    pub directory: Option<PathBuf>,
    /// What was tried.
    pub operation: &'static str,
    /// On what.
    pub path: PathBuf,
    /// What the operating system said.
    pub source: io::Error,
}

fn within(directory: Option<&Path>) -> String {
    directory
        .map(|directory| format!("apply env files from dir '{}': ", directory.display()))
        .unwrap_or_default()
}

/// The variables of the phase that modules inherit; all others they do not see.
const INHERITED: [&str; 14] = [
    "CNB_STACK_ID",
    "HOSTNAME",
    "HOME",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "PATH",
    "LD_LIBRARY_PATH",
    "LIBRARY_PATH",
    "CPATH",
    "PKG_CONFIG_PATH",
];

/// The variables that hold lists of directories.
const LISTS: [&str; 5] = ["PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CPATH", "PKG_CONFIG_PATH"];

impl Environment {
    /// Makes an empty environment.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an environment of all variables given; of a name given twice the first counts.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut all = BTreeMap::new();
        for (name, value) in variables {
            all.entry(name).or_insert(value);
        }
        Self(all)
    }

    /// Makes the base environment of modules: those of the phase's variables that they may see.
    pub fn inherited(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self::of(
            variables
                .into_iter()
                .filter(|(name, _)| INHERITED.iter().any(|inherited| name == inherited)),
        )
    }

    /// Returns the value of a variable.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Removes a variable.
    pub fn remove(&mut self, name: impl AsRef<OsStr>) {
        self.0.remove(name.as_ref());
    }

    /// Returns all variables, sorted by name.
    pub fn into_list(self) -> Vec<(OsString, OsString)> {
        self.0.into_iter().collect()
    }

    /// Returns all variables, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Changes the bytes of a variable, which are none as long as it is not set.
    fn change(&mut self, name: &OsStr, change: impl FnOnce(&mut Vec<u8>)) {
        let with = |value: OsString| {
            let mut bytes = value.into_vec();
            change(&mut bytes);
            OsString::from_vec(bytes)
        };
        match self.0.get_mut(name) {
            Some(value) => *value = with(std::mem::take(value)),
            None => {
                self.0.insert(name.to_owned(), with(OsString::new()));
            }
        }
    }

    /// Returns the environment of one module: this one, with the platform's variables and the operator's build
    /// configuration applied; this one is not changed.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn for_module(
        &self,
        platform_env: Option<&Path>,
        build_config_env: Option<&Path>,
    ) -> Result<Self, EnvFileError> {
        let mut env = self.clone();
        if let Some(directory) = platform_env {
            env.apply_platform(directory)?;
        }
        if let Some(directory) = build_config_env {
            env.apply(directory, Action::Default)?;
        }
        Ok(env)
    }

    /// Applies the files of the platform's `env` directory: the file name is the variable, the content its value, which
    /// replaces the value or, for lists of directories, comes in front of it.
    ///
    /// # Errors
    /// When a file cannot be read; a missing directory is fine.
    pub fn apply_platform(&mut self, directory: &Path) -> Result<(), EnvFileError> {
        for (name, content) in env_files(directory.into(), false)?.unwrap_or_default() {
            let list = LISTS.iter().any(|list| name == *list);
            self.change(&name, |value| match list {
                true => put_in_front(value, &content, b":"),
                false => *value = content,
            });
        }
        Ok(())
    }

    /// Applies the files of an environment directory in byte order of their names: what is in front of the first dot is
    /// the variable, what is behind it the action. Says whether there is such a directory.
    ///
    /// # Errors
    /// When a file cannot be read; a missing directory is fine.
    pub fn apply<'a>(&mut self, directory: impl Into<DirPath<'a>>, plain: Action) -> Result<bool, EnvFileError> {
        let Some(files) = env_files(directory.into(), true)? else {
            return Ok(false);
        };
        let delimiter = |name: &OsStr| {
            files
                .iter()
                .find(|(have, _)| have.as_bytes().strip_prefix(name.as_bytes()) == Some(b".delim"))
                .map(|(_, content)| content.as_slice())
        };
        for (file, content) in &files {
            let mut parts = file.as_bytes().splitn(2, |byte| *byte == b'.');
            let name = OsStr::from_bytes(parts.next().unwrap_or_default());
            let action = match (parts.next(), plain) {
                (None, Action::Override) => b"override".as_slice(),
                (None, Action::Default) => b"default",
                (Some(action), _) => action,
            };
            match action {
                b"override" => self.change(name, |value| value.clone_from(content)),
                b"default" => self.change(name, |value| {
                    if value.is_empty() {
                        value.clone_from(content);
                    }
                }),
                b"append" => self.change(name, |value| {
                    if !value.is_empty() {
                        value.extend_from_slice(delimiter(name).unwrap_or_default());
                    }
                    value.extend_from_slice(content);
                }),
                b"prepend" => self.change(name, |value| {
                    put_in_front(value, content, delimiter(name).unwrap_or_default());
                }),
                b"" => self.change(name, |value| {
                    put_in_front(value, content, delimiter(name).unwrap_or(b":"));
                }),
                _ => {}
            }
        }
        Ok(true)
    }

    /// Puts the directories of a layer in front of the list variables they belong to, such as `bin` of `PATH`.
    ///
    /// # Errors
    /// When it cannot be seen whether a directory exists.
    pub fn apply_layer_root<'a>(
        &mut self,
        layer: impl Into<DirPath<'a>>,
        layer_use: LayerUse,
    ) -> Result<(), EnvFileError> {
        let layer = layer.into();
        for (directory, variables) in layer_use.paths() {
            let path = layer.path().join(directory);
            match layer.join(&path).stat() {
                Ok(_) => {}
                Err(Errno::NOENT) => continue,
                Err(error) => {
                    return Err(EnvFileError {
                        directory: None,
                        operation: "stat",
                        path,
                        source: error.into(),
                    });
                }
            }
            for variable in *variables {
                self.change(OsStr::new(variable), |value| {
                    put_in_front(value, path.as_os_str().as_bytes(), b":");
                });
            }
        }
        Ok(())
    }
}

/// Puts text in front of a value; the separator only if there was a value.
fn put_in_front(value: &mut Vec<u8>, text: &[u8], separator: &[u8]) {
    let separator = if value.is_empty() { &[] } else { separator };
    value.splice(..0, text.iter().chain(separator).copied());
}

/// Name and content of each file of a directory.
type Files = Vec<(OsString, Vec<u8>)>;

/// Reads the files of a directory in byte order of their names; directories and links to directories are skipped. Without
/// such a directory there is nothing.
fn env_files(directory: DirPath<'_>, with_rules: bool) -> Result<Option<Files>, EnvFileError> {
    let wrap = |operation: &'static str, path: PathBuf| {
        let directory = with_rules.then(|| directory.path().to_owned());
        move |source: Errno| EnvFileError {
            directory,
            operation,
            path,
            source: source.into(),
        }
    };
    let Some(listing) = directory
        .list()
        .map_err(|error| wrap("open", directory.path().to_owned())(error))?
    else {
        return Ok(None);
    };
    let mut files = Vec::with_capacity(listing.entries.len());
    for (name, kind) in &listing.entries {
        let path = || directory.path().join(OsStr::from_bytes(name.to_bytes()));
        let kind = match *kind {
            FileType::Directory => continue,
            FileType::RegularFile => FileType::RegularFile,
            _ => {
                let found = statat(&listing.handle, name, AtFlags::empty());
                FileType::from_raw_mode(found.map_err(|error| wrap("stat", path())(error))?.st_mode)
            }
        };
        if kind != FileType::Directory {
            let content = read_file(&listing.handle, name, kind).map_err(|error| wrap("open", path())(error))?;
            files.push((OsStr::from_bytes(name.to_bytes()).to_owned(), content));
        }
    }
    Ok(Some(files))
}

/// The most bytes of one value: more than the kernel hands on to any program.
const MOST: usize = 16 << 20;

/// Reads a whole file; of a regular one, less than asked for is all there is. A pipe that nobody writes to is not waited for,
/// and a device without end not read to it.
fn read_file(directory: &OwnedFd, name: &CStr, kind: FileType) -> Result<Vec<u8>, Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty())?;
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match read(&file, &mut buffer) {
            Ok(0) => return Ok(content),
            Ok(count) => {
                content.extend_from_slice(&buffer[..count]);
                if content.len() > MOST {
                    return Err(Errno::FBIG);
                }
                if count < buffer.len() && kind == FileType::RegularFile {
                    return Ok(content);
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
