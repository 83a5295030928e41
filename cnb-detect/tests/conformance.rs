//! Rows of the conformance table (docs/conformance.md) that no recorded case shows.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use cnb_detect::{
    ApiError, BaseTarget, DetectInputs, Environment, Exit, GenerateError, GenerateInputs, Generated, MemoryLog,
    ModuleStore, ModuleVerdict, ScriptedRunner, check_apis, detect, generate,
};
use cnb_order::{
    Analyzed, AnalyzedRunImage, ApiVersion, Entry, Group, Lookup as _, ModuleKind, Order, Plan, RunInfo, TargetData,
};

fn write(root: &Path, kind: ModuleKind, id: &str, api: &str) {
    let directory = root.join(format!("{}s", kind.word())).join(id).join("v1");
    fs::create_dir_all(directory.join("bin")).expect("a directory");
    for program in ["detect", "generate"] {
        fs::write(directory.join("bin").join(program), "").expect("a file");
    }
    let word = kind.word();
    let text = format!("api = '{api}'\n[{word}]\nid = '{id}'\nversion = 'v1'\nhomepage = 'Homepage of {id}'\n");
    fs::write(directory.join(format!("{word}.toml")), text).expect("a file");
}

fn store(root: &Path) -> ModuleStore {
    ModuleStore::new(root.join("buildpacks"), root.join("extensions"))
}

// row O5
#[test]
fn each_run_is_kept_as_it_was() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    for id in ["A", "B"] {
        write(root, ModuleKind::Buildpack, id, "0.10");
    }
    let runner = ScriptedRunner::new(|command, output| {
        let is_a = command.program.to_string_lossy().contains("/A/");
        output.write(if is_a { b"from A" } else { b"from B" });
        if is_a {
            fs::write(&command.args[1], "[[provides]]\nname = 'x'\n[[or]]\n").expect("a plan");
        }
        Ok(Exit::Code(if is_a { 0 } else { 100 }))
    });
    let entries = vec![Entry::new("A", "v1"), Entry::new("B", "v1")];
    let order = Order {
        groups: vec![Group { entries }],
        extensions: Vec::new(),
    };
    let inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_owned());
    let error = detect(&order, &inputs, &store(root), &runner, &mut MemoryLog::new()).expect_err("B declines");
    let group = &error.explanation().expect("nothing else went wrong").groups[0];
    let verdicts: Vec<_> = group
        .modules
        .iter()
        .map(|one| (one.module.titled_name(), &one.verdict, one.output.as_str()))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("Buildpack A@v1".to_owned(), &ModuleVerdict::Passed, "from A"),
            ("Buildpack B@v1".to_owned(), &ModuleVerdict::Declined, "from B"),
        ]
    );
}

// row O11
#[test]
fn the_api_of_buildpacks_and_extensions_is_checked_under_their_names() {
    let root = tempfile::tempdir().expect("a temporary directory");
    for (kind, id, api) in [
        (ModuleKind::Buildpack, "A", "0.10"),
        (ModuleKind::Buildpack, "B", "0.2"),
        (ModuleKind::Extension, "A", "0.9"),
        (ModuleKind::Extension, "B", "none"),
    ] {
        write(root.path(), kind, id, api);
    }
    let check = |entry: Entry| check_apis([&entry], &store(root.path()));
    assert_eq!(check(Entry::new("A", "v1")), Ok(()));
    assert_eq!(check(Entry::new("A", "v1").extension()), Ok(()));
    assert_eq!(
        check(Entry::new("B", "v1")),
        Err(ApiError::Unsupported {
            api: "0.2".to_owned(),
            kind: "Buildpack",
            module: "B@v1".to_owned()
        })
    );
    assert_eq!(
        check(Entry::new("B", "v1").extension()),
        Err(ApiError::Unparsable {
            api: "none".to_owned(),
            kind: "extension",
            module: "B@v1".to_owned()
        })
    );
}

// row F3
#[test]
fn a_descriptor_is_found_by_kind_id_and_version() {
    let root = tempfile::tempdir().expect("a temporary directory");
    write(root.path(), ModuleKind::Buildpack, "A", "0.7");
    write(root.path(), ModuleKind::Extension, "A", "0.9");
    let store = store(root.path());
    let buildpack = store.descriptor(&Entry::new("A", "v1")).expect("it is there");
    assert_eq!(
        (buildpack.api(), buildpack.info().homepage.as_str()),
        ("0.7", "Homepage of A")
    );
    let extension = store
        .descriptor(&Entry::new("A", "v1").extension())
        .expect("it is there");
    assert_eq!(extension.api(), "0.9");
}

fn generate_inputs(root: &Path) -> GenerateInputs {
    GenerateInputs {
        app_dir: root.join("app"),
        platform_dir: root.join("platform"),
        build_config_dir: None,
        generated_dir: root.join("generated"),
        temp_dir: root.to_owned(),
        platform_api: ApiVersion::new(0, 15),
        env: Environment::new(),
        target: BaseTarget::new(TargetData::default(), "amd64", Ok(String::new())),
        run_images: RunInfo::default(),
    }
}

/// Runs generate with extensions that write these files.
fn generated(files: &[(&str, &str)], plan: &str) -> Generated {
    try_generated(files, plan).expect("all is well")
}

fn try_generated(files: &[(&str, &str)], plan: &str) -> Result<Generated, GenerateError> {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    let mut ids: Vec<&str> = files
        .iter()
        .map(|(path, _)| path.split('/').next().expect("an id"))
        .collect();
    ids.dedup();
    for id in &ids {
        write(root, ModuleKind::Extension, id, "0.10");
    }
    let runner = ScriptedRunner::new(|command, _output| {
        let output = Path::new(&command.args[0]);
        for (path, text) in files {
            let (id, name) = path.split_once('/').expect("id/file");
            if output.ends_with(id) {
                fs::write(output.join(name), text).expect("a file");
            }
        }
        Ok(Exit::Code(0))
    });
    let extensions: Vec<Entry> = ids.iter().map(|id| Entry::new(*id, "v1").extension()).collect();
    let run_image = AnalyzedRunImage {
        reference: "some-existing-run-image@sha256:1".to_owned(),
        image: "some-existing-run-image".to_owned(),
        ..AnalyzedRunImage::default()
    };
    let analyzed = Analyzed {
        run_image: Some(run_image),
        ..Analyzed::default()
    };
    let plan = Plan::from_toml(plan).expect("a plan");
    generate(
        &extensions,
        plan,
        analyzed,
        &generate_inputs(root),
        &store(root),
        &runner,
        &mut MemoryLog::new(),
    )
}

fn run_image(files: &'static [(&'static str, &'static str)]) -> (String, String, bool) {
    let run = generated(files, "").analyzed.run_image.expect("there is one");
    (run.image, run.reference, run.extend)
}

const SAME: &str = "ARG base_image\nFROM ${base_image}\n";
const SAME_EXTENDED: &str = "ARG base_image\nFROM ${base_image}\nRUN true\n";

// row G2
#[test]
fn a_run_dockerfile_on_the_same_base_switches_nothing() {
    let existing = "some-existing-run-image".to_owned();
    assert_eq!(
        run_image(&[("A/run.Dockerfile", SAME)]),
        (existing.clone(), "some-existing-run-image@sha256:1".to_owned(), false)
    );
}

// row G15
#[test]
fn a_switch_by_the_first_and_an_extension_by_the_second_both_count() {
    let new = "some-new-run-image".to_owned();
    let files: &[_] = &[
        ("A/run.Dockerfile", "FROM some-new-run-image\n"),
        ("B/run.Dockerfile", SAME_EXTENDED),
    ];
    assert_eq!(run_image(files), (new.clone(), new, true));
}

// row G17
#[test]
fn one_extension_may_switch_and_extend() {
    let new = "some-new-run-image".to_owned();
    let files: &[_] = &[("A/run.Dockerfile", "FROM some-new-run-image\nRUN true\n")];
    assert_eq!(run_image(files), (new.clone(), new, true));
}

// row G5
#[test]
fn an_extension_meets_all_it_was_asked_for_whatever_it_says_of_unmet_ones() {
    let plan = "[[entries]]\n[[entries.providers]]\nid = 'A'\nextension = true\n[[entries.requires]]\nname = 'x'\n\
                [[entries]]\n[[entries.providers]]\nid = 'A'\nextension = true\n[[entries.requires]]\nname = 'y'\n\
                [[entries]]\n[[entries.providers]]\nid = 'B'\n[[entries.requires]]\nname = 'z'\n";
    let left = generated(&[("A/build.toml", "[[unmet]]\nname = 'x'\n")], plan).plan;
    let names: Vec<&str> = left
        .entries
        .iter()
        .map(|entry| entry.requires[0].name.as_str())
        .collect();
    assert_eq!(names, ["z"]);
}

#[test]
fn both_parts_of_a_build_argument_are_texts() {
    let files = [("A/extend-config.toml", "[[run.args]]\nname = 'x'\nvalue = 1\n")];
    let error = try_generated(&files, "").expect_err("a number is no text");
    assert_eq!(
        error.to_string(),
        "reading extend config: toml: line 3 (last key \"run.args.value\"): incompatible types: TOML value has type int64; \
         destination has type string"
    );
    assert_eq!(error.exit_code(), 92);
}

#[test]
fn links_to_nothing_count_as_files_that_an_extension_does_not_have() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let root = root.path();
    write(root, ModuleKind::Extension, "A", "0.10");
    let extension = root.join("extensions/A/v1");
    for directory in ["detect", "generate"] {
        fs::remove_file(extension.join("bin").join(directory)).expect("it was there");
        fs::create_dir(extension.join(directory)).expect("a directory");
    }
    symlink("nothing", extension.join("detect/plan.toml")).expect("a link");
    symlink("nothing", extension.join("bin/generate")).expect("a link");
    fs::write(extension.join("generate/run.Dockerfile"), "FROM new\n").expect("a file");
    write(root, ModuleKind::Buildpack, "B", "0.10");
    let order = Order {
        groups: vec![Group {
            entries: vec![Entry::new("B", "v1")],
        }],
        extensions: vec![Group {
            entries: vec![Entry {
                optional: true,
                ..Entry::new("A", "v1").extension()
            }],
        }],
    };
    let runner = ScriptedRunner::new(|_, _| Ok(Exit::Code(0)));
    let inputs = DetectInputs::new(root.join("app"), root.join("platform"), root.to_owned());
    let found = detect(&order, &inputs, &store(root), &runner, &mut MemoryLog::new()).expect("both pass");
    assert_eq!(found.group.extensions.len(), 1);
    let generated = generate(
        &found.group.extensions,
        found.plan,
        Analyzed::default(),
        &generate_inputs(root),
        &store(root),
        &runner,
        &mut MemoryLog::new(),
    );
    let run = generated
        .expect("nothing is to be run")
        .analyzed
        .run_image
        .expect("there is one");
    assert_eq!(run.image, "new");
    assert_eq!(runner.commands().len(), 1);
}
