//! [`LogName`]: whose log it is.

use std::fmt;
use std::path::PathBuf;

/// Names the log of one container of one pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName {
    namespace: String,
    pod: String,
    uid: String,
    container: String,
}

/// A part of a [`LogName`] that cannot be part of a file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} {text:?} is not a name of 1 to 253 letters, digits, `-` or `.`")]
pub struct InvalidLogName {
    /// Which part: `namespace`, `pod`, `uid` or `container`.
    pub part: &'static str,
    /// The text.
    pub text: String,
}

impl LogName {
    /// Makes a name of checked parts: 1 to 253 ASCII letters, digits, `-` or `.`, beginning with no `.`.
    ///
    /// # Errors
    /// When a part holds anything else, such as a `/`.
    pub fn new(namespace: &str, pod: &str, uid: &str, container: &str) -> Result<Self, InvalidLogName> {
        for (part, text) in [
            ("namespace", namespace),
            ("pod", pod),
            ("uid", uid),
            ("container", container),
        ] {
            check(part, text)?;
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            uid: uid.to_owned(),
            container: container.to_owned(),
        })
    }

    /// Returns the container's name.
    pub fn container(&self) -> &str {
        &self.container
    }

    /// Returns the directory of the pod's logs, relative to the store: `NAMESPACE_POD_UID`, as a kubelet has it.
    pub(super) fn pod_dir(&self) -> String {
        pod_dir(&self.namespace, &self.pod, &self.uid)
    }

    /// Returns the file, relative to the store.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(self.pod_dir()).join(format!("{}.log", self.container))
    }
}

/// None of the parts can hold a `_`, so the joined name is as unique as the parts are.
pub(super) fn pod_dir(namespace: &str, pod: &str, uid: &str) -> String {
    format!("{namespace}_{pod}_{uid}")
}

pub(super) fn check(part: &'static str, text: &str) -> Result<(), InvalidLogName> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    if (1..=253).contains(&text.len()) && text.bytes().all(fine) && !text.starts_with('.') {
        return Ok(());
    }
    Err(InvalidLogName {
        part,
        text: text.to_owned(),
    })
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            pod,
            container,
            ..
        } = self;
        write!(f, "container {container} in pod {namespace}/{pod}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_could_leave_the_directory_is_refused() {
        for bad in ["", "..", ".", "a/b", "a_b", "a\0", ".hidden"] {
            assert!(LogName::new("demo", "pod", "uid", bad).is_err(), "{bad:?}");
            assert!(LogName::new(bad, "pod", "uid", "detect").is_err(), "{bad:?}");
        }
    }
}
