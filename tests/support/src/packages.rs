//! Programs that must be on the machine, and the Debian packages that bring them.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A program that is needed, and the Debian package that brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    /// The name that is looked up in `PATH` (and in `/usr/sbin`, `/sbin`), or an absolute path.
    pub name: &'static str,
    /// The Debian 12 package.
    pub package: &'static str,
    /// Whether it must run where no libraries are; another package may have installed one that does not.
    pub needs_no_libraries: bool,
}

impl Program {
    /// Names a program and its package.
    pub const fn new(name: &'static str, package: &'static str) -> Self {
        Self {
            name,
            package,
            needs_no_libraries: false,
        }
    }

    /// Names a program that must run without any library, and its package.
    pub const fn without_libraries(name: &'static str, package: &'static str) -> Self {
        Self {
            name,
            package,
            needs_no_libraries: true,
        }
    }

    fn is_installed(self) -> bool {
        let found = if self.name.starts_with('/') {
            Some(PathBuf::from(self.name)).filter(|path| path.exists())
        } else {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path)
                .chain(["/usr/sbin".into(), "/sbin".into()])
                .map(|folder| folder.join(self.name))
                .find(|path| path.is_file())
        };
        found.is_some_and(|path| !self.needs_no_libraries || !has_interpreter(&path))
    }
}

/// Returns whether a program is started by another, the dynamic linker above all, which it names in its header.
fn has_interpreter(program: &Path) -> bool {
    const INTERPRETER: usize = 3;
    let bytes = fs::read(program).unwrap_or_default();
    let number = |at: usize, size: usize| {
        let bytes = bytes.get(at..at.saturating_add(size)).unwrap_or_default();
        bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    // Of a 64-bit ELF file: where its segments are described, how long a description is, and how many there are.
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    !bytes.starts_with(b"\x7fELF")
        || (0..count).any(|segment| number(start.saturating_add(segment * size), 4) == INTERPRETER)
}

/// Why the programs could not be made available.
#[derive(Debug)]
pub enum RequireError {
    /// They are missing, and this user may not install packages.
    Missing(Vec<Program>),
    /// `apt-get` ran and failed.
    Install {
        /// What was to be installed.
        packages: Vec<&'static str>,
        /// The end of what `apt-get` printed.
        output: String,
    },
}

impl fmt::Display for RequireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(programs) => {
                let names: Vec<_> = programs.iter().map(|program| program.name).collect();
                write!(
                    f,
                    "these programs are missing: {}. Install them as root with:\n  apt-get install -y --no-install-recommends {}",
                    names.join(", "),
                    packages_of(programs).join(" ")
                )
            }
            Self::Install { packages, output } => write!(
                f,
                "apt-get could not install {}; the end of its output:\n{output}",
                packages.join(" ")
            ),
        }
    }
}

impl std::error::Error for RequireError {}

fn packages_of(programs: &[Program]) -> Vec<&'static str> {
    let mut packages: Vec<_> = programs.iter().map(|program| program.package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn missing(programs: &[Program]) -> Vec<Program> {
    programs
        .iter()
        .copied()
        .filter(|program| !program.is_installed())
        .collect()
}

/// Makes sure that `programs` are installed: as root by `apt-get`, else only by looking.
///
/// Safe to call from many processes at once: one installs, the others wait for it.
///
/// # Errors
/// [`RequireError::Missing`] names every missing program when this is not root or there is no
/// `apt-get`; [`RequireError::Install`] when `apt-get` failed.
pub fn require(programs: &[Program]) -> Result<(), RequireError> {
    if missing(programs).is_empty() {
        return Ok(());
    }
    let apt = Program::new("apt-get", "apt");
    if !rustix::process::geteuid().is_root() || !apt.is_installed() {
        return Err(RequireError::Missing(missing(programs)));
    }
    // One installation at a time on this machine, whichever process asks.
    let lock = fs::File::create(env::temp_dir().join("kpack-flow-packages.lock"));
    let _held = lock
        .as_ref()
        .ok()
        .map(|lock| rustix::fs::flock(lock, rustix::fs::FlockOperation::LockExclusive));
    let wanted = packages_of(&missing(programs));
    if wanted.is_empty() {
        return Ok(());
    }
    let failed = |output: String| RequireError::Install {
        packages: wanted.clone(),
        output,
    };
    let install = || apt_get(&["install", "-y", "--no-install-recommends"], &wanted);
    // The lists may be missing or old: fetch them, then install.
    apt_get(&["update"], &[]).and_then(|()| install()).map_err(failed)?;
    match missing(programs) {
        still if still.is_empty() => Ok(()),
        still => Err(RequireError::Missing(still)),
    }
}

fn apt_get(arguments: &[&str], packages: &[&str]) -> Result<(), String> {
    let output = Command::new("apt-get")
        .args(["-q", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"])
        .args(arguments)
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive")
        // No service of a package starts by itself: the servers here run on their own ports.
        .env("RUNLEVEL", "1")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    Err(lines[lines.len().saturating_sub(15)..].join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_installed_is_not_asked_for_again() {
        assert!(require(&[Program::new("sh", "dash"), Program::new("/bin/sh", "dash")]).is_ok());
    }

    #[test]
    fn a_program_that_needs_libraries_is_not_one_that_runs_without_them() {
        assert!(Program::new("sh", "dash").is_installed());
        assert!(!Program::without_libraries("sh", "dash").is_installed());
        let script = tempfile::NamedTempFile::new().expect("there is room");
        fs::write(script.path(), "#!/bin/sh\n").expect("there is room");
        assert!(has_interpreter(script.path()));
    }

    #[test]
    fn a_refusal_names_every_program_and_one_command() {
        let error = RequireError::Missing(vec![
            Program::new("skopeo", "skopeo"),
            Program::new("htpasswd", "apache2-utils"),
        ]);
        let text = error.to_string();
        assert!(
            text.contains("skopeo, htpasswd") && text.contains("apache2-utils skopeo"),
            "{text}"
        );
    }
}
