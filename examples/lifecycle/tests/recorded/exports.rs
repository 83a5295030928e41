//! Scenarios of analyzer, exporter and rebaser (`vectors/layers/export`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use crate::json::Json;
use crate::machine::{Call, Kind, Machine, Said, Seen};
use crate::store::{Pushed, digest};
use crate::{RECORDED_LAUNCHER, World, differences, from_base64, judge, with_recorded_launcher, without_numbers};

/// Cases whose log is compared without the words behind a mark, because the words are not the phase's own.
const FOREIGN_WORDS: [&str; 1] = ["toml: "];

/// Cases in which something differs on purpose or by the nature of a part: what and why.
const DIFFERENT: &[(&str, Skip, &str)] = &[
    ("base-index-arm-only-api-0-12", Skip::All, NO_CHILD),
    ("insecure-registry-flag", Skip::Words, CLIENT),
    (
        "insecure-registry-not-for-mirror-check",
        Skip::All,
        "the flag counts for the choice of the run image too, so that the build goes on",
    ),
    ("output-is-a-digest-reference", Skip::Words, CLIENT),
    ("output-tag-unauthorized-wrong-password", Skip::Words, CLIENT),
    ("output-unauthorized-at-export", Skip::Words, CLIENT),
    ("output-unauthorized", Skip::Words, CLIENT),
    ("previous-image-misses-its-config", Skip::Words, CLIENT),
    ("rebase-by-digest", Skip::Words, CLIENT),
    (
        "rebase-run-image-unauthorized",
        Skip::Words,
        "a refusal is said at once and as such, not as an image without layers after six attempts",
    ),
    ("registry-down", Skip::Words, CLIENT),
    ("run-image-unauthorized", Skip::Words, CLIENT),
    ("run-registry-down", Skip::Words, CLIENT),
    (
        "layout-additional-tag",
        Skip::All,
        "further names go to the layout directory too, not to the working directory",
    ),
    (
        "layout-with-registry-port",
        Skip::All,
        "that a path with a colon is no reference is said by the analyzer already",
    ),
    (
        "layout-without-dir",
        Skip::Words,
        "that there is no run image is said before bills of materials are looked for",
    ),
];

const CLIENT: &str = "the registry client says what went wrong in its own words";
const NO_CHILD: &str = "that an index has nothing for this machine is said by the analyzer already";

/// What of a case is not compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    /// The words of lines that say why something failed; exit codes, files and images are compared.
    Words,
    /// Everything: what happens is another thing.
    All,
}

/// What scenarios refer to by name.
pub(crate) struct Fixtures<'a> {
    images: &'a Json,
    fragments: &'a Json,
}

impl<'a> Fixtures<'a> {
    pub(crate) fn new(images: &'a Json, trees: &'a Json) -> Self {
        Self {
            images,
            fragments: trees.get("fragments"),
        }
    }
}

/// One scenario on its way.
struct Scenario<'a> {
    world: &'a World,
    fixtures: &'a Fixtures<'a>,
    machine: Machine,
    api: &'a str,
    skip: Option<Skip>,
    /// Digests that this run made, with their placeholders.
    digests: Vec<(String, String)>,
    problems: Vec<String>,
}

/// Runs a scenario and returns what differs.
pub(crate) fn check(world: &World, fixtures: &Fixtures<'_>, case: &Json) -> Vec<String> {
    let machine = Machine::new(&world.folder);
    for path in ["/layers", "/workspace", "/platform", "/home/cnb"] {
        machine.directory(path, 1000);
    }
    for path in ["/tmp", "/etc", "/root", "/cnb/lifecycle"] {
        machine.directory(path, 0);
    }
    fs::set_permissions(machine.at("/tmp"), Permissions::from_mode(0o1777)).expect("a mode");
    machine.file("/etc/hosts", "127.0.0.1 localhost registry.example.test\n");
    machine.file(
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\ncnb:x:1000:1000::/home/cnb:/bin/sh\n",
    );
    machine.install(&world.program);
    let name = case.str("name");
    let mut scenario = Scenario {
        world,
        fixtures,
        machine,
        api: case.str("platform_api"),
        skip: DIFFERENT
            .iter()
            .find_map(|(case, skip, _)| (*case == name).then_some(*skip)),
        digests: Vec::new(),
        problems: Vec::new(),
    };
    for image in case.get("images").list() {
        scenario.push(image.str("image"), image.str("ref"));
    }
    scenario.make(case.get("tree").list());
    for (at, step) in case.get("steps").list().iter().enumerate() {
        scenario.step(at, step);
    }
    match scenario.skip {
        None => scenario.problems,
        Some(skip) => judge(skip == Skip::All, scenario.problems),
    }
}

impl Scenario<'_> {
    fn step(&mut self, at: usize, step: &Json) {
        match step.str("do") {
            "files" => {
                for path in step.get("remove").texts() {
                    self.machine.remove(path);
                }
                self.make(step.get("write").list());
            }
            "push" => self.push(step.str("image"), step.str("ref")),
            "edit-image" => self.edit(step),
            "delete-blob" => {
                let (store, repository, tag) = self.world.find(step.str("ref"));
                let image = store.image(repository, tag).expect("it was pushed");
                let blob = match step.get("layer").int() {
                    Some(layer) => {
                        let layer = usize::try_from(layer).expect("a small number");
                        image.manifest.get("layers").list()[layer].str("digest").to_owned()
                    }
                    None => image.manifest.get("config").str("digest").to_owned(),
                };
                store.drop_blob(repository, &blob, false);
            }
            "delete-image" => {
                let (store, repository, tag) = self.world.find(step.str("ref"));
                store.delete_image(repository, tag);
            }
            "layout-base" => self.layout_base(step.str("image"), step.str("path")),
            "run" => self.run(at, step),
            other => panic!("unknown step {other}"),
        }
    }

    fn fill_in(&self, text: &str) -> String {
        let text = self.digests.iter().fold(text.to_owned(), |text, (real, placeholder)| {
            text.replace(placeholder, real)
        });
        self.world.fill_in(&text)
    }

    fn take_out(&self, text: &str) -> String {
        let text = self.digests.iter().fold(text.to_owned(), |text, (real, placeholder)| {
            text.replace(real, placeholder)
        });
        self.world.take_out(&text)
    }

    fn push(&self, name: &str, reference: &str) {
        let image = self.fixtures.images.get(name);
        let (store, repository, tag) = self.world.find(reference);
        for child in image.get("children").texts() {
            let digest = self.fixtures.images.get(child).str("digest");
            let registry = reference.split_once('/').expect("a registry").0;
            self.push(child, &format!("{registry}/{repository}@{digest}"));
        }
        if let Some(config) = image.get("config").text() {
            store.put_blob(repository, config.as_bytes());
        }
        for layer in image.get("layers").list() {
            store.put_blob(repository, &from_base64(layer.str("base64")));
        }
        store.put_manifest(repository, tag, image.str("manifest").as_bytes());
    }

    fn layout_base(&self, name: &str, path: &str) {
        let image = self.fixtures.images.get(name);
        self.machine.directory(&format!("{path}/blobs/sha256"), 1000);
        let blob = |bytes: &[u8]| {
            let digest = digest(bytes);
            fs::write(
                self.machine.at(path).join("blobs").join(digest.replace(':', "/")),
                bytes,
            )
            .expect("a file");
            digest
        };
        blob(image.str("config").as_bytes());
        for layer in image.get("layers").list() {
            blob(&from_base64(layer.str("base64")));
        }
        let manifest = image.str("manifest");
        let digest = blob(manifest.as_bytes());
        let index = format!(
            "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":{},\"size\":{},\"digest\":\"{digest}\"}}]}}",
            image.get("media_type"),
            manifest.len()
        );
        self.machine.file(&format!("{path}/index.json"), &index);
        self.machine
            .file(&format!("{path}/oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}");
    }

    fn edit(&mut self, step: &Json) {
        let (store, repository, tag) = self.world.find(step.str("ref"));
        let image = store.image(repository, tag).expect("it was pushed");
        let mut document: Json = serde_json::from_str(&image.config.expect("it has one")).expect("JSON");
        let mut config = document.get("config").clone();
        let mut labels = config.get("Labels").clone();
        for (label, value) in step.get("set_labels").entries() {
            labels.set(label, Json::Text(self.fill_in(value.text().expect("text"))));
        }
        for label in step.get("remove_labels").texts() {
            labels.set(label, Json::Null);
        }
        for change in step.get("replace_in_label").list() {
            let label = change.str("label");
            let changed = labels
                .str(label)
                .replace(&self.fill_in(change.str("old")), &self.fill_in(change.str("new")));
            labels.set(label, Json::Text(changed));
        }
        if !labels.is_null() {
            config.set("Labels", labels);
        }
        if step.has("set_env") {
            config.set("Env", step.get("set_env").clone());
        }
        for (key, value) in step.get("set_config").entries() {
            config.set(key, value.clone());
        }
        document.set("config", config);
        for (key, value) in step.get("set_top").entries() {
            document.set(key, value.clone());
        }
        let config = document.to_string();
        let config_digest = store.put_blob(repository, config.as_bytes());
        let mut manifest = image.manifest;
        let mut descriptor = manifest.get("config").clone();
        descriptor.set("digest", Json::Text(config_digest));
        descriptor.set("size", Json::Number(config.len().into()));
        manifest.set("config", descriptor);
        let digest = store.put_manifest(repository, tag, manifest.to_string().as_bytes());
        self.digests.push((digest, format!("<digest:{}>", step.str("id"))));
    }

    fn tags(&self) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for (placeholder, _, store) in self.world.stores() {
            let tags = store.tags().into_iter();
            all.extend(tags.map(|(name, digest)| (format!("{placeholder}/{name}"), digest)));
        }
        all
    }

    fn run(&mut self, at: usize, step: &Json) {
        let mut env: BTreeMap<String, String> = [
            ("CNB_PLATFORM_API", self.api),
            ("CNB_NO_COLOR", "true"),
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/home/cnb"),
            ("TZ", "UTC"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for (name, value) in step.get("env").entries() {
            match value.text() {
                Some(value) => env.insert(name.clone(), self.fill_in(value)),
                None => env.remove(name),
            };
        }
        let before = self.tags();
        let said = self.machine.run(&Call {
            phase: step.str("phase"),
            args: step.get("args").texts().map(|arg| self.fill_in(arg)).collect(),
            env: env.into_iter().collect(),
            cwd: step.get("cwd").text().unwrap_or("/"),
            user: None,
        });
        let after = self.tags();
        let what = format!("step {at} ({})", step.str("phase"));
        let id = step.str("id");
        let mut problems = Vec::new();
        let changed: BTreeSet<&String> = after
            .keys()
            .filter(|name| before.get(*name) != after.get(*name))
            .collect();
        let expect = step.get("expect");
        self.learn(expect, id, &changed, &after, &said);
        Self::check_exit(expect, &said, &mut problems);
        if expect.has("pushed") {
            self.check_pushed(expect.get("pushed"), &before, &after, &changed, &mut problems);
        }
        let gone: Vec<_> = before
            .keys()
            .filter(|name| !after.contains_key(*name))
            .cloned()
            .collect();
        let deleted: Vec<_> = expect.get("deleted").texts().map(str::to_owned).collect();
        if gone != deleted {
            problems.push(format!("tags {gone:?} are gone instead of {deleted:?}"));
        }
        let is_crash = expect.get("stderr").texts().any(|line| line.contains("panic:"));
        if expect.has("stdout") && !is_crash {
            let found = self.normal(&said.stdout);
            let expected: Vec<_> = expect.get("stdout").texts().map(without_foreign_words).collect();
            if expected != found {
                problems.push(format!("log{}", differences(&expected, &found)));
            }
        }
        for (path, expected) in expect.get("layout").entries() {
            if let Err(problem) = self.check_layout(path, expected, id) {
                problems.push(format!("layout {path}: {problem}"));
            }
        }
        for (path, expected) in expect.get("files").entries() {
            if let Err(problem) = self.check_file(path, expected) {
                problems.push(format!("{path}: {problem}"));
            }
        }
        self.problems
            .extend(problems.into_iter().map(|problem| format!("{what}: {problem}")));
    }

    /// Learns which digests the placeholders of this step stand for.
    fn learn(
        &mut self,
        expect: &Json,
        id: &str,
        changed: &BTreeSet<&String>,
        after: &BTreeMap<String, String>,
        said: &Said,
    ) {
        let known = |digests: &[(String, String)], real: &str| digests.iter().any(|(found, _)| found == real);
        for name in changed {
            let recorded = expect.get("pushed").get(name).get("digest").text();
            let placeholder = recorded.map_or_else(|| format!("<digest:{id}>"), str::to_owned);
            let real = &after[*name];
            if placeholder.starts_with("<digest:") && !known(&self.digests, real) {
                self.digests.push((real.clone(), placeholder));
            }
        }
        // An image that was not pushed (to a layout, or because the upload failed) is named in the log.
        for (before, placeholder) in [("*** Images (", format!("<digest:{id}>"))] {
            let Some((_, behind)) = said.stdout.split_once(before) else {
                continue;
            };
            let Some(at) = behind.find("sha256:") else { continue };
            let real = behind[at..].get(..71).unwrap_or_default().to_owned();
            if !known(&self.digests, &real) {
                self.digests.push((real, placeholder));
            }
        }
    }

    fn check_exit(expect: &Json, said: &Said, problems: &mut Vec<String>) {
        let expected = expect.get("exit").int().and_then(|code| i32::try_from(code).ok());
        let crash = expected == Some(2) && expect.get("stderr").texts().any(|line| line.contains("panic:"));
        let right = if crash {
            !matches!(said.exit, None | Some(0 | 101))
        } else {
            said.exit == expected
        };
        if !right {
            let text = format!(
                "exit {:?} instead of {expected:?}: {}{}",
                said.exit, said.stdout, said.stderr
            );
            problems.push(text);
        }
    }

    fn check_pushed(
        &self,
        expected: &Json,
        before: &BTreeMap<String, String>,
        after: &BTreeMap<String, String>,
        changed: &BTreeSet<&String>,
        problems: &mut Vec<String>,
    ) {
        for (name, _) in expected.entries() {
            if !changed.contains(name) {
                problems.push(format!("{name} was not pushed"));
            }
        }
        for name in changed {
            let image = expected.get(name);
            if image.is_null() {
                problems.push(format!("{name} was pushed"));
                continue;
            }
            if let Some(other) = image.get("same_as").text() {
                if after.get(*name) != after.get(other) {
                    problems.push(format!("{name} is not {other}"));
                }
                continue;
            }
            let (store, repository, tag) = self.world.find(name);
            let found = store.image(repository, tag).expect("it was pushed");
            if let Some(literal) = image.get("digest").text().filter(|text| text.starts_with("sha256:"))
                && literal != found.digest
            {
                problems.push(format!("{name} has digest {} instead of {literal}", found.digest));
            }
            self.check_image(image, &found, problems);
            if let Some(kept) = image.get("top_layers_kept").int() {
                let old = before.keys().filter_map(|name| {
                    let (store, repository, _) = self.world.find(name);
                    store.image(repository, &before[name])
                });
                let most = old
                    .map(|old| common_end(&old.manifest, &found.manifest))
                    .max()
                    .unwrap_or(0);
                if (most as u64) < kept {
                    problems.push(format!("{most} of the top layers are kept instead of {kept}"));
                }
            }
        }
    }

    fn check_image(&self, expected: &Json, found: &Pushed, problems: &mut Vec<String>) {
        let manifest = &found.manifest;
        let mut compare = |what: &str, expected: String, found: String| {
            if expected != found {
                problems.push(format!("{what} is {found} instead of {expected}"));
            }
        };
        let (keys_of, media_type, config_type) = if expected.has("manifest_media_type") {
            ("manifest_keys", "manifest_media_type", "config_media_type")
        } else {
            ("manifest_keys", "media_type", "config_media_type")
        };
        let keys: Vec<_> = manifest.entries().iter().map(|(key, _)| key.as_str()).collect();
        let expected_keys: Vec<_> = expected.get(keys_of).texts().collect();
        compare("the order of keys", format!("{expected_keys:?}"), format!("{keys:?}"));
        if manifest.has("mediaType") {
            let found = manifest.get("mediaType").to_string();
            compare("the media type", expected.get(media_type).to_string(), found);
        }
        let found_type = manifest.get("config").get("mediaType").to_string();
        compare(
            "the type of the config",
            expected.get(config_type).to_string(),
            found_type,
        );
        let annotations = if expected.has("manifest_annotations") {
            expected.get("manifest_annotations")
        } else {
            expected.get("annotations")
        };
        compare(
            "annotations",
            annotations.to_string(),
            manifest.get("annotations").to_string(),
        );
        for key in ["subject", "artifactType"] {
            compare(key, expected.get(key).to_string(), manifest.get(key).to_string());
        }
        let layers = |of: &Json, key: &str| -> Vec<String> {
            of.get("layers")
                .list()
                .iter()
                .map(|layer| layer.get(key).to_string())
                .collect()
        };
        let types = layers(manifest, "mediaType").join(" ");
        compare("the types of layers", layers(expected, "media_type").join(" "), types);
        let notes = layers(manifest, "annotations").join(" ");
        compare(
            "the annotations of layers",
            layers(expected, "annotations").join(" "),
            notes,
        );
        for (at, (expected, found)) in expected
            .get("layers")
            .list()
            .iter()
            .zip(manifest.get("layers").list())
            .enumerate()
        {
            if let Some(digest) = expected.get("digest").text().filter(|text| text.starts_with("sha256:")) {
                compare(
                    &format!("the digest of layer {at}"),
                    digest.to_owned(),
                    found.str("digest").to_owned(),
                );
            }
        }
        let Some(config) = &found.config else {
            problems.push("no config".into());
            return;
        };
        let parsed: Json = serde_json::from_str(config).expect("JSON");
        let diff_ids: Vec<_> = parsed
            .get("rootfs")
            .get("diff_ids")
            .list()
            .iter()
            .map(Json::to_string)
            .collect();
        compare("diff ids", layers(expected, "diff_id").join(" "), diff_ids.join(" "));
        let launcher = RECORDED_LAUNCHER.replace('"', "\\\"");
        let text = with_recorded_launcher(&self.take_out(config), &launcher);
        if digest(text.as_bytes()) != format!("sha256:{}", expected.str("config_sha256"))
            && digest(text.as_bytes()) != expected.str("config_sha256")
        {
            let parsed: Json = serde_json::from_str(&text).expect("JSON");
            let mut places = Vec::new();
            describe("", expected.get("config"), &parsed, &mut places);
            problems.push(format!("config: {}", places.join("; ")));
        }
    }

    fn check_layout(&mut self, path: &str, expected: &Json, _id: &str) -> Result<(), String> {
        let top = self.machine.at(path);
        if expected.is_null() {
            return if top.exists() {
                Err("it is there".into())
            } else {
                Ok(())
            };
        }
        let read = |name: &str| fs::read_to_string(top.join(name)).map_err(|error| format!("{name}: {error}"));
        let mark = read("oci-layout")?;
        if mark != expected.str("oci-layout") {
            return Err(format!("oci-layout is {mark}"));
        }
        let index = read("index.json")?;
        if !index.starts_with(expected.str("index_json_starts_with")) {
            return Err(format!("index.json is {index}"));
        }
        let index: Json = serde_json::from_str(&index).map_err(|error| error.to_string())?;
        let found = index.get("manifests").list();
        let expected = expected.get("manifests").list();
        if found.len() != expected.len() {
            return Err(format!("{} manifests instead of {}", found.len(), expected.len()));
        }
        let mut problems = Vec::new();
        for (found, expected) in found.iter().zip(expected) {
            for key in ["mediaType", "annotations"] {
                if found.get(key) != expected.get(key) {
                    problems.push(format!("{key} in the index is {}", found.get(key)));
                }
            }
            let digest = found.str("digest").to_owned();
            let manifest_text = read(&format!("blobs/{}", digest.replace(':', "/")))?;
            let manifest: Json = serde_json::from_str(&manifest_text).map_err(|error| error.to_string())?;
            let config = read(&format!(
                "blobs/{}",
                manifest.get("config").str("digest").replace(':', "/")
            ))?;
            for (layer, expected) in manifest.get("layers").list().iter().zip(expected.get("layers").list()) {
                let there = top.join("blobs").join(layer.str("digest").replace(':', "/")).is_file();
                if there != expected.get("blob_present").is_true() {
                    problems.push(format!("blob of {} present: {there}", expected.str("diff_id")));
                }
            }
            let image = Pushed {
                digest,
                manifest,
                manifest_text,
                config: Some(config),
            };
            self.check_image(expected, &image, &mut problems);
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems.join("; "))
        }
    }

    fn check_file(&self, path: &str, expected: &Json) -> Result<(), String> {
        let found = self.machine.see(path);
        match (expected, found) {
            (Json::Null, None) => Ok(()),
            (Json::Null, Some(_)) => Err("it is there".into()),
            (_, None) => Err("it is missing".into()),
            (Json::List(_), Some(_)) => {
                let listing = self.machine.tree(path, &[]);
                let found: Vec<String> = listing.iter().map(|(path, seen)| line_of(path, seen)).collect();
                let expected: Vec<String> = expected.texts().map(str::to_owned).collect();
                // Which blobs there are depends on how they are compressed.
                let found: BTreeSet<_> = found.into_iter().map(|line| without_blob_name(&line)).collect();
                let expected: BTreeSet<_> = expected.into_iter().collect();
                if found == expected {
                    return Ok(());
                }
                let more: Vec<_> = found.difference(&expected).collect();
                let fewer: Vec<_> = expected.difference(&found).collect();
                Err(format!("there is {more:?} and not {fewer:?}"))
            }
            (
                expected,
                Some(Seen {
                    kind: Kind::File(bytes),
                    ..
                }),
            ) => {
                let expected = expected.text().unwrap_or_default();
                let found = self.take_out(&String::from_utf8_lossy(&bytes));
                let size = |text: &str| without_numbers(text, "manifest-size = ", "<manifest-size>");
                if size(&found) == size(expected) {
                    return Ok(());
                }
                let lines = |text: String| text.split('\n').map(str::to_owned).collect::<Vec<_>>();
                Err(differences(&lines(size(expected)), &lines(size(&found))))
            }
            (_, Some(found)) => Err(format!("it is {found:?}")),
        }
    }

    fn normal(&self, log: &str) -> Vec<String> {
        let text = self.take_out(log);
        let mut lines: Vec<String> = text
            .split('\n')
            .map(normal_line)
            .map(|line| without_foreign_words(&line))
            .collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines
    }

    /// Makes files.
    fn make(&self, entries: &[Json]) {
        for entry in entries {
            if let Some(name) = entry.get("use").text() {
                self.make(self.fixtures.fragments.get(name).list());
            } else {
                self.make_one(entry);
            }
        }
    }

    fn make_one(&self, entry: &Json) {
        let path = entry.str("path");
        let parent = Path::new(path)
            .parent()
            .and_then(Path::to_str)
            .expect("it is below the root");
        self.machine.directory(parent, 1000);
        let mut full = self.machine.at(path);
        if let Some(name) = entry.get("path_base64").text() {
            let name = std::ffi::OsString::from_vec(from_base64(name));
            full = self
                .machine
                .at("/")
                .join(Path::new(&name).strip_prefix("/").expect("it is absolute"));
        }
        let kind = entry.get("type").text().unwrap_or("file");
        match fs::symlink_metadata(&full) {
            Ok(found) if found.is_dir() && kind != "dir" => fs::remove_dir_all(&full).expect("it can be deleted"),
            Ok(found) if !found.is_dir() => fs::remove_file(&full).expect("it can be deleted"),
            _ => {}
        }
        let default_mode = match kind {
            "dir" | "socket" => 0o755,
            _ => 0o644,
        };
        match kind {
            "dir" => drop(fs::create_dir(&full)),
            "symlink" => {
                let target = match entry.get("target_base64").text() {
                    Some(text) => PathBuf::from(std::ffi::OsString::from_vec(from_base64(text))),
                    None => PathBuf::from(self.fill_in(entry.str("target"))),
                };
                symlink(target, &full).expect("a link");
            }
            "hardlink" => {
                fs::hard_link(self.machine.at(entry.str("target")), &full).expect("a link");
                return;
            }
            "fifo" => {
                let mode = rustix::fs::Mode::from_raw_mode(0o644);
                rustix::fs::mknodat(rustix::fs::CWD, &full, rustix::fs::FileType::Fifo, mode, 0).expect("a fifo");
            }
            "socket" => {
                let mode = rustix::fs::Mode::from_raw_mode(0o755);
                rustix::fs::mknodat(rustix::fs::CWD, &full, rustix::fs::FileType::Socket, mode, 0).expect("a socket");
            }
            "file" => self.make_file(entry, &full),
            other => panic!("unknown type {other}"),
        }
        let id = |key: &str| {
            entry
                .get(key)
                .int()
                .map_or(1000, |id| u32::try_from(id).expect("an id"))
        };
        lchown(&full, Some(id("uid")), Some(id("gid"))).expect("an owner");
        if kind != "symlink" {
            let mode = entry
                .get("mode")
                .text()
                .map(|mode| u32::from_str_radix(mode, 8).expect("an octal mode"));
            fs::set_permissions(&full, Permissions::from_mode(mode.unwrap_or(default_mode))).expect("a mode");
        }
    }

    fn make_file(&self, entry: &Json, full: &Path) {
        let size = || usize::try_from(entry.get("size").int().unwrap_or(0)).expect("a small file");
        let bytes = if let Some(text) = entry.get("content").text() {
            self.fill_in(text).into_bytes()
        } else if let Some(text) = entry.get("base64").text() {
            from_base64(text)
        } else if let Some(fill) = entry.get("fill").text() {
            fill.as_bytes().repeat(size())
        } else {
            vec![0; size()]
        };
        fs::write(full, bytes).expect("a file");
        if let Some(seconds) = entry.get("mtime").int() {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            fs::File::options()
                .write(true)
                .open(full)
                .and_then(|file| file.set_modified(time))
                .expect("a time");
        }
        debug_assert!(fs::metadata(full).is_ok_and(|found| found.size() < 1 << 30));
    }
}

fn common_end(a: &Json, b: &Json) -> usize {
    let blobs = |of: &Json| -> Vec<String> {
        of.get("layers")
            .list()
            .iter()
            .rev()
            .map(|layer| layer.str("digest").to_owned())
            .collect()
    };
    blobs(a).iter().zip(blobs(b)).take_while(|(a, b)| **a == *b).count()
}

fn line_of(path: &str, seen: &Seen) -> String {
    let kind = match &seen.kind {
        Kind::Directory => "dir",
        Kind::Link(_) => "symlink",
        Kind::File(_) => "file",
        Kind::Other(_) => "other",
    };
    format!("{kind} {:04o} {}:{} {path}", seen.mode, seen.owner.0, seen.owner.1)
}

fn without_blob_name(line: &str) -> String {
    match line.split_once("/blobs/sha256/") {
        Some((before, _)) => format!("{before}/blobs/sha256/<blob>"),
        None => line.to_owned(),
    }
}

fn normal_line(line: &str) -> String {
    if let Some(rest) = line.strip_prefix("Timer: ") {
        if let Some((what, _)) = rest.split_once(" started at ") {
            return format!("Timer: {what} started at <time>");
        }
        if let Some((what, _)) = rest.split_once(" ran for ") {
            return format!("Timer: {what} ran for <duration> and ended at <time>");
        }
    }
    without_numbers(line, "Manifest Size: ", "<manifest-size>")
}

fn without_foreign_words(line: &str) -> String {
    let cut = FOREIGN_WORDS.iter().filter_map(|mark| line.find(mark)).min();
    line[..cut.unwrap_or(line.len())].to_owned()
}

/// Describes where two documents differ.
fn describe(place: &str, expected: &Json, found: &Json, places: &mut Vec<String>) {
    match (expected, found) {
        (Json::Map(a), Json::Map(b)) => {
            let keys = |of: &[(String, Json)]| of.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
            if keys(a) != keys(b) {
                places.push(format!("{place}: keys {:?} instead of {:?}", keys(b), keys(a)));
            }
            for (key, value) in a.iter().filter(|(key, _)| found.has(key)) {
                describe(&format!("{place}.{key}"), value, found.get(key), places);
            }
        }
        (Json::List(a), Json::List(b)) if a.len() == b.len() => {
            for (at, (a, b)) in a.iter().zip(b).enumerate() {
                describe(&format!("{place}[{at}]"), a, b, places);
            }
        }
        (a, b) if a == b => {}
        (a, b) => places.push(format!("{place}: {b} instead of {a}")),
    }
}
