//! From a nested order to the flat groups that detection tries.

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;

use crate::{
    BuildpackDescriptor, BuildpackId, BuildpackVersion, Entry, ExtensionDescriptor, Group, ModuleDescriptor,
    ModuleKind, Order,
};

/// Finds the descriptor of a module.
pub trait Lookup {
    /// Returns the descriptor of the module that `entry` names, by kind, id and version as written.
    ///
    /// # Errors
    /// When there is no such module or its descriptor cannot be understood.
    fn descriptor(&self, entry: &Entry) -> Result<Rc<ModuleDescriptor>, LookupError>;
}

/// Why a module could not be looked up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LookupError {
    /// Which module or file, and what is wrong.
    pub message: String,
}

/// Descriptors in memory.
#[derive(Clone, Debug, Default)]
pub struct DescriptorMap(HashMap<(ModuleKind, BuildpackId, BuildpackVersion), Rc<ModuleDescriptor>>);

impl DescriptorMap {
    /// Makes an empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a buildpack under the id and version of its descriptor.
    pub fn insert(&mut self, descriptor: BuildpackDescriptor) {
        let key = (
            ModuleKind::Buildpack,
            descriptor.info.id.clone(),
            descriptor.info.version.clone(),
        );
        self.0.insert(key, Rc::new(ModuleDescriptor::Buildpack(descriptor)));
    }

    /// Adds an extension under the id and version of its descriptor.
    pub fn insert_extension(&mut self, descriptor: ExtensionDescriptor) {
        let key = (
            ModuleKind::Extension,
            descriptor.info.id.clone(),
            descriptor.info.version.clone(),
        );
        self.0.insert(key, Rc::new(ModuleDescriptor::Extension(descriptor)));
    }
}

impl Lookup for DescriptorMap {
    fn descriptor(&self, entry: &Entry) -> Result<Rc<ModuleDescriptor>, LookupError> {
        self.0
            .get(&(entry.kind, entry.id.clone(), entry.version.clone()))
            .cloned()
            .ok_or_else(|| LookupError {
                message: format!("there is no {} {}", entry.kind.word(), entry.full_name()),
            })
    }
}

/// Why an order cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpandError {
    /// A module is missing or broken.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// A composite buildpack contains itself, directly or through others.
    #[error("composite buildpack {name} contains itself: {}", .path.join(" -> "))]
    Cycle {
        /// `id@version` of the buildpack.
        name: String,
        /// From the buildpack to itself.
        path: Vec<String>,
    },
    /// The order has more groups than [`expand`] returns.
    #[error("the order expands to more than {limit} groups")]
    TooManyGroups {
        /// The limit.
        limit: usize,
    },
}

/// Whether an element takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Considered {
    /// It belongs to the group.
    Keep,
    /// It is left out, as if it were not in the order; an element of the same id may follow.
    Skip,
}

/// What became of a group, and so of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<T> {
    /// The group is the one; nothing else is tried.
    Selected(T),
    /// The group does not fit.
    NoDetection,
    /// The group does not fit, and one of its modules failed with an error.
    Errored,
}

/// Judges the elements and groups that [`walk`] comes by.
pub trait GroupVisitor {
    /// What a selected group gives.
    type Found;
    /// Why walking must stop.
    type Error: From<ExpandError>;

    /// Judges a component or extension before it is added to the group; `entry` has api and homepage of its descriptor.
    ///
    /// # Errors
    /// To stop walking.
    fn consider(&mut self, entry: &Entry, descriptor: &Rc<ModuleDescriptor>) -> Result<Considered, Self::Error>;

    /// Judges a complete group.
    ///
    /// # Errors
    /// To stop walking.
    fn group(&mut self, entries: &[Entry]) -> Result<Verdict<Self::Found>, Self::Error>;
}

/// An element yet to be processed.
#[derive(Clone)]
enum Pending<'a> {
    Entry(Entry, Option<Rc<Ancestor>>),
    Extensions(&'a [Group]),
}

/// The composites that an element came from, innermost first.
struct Ancestor {
    entry: Entry,
    parent: Option<Rc<Ancestor>>,
}

/// Walks the groups of an order first to last, each composite replaced by its own groups, until one is selected.
///
/// - A composite is *spliced*: each of its groups is tried with all of the remaining outer group behind it. If all fail and
///   the composite is optional, the outer group is tried without it.
/// - An element whose kind and id are already in the group is skipped, whatever its version.
/// - Extensions come in front of every group, like an optional composite.
/// - An optional component does not make a second group: whether it takes part is decided by the plan.
///
/// # Errors
/// The visitor's, or [`ExpandError`] for a failed lookup (which ends everything) or a composite that contains itself.
pub fn walk<V: GroupVisitor>(
    order: &Order,
    lookup: &dyn Lookup,
    visitor: &mut V,
) -> Result<Verdict<V::Found>, V::Error> {
    let mut walker = Walker { lookup, visitor };
    let mut errored = false;
    for group in &order.groups {
        let mut elements: Vec<Pending<'_>> = Vec::with_capacity(group.entries.len() + 1);
        if !order.extensions.is_empty() {
            elements.push(Pending::Extensions(&order.extensions));
        }
        elements.extend(group.entries.iter().map(|entry| Pending::Entry(entry.clone(), None)));
        match walker.group(&elements, Vec::new())? {
            Verdict::Selected(found) => return Ok(Verdict::Selected(found)),
            Verdict::Errored => errored = true,
            Verdict::NoDetection => {}
        }
    }
    Ok(if errored {
        Verdict::Errored
    } else {
        Verdict::NoDetection
    })
}

struct Walker<'w, V> {
    lookup: &'w dyn Lookup,
    visitor: &'w mut V,
}

impl<V: GroupVisitor> Walker<'_, V> {
    fn splice(
        &mut self,
        groups: &[Group],
        from: Option<&Rc<Ancestor>>,
        done: &[Entry],
        next: &[Pending<'_>],
        optional: bool,
    ) -> Result<Verdict<V::Found>, V::Error> {
        let mut errored = false;
        for group in groups {
            let mut elements: Vec<Pending<'_>> = group
                .entries
                .iter()
                .map(|entry| Pending::Entry(entry.clone(), from.cloned()))
                .collect();
            elements.extend(next.iter().cloned());
            match self.group(&elements, done.to_vec())? {
                Verdict::Selected(found) => return Ok(Verdict::Selected(found)),
                Verdict::Errored => errored = true,
                Verdict::NoDetection => {}
            }
        }
        if optional {
            return self.group(next, done.to_vec());
        }
        Ok(if errored {
            Verdict::Errored
        } else {
            Verdict::NoDetection
        })
    }

    fn group(&mut self, elements: &[Pending<'_>], mut done: Vec<Entry>) -> Result<Verdict<V::Found>, V::Error> {
        for (at, element) in elements.iter().enumerate() {
            let next = &elements[at + 1..];
            let (entry, ancestor) = match element {
                Pending::Extensions(groups) => return self.splice(groups, None, &done, next, true),
                Pending::Entry(entry, ancestor) => (entry, ancestor.as_ref()),
            };
            if done.iter().any(|have| have.kind == entry.kind && have.id == entry.id) {
                continue;
            }
            let descriptor = self.lookup.descriptor(entry).map_err(ExpandError::from)?;
            if !descriptor.order().is_empty() {
                let from = Rc::new(Ancestor {
                    entry: entry.clone(),
                    parent: ancestor.cloned(),
                });
                check_cycle(&from)?;
                return self.splice(descriptor.order(), Some(&from), &done, next, entry.optional);
            }
            let mut entry = entry.clone();
            descriptor.api().clone_into(&mut entry.api);
            entry.homepage.clone_from(&descriptor.info().homepage);
            if self.visitor.consider(&entry, &descriptor)? == Considered::Keep {
                done.push(entry);
            }
        }
        self.visitor.group(&done)
    }
}

fn check_cycle(from: &Rc<Ancestor>) -> Result<(), ExpandError> {
    let mut path = vec![from.entry.full_name()];
    let mut above = from.parent.as_ref();
    while let Some(ancestor) = above {
        path.push(ancestor.entry.full_name());
        if ancestor.entry.id == from.entry.id && ancestor.entry.version == from.entry.version {
            path.reverse();
            return Err(ExpandError::Cycle {
                name: from.entry.full_name(),
                path,
            });
        }
        above = ancestor.parent.as_ref();
    }
    Ok(())
}

/// A flat group of components and extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedGroup {
    /// The entries, each with the api and home page of its descriptor.
    pub entries: Vec<Entry>,
}

impl fmt::Display for ExpandedGroup {
    /// Writes the entries separated by spaces, optional ones with `?`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.entries.iter().enumerate() {
            write!(f, "{}{entry}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// The most groups that [`expand`] returns.
const MOST_GROUPS: usize = 100_000;

/// Returns all groups that detection would try if each failed, first to last.
///
/// # Errors
/// As [`walk`]; also [`ExpandError::TooManyGroups`] beyond 100,000 groups, as nesting multiplies them.
pub fn expand(order: &Order, lookup: &dyn Lookup) -> Result<Vec<ExpandedGroup>, ExpandError> {
    struct Collect(Vec<ExpandedGroup>);
    impl GroupVisitor for Collect {
        type Found = ();
        type Error = ExpandError;
        fn consider(&mut self, _: &Entry, _: &Rc<ModuleDescriptor>) -> Result<Considered, ExpandError> {
            Ok(Considered::Keep)
        }
        fn group(&mut self, entries: &[Entry]) -> Result<Verdict<()>, ExpandError> {
            if self.0.len() == MOST_GROUPS {
                return Err(ExpandError::TooManyGroups { limit: MOST_GROUPS });
            }
            self.0.push(ExpandedGroup {
                entries: entries.to_vec(),
            });
            Ok(Verdict::NoDetection)
        }
    }
    let mut collect = Collect(Vec::new());
    walk(order, lookup, &mut collect)?;
    Ok(collect.0)
}
