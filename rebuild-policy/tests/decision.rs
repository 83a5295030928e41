//! Every recorded decision and every recorded Build.

mod fixture;

use fixture::{all_pass, cases, normalise, read};
use jiff::Timestamp;
use rebuild_policy::{
    Build, Builder, BuilderView, Change, Changes, ClusterBuilder, Decision, Image, NextBuild, Situation,
    SourceResolver, decide, next_build,
};
use serde_json::{Value, json};

struct World {
    image: Image,
    last_build: Option<Build>,
    source: SourceResolver,
    builder: ClusterBuilder,
    namespaced: Option<Builder>,
}

impl World {
    fn new(input: &Value) -> Self {
        let namespaced = (input["builder"]["kind"] == "Builder").then(|| read(&input["builder"]));
        Self {
            image: read(&input["image"]),
            last_build: (!input["lastBuild"].is_null()).then(|| read(&input["lastBuild"])),
            source: read(&input["sourceResolver"]),
            builder: read(&input["builder"]),
            namespaced,
        }
    }

    fn situation(&self) -> Situation<'_> {
        Situation {
            image: &self.image,
            last_build: self.last_build.as_ref(),
            source: &self.source,
            builder: self.builder(),
            now: now(),
        }
    }

    fn builder(&self) -> BuilderView<'_> {
        self.namespaced
            .as_ref()
            .map_or_else(|| (&self.builder).into(), BuilderView::from)
    }
}

fn now() -> Timestamp {
    "2026-01-05T09:30:00Z".parse().expect("a time")
}

#[test]
fn recorded_decisions_are_repeated() {
    let cases = cases(include_str!("fixtures/policy/build-required.json"));
    let failures = cases.iter().filter_map(|case| {
        let world = World::new(&case["input"]);
        let got = match decide(&world.situation()) {
            Err(error) => serde_json::json!({"error": error.to_string()}),
            Ok(Decision::UpToDate) => row("False", "", "", ""),
            Ok(Decision::Wait(_)) => row("Unknown", "", "", ""),
            Ok(Decision::Build(changes)) => row(
                "True",
                &changes.reasons(),
                &changes
                    .to_json()
                    .replace("Mon, 05 Jan 2026 09:30:00 +0000", "<RFC1123Z>"),
                changes.priority().class_name(),
            ),
        };
        (got != case["expect"]).then(|| format!("{}:\n  got  {got}\n  want {}", case["name"], case["expect"]))
    });
    all_pass(cases.len(), failures.collect());
}

fn row(needed: &str, reasons: &str, changes: &str, class: &str) -> Value {
    serde_json::json!({"needed": needed, "reasons": reasons, "changes": changes, "priorityClass": class})
}

#[test]
fn recorded_builds_are_made_again() {
    let cases = cases(include_str!("fixtures/policy/next-build.json"));
    let failures = cases.iter().filter_map(|case| {
        let input = &case["input"];
        let mut world = World::new(input);
        world.image.spec.set_defaults(false);
        let build = next_build(&NextBuild {
            image: &world.image,
            last_build: world.last_build.as_ref(),
            source: &world.source,
            builder: world.builder(),
            reasons: input["reasons"].as_str().expect("reasons"),
            changes: input["changes"].as_str().expect("changes"),
            number: input["number"].as_i64().expect("number"),
            priority_class: input["priorityClass"].as_str().expect("priorityClass"),
            cache_claim: &world.image.status.build_cache_name,
            now: now(),
        });
        let mut got: Value =
            serde_json::from_str(&normalise(&serde_json::to_string(&build).expect("JSON"))).expect("JSON");
        // The recorder saw the object before its type was written into it.
        got.as_object_mut()
            .expect("an object")
            .retain(|name, _| name != "kind" && name != "apiVersion");
        let mut want = case["expect"]["build"].clone();
        if case["name"] == "tag localhost without port" {
            // Deviation: `localhost` is a registry for our lifecycle, so it is one here.
            want["spec"]["tags"][1] = "localhost/app:x-b45.<YYYYMMDD>.<HHMMSS>".into();
        }
        (got != want).then(|| format!("{}:\n  got  {got}\n  want {want}", case["name"]))
    });
    all_pass(cases.len(), failures.collect());
}

#[test]
fn recorded_tags_and_names_of_builds_are_made_again() {
    let cases = cases(include_str!("fixtures/reference/build-tags.json"));
    let failures = cases.iter().filter_map(|case| {
        let input = &case["in"];
        let image: Image = read(&json!({
            "metadata": {"name": input["image_name"], "namespace": "default"},
            "spec": {
                "tag": input["tag"],
                "imageTaggingStrategy": input["image_tagging_strategy"],
                "additionalTags": input["additional_tags"],
            },
        }));
        let build = next_build(&NextBuild {
            image: &image,
            last_build: None,
            source: &SourceResolver::default(),
            builder: (&ClusterBuilder::default()).into(),
            reasons: "CONFIG",
            changes: "[]",
            number: input["build_number"]
                .as_str()
                .expect("a text")
                .parse()
                .expect("a number"),
            priority_class: "",
            cache_claim: "",
            now: now(),
        });
        let tags: Vec<_> = build.spec.tags.iter().map(|tag| normalise(tag)).collect();
        let got = json!({"tags": tags, "tags_null": tags.is_empty(), "build_name": build.metadata.name});
        (got != case["out"]).then(|| format!("{}:\n  got  {got}\n  want {}", case["name"], case["out"]))
    });
    let failures = failures.collect();
    all_pass(cases.len(), failures);
    assert_eq!(cases.len(), 25);
}

// row 10.6/P22
#[test]
fn without_a_change_there_are_no_reasons_and_no_priority() {
    assert_eq!(Changes::new(Vec::new()), None);
    let one = Changes::new(vec![Change::Trigger { message: String::new() }]);
    assert_eq!(one.map(|changes| changes.reasons()).as_deref(), Some("TRIGGER"));
    let world = World::new(&cases(include_str!("fixtures/policy/build-required.json"))[0]["input"]);
    assert!(matches!(decide(&world.situation()), Ok(Decision::UpToDate)));
}
