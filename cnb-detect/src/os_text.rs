//! Messages of the operating system.

use std::io;
use std::path::Path;

/// Returns the operating system's message in the form that the reference's messages have: lower case, without the number.
///
/// ```
/// let error = std::io::Error::from_raw_os_error(2);
/// assert_eq!(cnb_detect::os_text(&error), "no such file or directory");
/// ```
pub fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_lowercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Returns why a file could not be read, as the reference says it: a directory can be opened, but not read.
///
/// ```
/// let path = std::path::Path::new("/");
/// let error = std::fs::read(path).unwrap_err();
/// assert_eq!(cnb_detect::read_problem(path, &error), "read /: is a directory");
/// ```
pub fn read_problem(path: &Path, error: &io::Error) -> String {
    let operation = match error.kind() {
        io::ErrorKind::IsADirectory => "read",
        _ => "open",
    };
    format!("{operation} {}: {}", path.display(), os_text(error))
}
