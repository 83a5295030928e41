//! What a token allows to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    str::FromStr,
};

use crate::repository::Repository;

/// Actions on one resource, such as `repository:acme/app:pull,push`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope {
    resource: String,
    actions: BTreeSet<String>,
}

impl Scope {
    /// Reading a repository.
    pub fn pull(repository: &Repository) -> Self {
        Self::repository(repository, &["pull"])
    }

    /// Reading and writing a repository.
    pub fn push(repository: &Repository) -> Self {
        Self::repository(repository, &["pull", "push"])
    }

    /// Reading, writing and deleting in a repository.
    pub fn delete(repository: &Repository) -> Self {
        Self::repository(repository, &["delete", "pull", "push"])
    }

    fn repository(repository: &Repository, actions: &[&str]) -> Self {
        Self {
            resource: format!("repository:{}", repository.path()),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        }
    }

    /// Returns the kind and name, such as `repository:acme/app`.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Returns the actions, sorted.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(String::as_str)
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    /// Reads `KIND:NAME:ACTION,…`; the name may have colons in it.
    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let bad = || InvalidScope { text: text.to_owned() };
        let (resource, actions) = text.rsplit_once(':').ok_or_else(bad)?;
        if !resource.contains(':') || text.contains(char::is_whitespace) {
            return Err(bad());
        }
        let actions = actions.split(',').filter(|action| !action.is_empty());
        Ok(Self {
            resource: resource.to_owned(),
            actions: actions.map(str::to_owned).collect(),
        })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let actions: Vec<_> = self.actions().collect();
        write!(f, "{}:{}", self.resource, actions.join(","))
    }
}

/// Why a text is no [`Scope`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a scope: it must be KIND:NAME:ACTION,…")]
pub struct InvalidScope {
    /// The text.
    pub text: String,
}

/// A set of scopes: for each resource a set of actions.
///
/// Union is associative, commutative and idempotent, whatever the order of scopes and actions was.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeSet {
    actions: BTreeMap<String, BTreeSet<String>>,
}

impl ScopeSet {
    /// Reads scopes separated by spaces, as a challenge has them; what is no scope is left out.
    pub fn parse(text: &str) -> Self {
        text.split(' ')
            .filter_map(|scope| scope.parse::<Scope>().ok())
            .collect()
    }

    /// Adds a scope.
    pub fn insert(&mut self, scope: &Scope) {
        let actions = self.actions.entry(scope.resource.clone()).or_default();
        actions.extend(scope.actions.iter().cloned());
    }

    /// Returns everything that either set allows.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut union = self.clone();
        for (resource, actions) in &other.actions {
            let known = union.actions.entry(resource.clone()).or_default();
            known.extend(actions.iter().cloned());
        }
        union
    }

    /// Returns whether everything that `other` allows is allowed here.
    pub fn contains(&self, other: &Self) -> bool {
        other.actions.iter().all(|(resource, actions)| {
            let known = self.actions.get(resource);
            known.is_some_and(|known| known.is_superset(actions))
        })
    }

    /// Returns whether there is no scope.
    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Returns the scopes, one for each resource, sorted.
    pub fn iter(&self) -> impl Iterator<Item = Scope> {
        self.actions.iter().map(|(resource, actions)| Scope {
            resource: resource.clone(),
            actions: actions.clone(),
        })
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut set = Self::default();
        scopes.into_iter().for_each(|scope| set.insert(&scope));
        set
    }
}

impl From<Scope> for ScopeSet {
    fn from(scope: Scope) -> Self {
        Self::from_iter([scope])
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.iter().map(|scope| scope.to_string()).collect();
        f.write_str(&scopes.join(" "))
    }
}
