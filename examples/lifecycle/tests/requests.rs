//! How many requests each phase sends to its registry, beside what was recorded of the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::{env, fs};

use registry_auth::{Credential, Digest, Reference, Repository, StaticKeychain};
use registry_client::{Client, HttpPolicy};
use serde_json::Value;
use test_support::{FaultProxy, Registry, RegistryOptions, TokenServer};

/// `user:pass`, as clients send it.
const BASIC: &str = "Basic dXNlcjpwYXNz";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// A registry behind a proxy that counts, its token server if there is one, and the directories of a build.
struct Place {
    _registry: Registry,
    proxy: FaultProxy,
    tokens: Option<TokenServer>,
    folder: tempfile::TempDir,
    auth: String,
}

impl Place {
    fn new(mode: &str) -> Self {
        let tokens = (mode == "token").then(|| TokenServer::start().expect("a token server"));
        let registry = Registry::with_options(&RegistryOptions {
            basic_auth: (mode == "basic").then_some(("user", "pass")),
            token_server: tokens.as_ref(),
            ..RegistryOptions::default()
        });
        let registry = registry.expect("docker-registry starts");
        let proxy = FaultProxy::start(&registry.host()).expect("a proxy");
        let auth = match mode {
            "anon" => "{}".to_owned(),
            _ => format!(r#"{{"{}": "{BASIC}"}}"#, proxy.host()),
        };
        let place = Self {
            _registry: registry,
            proxy,
            tokens,
            folder: tempfile::tempdir().expect("a directory"),
            auth,
        };
        place.write("launcher", "launcher");
        place.write("app/file", "one\n");
        place.write(
            "layers/group.toml",
            "[[group]]\nid = \"acme/bp\"\nversion = \"1\"\napi = \"0.10\"\n",
        );
        place.write(
            "layers/config/metadata.toml",
            "[[buildpacks]]\nid = \"acme/bp\"\nversion = \"1\"\napi = \"0.10\"\n[[processes]]\ntype = \"web\"\ncommand = [\"run\"]\ndefault = true\n",
        );
        place.push_base("v1", "first of one");
        place.push_base("v2", "first of two");
        place
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
        fs::write(file, text).expect("it is written");
    }

    fn repository(&self, path: &str) -> Repository {
        format!("{}/{path}", self.proxy.host()).parse().expect("a repository")
    }

    /// Pushes a run image of two layers; the second is in all of them.
    fn push_base(&self, tag: &str, layer: &str) {
        let repository = self.repository("run/base");
        let keychain = StaticKeychain::new().with(repository.registry().clone(), Credential::basic("user", "pass"));
        let client = Client::new(HttpPolicy::default(), Arc::new(keychain)).expect("the policy is good");
        let (first, second) = (tar(layer), tar("in both"));
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}","{}"]}}}}"#,
            digest(&first),
            digest(&second)
        );
        let part = |bytes: &[u8], media_type: &str| {
            push(&client, &repository, bytes);
            format!(
                r#"{{"mediaType":"{media_type}","size":{},"digest":"{}"}}"#,
                bytes.len(),
                digest(bytes)
            )
        };
        let layer = "application/vnd.docker.image.rootfs.diff.tar";
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{},{}]}}"#,
            part(config.as_bytes(), "application/vnd.docker.container.image.v1+json"),
            part(&first, layer),
            part(&second, layer)
        );
        let reference = Reference::tagged(&repository, tag).expect("a tag");
        client
            .push_manifest(&reference, MANIFEST, manifest.as_bytes())
            .expect("it is pushed");
    }

    /// Does what the buildpack did: one layer for launch and cache.
    fn build(&self) {
        self.write("layers/acme_bp/lib.toml", "[types]\nlaunch = true\ncache = true\n");
        self.write("layers/acme_bp/lib/file", "from the buildpack\n");
    }

    /// Runs a phase and returns what it sent: method, path and query of each request.
    fn run(&self, phase: &str) -> Vec<String> {
        let (name, more) = phase.split_once('-').unwrap_or((phase, ""));
        let app = |tag: &str| self.repository("team/app").to_string() + ":" + tag;
        let base = |tag: &str| self.repository("run/base").to_string() + ":" + tag;
        let cache = self.repository("team/cache").to_string() + ":v1";
        let mut args: Vec<String> = Vec::new();
        let mut flag = |flag: &str, value: &str| args.extend([format!("-{flag}"), value.to_owned()]);
        if name != "rebase" {
            flag("layers", &self.path("layers"));
        }
        flag("uid", "0");
        flag("gid", "0");
        if more.contains("cache-image") {
            flag("cache-image", &cache);
        }
        let program = match name {
            "analyze" => {
                flag("run-image", &base("v1"));
                args.push(app("v1"));
                "analyzer"
            }
            "restore" => "restorer",
            "export" => {
                self.build();
                flag("app", &self.path("app"));
                flag("launcher", &self.path("launcher"));
                args.push(app("v1"));
                if more == "three-tags" {
                    args.extend([app("v2"), app("v3")]);
                }
                "exporter"
            }
            _ => {
                flag("run-image", &base("v2"));
                args.extend(["-force".to_owned(), app("v1")]);
                "rebaser"
            }
        };
        if !matches!(more, "first" | "unchanged") && name == "export" {
            self.write("app/file", &format!("changed for {more}\n"));
        }
        self.proxy.reset();
        let tokens_before = self.token_requests();
        let output = Command::new(env!("CARGO_BIN_EXE_lifecycle"))
            .arg0(program)
            .args(&args)
            .env_clear()
            .env("CNB_PLATFORM_API", "0.14")
            .env("CNB_REGISTRY_AUTH", &self.auth)
            .env("HOME", self.folder.path())
            .current_dir(self.folder.path())
            .output()
            .expect("the program starts");
        assert!(
            output.status.success(),
            "{phase}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        let requests = self.proxy.requests();
        let mut lines: Vec<_> = requests
            .iter()
            .map(|request| format!("{} {}", request.method, request.target))
            .collect();
        lines.resize(lines.len() + self.token_requests() - tokens_before, "token".to_owned());
        lines
    }

    fn token_requests(&self) -> usize {
        self.tokens.as_ref().map_or(0, |tokens| tokens.requests().len())
    }
}

/// A tar of one file.
fn tar(text: &str) -> Vec<u8> {
    let mut header = [0; 512];
    header[..4].copy_from_slice(b"file");
    header[100..108].copy_from_slice(b"0000644\0");
    header[108..116].copy_from_slice(b"0000000\0");
    header[116..124].copy_from_slice(b"0000000\0");
    header[124..136].copy_from_slice(format!("{:011o}\0", text.len()).as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = [header.as_slice(), text.as_bytes()].concat();
    bytes.resize(512 * 4, 0);
    bytes
}

fn digest(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_sha256_bytes(sha2::Sha256::digest(bytes).into())
}

fn push(client: &Client, to: &Repository, bytes: &[u8]) {
    let mut open = || -> io::Result<Box<dyn Read + Send>> { Ok(Box::new(io::Cursor::new(bytes.to_vec()))) };
    client
        .push_blob(to, &digest(bytes), bytes.len() as u64, &mut open)
        .expect("it is pushed");
}

#[test]
fn no_phase_sends_more_requests_than_the_reference() {
    let document: Value = serde_json::from_str(include_str!("fixtures/registry/lifecycle.json")).expect("JSON");
    let mut places = BTreeMap::new();
    let (mut table, mut more, mut sums) = (String::new(), String::new(), (0, 0));
    for case in document["cases"].as_array().expect("there are cases") {
        let text = |key: &str| case[key].as_str().expect("a text");
        let place = places.entry(text("mode")).or_insert_with(|| Place::new(text("mode")));
        let sent = place.run(text("phase"));
        let theirs = case["out"]["total"].as_u64().expect("a number");
        let ours = sent.len() as u64;
        sums = (sums.0 + theirs, sums.1 + ours);
        // The same comes into the registry, so that the same work is counted.
        let count = |method: &str, part: &str| {
            let fits = |line: &&String| line.starts_with(method) && line.contains(part);
            sent.iter().filter(fits).count() as u64
        };
        let class = |name: &str| case["out"]["by_class"][name].as_u64().unwrap_or(0);
        // Each POST here ends in one blob, mounted or sent by the PUT to the upload that it began; but for a trial, which
        // is taken back (twice where the first DELETE is told to bring a token).
        let trials: BTreeSet<_> = sent.iter().filter(|line| line.starts_with("DELETE ")).collect();
        let taken = (
            count("POST ", "/uploads/") - trials.len() as u64,
            count("PUT ", "/manifests/"),
        );
        let same = taken == (class("PUT upload") + class("POST upload mount"), class("PUT manifest"));
        if ours > theirs || !same {
            writeln!(
                more,
                "{}: {ours}, not {theirs}; {taken:?}\n    {}",
                case["name"],
                sent.join("\n    ")
            )
            .expect("a String takes every write");
        }
        writeln!(table, "| {} | {theirs} | {ours} |", text("name")).expect("a String takes every write");
    }
    assert!(more.is_empty(), "{more}");
    writeln!(
        table,
        "\nAll together: {} requests of the reference, {} here.",
        sums.0, sums.1
    )
    .expect("a String takes every write");
    assert_page(&table);
}

/// Fails when the page of the documentation says otherwise; with `UPDATE_PAGES` in the environment it is written.
fn assert_page(table: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../registry-client/docs/phases.md");
    let known = fs::read_to_string(&file).unwrap_or_default();
    let marker = "|---|--:|--:|\n";
    let (head, rest) = known.split_once(marker).expect("the page has a table");
    if env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&file, format!("{head}{marker}{table}")).expect("it is written");
    } else {
        assert!(
            rest == table,
            "docs/phases.md says otherwise than\n{table}\nset UPDATE_PAGES=1 to write it"
        );
    }
}
