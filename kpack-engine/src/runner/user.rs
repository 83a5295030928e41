//! Who a container runs as.

use std::io;
use std::path::Path;

use super::beneath::read_in_root;
use super::spec::{ContainerSecurity, PodSecurity};

/// The largest `/etc/passwd` or `/etc/group` that is read.
const MAX_FILE: u64 = 1 << 20;

/// Numbers of the user and groups of a container's process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) additional_gids: Vec<u32>,
    /// Home directory that the image's `/etc/passwd` names.
    pub(super) home: Option<String>,
}

/// Why nobody can be found to run a container.
#[derive(Debug, thiserror::Error)]
pub(super) enum UserError {
    #[error("unable to find user {user:?} of the image in its /etc/passwd or /etc/group")]
    Unknown { user: String },
    #[error("container has runAsNonRoot and image will run as root")]
    Root,
    #[error("container's runAsUser breaks non-root policy")]
    RootAsked,
    #[error("cannot read users of the image: {source}")]
    Read { source: io::Error },
}

/// Chooses the user: the container's, else the pod's, else the image's.
pub(super) fn user(
    root: &Path,
    image_user: &str,
    pod: &PodSecurity,
    container: &ContainerSecurity,
) -> Result<User, UserError> {
    let passwd = read(root, "/etc/passwd")?;
    let asked = container.run_as_user.or(pod.run_as_user);
    let (name, group) = image_user.split_once(':').unwrap_or((image_user, ""));
    let (uid, line) = match asked {
        Some(uid) => (uid, line_of(&passwd, 2, &uid.to_string())),
        None if name.is_empty() => (0, line_of(&passwd, 2, "0")),
        None => {
            if let Ok(uid) = name.parse::<u32>() {
                (uid, line_of(&passwd, 2, name))
            } else {
                let line = line_of(&passwd, 0, name);
                let uid = line.and_then(|line| field(line, 2)?.parse().ok());
                (uid.ok_or_else(|| unknown(image_user))?, line)
            }
        }
    };
    let non_root = container.run_as_non_root.or(pod.run_as_non_root) == Some(true);
    if uid == 0 && non_root {
        return Err(if asked.is_some() {
            UserError::RootAsked
        } else {
            UserError::Root
        });
    }
    let groups = read(root, "/etc/group")?;
    let gid = match container.run_as_group.or(pod.run_as_group) {
        Some(gid) => gid,
        None if asked.is_none() && !group.is_empty() => match group.parse() {
            Ok(gid) => gid,
            Err(_) => line_of(&groups, 0, group)
                .and_then(|line| field(line, 2)?.parse().ok())
                .ok_or_else(|| unknown(image_user))?,
        },
        None => line.and_then(|line| field(line, 3)?.parse().ok()).unwrap_or(0),
    };
    let mut additional_gids: Vec<u32> = pod
        .fs_group
        .into_iter()
        .chain(pod.supplemental_groups.clone())
        .collect();
    if let Some(name) = line.and_then(|line| field(line, 0)) {
        let member = |line: &&str| field(line, 3).is_some_and(|users| users.split(',').any(|user| user == name));
        let of_image = groups.lines().filter(member);
        additional_gids.extend(of_image.filter_map(|line| field(line, 2)?.parse::<u32>().ok()));
    }
    additional_gids.sort_unstable();
    additional_gids.dedup();
    Ok(User {
        uid,
        gid,
        additional_gids,
        home: line
            .and_then(|line| field(line, 5))
            .filter(|home| !home.is_empty())
            .map(str::to_owned),
    })
}

fn unknown(user: &str) -> UserError {
    UserError::Unknown { user: user.to_owned() }
}

fn read(root: &Path, path: &str) -> Result<String, UserError> {
    let bytes = read_in_root(root, path, MAX_FILE).map_err(|source| UserError::Read { source })?;
    Ok(String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned())
}

fn field(line: &str, index: usize) -> Option<&str> {
    line.split(':').nth(index)
}

fn line_of<'a>(file: &'a str, index: usize, value: &str) -> Option<&'a str> {
    file.lines().find(|line| field(line, index) == Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(image_user: &str, pod: PodSecurity, container: ContainerSecurity) -> Result<User, String> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/root:/bin/sh\ncnb:x:1001:1002::/home/cnb:/bin/sh\n";
        std::fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\nwheel:x:10:cnb,root\n").unwrap();
        user(root.path(), image_user, &pod, &container).map_err(|error| error.to_string())
    }

    fn ids(image_user: &str) -> (u32, u32) {
        let user = find(image_user, PodSecurity::default(), ContainerSecurity::default()).unwrap();
        (user.uid, user.gid)
    }

    #[test]
    fn an_images_user_is_a_name_or_number_with_or_without_group() {
        assert_eq!(ids(""), (0, 0));
        assert_eq!(ids("cnb"), (1001, 1002));
        assert_eq!(ids("1001"), (1001, 1002));
        assert_eq!(ids("cnb:wheel"), (1001, 10));
        assert_eq!(ids("7:8"), (7, 8));
        assert_eq!(ids("7"), (7, 0));
        assert!(find("nobody", PodSecurity::default(), ContainerSecurity::default()).is_err());
    }

    #[test]
    fn the_containers_user_goes_before_the_pods_and_that_before_the_images() {
        let pod = PodSecurity {
            run_as_user: Some(1001),
            fs_group: Some(2000),
            ..PodSecurity::default()
        };
        let user = find("7:8", pod.clone(), ContainerSecurity::default()).unwrap();
        assert_eq!((user.uid, user.gid), (1001, 1002));
        assert_eq!(user.additional_gids, [10, 2000]);
        assert_eq!(user.home.as_deref(), Some("/home/cnb"));
        let container = ContainerSecurity {
            run_as_user: Some(5),
            run_as_group: Some(6),
            ..ContainerSecurity::default()
        };
        let user = find("7:8", pod, container).unwrap();
        assert_eq!((user.uid, user.gid), (5, 6));
    }

    #[test]
    fn a_root_user_is_refused_where_only_others_may_run() {
        let pod = PodSecurity {
            run_as_non_root: Some(true),
            ..PodSecurity::default()
        };
        let error = find("", pod, ContainerSecurity::default()).unwrap_err();
        assert_eq!(error, "container has runAsNonRoot and image will run as root");
    }
}
