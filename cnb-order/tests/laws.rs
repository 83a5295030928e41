//! Laws of expansion, and what no text may do to a reader.

use cnb_order::{
    Analyzed, BuildPlan, BuildpackDescriptor, DescriptorMap, DetectedGroup, Entry, ExpandError, Group, Lookup as _,
    ModuleInfo, Order, Plan, RunInfo, SystemBuildpacks, expand,
};
use proptest::prelude::*;

/// Composite `c<n>` may only contain composites with a higher number, so nothing contains itself.
fn any_order() -> impl Strategy<Value = (Order, DescriptorMap)> {
    let entry = |first: usize| {
        let name = prop_oneof![
            (0..5_usize).prop_map(|at| format!("b{at}")),
            (first..4_usize.max(first + 1)).prop_map(|at| if at < 4 { format!("c{at}") } else { "b0".to_owned() }),
        ];
        (name, any::<bool>()).prop_map(|(name, optional)| Entry {
            optional,
            ..Entry::new(name, "1")
        })
    };
    let groups = move |first: usize, most: usize| {
        prop::collection::vec(
            prop::collection::vec(entry(first), 0..3).prop_map(|entries| Group { entries }),
            1..=most,
        )
    };
    let composites = (groups(1, 2), groups(2, 2), groups(3, 2), groups(4, 2));
    (groups(0, 2), composites).prop_map(|(top, (c0, c1, c2, c3))| {
        let mut map = DescriptorMap::new();
        let info = |id: String| ModuleInfo {
            id: id.into(),
            version: "1".into(),
            ..ModuleInfo::default()
        };
        for at in 0..5 {
            map.insert(BuildpackDescriptor {
                info: info(format!("b{at}")),
                ..BuildpackDescriptor::default()
            });
        }
        for (at, order) in [c0, c1, c2, c3].into_iter().enumerate() {
            map.insert(BuildpackDescriptor {
                info: info(format!("c{at}")),
                order,
                ..BuildpackDescriptor::default()
            });
        }
        (
            Order {
                groups: top,
                extensions: Vec::new(),
            },
            map,
        )
    })
}

/// The slow and obvious way: replace the first composite of a group by its alternatives until none is left, then drop
/// repeated ids.
fn oracle(order: &Order, map: &DescriptorMap) -> Vec<Vec<Entry>> {
    let flat = |groups: &[Group]| groups.iter().map(|group| group.entries.clone()).collect::<Vec<_>>();
    flat(&order.groups)
        .into_iter()
        .flat_map(|group| alternatives(Vec::new(), group, map))
        .collect()
}

fn alternatives(done: Vec<Entry>, rest: Vec<Entry>, map: &DescriptorMap) -> Vec<Vec<Entry>> {
    let Some((first, rest)) = rest.split_first() else {
        return vec![done];
    };
    let descriptor = map.descriptor(first).expect("it is in the map");
    if descriptor.order().is_empty() {
        let seen = done.iter().any(|entry| entry.id == first.id);
        let done = if seen {
            done
        } else {
            [done, vec![first.clone()]].concat()
        };
        return alternatives(done, rest.to_vec(), map);
    }
    let mut all: Vec<_> = descriptor
        .order()
        .iter()
        .flat_map(|group| alternatives(done.clone(), [group.entries.clone(), rest.to_vec()].concat(), map))
        .collect();
    if first.optional {
        all.extend(alternatives(done, rest.to_vec(), map));
    }
    all
}

fn names(entries: &[Entry]) -> Vec<(String, bool)> {
    entries
        .iter()
        .map(|entry| (entry.id.to_string(), entry.optional))
        .collect()
}

fn expanded(order: &Order, map: &DescriptorMap) -> Vec<Vec<(String, bool)>> {
    expand(order, map)
        .expect("nothing contains itself")
        .iter()
        .map(|group| names(&group.entries))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn expansion_agrees_with_the_oracle((order, map) in any_order()) {
        let expected: Vec<_> = oracle(&order, &map).iter().map(|group| names(group)).collect();
        prop_assert_eq!(expanded(&order, &map), expected);
    }

    #[test]
    fn no_group_has_an_id_twice((order, map) in any_order()) {
        for group in expanded(&order, &map) {
            let mut ids: Vec<_> = group.iter().map(|(id, _)| id.clone()).collect();
            ids.sort();
            ids.dedup();
            prop_assert_eq!(ids.len(), group.len());
        }
    }

    #[test]
    fn making_composites_optional_never_loses_a_group((order, map) in any_order()) {
        let before = expanded(&order, &map);
        let mut relaxed = order.clone();
        for entry in relaxed.groups.iter_mut().flat_map(|group| &mut group.entries) {
            entry.optional |= entry.id.as_str().starts_with('c');
        }
        let after = expanded(&relaxed, &map);
        prop_assert!(before.iter().all(|group| after.contains(group)));
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "(?s).{0,200}|(\\[\\[?[a-z.]{1,8}\\]?\\]\\n|[a-z]{1,5} = [0-9\"'{}\\[\\]a-z,=.]{0,9}\\n){0,12}") {
        let _ = BuildpackDescriptor::from_toml(&text, &["build"]);
        let _ = Order::from_toml(&text);
        let _ = DetectedGroup::from_toml(&text);
        let _ = Plan::from_toml(&text);
        let _ = BuildPlan::from_toml(&text);
        let _ = Analyzed::from_toml(&text);
        let _ = RunInfo::from_toml(&text);
        let _ = SystemBuildpacks::from_toml(&text);
    }

    #[test]
    fn plans_and_groups_survive_a_round_trip(names in prop::collection::vec("\\PC{0,6}|[\\x00-\\x7f]{0,4}", 1..4)) {
        let group = DetectedGroup {
            buildpacks: names.iter().map(|name| Entry { api: "0.10".into(), ..Entry::new(name.as_str(), "1") }).collect(),
            extensions: Vec::new(),
        };
        prop_assert_eq!(&DetectedGroup::from_toml(&group.to_toml()).expect("it was written by us"), &group);
        let require = |name: &String| cnb_order::Require { name: name.clone(), ..cnb_order::Require::default() };
        let entry = cnb_order::PlanEntry { providers: Vec::new(), requires: names.iter().map(require).collect() };
        let plan = Plan { entries: vec![entry] };
        prop_assert_eq!(&Plan::from_toml(&plan.to_toml()).expect("it was written by us"), &plan);
    }
}

#[test]
fn a_composite_that_contains_itself_is_refused_with_the_path_to_it() {
    let mut map = DescriptorMap::new();
    for (id, child) in [("loop", "inner"), ("inner", "loop")] {
        let text = format!(
            "api = '0.10'\n[buildpack]\nid = '{id}'\nversion = '1'\n[[order]]\ngroup = [{{ id = '{child}', version = '1' }}]\n"
        );
        map.insert(BuildpackDescriptor::from_toml(&text, &[]).expect("it is a descriptor"));
    }
    let order = Order {
        groups: vec![Group {
            entries: vec![Entry::new("loop", "1")],
        }],
        extensions: Vec::new(),
    };
    let error = expand(&order, &map).expect_err("it never ends");
    assert!(matches!(error, ExpandError::Cycle { .. }));
    assert_eq!(
        error.to_string(),
        "composite buildpack loop@1 contains itself: loop@1 -> inner@1 -> loop@1"
    );
}
