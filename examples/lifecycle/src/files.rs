//! Files that one phase leaves for the next: reading them, writing them, and what is said when that fails.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use cnb_detect::read_problem;
use cnb_layers::metadata::{Analyzed, DecodeError, Group, ProjectMetadata, RunToml, StackToml};
use cnb_layers::phase::os_error_text;
use cnb_order::{go_quoted, toml_text};
use rustix::fs::{OFlags, fcntl_setfl};

use crate::failure::{Failure, code};
use crate::logger::Logger;

/// Reads a file with `parse`; `None` when there is none. The error is the text for a failure.
fn read<T>(path: &Path, what: &str, parse: impl Fn(&str) -> Result<T, DecodeError>) -> Result<Option<T>, String> {
    match fs::read(path) {
        Ok(bytes) => {
            let parsed = toml_text(&bytes).map_err(DecodeError::from).and_then(parse);
            parsed
                .map(Some)
                .map_err(|error| format!("failed to read {what} file: {error}"))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("failed to read {what} file: {}", read_problem(path, &error))),
    }
}

/// Reads group.toml, which must be there.
pub(crate) fn group(path: &Path) -> Result<Group, Failure> {
    let missing = || {
        format!(
            "failed to read group file: open {}: no such file or directory",
            path.display()
        )
    };
    let found = read(path, "group", Group::from_toml).and_then(|found| found.ok_or_else(missing));
    found.map_err(|problem| Failure::new(code::FAILED, problem))
}

/// Reads analyzed.toml; a missing one is empty, with a warning.
pub(crate) fn analyzed(path: &Path, log: &Logger) -> Result<Option<Analyzed>, String> {
    let found = read(path, "analyzed", Analyzed::from_toml)?;
    if found.is_none() {
        log.warn(format_args!(
            "No analyzed metadata found at path {}",
            go_quoted(&path.to_string_lossy())
        ));
    }
    Ok(found)
}

/// Reads run.toml; a missing one names no images.
pub(crate) fn run_toml(path: &Path, log: &Logger) -> Result<RunToml, String> {
    let found = read(path, "run", RunToml::from_toml)?;
    if found.is_none() {
        log.info(format_args!(
            "No run metadata found at path {}",
            go_quoted(&path.to_string_lossy())
        ));
    }
    Ok(found.unwrap_or_default())
}

/// Reads stack.toml; a missing one names no image.
pub(crate) fn stack_toml(path: &Path, log: &Logger) -> Result<StackToml, String> {
    let found = read(path, "stack", StackToml::from_toml)?;
    if found.is_none() {
        log.info(format_args!(
            "No stack metadata found at path {}",
            go_quoted(&path.to_string_lossy())
        ));
    }
    Ok(found.unwrap_or_default())
}

/// Reads project-metadata.toml; a missing one says nothing.
pub(crate) fn project(path: &Path, log: &Logger) -> Result<ProjectMetadata, Failure> {
    let found = read(path, "project metadata", ProjectMetadata::from_toml);
    let found = found.map_err(|problem| Failure::new(code::FAILED, problem))?;
    if found.is_none() {
        log.debug(format_args!(
            "No project metadata found at path {}, project metadata will not be exported",
            go_quoted(&path.to_string_lossy())
        ));
    }
    Ok(found.unwrap_or_default())
}

/// Writes a file, making the directories above it. The error is the text for a failure.
pub(crate) fn write(path: &Path, what: &str, text: &str) -> Result<(), String> {
    let failed = |action: &str, path: &Path, error: &io::Error| {
        format!(
            "failed to write {what} file: {action} {}: {}",
            path.display(),
            os_error_text(error)
        )
    };
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::create_dir_all(parent).map_err(|error| failed("mkdir", parent, &error))?;
    }
    // To open a pipe that a buildpack has put there fails when nobody reads it, instead of waiting for a reader.
    let mut options = fs::File::options();
    let options = options.write(true).create(true).truncate(true);
    let opened = options.custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let mut file = opened.map_err(|error| failed("open", path, &error))?;
    fcntl_setfl(&file, OFlags::empty())
        .map_err(io::Error::from)
        .and_then(|()| file.write_all(text.as_bytes()))
        .map_err(|error| failed("write", path, &error))
}

/// The buildpack API versions that this lifecycle speaks: `0.<minor>`.
const BUILDPACK_APIS: std::ops::RangeInclusive<u64> = 7..=12;

/// Checks that the lifecycle speaks the API of every buildpack.
pub(crate) fn check_buildpack_apis(group: &Group) -> Result<(), Failure> {
    for buildpack in &group.buildpacks {
        let name = format!("{}@{}", buildpack.id, buildpack.version);
        match crate::api::parse(&buildpack.api) {
            Some((0, minor)) if BUILDPACK_APIS.contains(&minor) => {}
            Some(_) => {
                return Err(Failure::because(
                    code::BUILDPACK_API,
                    &format!("set API for Buildpack '{name}'"),
                    format_args!(
                        "buildpack API version '{}' is incompatible with the lifecycle",
                        buildpack.api
                    ),
                ));
            }
            None => {
                let text = format!("failed to parse buildpack API '<nil>' for buildpack '{name}'");
                return Err(Failure::new(code::BUILDPACK_API, text));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().expect("there is room");
        let path = dir.path().join("group.toml");
        fs::write(&path, bytes).expect("there is room");
        group(&path).map_or_else(|failure| failure.message, |group| format!("{group:?}"))
    }

    #[test]
    fn a_file_that_finds_no_room_was_opened_but_not_written() {
        let problem = write(Path::new("/dev/full"), "report", "[image]\n");
        assert_eq!(
            problem.expect_err("it is always full"),
            "failed to write report file: write /dev/full: no space left on device"
        );
    }

    #[test]
    fn nobody_waits_for_a_reader_of_a_pipe_in_the_place_of_a_file() {
        use rustix::fs::{CWD, Mode, mkfifoat};
        let dir = tempfile::tempdir().expect("there is room");
        let path = dir.path().join("report.toml");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).expect("pipes can be made");
        let problem = write(&path, "report", "[image]\n").expect_err("nobody reads it");
        assert!(problem.ends_with(": no such device or address"), "{problem}");
        let reader = std::thread::spawn({
            let path = path.clone();
            move || fs::read(path)
        });
        let text = "x".repeat(200_000);
        // Until the reader is there.
        while write(&path, "report", &text).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(reader.join().expect("it ends").expect("it reads").len(), text.len());
    }

    #[test]
    fn a_group_that_is_no_text_or_holds_wrong_types_is_refused_with_the_line() {
        for (bytes, problem) in [
            (b"# \xff\n".as_slice(), "toml: line 1: invalid UTF-8 byte: 0xff"),
            (
                b"[[group]]\nid = 1\n",
                "toml: line 2 (last key \"group.id\"): incompatible types: TOML value has type int64; destination has type string",
            ),
            (
                b"[[group]]\nhomepage = 1\n",
                "toml: line 2 (last key \"group.homepage\"): incompatible types: TOML value has type int64; destination has type string",
            ),
        ] {
            assert_eq!(refused(bytes), format!("failed to read group file: {problem}"));
        }
        assert!(refused(b"[[group]]\noptional = \"x\"\n").contains("(last key \"group.optional\")"));
        // What nobody asks for may be any number.
        assert!(refused(b"x = inf\n").starts_with("Group"));
    }
}
