//! Other places for what a registry holds.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use registry_auth::{RegistryHost, Repository};

use crate::{policy::HttpPolicy, session::lock};

/// How long a mirror that could not be reached is left out.
const REST: Duration = Duration::from_secs(60);

/// A place that holds, or fetches by itself, what a registry holds.
///
/// It is asked first; whatever it does not have or can't say, the registry itself is asked for. Only reads go to a
/// mirror. It gets the credential that the keychain has for *its* host, never the registry's.
///
/// # Examples
/// ```
/// use registry_client::{HttpPolicy, Mirror};
///
/// let policy = HttpPolicy {
///     mirrors: vec![Mirror::new("index.docker.io".parse()?, "mirror.example.com".parse()?)],
///     ..HttpPolicy::default()
/// };
/// # drop(policy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The registry whose reads go to the mirror.
    pub of: RegistryHost,
    /// The mirror's host.
    pub host: RegistryHost,
    /// What stands before the repository's path at the mirror, such as `hub` (without slashes at the ends).
    pub prefix: String,
    /// Whether the mirror is asked for tags too. It may lag behind there; digests are always what they are.
    pub tags: bool,
}

impl Mirror {
    /// Makes a mirror with the same paths, that is asked for tags, too.
    pub fn new(of: RegistryHost, host: RegistryHost) -> Self {
        Self {
            of,
            host,
            prefix: String::new(),
            tags: true,
        }
    }

    fn place(&self, repository: &Repository) -> Option<Repository> {
        if self.of != *repository.registry() {
            return None;
        }
        let prefix = self.prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{}/{prefix}{slash}{}", self.host, repository.path())
            .parse()
            .ok()
    }
}

/// Which mirrors are out of order at the moment.
#[derive(Debug, Default)]
pub(crate) struct Mirrors {
    resting: Mutex<HashMap<RegistryHost, SystemTime>>,
}

impl Mirrors {
    /// Lists where to ask before the registry itself.
    pub(crate) fn places(&self, policy: &HttpPolicy, repository: &Repository, by_digest: bool) -> Vec<Repository> {
        if policy.mirrors.is_empty() {
            return Vec::new();
        }
        let now = policy.clock.now();
        let resting = lock(&self.resting);
        let awake = |host: &RegistryHost| resting.get(host).is_none_or(|until| *until <= now);
        let mirrors = policy.mirrors.iter();
        mirrors
            .filter(|mirror| (by_digest || mirror.tags) && awake(&mirror.host))
            .filter_map(|mirror| mirror.place(repository))
            .collect()
    }

    /// Leaves a mirror alone for a while.
    pub(crate) fn rest(&self, policy: &HttpPolicy, mirror: &RegistryHost) {
        lock(&self.resting).insert(mirror.clone(), policy.clock.now() + REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(mirrors: &[Mirror], repository: &str, by_digest: bool) -> Vec<String> {
        let policy = HttpPolicy {
            mirrors: mirrors.to_vec(),
            ..HttpPolicy::default()
        };
        let repository = repository.parse().expect("a repository");
        let places = Mirrors::default().places(&policy, &repository, by_digest);
        places.iter().map(ToString::to_string).collect()
    }

    fn mirror(of: &str, host: &str) -> Mirror {
        Mirror::new(of.parse().expect("a host"), host.parse().expect("a host"))
    }

    #[test]
    fn mirrors_of_a_registry_come_in_their_order_and_those_of_others_do_not() {
        let hub = Mirror {
            prefix: "/hub/".to_owned(),
            tags: false,
            ..mirror("reg.example.com", "b.test:5000")
        };
        let mirrors = [mirror("reg.example.com", "a.test"), hub, mirror("other.test", "c.test")];
        let all = ["a.test/team/app", "b.test:5000/hub/team/app"];
        assert_eq!(places(&mirrors, "reg.example.com/team/app", true), all);
        assert_eq!(places(&mirrors, "reg.example.com/team/app", false), all[..1]);
        assert_eq!(places(&mirrors, "a.test/team/app", true), [""; 0]);
    }

    #[test]
    fn a_mirror_at_rest_is_left_out() {
        let policy = HttpPolicy {
            mirrors: vec![mirror("reg.example.com", "a.test")],
            ..HttpPolicy::default()
        };
        let (mirrors, repository) = (Mirrors::default(), "reg.example.com/app".parse().expect("a repository"));
        mirrors.rest(&policy, &"a.test".parse().expect("a host"));
        assert!(mirrors.places(&policy, &repository, true).is_empty());
    }
}
