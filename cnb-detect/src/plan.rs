//! From what modules provide and require to a plan: the pure heart of detection.

use cnb_order::{BuildPlan, Entry, ModuleKind, Plan, PlanEntry, Provider, Require};

use crate::{DetectError, Level, Log};

/// A module that passed detection, with the alternatives that it offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate {
    /// The module; what counts is whether it is optional, its kind, id and version.
    pub entry: Entry,
    /// What its `bin/detect` wrote.
    pub plan: BuildPlan,
}

/// What the modules agreed on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Agreement {
    /// The modules that take part, in order, as positions among the candidates.
    pub participants: Vec<usize>,
    /// Who provides what to whom; entries in the order in which names are first mentioned.
    pub plan: Plan,
}

/// The most combinations of alternatives that are tried.
const MOST_TRIALS: u64 = 1 << 20;

/// Finds the first combination of alternatives in which each requirement of the participants is provided by itself or an
/// earlier module, and everything provided is required by itself or a later one.
///
/// Combinations are tried with the last module's alternatives changing fastest. An optional module is dropped when it does
/// not fit, but only with its last alternative. `Ok(None)` means that no combination works.
///
/// # Errors
/// [`DetectError::TooManyTrials`] when a million combinations did not work and there are more.
pub fn resolve_plan(candidates: &[Candidate], log: &mut dyn Log) -> Result<Option<Agreement>, DetectError> {
    let alternatives: Vec<Vec<&BuildPlan>> = candidates
        .iter()
        .map(|candidate| candidate.plan.alternatives().collect())
        .collect();
    let mut chosen = vec![0; candidates.len()];
    for number in 1..=MOST_TRIALS {
        log.log(Level::Debug, &format!("Resolving plan... (try #{number})"));
        let elements = candidates
            .iter()
            .zip(&alternatives)
            .zip(&chosen)
            .map(|((candidate, plans), &at)| Element {
                entry: &candidate.entry,
                optional: candidate.entry.optional && at + 1 == plans.len(),
                plan: plans[at],
            });
        let trial = Trial {
            elements: elements.enumerate().collect(),
        };
        if let Some(agreement) = trial.run(log) {
            return Ok(Some(agreement));
        }
        if !advance(&mut chosen, &alternatives) {
            return Ok(None);
        }
    }
    Err(DetectError::TooManyTrials { limit: MOST_TRIALS })
}

/// Steps to the next combination, the last position fastest; false after the last one.
fn advance(chosen: &mut [usize], alternatives: &[Vec<&BuildPlan>]) -> bool {
    for (at, plans) in chosen.iter_mut().zip(alternatives).rev() {
        if *at + 1 < plans.len() {
            *at += 1;
            return true;
        }
        *at = 0;
    }
    false
}

#[derive(Clone, Copy)]
struct Element<'a> {
    entry: &'a Entry,
    optional: bool,
    plan: &'a BuildPlan,
}

struct Trial<'a> {
    /// The elements still taking part, with their positions among the candidates.
    elements: Vec<(usize, Element<'a>)>,
}

/// One dependency within a trial.
struct Dependency<'a> {
    name: &'a str,
    providers: Vec<usize>,
    requires: Vec<&'a Require>,
    /// Elements that require it before anything provides it.
    early: Vec<usize>,
    /// Elements that provide it while nothing has required it yet.
    extra: Vec<usize>,
}

impl<'a> Trial<'a> {
    fn run(mut self, log: &mut dyn Log) -> Option<Agreement> {
        loop {
            let dependencies = self.dependencies();
            let mut dropped = Vec::new();
            let early = dependencies
                .iter()
                .flat_map(|found| found.early.iter().map(|&at| (at, "requires", found.name)));
            let extra = dependencies
                .iter()
                .flat_map(|found| found.extra.iter().map(|&at| (at, "provides unused", found.name)));
            for (at, what, name) in early.chain(extra) {
                let (_, element) = &self.elements[at];
                let id = element.entry.full_name();
                if !element.optional {
                    log.log(Level::Debug, &format!("fail: {id} {what} {name}"));
                    return None;
                }
                log.log(Level::Debug, &format!("skip: {id} {what} {name}"));
                dropped.push(at);
            }
            if dropped.is_empty() {
                return self.finish(&dependencies, log);
            }
            let mut at = 0;
            self.elements.retain(|_| {
                at += 1;
                !dropped.contains(&(at - 1))
            });
        }
    }

    fn dependencies(&self) -> Vec<Dependency<'a>> {
        let mut dependencies: Vec<Dependency<'a>> = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut place = |name: &'a str, dependencies: &mut Vec<Dependency<'a>>| {
            *places.entry(name).or_insert_with(|| {
                dependencies.push(Dependency {
                    name,
                    providers: Vec::new(),
                    requires: Vec::new(),
                    early: Vec::new(),
                    extra: Vec::new(),
                });
                dependencies.len() - 1
            })
        };
        for (at, (_, element)) in self.elements.iter().enumerate() {
            for provide in &element.plan.provides {
                let found = place(&provide.name, &mut dependencies);
                dependencies[found].extra.push(at);
            }
            for require in &element.plan.requires {
                let found = place(&require.name, &mut dependencies);
                let dependency = &mut dependencies[found];
                dependency.providers.append(&mut dependency.extra);
                if dependency.providers.is_empty() {
                    dependency.early.push(at);
                } else {
                    dependency.requires.push(require);
                }
            }
        }
        dependencies
    }

    fn finish(&self, dependencies: &[Dependency<'a>], log: &mut dyn Log) -> Option<Agreement> {
        if self.elements.is_empty() {
            log.log(Level::Debug, "fail: no viable buildpacks in group");
            return None;
        }
        let provider = |&at: &usize| {
            let entry = self.elements[at].1.entry;
            Provider {
                id: entry.id.clone(),
                version: entry.version.clone(),
                kind: entry.kind,
            }
        };
        let entries = dependencies
            .iter()
            .filter(|dependency| !dependency.requires.is_empty())
            .map(|dependency| PlanEntry {
                providers: dependency.providers.iter().map(provider).collect(),
                requires: dependency.requires.iter().map(|&require| require.clone()).collect(),
            })
            .collect();
        Some(Agreement {
            participants: self.elements.iter().map(|(position, _)| *position).collect(),
            plan: Plan { entries },
        })
    }
}

/// Says whether at least one candidate is a buildpack.
pub(crate) fn has_buildpack(candidates: &[Candidate]) -> bool {
    candidates
        .iter()
        .any(|candidate| candidate.entry.kind == ModuleKind::Buildpack)
}
