//! Why nothing was selected: the explanation and its tree.

use std::fs;
use std::path::{Path, PathBuf};

use cnb_detect::{
    Candidate, DetectInputs, Exit, Explanation, GroupFailure, MemoryLog, ModuleStore, ModuleVerdict, PlanFailure,
    PlanProblemKind, ScriptedRunner, detect, resolve_plan,
};
use cnb_order::{BuildPlan, Entry, Order, Provide, Require};
use proptest::prelude::*;

/// A module: its name, exit code, output and plan.
type Module = (&'static str, i32, &'static str, &'static str);

fn explain(order: &str, modules: &[Module]) -> Explanation {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    for (id, ..) in modules {
        let path = root.join("buildpacks").join(id).join("1");
        fs::create_dir_all(&path).expect("a directory");
        let text = format!("api = '0.10'\n[buildpack]\nid = '{id}'\nversion = '1'\n");
        fs::write(path.join("buildpack.toml"), text).expect("a file");
    }
    let id_of = |program: &Path| -> Option<String> {
        let version = program.parent()?.parent()?;
        Some(version.parent()?.file_name()?.to_string_lossy().into_owned())
    };
    let runner = ScriptedRunner::new(|command, output| {
        let id = id_of(&command.program).expect("the layout of a builder");
        let (_, code, text, plan) = modules.iter().find(|module| module.0 == id).expect("it is there");
        output.write(text.as_bytes());
        fs::write(&command.args[1], plan).expect("a plan");
        Ok(Exit::Code(*code))
    });
    let entry = |text: &str| {
        let (id, optional) = text.strip_suffix('?').map_or((text, false), |id| (id, true));
        format!("{{ id = '{id}', version = '1', optional = {optional} }}")
    };
    let group = |group: &str| group.split_whitespace().map(entry).collect::<Vec<_>>().join(", ");
    let groups: Vec<String> = order.split('|').map(group).collect();
    let groups = format!("order = [{{ group = [{}] }}]", groups.join("] }, { group = ["));
    let order = Order::from_toml(&groups).expect("an order");
    let inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_owned());
    let store = ModuleStore::new(root.join("buildpacks"), PathBuf::new());
    let error = detect(&order, &inputs, &store, &runner, &mut MemoryLog::new()).expect_err("no group passes");
    error.explanation().expect("nothing else went wrong").clone()
}

#[test]
fn each_group_says_which_required_modules_did_not_pass() {
    let found = explain(
        "go | node npm?",
        &[
            ("go", 100, "no go.mod\n", ""),
            ("node", 3, "cannot read package.json\n", ""),
            ("npm", 0, "", ""),
        ],
    );
    assert_eq!(
        found.to_string(),
        "none of 2 groups fits\n\
         ├─ group 1: go@1 is required and did not pass\n\
         │  └─ go@1 does not apply\n\
         │     └─ no go.mod\n\
         └─ group 2: node@1 is required and did not pass\n   \
            ├─ node@1 failed with exit code 3\n   \
            │  └─ cannot read package.json\n   \
            └─ npm@1 (optional) passed\n"
    );
    assert_eq!(found.groups[1].failure, GroupFailure::Modules(vec![0]));
    assert_eq!(found.groups[1].modules[0].verdict, ModuleVerdict::Failed { code: 3 });
}

#[test]
fn a_requirement_that_nobody_provides_is_named_with_who_has_it() {
    let found = explain(
        "node npm",
        &[
            ("node", 0, "", "[[provides]]\nname = 'node'\n"),
            ("npm", 0, "", "[[requires]]\nname = 'nodejs'\n"),
        ],
    );
    assert_eq!(
        found.to_string(),
        "the only group does not fit\n\
         └─ group 1: what the modules provide and require does not fit together\n   \
            ├─ node@1 passed\n   \
            ├─ npm@1 passed\n   \
            ├─ node@1 provides node, which nobody requires\n   \
            └─ npm@1 requires nodejs, which nobody provides\n"
    );
}

#[test]
fn who_provides_too_late_is_named() {
    let found = explain(
        "npm node",
        &[
            ("node", 0, "", "[[provides]]\nname = 'node'\n"),
            ("npm", 0, "", "[[requires]]\nname = 'node'\n"),
        ],
    );
    let GroupFailure::Plan(plan) = &found.groups[0].failure else {
        panic!("{found:?}");
    };
    let expected = PlanProblemKind::Unprovided {
        name: "node".to_owned(),
        later: vec!["node@1".to_owned()],
    };
    assert_eq!(plan.problems[0].kind, expected);
    assert!(
        found
            .to_string()
            .contains("npm@1 requires node, which only later modules provide: node@1")
    );
    assert!(
        found
            .to_string()
            .contains("node@1 provides node, which only earlier modules require: npm@1")
    );
}

#[test]
fn alternatives_that_exclude_each_other_are_called_so() {
    let found = explain(
        "a b c",
        &[
            (
                "a",
                0,
                "",
                "[[provides]]\nname = 'x'\n[[or]]\n[[or.provides]]\nname = 'y'\n",
            ),
            ("b", 0, "", "[[requires]]\nname = 'x'\n"),
            ("c", 0, "", "[[requires]]\nname = 'y'\n"),
        ],
    );
    let text = found.to_string();
    assert!(
        text.contains("no combination of alternatives works; with the first of each, c@1 requires y"),
        "{text}"
    );
}

#[test]
fn terminal_escapes_in_output_and_names_are_not_passed_on() {
    let found = explain("a", &[("a", 100, "\u{1b}[2J\u{1b}]0;title\u{7}gone\r\n", "")]);
    let text = found.to_string();
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    assert!(text.contains("gone"));
}

#[test]
fn an_empty_order_is_explained() {
    assert_eq!(Explanation::default().to_string(), "there is no group to try\n");
}

fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
    let names = || prop::collection::vec(0..4_u8, 0..3);
    let plan = (names(), names()).prop_map(|(provides, requires)| BuildPlan {
        provides: provides.iter().map(|name| Provide { name: name.to_string() }).collect(),
        requires: requires
            .iter()
            .map(|name| Require {
                name: name.to_string(),
                ..Require::default()
            })
            .collect(),
        or: Vec::new(),
    });
    let module = (any::<bool>(), prop::collection::vec(plan, 1..3));
    prop::collection::vec(module, 1..6).prop_map(|modules| {
        let candidate = |(at, (optional, plans)): (usize, (bool, Vec<BuildPlan>))| {
            let mut plan = plans[0].clone();
            plan.or = plans[1..].to_vec();
            let entry = Entry {
                optional,
                ..Entry::new(format!("m{at}"), "1")
            };
            Candidate { entry, plan }
        };
        modules.into_iter().enumerate().map(candidate).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_reported_problems_alone_still_cause_the_failure(candidates in any_candidates()) {
        if resolve_plan(&candidates, &mut MemoryLog::new()).expect("it is small").is_none() {
            let failure = PlanFailure::of(&candidates);
            prop_assert!(!failure.problems.is_empty() || failure.conflict.is_some(), "{failure:?}");
            // Serving every reported problem from outside lets the alternatives concerned work.
            for problem in &failure.problems {
                let at = candidates.iter().position(|one| one.entry == problem.module).expect("it is one of them");
                let plan = candidates[at].plan.alternatives().nth(problem.alternative).expect("it exists").clone();
                match &problem.kind {
                    PlanProblemKind::Unprovided { name, .. } => {
                        prop_assert!(plan.requires.iter().any(|require| require.name == *name));
                        prop_assert!(!plan.provides.iter().any(|provide| provide.name == *name));
                    }
                    PlanProblemKind::Unused { name, .. } => {
                        prop_assert!(plan.provides.iter().any(|provide| provide.name == *name));
                        prop_assert!(!plan.requires.iter().any(|require| require.name == *name));
                    }
                    _ => {}
                }
            }
            // Without a conflict, some required module has nothing left: the group fails with only the modules named.
            if failure.conflict.is_none() {
                let named: Vec<Candidate> = candidates
                    .iter()
                    .filter(|one| failure.problems.iter().any(|problem| problem.module == one.entry))
                    .cloned()
                    .collect();
                let alone = resolve_plan(&named, &mut MemoryLog::new()).expect("it is small");
                prop_assert!(alone.is_none(), "{named:?}");
            }
        }
    }
}
