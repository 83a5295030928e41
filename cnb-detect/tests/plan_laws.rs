//! Plan resolution against the slow and obvious way, and the laws it keeps.

use cnb_detect::{Agreement, Candidate, Level, MemoryLog, resolve_plan};
use cnb_order::{BuildPlan, Entry, Plan, PlanEntry, Provide, Provider, Require};
use proptest::prelude::*;

fn alternative(provides: &[u8], requires: &[u8]) -> BuildPlan {
    let name = |number: &u8| format!("n{number}");
    BuildPlan {
        provides: provides.iter().map(|number| Provide { name: name(number) }).collect(),
        requires: requires
            .iter()
            .map(|number| Require {
                name: name(number),
                ..Require::default()
            })
            .collect(),
        or: Vec::new(),
    }
}

fn candidate(number: usize, optional: bool, alternatives: Vec<BuildPlan>) -> Candidate {
    let mut alternatives = alternatives.into_iter();
    let mut plan = alternatives.next().unwrap_or_default();
    plan.or = alternatives.collect();
    Candidate {
        entry: Entry {
            optional,
            ..Entry::new(format!("m{number}"), "1")
        },
        plan,
    }
}

/// Groups of up to six modules over a few names, each with up to three alternatives.
fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let names = || prop::collection::vec(0..5_u8, 0..3);
    let plan = (names(), names()).prop_map(|(provides, requires)| alternative(&provides, &requires));
    let module = (any::<bool>(), prop::collection::vec(plan, 1..4));
    prop::collection::vec(module, 0..7).prop_map(|modules| {
        let number = |(number, (optional, plans))| candidate(number, optional, plans);
        modules.into_iter().enumerate().map(number).collect()
    })
}

/// Groups in which there is something to agree on: each name is provided early and required late.
fn matching_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let names = |most: usize| prop::collection::vec(0..3_u8, 0..most);
    let early = (names(3), names(2)).prop_map(|(provides, requires)| alternative(&provides, &requires));
    let late = (names(2), names(3)).prop_map(|(provides, requires)| alternative(&provides, &requires));
    let module = |plan: BoxedStrategy<BuildPlan>| (prop::bool::weighted(0.3), prop::collection::vec(plan, 1..4));
    (
        prop::collection::vec(module(early.boxed()), 1..4),
        prop::collection::vec(module(late.boxed()), 1..4),
    )
        .prop_map(|(early, late)| {
            let number = |(number, (optional, plans))| candidate(number, optional, plans);
            early.into_iter().chain(late).enumerate().map(number).collect()
        })
}

/// The obvious way: all trials in order, each settled by dropping one unfit module at a time.
mod oracle {
    use super::*;

    pub(super) fn resolve(candidates: &[Candidate]) -> Option<(usize, Agreement)> {
        let mut trials: Vec<Vec<usize>> = vec![Vec::new()];
        for candidate in candidates {
            trials = trials
                .into_iter()
                .flat_map(|trial| {
                    let next = 0..=candidate.plan.or.len();
                    next.map(move |at| [trial.clone(), vec![at]].concat())
                        .collect::<Vec<_>>()
                })
                .collect();
        }
        let mut numbered = trials.iter().enumerate();
        numbered.find_map(|(number, trial)| attempt(candidates, trial).map(|agreement| (number + 1, agreement)))
    }

    fn attempt(candidates: &[Candidate], trial: &[usize]) -> Option<Agreement> {
        let plan = |at: usize| candidates[at].plan.alternatives().nth(trial[at]).expect("it exists");
        let mut taking_part: Vec<usize> = (0..candidates.len()).collect();
        loop {
            let unfit = |&&at: &&usize| {
                let unmet = plan(at).requires.iter().any(|require| {
                    let earlier = taking_part.iter().filter(|&&other| other <= at);
                    !earlier
                        .flat_map(|&other| &plan(other).provides)
                        .any(|have| have.name == require.name)
                });
                let unused = plan(at).provides.iter().any(|provide| {
                    let later = taking_part.iter().filter(|&&other| other >= at);
                    !later
                        .flat_map(|&other| &plan(other).requires)
                        .any(|want| want.name == provide.name)
                });
                unmet || unused
            };
            let Some(&at) = taking_part.iter().find(unfit) else {
                break;
            };
            if !(candidates[at].entry.optional && trial[at] == candidates[at].plan.or.len()) {
                return None;
            }
            taking_part.retain(|&other| other != at);
        }
        if taking_part.is_empty() {
            return None;
        }
        let mut entries: Vec<PlanEntry> = Vec::new();
        for &at in &taking_part {
            for require in &plan(at).requires {
                let mut entries_of_name = entries.iter_mut();
                match entries_of_name.find(|entry| entry.requires[0].name == require.name) {
                    Some(entry) => entry.requires.push(require.clone()),
                    None => entries.push(PlanEntry {
                        providers: Vec::new(),
                        requires: vec![require.clone()],
                    }),
                }
            }
        }
        for entry in &mut entries {
            for &at in &taking_part {
                let provides = plan(at).provides.iter();
                let count = provides
                    .filter(|provide| provide.name == entry.requires[0].name)
                    .count();
                let provider = Provider {
                    id: candidates[at].entry.id.clone(),
                    version: candidates[at].entry.version.clone(),
                    ..Provider::default()
                };
                entry.providers.extend(vec![provider; count]);
            }
        }
        Some(Agreement {
            participants: taking_part,
            plan: Plan { entries },
        })
    }
}

fn resolve(candidates: &[Candidate]) -> (Option<Agreement>, MemoryLog) {
    let mut log = MemoryLog::new();
    let found = resolve_plan(candidates, &mut log).expect("it is small");
    (found, log)
}

fn sorted(agreement: Agreement) -> Agreement {
    let mut entries = agreement.plan.entries;
    entries.sort_by(|a, b| a.requires[0].name.cmp(&b.requires[0].name));
    Agreement {
        plan: Plan { entries },
        ..agreement
    }
}

/// The candidates with each provide that nobody requires taken away.
fn without_unused(candidates: &[Candidate]) -> Vec<Candidate> {
    let required: Vec<String> = candidates
        .iter()
        .flat_map(|candidate| candidate.plan.alternatives().flat_map(|plan| plan.requires.clone()))
        .map(|require| require.name)
        .collect();
    let strip = |plan: &mut BuildPlan| plan.provides.retain(|provide| required.contains(&provide.name));
    let mut stripped = candidates.to_vec();
    for candidate in &mut stripped {
        strip(&mut candidate.plan);
        candidate.plan.or.iter_mut().for_each(strip);
    }
    stripped
}

fn agrees_with_the_oracle(candidates: &[Candidate]) -> Result<(), TestCaseError> {
    let (found, log) = resolve(candidates);
    let expected = oracle::resolve(candidates);
    let tries = log.text(Level::Debug).matches("Resolving plan... (try #").count();
    let trials: usize = candidates.iter().map(|candidate| 1 + candidate.plan.or.len()).product();
    match expected {
        None => {
            prop_assert_eq!(found, None);
            prop_assert_eq!(tries, trials);
        }
        Some((number, expected)) => {
            prop_assert_eq!(found.map(sorted), Some(sorted(expected)));
            prop_assert_eq!(tries, number, "the log tells of each trial");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn resolution_agrees_with_the_oracle(candidates in any_candidates()) {
        agrees_with_the_oracle(&candidates)?;
    }

    #[test]
    fn resolution_agrees_with_the_oracle_where_modules_fit_together(candidates in matching_candidates()) {
        agrees_with_the_oracle(&candidates)?;
    }

    #[test]
    fn whoever_takes_part_has_its_requirements_met_and_its_provides_used(candidates in matching_candidates()) {
        if let (Some(found), _) = resolve(&candidates) {
            for entry in &found.plan.entries {
                prop_assert!(!entry.providers.is_empty() && !entry.requires.is_empty());
            }
            for (at, candidate) in candidates.iter().enumerate() {
                prop_assert!(candidate.entry.optional || found.participants.contains(&at));
            }
        }
    }

    #[test]
    fn making_a_module_optional_never_loses_the_group(candidates in matching_candidates(), which in any::<prop::sample::Index>()) {
        if resolve(&candidates).0.is_some() {
            let mut relaxed = candidates.clone();
            let at = which.index(relaxed.len());
            relaxed[at].entry.optional = true;
            prop_assert!(resolve(&relaxed).0.is_some());
        }
    }

    #[test]
    fn one_more_alternative_never_loses_the_group(candidates in matching_candidates(), which in any::<prop::sample::Index>()) {
        if resolve(&candidates).0.is_some() {
            let mut relaxed = candidates.clone();
            let at = which.index(relaxed.len());
            // In front, since the last one decides what may be dropped.
            let had = std::mem::take(&mut relaxed[at].plan);
            let first = BuildPlan { provides: had.provides.clone(), requires: had.requires.clone(), or: Vec::new() };
            relaxed[at].plan = BuildPlan { or: [vec![first], had.or].concat(), ..alternative(&[9], &[]) };
            prop_assert!(resolve(&relaxed).0.is_some());
        }
    }

    #[test]
    fn a_module_behind_the_others_that_asks_for_nothing_changes_nothing(candidates in matching_candidates()) {
        if let (Some(before), _) = resolve(&candidates) {
            let more = [candidates.clone(), vec![candidate(99, false, vec![BuildPlan::default()])]].concat();
            let after = resolve(&more).0.expect("it still fits");
            prop_assert_eq!(after.plan, before.plan);
            prop_assert_eq!(after.participants, [before.participants, vec![candidates.len()]].concat());
        }
    }

    #[test]
    fn taking_an_unused_provide_away_never_loses_the_group(candidates in any_candidates()) {
        if let (Some(_), _) = resolve(&candidates) {
            prop_assert!(resolve(&without_unused(&candidates)).0.is_some());
        }
    }

    #[test]
    fn a_name_that_nobody_takes_part_with_can_be_renamed(candidates in matching_candidates()) {
        let mut renamed = candidates.clone();
        for candidate in &mut renamed {
            let rename = |plan: &mut BuildPlan| {
                plan.provides.iter_mut().for_each(|provide| provide.name.push('x'));
                plan.requires.iter_mut().for_each(|require| require.name.push('x'));
            };
            rename(&mut candidate.plan);
            candidate.plan.or.iter_mut().for_each(rename);
        }
        prop_assert_eq!(
            resolve(&renamed).0.map(|found| found.participants),
            resolve(&candidates).0.map(|found| found.participants)
        );
    }
}

/// `count` modules, each of which may require what nobody provides or be content.
fn independent(count: usize) -> Vec<Candidate> {
    (0..count)
        .map(|at| {
            candidate(
                at,
                false,
                vec![
                    alternative(&[u8::try_from(at).expect("few")], &[]),
                    BuildPlan::default(),
                ],
            )
        })
        .collect()
}

#[test]
fn two_to_the_power_of_fifty_combinations_are_no_matter_when_modules_are_independent() {
    let candidates = independent(50);
    let (found, log) = resolve(&candidates);
    assert_eq!(found.expect("the last combination works").participants.len(), 50);
    let text = log.text(Level::Debug);
    assert!(text.ends_with(
        "Resolving plan... (none of tries #1025 to #1125899906842623 works)\nResolving plan... (try #1125899906842624)\n"
    ));
}

#[test]
fn a_hopeless_module_fails_the_group_at_once() {
    let candidates = [
        independent(50),
        vec![candidate(50, false, vec![alternative(&[], &[200])])],
    ]
    .concat();
    assert_eq!(resolve(&candidates).0, None);
}

#[test]
fn chains_of_choices_are_followed_without_trying_all_of_them() {
    // Each module passes on one of two colours; the last one wants the second, which the first can only give last.
    let mut candidates = vec![candidate(
        0,
        false,
        vec![alternative(&[0], &[]), alternative(&[1], &[])],
    )];
    for at in 1..60_u8 {
        let pass = |colour: u8| alternative(&[2 * at + colour], &[2 * (at - 1) + colour]);
        candidates.push(candidate(at.into(), false, vec![pass(0), pass(1)]));
    }
    candidates.push(candidate(60, false, vec![alternative(&[], &[2 * 59 + 1])]));
    let (found, _) = resolve(&candidates);
    assert_eq!(found.expect("all pass on the second colour").participants.len(), 61);
}
