//! From what modules provide and require to a plan: the pure heart of detection.

use cnb_order::{BuildPlan, Entry, ModuleKind, Plan, PlanEntry, Provider, Require};

use crate::search::{GaveUp, Names, Search};
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

/// For each candidate the position of the alternative chosen.
pub(crate) type Choices = Vec<usize>;

/// The most trials whose steps are logged one by one.
const MOST_LOGGED: usize = 1024;

/// The most modules in all those trials together, so that large groups have fewer of them.
const MOST_LOGGED_MODULES: usize = 60_000;

/// How many looks at an alternative the search for a plan may take.
const MOST_EFFORT: u64 = 50_000_000;

/// Finds the first combination of alternatives in which each requirement of the participants is provided by itself or an
/// earlier module, and everything provided is required by itself or a later one.
///
/// Combinations count with the last module's alternatives changing fastest. An optional module is dropped when it does not
/// fit, but only with its last alternative. `Ok(None)` means that no combination works.
///
/// The answer is that of trying all combinations in turn, and the log reads as if that had been done, but only those
/// alternatives are combined that depend on each other: the effort grows with the number of modules and alternatives as long
/// as they form small independent or chained parts. Beyond 1024 trials, or fewer in groups of
/// more than 58 modules, the log leaves out those in between.
///
/// # Errors
/// [`DetectError::TooManyTrials`] when the alternatives depend on each other in so many ways that no answer is found with 50
/// million looks at them, about a second.
///
/// # Deviation
/// The reference tries all combinations, which may take longer than anybody waits.
pub fn resolve_plan(candidates: &[Candidate], log: &mut dyn Log) -> Result<Option<Agreement>, DetectError> {
    let alternatives: Vec<Vec<&BuildPlan>> = candidates
        .iter()
        .map(|candidate| candidate.plan.alternatives().collect())
        .collect();
    let first = search(candidates)
        .first()
        .map_err(|GaveUp| DetectError::TooManyTrials { limit: MOST_EFFORT })?;
    let trials = Trials {
        candidates,
        alternatives,
    };
    let Some(choices) = first else {
        trials.log_failures(trials.count(), log);
        return Ok(None);
    };
    let number = trials.number(&choices);
    trials.log_failures(number - 1, log);
    Ok(trials.run(number, &choices, log))
}

/// Returns the search for a plan of the candidates.
pub(crate) fn search(candidates: &[Candidate]) -> Search<'_> {
    let elements = candidates.iter().map(|candidate| {
        let plans = candidate.plan.alternatives().map(names).collect();
        (candidate.entry.optional, plans)
    });
    Search::new(elements, MOST_EFFORT)
}

/// Returns why the first trial fails, in the words of its log; of a group that has a plan, nothing.
pub(crate) fn first_failure(candidates: &[Candidate]) -> Option<String> {
    let trials = Trials {
        candidates,
        alternatives: candidates
            .iter()
            .map(|candidate| candidate.plan.alternatives().collect())
            .collect(),
    };
    let mut log = crate::MemoryLog::new();
    match trials.run(1, &vec![0; candidates.len()], &mut log) {
        Some(_) => None,
        None => log
            .records()
            .last()
            .map(|record| record.text.trim_start_matches("fail: ").to_owned()),
    }
}

/// Returns the names that an alternative provides and those it requires.
fn names(plan: &BuildPlan) -> Names<'_> {
    let provides = plan.provides.iter().map(|provide| provide.name.as_str());
    let requires = plan.requires.iter().map(|require| require.name.as_str());
    (provides.collect(), requires.collect())
}

/// All combinations of the alternatives of some candidates, numbered from 1.
struct Trials<'a> {
    candidates: &'a [Candidate],
    alternatives: Vec<Vec<&'a BuildPlan>>,
}

impl Trials<'_> {
    fn count(&self) -> u128 {
        let counts = self.alternatives.iter().map(|plans| plans.len() as u128);
        counts.fold(1, u128::saturating_mul)
    }

    fn number(&self, choices: &[usize]) -> u128 {
        let step = |number: u128, (plans, &at): (&Vec<_>, &usize)| {
            let before = number.saturating_mul(plans.len() as u128);
            before.saturating_add(at as u128)
        };
        let before = self.alternatives.iter().zip(choices).fold(0, step);
        before.saturating_add(1)
    }

    /// Logs the first `count` trials, none of which works.
    fn log_failures(&self, count: u128, log: &mut dyn Log) {
        let mut choices = vec![0; self.candidates.len()];
        let most = (MOST_LOGGED_MODULES / self.candidates.len().max(1)).min(MOST_LOGGED) as u128;
        for number in 1..=count.min(most) {
            self.run(number, &choices, log);
            for (at, plans) in choices.iter_mut().zip(&self.alternatives).rev() {
                *at += 1;
                if *at < plans.len() {
                    break;
                }
                *at = 0;
            }
        }
        if count > most {
            let text = format!("Resolving plan... (none of tries #{} to #{count} works)", most + 1);
            log.log(Level::Debug, &text);
        }
    }

    fn run(&self, number: u128, choices: &[usize], log: &mut dyn Log) -> Option<Agreement> {
        log.log(Level::Debug, &format!("Resolving plan... (try #{number})"));
        let elements = self.candidates.iter().zip(&self.alternatives).zip(choices);
        let elements = elements.map(|((candidate, plans), &at)| Element {
            entry: &candidate.entry,
            optional: candidate.entry.optional && at + 1 == plans.len(),
            plan: plans[at],
        });
        let trial = Trial {
            elements: elements.enumerate().collect(),
        };
        trial.run(log)
    }
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
