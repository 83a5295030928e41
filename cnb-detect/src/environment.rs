//! The environment of buildpack executables and of launched processes, and the rules by which files change it.

use std::collections::BTreeMap;
use std::ffi::{CStr, OsStr, OsString};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, open, openat, statat};
use rustix::io::{Errno, read};

use crate::os_text;

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

    fn bytes(&self, name: &OsStr) -> &[u8] {
        self.0.get(name).map_or(&[], |value| value.as_bytes())
    }

    fn join(&mut self, name: OsString, parts: &[&[u8]]) {
        self.0.insert(name, OsString::from_vec(parts.concat()));
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
        for (name, content) in env_files(directory, false)? {
            let current = self.bytes(&name);
            if LISTS.iter().any(|list| name == *list) && !current.is_empty() {
                let current = current.to_vec();
                self.join(name, &[&content, b":", &current]);
            } else {
                self.join(name, &[&content]);
            }
        }
        Ok(())
    }

    /// Applies the files of an environment directory in byte order of their names: what is in front of the first dot is
    /// the variable, what is behind it the action.
    ///
    /// # Errors
    /// When a file cannot be read; a missing directory is fine.
    pub fn apply(&mut self, directory: &Path, plain: Action) -> Result<(), EnvFileError> {
        let files = env_files(directory, true)?;
        let delimiter = |name: &OsStr| {
            let mut file = name.to_owned();
            file.push(".delim");
            files
                .iter()
                .find(|(have, _)| *have == file)
                .map(|(_, content)| content.as_slice())
        };
        for (file, content) in &files {
            let mut parts = file.as_bytes().splitn(2, |byte| *byte == b'.');
            let name = OsStr::from_bytes(parts.next().unwrap_or_default()).to_owned();
            let action = match (parts.next(), plain) {
                (None, Action::Override) => b"override".as_slice(),
                (None, Action::Default) => b"default",
                (Some(action), _) => action,
            };
            let current = self.bytes(&name).to_vec();
            match action {
                b"override" => self.join(name, &[content]),
                b"default" | b"append" | b"prepend" | b"" if current.is_empty() => self.join(name, &[content]),
                b"append" => {
                    let delimiter = delimiter(&name).unwrap_or_default();
                    self.join(name, &[&current, delimiter, content]);
                }
                b"prepend" => {
                    let delimiter = delimiter(&name).unwrap_or_default();
                    self.join(name, &[content, delimiter, &current]);
                }
                b"" => {
                    let delimiter = delimiter(&name).unwrap_or(b":");
                    self.join(name, &[content, delimiter, &current]);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Puts the directories of a layer in front of the list variables they belong to, such as `bin` of `PATH`.
    ///
    /// # Errors
    /// When it cannot be seen whether a directory exists.
    pub fn apply_layer_root(&mut self, layer: &Path, layer_use: LayerUse) -> Result<(), EnvFileError> {
        for (directory, variables) in layer_use.paths() {
            let path = layer.join(directory);
            match fs::metadata(&path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(source) => {
                    return Err(EnvFileError {
                        directory: None,
                        operation: "stat",
                        path,
                        source,
                    });
                }
            }
            for variable in *variables {
                let current = self.bytes(OsStr::new(variable)).to_vec();
                let separator: &[u8] = if current.is_empty() { b"" } else { b":" };
                self.join((*variable).into(), &[path.as_os_str().as_bytes(), separator, &current]);
            }
        }
        Ok(())
    }
}

/// Reads the files of a directory in byte order of their names; directories and links to directories are skipped.
fn env_files(directory: &Path, with_rules: bool) -> Result<Vec<(OsString, Vec<u8>)>, EnvFileError> {
    let wrap = |operation: &'static str, path: &Path| {
        let (directory, path) = (with_rules.then(|| directory.to_owned()), path.to_owned());
        move |source| EnvFileError {
            directory,
            operation,
            path,
            source,
        }
    };
    // Not by path: the launcher comes through here for each layer before a process starts.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let handle = match open(directory, flags, Mode::empty()) {
        Ok(handle) => handle,
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Err(error) => return Err(wrap("open", directory)(error.into())),
    };
    let mut buffer = [MaybeUninit::uninit(); 8192];
    let mut entries = RawDir::new(&handle, &mut buffer);
    let mut files = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|error| wrap("open", directory)(error.into()))?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        let kind = match entry.file_type() {
            FileType::Directory => continue,
            FileType::RegularFile => FileType::RegularFile,
            _ if matches!(name.as_bytes(), b"." | b"..") => continue,
            _ => {
                let found = statat(&handle, entry.file_name(), AtFlags::empty());
                let found = found.map_err(|error| wrap("stat", &directory.join(name))(error.into()))?;
                FileType::from_raw_mode(found.st_mode)
            }
        };
        if kind != FileType::Directory {
            let content = read_file(&handle, entry.file_name(), kind);
            let content = content.map_err(|error| wrap("open", &directory.join(name))(error.into()))?;
            files.push((name.to_owned(), content));
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a whole file; of a regular one, less than asked for is all there is.
fn read_file(directory: &OwnedFd, name: &CStr, kind: FileType) -> Result<Vec<u8>, Errno> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let mut content = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match read(&file, &mut buffer) {
            Ok(0) => return Ok(content),
            Ok(count) => {
                content.extend_from_slice(&buffer[..count]);
                if count < buffer.len() && kind == FileType::RegularFile {
                    return Ok(content);
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
