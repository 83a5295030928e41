//! Why no group was selected, as data.

use cnb_order::{Entry, ModuleKind};

use crate::Candidate;
use crate::one_run::DetectRun;
use crate::plan::{first_failure, search};

/// Why detection selected nothing: what became of each group that was tried.
///
/// Displayed as a tree for people; see [`GroupOutcome`] for programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The groups in the order they were tried, at most [`Explanation::MOST_GROUPS`].
    pub groups: Vec<GroupOutcome>,
    /// How many more groups were tried.
    pub more: usize,
}

impl Explanation {
    /// The most groups that are described.
    pub const MOST_GROUPS: usize = 1000;

    pub(crate) fn add(&mut self, group: GroupOutcome) {
        if self.groups.len() < Self::MOST_GROUPS {
            self.groups.push(group);
        } else {
            self.more += 1;
        }
    }
}

/// What became of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOutcome {
    /// What each module of the group did, in its order.
    pub modules: Vec<ModuleOutcome>,
    /// Why the group was not selected.
    pub failure: GroupFailure,
}

/// Why a group was not selected.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupFailure {
    /// These required modules declined or failed, by their positions in the group.
    Modules(Vec<usize>),
    /// Nothing failed, but no buildpack passed either.
    Empty,
    /// What the modules provide and require does not fit together.
    Plan(PlanFailure),
}

/// What a module of a group did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleOutcome {
    /// Which module, and whether the group may pass without it.
    pub module: Entry,
    /// What its `bin/detect` said.
    pub verdict: ModuleVerdict,
    /// The end of what it printed, at most [`ModuleOutcome::MOST_OUTPUT`] bytes.
    pub output: String,
}

impl ModuleOutcome {
    /// The most output that is kept for an explanation, in bytes.
    pub const MOST_OUTPUT: usize = 2000;

    pub(crate) fn of(entry: &Entry, run: &DetectRun) -> Self {
        let mut from = run.output.len().saturating_sub(Self::MOST_OUTPUT);
        while !run.output.is_char_boundary(from) {
            from += 1;
        }
        Self {
            module: entry.clone(),
            verdict: match run.code {
                0 => ModuleVerdict::Passed,
                100 => ModuleVerdict::Declined,
                -1 => ModuleVerdict::Error {
                    message: if run.error.is_empty() {
                        "ended by a signal".to_owned()
                    } else if run.error.starts_with("toml: ") {
                        format!("its build plan is not well formed: {}", run.error)
                    } else {
                        run.error.to_string()
                    },
                },
                code => ModuleVerdict::Failed { code },
            },
            output: run.output[from..].to_owned(),
        }
    }
}

/// What a module's `bin/detect` said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModuleVerdict {
    /// It applies to the source.
    Passed,
    /// It does not apply to the source.
    Declined,
    /// It ended with an exit code of its own.
    Failed {
        /// The exit code.
        code: i32,
    },
    /// It could not be run, is not made for the target, was ended by a signal, or wrote a plan that cannot be used.
    Error {
        /// What is wrong, and where.
        message: String,
    },
}

/// Why the build plans of the modules that passed do not fit together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanFailure {
    /// What can never work, whichever alternatives the other modules choose; causes come before their consequences.
    pub problems: Vec<PlanProblem>,
    /// The problem of the first combination of alternatives, when each alternative could work but no combination does.
    pub conflict: Option<String>,
}

/// An alternative of a module's build plan that can never work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanProblem {
    /// Which module.
    pub module: Entry,
    /// Which of its alternatives, from 0; the first is the top level of the plan.
    pub alternative: usize,
    /// How many alternatives it has.
    pub alternatives: usize,
    /// What is wrong.
    pub kind: PlanProblemKind,
}

/// What is wrong with an alternative.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PlanProblemKind {
    /// Neither it nor an earlier module provides what it requires.
    Unprovided {
        /// The dependency.
        name: String,
        /// Modules that provide it too late, as they come later in the group, `id@version`.
        later: Vec<String>,
    },
    /// Neither it nor a later module requires what it provides.
    Unused {
        /// The dependency.
        name: String,
        /// Modules that require it too early, as they come earlier in the group, `id@version`.
        earlier: Vec<String>,
    },
}

impl PlanFailure {
    /// Finds out why there is no plan; to be called when there is none.
    pub fn of(candidates: &[Candidate]) -> Self {
        let problems: Vec<PlanProblem> = search(candidates)
            .rulings()
            .into_iter()
            .map(|ruling| {
                let candidate = &candidates[ruling.element];
                let name = ruling.name.to_owned();
                PlanProblem {
                    module: candidate.entry.clone(),
                    alternative: ruling.alternative,
                    alternatives: candidate.plan.alternatives().count(),
                    kind: if ruling.required {
                        let provides = |other: &Candidate| {
                            let mut plans = other.plan.alternatives();
                            plans.any(|plan| plan.provides.iter().any(|provide| provide.name == name))
                        };
                        let later = names_of(&candidates[ruling.element + 1..], provides);
                        PlanProblemKind::Unprovided { name, later }
                    } else {
                        let requires = |other: &Candidate| {
                            let mut plans = other.plan.alternatives();
                            plans.any(|plan| plan.requires.iter().any(|require| require.name == name))
                        };
                        let earlier = names_of(&candidates[..ruling.element], requires);
                        PlanProblemKind::Unused { name, earlier }
                    },
                }
            })
            .collect();
        let ruled_out = |candidate: &Candidate| {
            let all = candidate.plan.alternatives().count();
            let out = problems
                .iter()
                .filter(|problem| problem.module == candidate.entry)
                .count();
            !candidate.entry.optional && out == all
        };
        let conflict = if candidates.iter().any(ruled_out) {
            None
        } else {
            first_failure(candidates)
        };
        Self { problems, conflict }
    }
}

fn names_of(candidates: &[Candidate], is: impl Fn(&Candidate) -> bool) -> Vec<String> {
    let those = candidates.iter().filter(|candidate| is(candidate));
    those.map(|candidate| candidate.entry.full_name()).collect()
}

/// Says which of the modules were required and did not pass.
pub(crate) fn failed(modules: &[ModuleOutcome]) -> GroupFailure {
    let failed =
        |(_, outcome): &(usize, &ModuleOutcome)| !outcome.module.optional && outcome.verdict != ModuleVerdict::Passed;
    GroupFailure::Modules(modules.iter().enumerate().filter(failed).map(|(at, _)| at).collect())
}

impl ModuleOutcome {
    /// Returns `id@version`, with the kind in front of extensions.
    pub fn name(&self) -> String {
        match self.module.kind {
            ModuleKind::Buildpack => self.module.full_name(),
            ModuleKind::Extension => format!("extension {}", self.module.full_name()),
        }
    }
}
