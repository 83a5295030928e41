//! Expansion of a nested order and resolution of plans: an order as builders have it, and shapes that a resolver that tries
//! all combinations does not finish. Targets: under 1 ms for the former, under 50 ms for the latter.
#![allow(clippy::unwrap_used, missing_docs)] // a measuring program

use std::hint::black_box;

use cnb_detect::{Candidate, MemoryLog, resolve_plan};
use cnb_order::{
    BuildPlan, BuildpackDescriptor, DescriptorMap, Entry, Group, ModuleInfo, Order, Provide, Require, expand,
};
use criterion::{Criterion, criterion_group, criterion_main};

fn plan(provides: &[&str], requires: &[&str]) -> BuildPlan {
    BuildPlan {
        provides: provides
            .iter()
            .map(|name| Provide {
                name: (*name).to_owned(),
            })
            .collect(),
        requires: requires
            .iter()
            .map(|name| Require {
                name: (*name).to_owned(),
                ..Require::default()
            })
            .collect(),
        or: Vec::new(),
    }
}

fn candidate(id: String, optional: bool, alternatives: Vec<BuildPlan>) -> Candidate {
    let mut alternatives = alternatives.into_iter();
    let mut plan = alternatives.next().unwrap();
    plan.or = alternatives.collect();
    Candidate {
        entry: Entry {
            optional,
            ..Entry::new(id, "1")
        },
        plan,
    }
}

/// Three levels: a builder's order of 4 languages, each a composite of 2 composites of 20 buildpacks in all, 16 optional.
fn nested() -> (Order, DescriptorMap) {
    let mut map = DescriptorMap::new();
    let mut add = |id: String, order: Vec<Group>| {
        let info = ModuleInfo {
            id: id.into(),
            version: "1".into(),
            ..ModuleInfo::default()
        };
        map.insert(BuildpackDescriptor {
            info,
            order,
            api: "0.10".into(),
            ..BuildpackDescriptor::default()
        });
    };
    let group = |entries: Vec<Entry>| Group { entries };
    for at in 0..20 {
        add(format!("acme/part-{at}"), Vec::new());
    }
    let part = |at: usize| Entry {
        optional: !at.is_multiple_of(5),
        ..Entry::new(format!("acme/part-{at}"), "1")
    };
    for language in 0..4 {
        for half in 0..2 {
            let parts = (0..10).map(|at| part(half * 10 + (at + language) % 10)).collect();
            add(format!("acme/half-{language}-{half}"), vec![group(parts)]);
        }
        let halves = (0..2)
            .map(|half| Entry::new(format!("acme/half-{language}-{half}"), "1"))
            .collect();
        add(format!("acme/language-{language}"), vec![group(halves)]);
    }
    let groups = (0..4)
        .map(|at| group(vec![Entry::new(format!("acme/language-{at}"), "1")]))
        .collect();
    (
        Order {
            groups,
            extensions: Vec::new(),
        },
        map,
    )
}

/// The plans of a group: required parts provide, the optional ones behind them require, and every third optional one needs what
/// nobody provides and is dropped.
fn candidates(entries: &[Entry]) -> Vec<Candidate> {
    let mut provider = String::new();
    let mut found = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        let name = format!("dependency-{at}");
        let own = if entry.optional {
            match at % 3 {
                0 => plan(&[], &["nobody-has-it"]),
                _ if provider.is_empty() => plan(&[&name], &[&name]),
                _ => plan(&[], &[&provider]),
            }
        } else {
            provider.clone_from(&name);
            plan(&[&name], &[&name])
        };
        found.push(Candidate {
            entry: entry.clone(),
            plan: own,
        });
    }
    found
}

fn ordinary(c: &mut Criterion) {
    let (order, map) = nested();
    let groups = expand(&order, &map).unwrap();
    assert_eq!(groups.len(), 4);
    assert!(groups.iter().all(|group| group.entries.len() == 20));
    assert_eq!(groups[0].entries.iter().filter(|entry| entry.optional).count(), 16);
    c.bench_function("20 buildpacks, 3 levels, 16 optional: expand", |b| {
        b.iter(|| expand(black_box(&order), &map).unwrap());
    });
    c.bench_function(
        "20 buildpacks, 3 levels, 16 optional: expand and resolve each of 4 groups",
        |b| {
            b.iter(|| {
                for group in expand(black_box(&order), &map).unwrap() {
                    let agreed = resolve_plan(&candidates(&group.entries), &mut MemoryLog::new()).unwrap();
                    assert!(black_box(agreed).is_some());
                }
            });
        },
    );
}

/// `count` modules that each require what nobody provides, or further such things, or nothing.
fn hopeful(count: usize, alternatives: usize) -> Vec<Candidate> {
    let one = |at: usize| {
        let mut plans: Vec<BuildPlan> = (1..alternatives)
            .map(|other| plan(&[], &[&format!("m{at}-{other}")]))
            .collect();
        plans.push(BuildPlan::default());
        candidate(format!("a{at}"), false, plans)
    };
    (0..count).map(one).collect()
}

fn hopeless(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.push(candidate("z".to_owned(), false, vec![plan(&[], &["never"])]));
    candidates
}

fn chain(count: usize) -> Vec<Candidate> {
    let name = |at: usize, colour: usize| format!("n{at}-{colour}");
    let mut found = vec![candidate(
        "a0".to_owned(),
        false,
        vec![plan(&[&name(0, 0)], &[]), plan(&[&name(0, 1)], &[])],
    )];
    for at in 1..count {
        let pass = |colour| plan(&[&name(at, colour)], &[&name(at - 1, colour)]);
        found.push(candidate(format!("a{at}"), false, vec![pass(0), pass(1)]));
    }
    found.push(candidate(
        "z".to_owned(),
        false,
        vec![plan(&[], &[&name(count - 1, 1)])],
    ));
    found
}

fn pathological(c: &mut Criterion) {
    let shapes = [
        ("256 combinations, the last works", hopeful(8, 2), true),
        ("4096 combinations, none works", hopeless(hopeful(12, 2)), false),
        ("59049 combinations, none works", hopeless(hopeful(10, 3)), false),
        ("2^50 combinations, the last works", hopeful(50, 2), true),
        ("2^60 combinations in a chain, half of them work", chain(60), true),
        ("2^200 combinations, none works", hopeless(hopeful(200, 2)), false),
    ];
    for (name, candidates, works) in shapes {
        c.bench_function(name, |b| {
            b.iter(|| {
                let agreed = resolve_plan(black_box(&candidates), &mut MemoryLog::new()).unwrap();
                assert_eq!(agreed.is_some(), works);
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2));
    targets = ordinary, pathological
}
criterion_main!(benches);
