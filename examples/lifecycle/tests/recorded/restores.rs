//! Scenarios of all phases with caches (`vectors/restore`, `vectors/create`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

use flate2::read::GzDecoder;

use crate::json::Json;
use crate::machine::{Call, Kind, Machine, Said, Seen};
use crate::{World, differences, from_base64, judge, one_temporary_directory, with_recorded_launcher, without_numbers};

const METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";

/// Cases in which something differs on purpose or by the nature of a part: what and why.
const DIFFERENT: &[(&str, Skip, &str)] = &[
    (
        "cache image equal to the app image",
        Skip::Words,
        "the cache is looked for before the export that makes it",
    ),
    (
        "cache image missing on a registry that refuses connections",
        Skip::Words,
        CLIENT,
    ),
    (
        "cache image registry unreachable, export fails before it starts",
        Skip::Words,
        CLIENT,
    ),
    ("first and second build with a cache image", Skip::Duplicates, TWICE),
    (
        "first and second build with a cache image, PAPI 0.7",
        Skip::Duplicates,
        TWICE,
    ),
    (
        "first and second build with a cache image, PAPI 0.12",
        Skip::Duplicates,
        TWICE,
    ),
    (
        "first and second build with a cache image, PAPI 0.13",
        Skip::Duplicates,
        TWICE,
    ),
    ("rebuild with a cache image", Skip::Duplicates, TWICE),
    (
        "name with a NUL byte is cut",
        Skip::Harmless,
        "a name in a tar header ends at a NUL byte, and what is left of this one lies in the layer",
    ),
    (
        "sbom tar with a symlink named like an sbom file",
        Skip::Harmless,
        "links are not handed on to buildpacks, and nothing is followed",
    ),
    (
        "restore into another layers dir still extracts to the paths in the tar",
        Skip::All,
        "extraction never leaves the layers directory: such a layer is a miss with a warning",
    ),
    ("tar replaced by a directory", Skip::All, DAMAGED),
    ("tar unreadable for the lifecycle user", Skip::All, DAMAGED),
    ("exit 1, cache image registry unreachable", Skip::Words, CLIENT),
    (
        "exit 1, registry auth environment not JSON",
        Skip::Words,
        "the JSON parser has its own words",
    ),
    (
        "exit 32, daemon without a socket",
        Skip::All,
        "there is no export to a docker daemon: -daemon is refused at once",
    ),
    (
        "exit 32, registry unreachable for the output image",
        Skip::Words,
        CLIENT,
    ),
];

const CLIENT: &str = "the registry client says what went wrong in its own words";
const TWICE: &str = "the reference names each layer that did not change twice";
const DAMAGED: &str = "a damaged layer of the cache is made anew, where the reference drops it from the cache";

/// What of a case is not compared.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Skip {
    /// The words of lines that say why something failed; exit codes, files and images are compared.
    Words,
    /// Everything: what happens is another thing.
    All,
    /// The missing warning of a hostile cache that does no harm.
    Harmless,
    /// Layers that a cache image names twice.
    Duplicates,
}

struct Scenario<'a> {
    world: &'a World,
    start: &'a Json,
    machine: Machine,
    case: &'a Json,
    skip: Option<Skip>,
    problems: Vec<String>,
}

/// Runs a case and returns what differs.
pub(crate) fn check(world: &World, start: &Json, case: &Json) -> Vec<String> {
    let mut machine = Machine::new(&world.folder);
    for path in ["/layers", "/cache", "/workspace", "/home/cnb"] {
        machine.directory(path, 1000);
    }
    lchown(machine.at("/home"), Some(0), Some(0)).expect("an owner");
    for path in [
        "/cnb/lifecycle",
        "/cnb/buildpacks",
        "/platform/env",
        "/root",
        "/tmp",
        "/etc",
    ] {
        machine.directory(path, 0);
    }
    fs::set_permissions(machine.at("/tmp"), Permissions::from_mode(0o1777)).expect("a mode");
    machine.file(
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\ncnb:x:1000:1000::/home/cnb:/bin/sh\n",
    );
    machine.file("/etc/group", "root:x:0:\ncnb:x:1000:\n");
    machine.install(&world.program);
    if case
        .get("steps")
        .list()
        .iter()
        .any(|step| matches!(step.get("run").text(), Some("creator" | "detector" | "builder")))
    {
        machine.with_system = true;
        for path in ["/usr", "/dev"] {
            machine.directory(path, 0);
        }
        for name in ["bin", "sbin", "lib", "lib64"] {
            machine.link(&format!("/{name}"), &format!("usr/{name}"));
        }
        machine.link("/etc/os-release", "../usr/lib/os-release");
    }
    let name = case.str("name");
    let mut scenario = Scenario {
        world,
        start,
        machine,
        case,
        skip: DIFFERENT
            .iter()
            .find_map(|(case, skip, _)| (*case == name).then_some(*skip)),
        problems: Vec::new(),
    };
    scenario.write(start.get("files"), 0);
    scenario.write(case.get("files"), 0);
    scenario.push("run:v1", "run:v1");
    for (at, step) in case.get("steps").list().iter().enumerate() {
        scenario.step(at, step);
    }
    match scenario.skip {
        Some(Skip::Duplicates | Skip::Harmless) | None => scenario.problems,
        Some(skip) => judge(skip == Skip::All, scenario.problems),
    }
}

impl Scenario<'_> {
    fn step(&mut self, at: usize, step: &Json) {
        let Some((kind, _)) = step.entries().iter().find(|(key, _)| key != "owner") else {
            return;
        };
        match kind.as_str() {
            "write" => {
                let owner = step.get("owner").int().map_or(1000, small);
                self.write(step.get("write"), owner);
            }
            "wipe" => {
                for path in step.get("wipe").texts() {
                    match self.machine.see(path) {
                        Some(Seen {
                            kind: Kind::Directory, ..
                        }) => {
                            for entry in fs::read_dir(self.machine.at(path)).expect("a directory").flatten() {
                                let name = entry.file_name();
                                self.machine.remove(&format!("{path}/{}", name.to_str().expect("text")));
                            }
                        }
                        _ => self.machine.remove(path),
                    }
                }
            }
            "delete_image" => {
                let (repository, tag) = parts(step.str("delete_image"));
                self.world.registry.delete_image(repository, tag);
            }
            "push" => {
                for (reference, image) in step.get("push").entries() {
                    self.push(image.text().expect("a name"), reference);
                }
            }
            "relabel" => self.relabel(step),
            "drop_blobs" => {
                for layer in step.get("layers").list() {
                    let (repository, digest) = self.blob(step.str("drop_blobs"), layer.int());
                    self.world.registry.drop_blob(&repository, &digest, true);
                }
            }
            "truncate_blob" => {
                let (_, digest) = self.blob(step.str("truncate_blob"), step.get("index").int());
                self.world
                    .registry
                    .truncate_blob(&digest, step.get("bytes").int().expect("a number"));
            }
            _ if step.has("tamper") => self.tamper(step),
            _ if step.has("run") => self.run(at, step),
            other => panic!("unknown step {other}"),
        }
    }

    fn write(&self, files: &Json, owner: u32) {
        for (path, file) in files.entries() {
            let owner = file.get("owner").int().map_or(owner, small);
            let parent = path.rsplit_once('/').expect("it is absolute").0;
            self.machine.directory(parent, owner);
            let full = self.machine.at(path);
            let mode = file
                .get("mode")
                .text()
                .map(|mode| u32::from_str_radix(mode, 8).expect("an octal mode"));
            if file.get("dir").is_true() {
                self.machine.directory(path, owner);
                lchown(&full, Some(owner), Some(owner)).expect("an owner");
                fs::set_permissions(&full, Permissions::from_mode(mode.unwrap_or(0o755))).expect("a mode");
                continue;
            }
            if full.is_symlink() {
                fs::remove_file(&full).expect("it can be deleted");
            }
            if let Some(target) = file.get("link").text() {
                symlink(self.world.fill_in(target), &full).expect("a link");
                lchown(&full, Some(owner), Some(owner)).expect("an owner");
                continue;
            }
            if let Some(other) = file.get("hardlink").text() {
                fs::hard_link(self.machine.at(other), &full).expect("a link");
                continue;
            }
            let is_new = !full.exists();
            fs::write(&full, self.bytes(file)).expect("a file");
            if is_new || file.has("owner") {
                lchown(&full, Some(owner), Some(owner)).expect("an owner");
            }
            if let Some(mode) = mode.or(is_new.then_some(0o644)) {
                fs::set_permissions(&full, Permissions::from_mode(mode)).expect("a mode");
            }
        }
    }

    fn bytes(&self, file: &Json) -> Vec<u8> {
        if let Some(text) = file.text().or_else(|| file.get("text").text()) {
            return self.world.fill_in(text).into_bytes();
        }
        if let Some(text) = file.get("gz_base64").text() {
            let mut bytes = Vec::new();
            GzDecoder::new(&from_base64(text)[..])
                .read_to_end(&mut bytes)
                .expect("gzip");
            return bytes;
        }
        from_base64(file.str("base64"))
    }

    fn push(&self, name: &str, reference: &str) {
        let image = self.start.get("images").get(name);
        let (repository, tag) = parts(reference);
        let store = &self.world.registry;
        store.put_blob(repository, image.str("config").as_bytes());
        for layer in image.get("layers").texts() {
            store.put_blob(repository, &from_base64(layer));
        }
        store.put_manifest(repository, tag, image.str("manifest").as_bytes());
    }

    fn blob(&self, reference: &str, layer: Option<u64>) -> (String, String) {
        let (repository, tag) = parts(reference);
        let image = self.world.registry.image(repository, tag).expect("it was pushed");
        let layer = usize::try_from(layer.expect("a number")).expect("a small number");
        let digest = image.manifest.get("layers").list()[layer].str("digest").to_owned();
        (repository.to_owned(), digest)
    }

    fn relabel(&self, step: &Json) {
        let (repository, tag) = parts(step.str("relabel"));
        let store = &self.world.registry;
        let image = store.image(repository, tag).expect("it was pushed");
        let mut document: Json = serde_json::from_str(&image.config.expect("it has one")).expect("JSON");
        let mut config = document.get("config").clone();
        let mut labels = config.get("Labels").clone();
        let value = match step.get("value").text() {
            Some(text) => Json::Text(self.world.fill_in(text)),
            None => Json::Null,
        };
        labels.set(step.str("label"), value);
        config.set("Labels", labels);
        document.set("config", config);
        let config = document.to_string();
        let mut manifest = image.manifest;
        let mut descriptor = manifest.get("config").clone();
        descriptor.set("digest", Json::Text(store.put_blob(repository, config.as_bytes())));
        descriptor.set("size", Json::Number(config.len().into()));
        manifest.set("config", descriptor);
        store.put_manifest(repository, tag, manifest.to_string().as_bytes());
    }

    /// Returns the path of the cached tar of a layer.
    fn cached(&self, layer: &str) -> String {
        let metadata = self
            .machine
            .text(&format!("/cache/committed/{METADATA}"))
            .expect("cache metadata");
        let metadata: Json = serde_json::from_str(&metadata).expect("JSON");
        let sha = match layer.rsplit_once(':') {
            None => metadata.get("sbom").str("sha").to_owned(),
            Some((buildpack, name)) => {
                let mut all = metadata.get("buildpacks").list().iter();
                let found = all
                    .find(|found| found.str("key") == buildpack)
                    .expect("the buildpack is cached");
                found.get("layers").get(name).str("sha").to_owned()
            }
        };
        format!("/cache/committed/{sha}.tar")
    }

    fn tamper(&self, step: &Json) {
        let path = match step.get("path").text() {
            Some(path) => path.to_owned(),
            None => self.cached(step.str("layer")),
        };
        let full = self.machine.at(&path);
        let number = |key: &str| step.get(key).int().expect("a number");
        match step.str("tamper") {
            "delete" => self.machine.remove(&path),
            "truncate" => {
                let file = fs::File::options().write(true).open(&full).expect("the file");
                file.set_len(number("bytes")).expect("it can be cut");
            }
            "append" => {
                let mut bytes = fs::read(&full).expect("the file");
                bytes.extend(step.str("text").as_bytes());
                fs::write(&full, bytes).expect("the file");
            }
            "flip" => {
                let mut bytes = fs::read(&full).expect("the file");
                bytes[usize::try_from(number("offset")).expect("a small number")] ^= 1;
                fs::write(&full, bytes).expect("the file");
            }
            "to-directory" => {
                self.machine.remove(&path);
                self.machine.directory(&path, 1000);
            }
            "to-dangling-symlink" => {
                self.machine.remove(&path);
                symlink("gone", &full).expect("a link");
            }
            "chmod" => {
                let mode = u32::from_str_radix(step.str("mode"), 8).expect("an octal mode");
                fs::set_permissions(&full, Permissions::from_mode(mode)).expect("a mode");
            }
            "chown" => {
                let owner = small(number("owner"));
                lchown(&full, Some(owner), Some(owner)).expect("an owner");
            }
            "rename" => {
                let to = step.str("to");
                let to = if to.starts_with('/') {
                    self.machine.at(to)
                } else {
                    full.with_file_name(to)
                };
                fs::rename(&full, to).expect("it can be renamed");
            }
            "swap" => {
                let other = self.machine.at(&self.cached(step.str("with")));
                let between = full.with_extension("between");
                fs::rename(&full, &between).expect("it can be renamed");
                fs::rename(&other, &full).expect("it can be renamed");
                fs::rename(&between, &other).expect("it can be renamed");
            }
            "replace-text" => {
                let text = fs::read_to_string(&full).expect("text");
                let fill = |key: &str| self.world.fill_in(step.str(key));
                fs::write(&full, text.replace(&fill("old"), &fill("new"))).expect("the file");
            }
            other => panic!("unknown damage {other}"),
        }
    }

    fn outside(&self) -> BTreeMap<String, Seen> {
        let inside = ["/layers", "/cache", "/workspace", "/tmp", "/x", "/usr", "/dev"];
        let mut found: BTreeMap<_, _> = self.machine.tree("/", &inside).into_iter().collect();
        found.remove("/");
        found
    }

    fn run(&mut self, at: usize, step: &Json) {
        let phase = step.str("run");
        let mut env: BTreeMap<String, String> = [
            ("CNB_PLATFORM_API", self.case.str("papi")),
            ("CNB_NO_COLOR", "true"),
            ("PATH", "/usr/bin:/bin"),
            ("HOME", "/root"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        env.extend(
            self.world
                .env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        for (name, value) in step.get("env").entries() {
            match value.text() {
                Some(value) => env.insert(name.clone(), self.world.fill_in(value)),
                None => env.remove(name),
            };
        }
        let before = self.outside();
        let args: Vec<_> = step.get("args").texts().map(|arg| self.world.fill_in(arg)).collect();
        let said = self.machine.run(&Call {
            phase,
            args: args.clone(),
            env: env.into_iter().collect(),
            cwd: "/workspace",
            user: step.get("user").int().map(small),
        });
        let after = self.outside();
        let mut problems = Vec::new();
        let hostile = self.case.get("hostile").is_true() && phase == "restorer";
        Self::check_outside(step.get("expect"), hostile, &before, &after, &mut problems);
        let expect = step.get("expect");
        let exit = expect.get("exit").int().and_then(|code| i32::try_from(code).ok());
        let ours = self.case.get("ours").text();
        let cache_problem = ours == Some("miss") || self.case.str("name") == "exit 42, cached sbom tar missing";
        let is_miss = cache_problem && exit != Some(0);
        let may_succeed = ours == Some("may-succeed") && exit != Some(0) && said.exit == Some(0);
        if hostile || is_miss {
            if said.exit != Some(0) {
                problems.push(format!("exit {:?}: {}", said.exit, said.stdout));
            }
            if !said.stdout.contains("Warning: ") && self.skip != Some(Skip::Harmless) {
                problems.push(format!("no warning: {}", said.stdout));
            }
            if hostile {
                self.check_hostile(&mut problems);
            }
        } else if !may_succeed {
            if said.exit != exit {
                let text = format!(
                    "exit {:?} instead of {exit:?}: {}{}",
                    said.exit, said.stdout, said.stderr
                );
                problems.push(text);
            }
            self.check_log(phase, &args, expect, &said, &mut problems);
            self.check_state(expect, &mut problems);
        }
        let what = format!("step {at} ({phase})");
        self.problems
            .extend(problems.into_iter().map(|problem| format!("{what}: {problem}")));
    }

    fn check_outside(
        expect: &Json,
        hostile: bool,
        before: &BTreeMap<String, Seen>,
        after: &BTreeMap<String, Seen>,
        problems: &mut Vec<String>,
    ) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let changed: BTreeSet<&str> = names
            .into_iter()
            .filter(|name| before.get(*name) != after.get(*name))
            .map(String::as_str)
            .collect();
        let expected: BTreeSet<&str> = if hostile {
            BTreeSet::new()
        } else {
            expect
                .get("outside")
                .entries()
                .iter()
                .map(|(name, _)| name.as_str())
                .collect()
        };
        if changed != expected {
            problems.push(format!("outside, {changed:?} changed instead of {expected:?}"));
        }
    }

    /// Checks that nothing of a refused layer is there, and that no other layer was touched by it.
    fn check_hostile(&self, problems: &mut Vec<String>) {
        for (path, seen) in self.machine.tree("/layers", &[]) {
            if let Kind::Link(target) = &seen.kind
                && (target.starts_with("/etc") || target.starts_with("/root"))
            {
                problems.push(format!("{path} is a link to {target}"));
            }
        }
    }

    /// Replaces what differs from run to run.
    fn normal(&self, text: &str) -> String {
        let text = self.world.take_out(text);
        let known: Vec<&str> = self
            .start
            .get("images")
            .entries()
            .iter()
            .map(|(_, image)| image.str("digest"))
            .collect();
        let mut out = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find("@sha256:") {
            out += &rest[..at];
            let digest = rest[at + 1..].get(..71).unwrap_or_default();
            let is_digest = digest.len() == 71 && digest[7..].bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_digest && !known.contains(&digest) {
                out += "@<digest>";
                rest = &rest[at + 72..];
            } else {
                out += "@sha256:";
                rest = &rest[at + 8..];
            }
        }
        out + rest
    }

    fn log_lines(phase: &str, args: &[String], log: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for line in log.split('\n').filter(|line| !line.starts_with("Timer:")) {
            let mut line = line.to_owned();
            for (mark, end, by) in [
                ("*** Images (sha256:", ")", "*** Images (<digest>"),
                ("*** Digest: ", "", "*** Digest: <varies>"),
                ("*** Manifest Size: ", "", "*** Manifest Size: <varies>"),
            ] {
                if let Some(rest) = line.strip_prefix(mark) {
                    let tail = if end.is_empty() {
                        String::new()
                    } else {
                        rest[rest.find(end).unwrap_or(0)..].to_owned()
                    };
                    line = format!("{by}{tail}");
                }
            }
            if let Some(at) = line.find("toml: ") {
                line.truncate(at);
            }
            line = one_temporary_directory(&line);
            lines.push(line);
        }
        let parallel = args.iter().any(|arg| arg.starts_with("-parallel"));
        let sorted_all = phase == "restorer" || (phase == "exporter" && parallel);
        let mut out: Vec<String> = Vec::new();
        let mut block: Vec<String> = Vec::new();
        let mut sorting = sorted_all;
        for line in lines {
            if line.starts_with("===> ") && !sorted_all {
                block.sort();
                out.append(&mut block);
                sorting = line.contains("RESTORING") || (line.contains("EXPORTING") && parallel);
                out.push(line);
            } else if sorting {
                if !line.is_empty() {
                    block.push(line);
                }
            } else {
                out.push(line);
            }
        }
        block.sort();
        out.append(&mut block);
        while out.last().is_some_and(String::is_empty) {
            out.pop();
        }
        out
    }

    fn check_log(&self, phase: &str, args: &[String], expect: &Json, said: &Said, problems: &mut Vec<String>) {
        let mut expected = Self::log_lines(phase, args, expect.str("stdout"));
        let mut found = Self::log_lines(phase, args, &self.normal(&said.stdout));
        if self.skip == Some(Skip::Duplicates) {
            // Whether the registry still had the old cache image when it was to be deleted.
            for lines in [&mut expected, &mut found] {
                lines.retain(|line| !line.starts_with("Warning: Unable to delete cache image: "));
            }
        }
        if expected != found {
            problems.push(format!("log{}", differences(&expected, &found)));
        }
    }

    fn check_state(&self, expect: &Json, problems: &mut Vec<String>) {
        if expect.has("layers") {
            self.check_layers(expect.get("layers"), problems);
        }
        if expect.has("cache") {
            self.check_cache(expect.get("cache"), problems);
        }
        for (key, expected) in expect.entries() {
            let result = if let Some(reference) = key.strip_prefix("image ") {
                self.check_image(reference, expected)
            } else if let Some(path) = key.strip_prefix("file ") {
                self.check_text(path, expected)
            } else if key == "report" {
                self.check_text("/layers/report.toml", expected)
            } else {
                Ok(())
            };
            if let Err(problem) = result {
                problems.push(format!("{key}: {problem}"));
            }
        }
    }

    fn check_layers(&self, expected: &Json, problems: &mut Vec<String>) {
        let mut found = BTreeMap::new();
        for (path, seen) in self.machine.tree("/layers", &[]) {
            let name = path
                .strip_prefix("/layers")
                .expect("it is beneath")
                .trim_start_matches('/');
            found.insert(if name.is_empty() { "." } else { name }.to_owned(), self.entry(&seen));
        }
        let names: BTreeSet<&str> = found
            .keys()
            .map(String::as_str)
            .chain(expected.entries().iter().map(|(name, _)| name.as_str()))
            .collect();
        for name in names {
            let mut wanted = expected.get(name).clone();
            let is = found.get(name).cloned().unwrap_or(Json::Null);
            if wanted.get("mode").text() == Some("0644|0666") {
                wanted.set("mode", Json::Text("0644".into()));
            }
            let sorted = |entry: &Json| {
                let mut entries = entry.entries().to_vec();
                entries.sort_by(|(a, _), (b, _)| a.cmp(b));
                entries
            };
            if sorted(&wanted) != sorted(&is) && !name.ends_with("report.toml") {
                problems.push(format!("/layers/{name} is {is} instead of {wanted}"));
            }
        }
    }

    fn entry(&self, seen: &Seen) -> Json {
        let text = |text: String| Json::Text(text);
        let mode = format!("{:04o}", seen.mode);
        let mut entry = match &seen.kind {
            Kind::Directory => vec![("dir".to_owned(), text(mode))],
            Kind::Link(target) => vec![("link".to_owned(), text(self.world.take_out(target)))],
            Kind::Other(kind) => vec![("other".to_owned(), text(kind.to_string()))],
            Kind::File(bytes) => {
                let mut entry = vec![("mode".to_owned(), text(mode))];
                match std::str::from_utf8(bytes) {
                    Ok(found) if found.chars().count() <= 4000 && !found.contains('\0') => {
                        entry.push(("text".to_owned(), text(self.normal(found))));
                    }
                    _ => {
                        entry.push(("size".to_owned(), Json::Number(bytes.len().into())));
                        let digest = seen.digest().expect("it is a file");
                        entry.push(("sha256".to_owned(), text(digest["sha256:".len()..].to_owned())));
                    }
                }
                if seen.links > 1 {
                    entry.push(("links".to_owned(), Json::Number(seen.links.into())));
                }
                entry
            }
        };
        if seen.owner != (1000, 1000) {
            entry.push(("owner".to_owned(), text(format!("{}:{}", seen.owner.0, seen.owner.1))));
        }
        Json::Map(entry)
    }

    fn check_cache(&self, expected: &Json, problems: &mut Vec<String>) {
        let top = self.machine.tree("/cache", &[]);
        let mut found: BTreeMap<String, String> = BTreeMap::new();
        for (path, seen) in top.iter().filter(|(path, _)| path != "/cache") {
            let name = path.strip_prefix("/cache/").expect("it is beneath");
            let depth = name.matches('/').count();
            let line = match (&seen.kind, depth) {
                (Kind::Directory, 0) => format!("\"{:04o} {}:{}\"", seen.mode, seen.owner.0, seen.owner.1),
                (Kind::Link(_), 0) => "\"link\"".to_owned(),
                (_, 0) => "\"file\"".to_owned(),
                (Kind::Directory, 1) => "{\"dir\":true}".to_owned(),
                (Kind::Link(target), 1) => format!("{{\"link\":{}}}", Json::Text(target.clone())),
                (Kind::File(bytes), 1) => {
                    let mut entry = Json::Map(vec![
                        ("mode".to_owned(), Json::Text(format!("{:04o}", seen.mode))),
                        (
                            "owner".to_owned(),
                            Json::Text(format!("{}:{}", seen.owner.0, seen.owner.1)),
                        ),
                    ]);
                    if name.ends_with(METADATA) {
                        entry.set("text", Json::Text(self.normal(&String::from_utf8_lossy(bytes))));
                    } else {
                        entry.set("size", Json::Number(bytes.len().into()));
                        let good = format!("{}.tar", seen.digest().expect("it is a file"));
                        entry.set("good", Json::Bool(name.ends_with(&good)));
                    }
                    entry.to_string()
                }
                _ => continue,
            };
            let name = if depth == 0 && seen.kind == Kind::Directory {
                format!("{name}/.")
            } else {
                name.to_owned()
            };
            found.insert(name, line);
        }
        let mut wanted: BTreeMap<String, String> = BTreeMap::new();
        for (name, entry) in expected.entries() {
            if entry.text().is_some() {
                wanted.insert(name.clone(), entry.to_string());
            }
            for (file, entry) in entry.entries() {
                let mut entry = entry.clone();
                if entry.has("mode") {
                    // The order of keys of a recorded file is that of `found`.
                    let owner = entry.get("owner").text().unwrap_or("1000:1000").to_owned();
                    let mut ordered = Json::Map(vec![("mode".to_owned(), entry.get("mode").clone())]);
                    ordered.set("owner", Json::Text(owner));
                    for key in ["text", "size", "good"] {
                        ordered.set(key, entry.get(key).clone());
                    }
                    entry = ordered;
                }
                wanted.insert(format!("{name}/{file}"), entry.to_string());
            }
        }
        let names: BTreeSet<_> = wanted.keys().chain(found.keys()).collect();
        for name in names.into_iter().filter(|name| wanted.get(*name) != found.get(*name)) {
            let show = |of: Option<&String>| of.map_or("nothing".to_owned(), String::clone);
            problems.push(format!(
                "/cache/{name} is {} instead of {}",
                show(found.get(name)),
                show(wanted.get(name))
            ));
        }
    }

    fn check_image(&self, reference: &str, expected: &Json) -> Result<(), String> {
        let (repository, tag) = parts(reference);
        let found = match (self.world.registry.image(repository, tag), expected.is_null()) {
            (None, true) => return Ok(()),
            (Some(_), true) => return Err("it is there".into()),
            (None, false) => return Err("it is missing".into()),
            (Some(found), false) => found,
        };
        let config = found.config.ok_or("it has no config")?;
        let mut parsed: Json = serde_json::from_str(&config).map_err(|error| error.to_string())?;
        let mut wanted: Json = serde_json::from_str(expected.str("config")).map_err(|error| error.to_string())?;
        let same = |what: &str, expected: String, found: String| {
            if expected == found {
                Ok(())
            } else {
                Err(format!("{what} {found} instead of {expected}"))
            }
        };
        let layers = found.manifest.get("layers").list();
        let types: Vec<_> = layers.iter().map(|layer| layer.get("mediaType").clone()).collect();
        match expected.get("layer_media_types") {
            Json::List(wanted) if self.skip != Some(Skip::Duplicates) => {
                same(
                    "layer types",
                    Json::List(wanted.clone()).to_string(),
                    Json::List(types).to_string(),
                )?;
            }
            one => {
                for found in types {
                    same("layer type", one.to_string(), found.to_string())?;
                }
            }
        }
        let kind = found.manifest.get("config").get("mediaType").to_string();
        same("config type", expected.get("config_media_type").to_string(), kind)?;
        if self.skip == Some(Skip::Duplicates) && reference.starts_with("cache") {
            for config in [&mut parsed, &mut wanted] {
                let mut ids = config.get("rootfs").get("diff_ids").list().to_vec();
                let mut seen = Vec::new();
                ids.retain(|id| {
                    !seen.contains(id) && {
                        seen.push(id.clone());
                        true
                    }
                });
                let count = ids.len();
                let mut rootfs = config.get("rootfs").clone();
                rootfs.set("diff_ids", Json::List(ids));
                config.set("rootfs", rootfs);
                let history = config.get("history").list()[..count].to_vec();
                config.set("history", Json::List(history));
            }
            return same("config", wanted.to_string(), self.normal(&parsed.to_string()));
        }
        let ids = parsed.get("rootfs").get("diff_ids").to_string();
        same("diff ids", expected.get("diff_ids").to_string(), ids)?;
        let config = with_recorded_launcher(&self.normal(&config), "<launcher>");
        same("config", expected.str("config").to_owned(), config)
    }

    fn check_text(&self, path: &str, expected: &Json) -> Result<(), String> {
        let found = self.machine.text(path).map(|text| {
            let text = without_numbers(&self.normal(&text), "manifest-size = ", "<size>");
            let lines = text.split('\n').map(|line| match line.split_once("\"sha256:") {
                Some((before, _)) if before.trim_start() == "digest = " => format!("{before}\"<digest>\""),
                _ => line.to_owned(),
            });
            lines.collect::<Vec<_>>().join("\n")
        });
        if found.as_deref() == expected.text() {
            return Ok(());
        }
        Err(format!("{found:?} instead of {expected}"))
    }
}

/// Splits `<registry>/repository:tag`, or the same without the registry.
fn parts(reference: &str) -> (&str, &str) {
    let path = reference.strip_prefix("<registry>/").unwrap_or(reference);
    path.rsplit_once(':').unwrap_or((path, "latest"))
}

fn small(number: u64) -> u32 {
    u32::try_from(number).expect("a small number")
}
