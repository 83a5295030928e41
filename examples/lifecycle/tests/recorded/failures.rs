//! What is left when an export is killed, when a registry goes away and when disks are full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cnb_layers::{ImageSource as _, Platform, Reference, RegistryStore, validate};
use registry_auth::AnonymousKeychain;
use registry_client::{Client, HttpPolicy};

use crate::json::Json;
use crate::machine::{Call, Machine, Said};
use crate::store::Store;
use crate::{bundle, cases_of, from_base64};

/// A registry with a run image, and a machine with a small application.
struct Site {
    store: Store,
    machine: Machine,
    folder: tempfile::TempDir,
}

impl Site {
    fn new(start: impl FnOnce(&Path) -> Store) -> Self {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        let folder = tempfile::Builder::new()
            .prefix("failures-")
            .tempdir()
            .expect("a directory");
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
        let program = folder.path().join("lifecycle");
        fs::copy(env!("CARGO_BIN_EXE_lifecycle"), &program).expect("a copy of the program");
        let machine = Machine::new(folder.path());
        for path in ["/layers/acme_one/lib", "/layers/config", "/cache", "/workspace"] {
            machine.directory(path, 1000);
        }
        for path in ["/tmp", "/etc", "/cnb/lifecycle"] {
            machine.directory(path, 0);
        }
        fs::set_permissions(machine.at("/tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o1777)).expect("a mode");
        machine.file("/cnb/lifecycle/launcher", "launcher");
        machine.file(
            "/layers/group.toml",
            "[[group]]\nid = \"acme/one\"\nversion = \"1\"\napi = \"0.10\"\n",
        );
        machine.file("/layers/config/metadata.toml", "");
        machine.file("/layers/acme_one/lib.toml", "[types]\nlaunch = true\ncache = true\n");
        machine.file("/workspace/app", "app");
        machine.install(&program);
        let site = Self {
            store: start(folder.path()),
            machine,
            folder,
        };
        let (world, _) = cases_of(bundle("restore/scenarios.json.gz"));
        let image: &Json = world.get("images").get("run:v1");
        site.store.put_blob("run", image.str("config").as_bytes());
        for layer in image.get("layers").texts() {
            site.store.put_blob("run", &from_base64(layer));
        }
        site.store.put_manifest("run", "v1", image.str("manifest").as_bytes());
        site
    }

    /// Fills the layer with bytes that do not shrink.
    fn fill(&self, mut seed: u64, bytes: usize) {
        let mut content = Vec::with_capacity(bytes + 8);
        while content.len() < bytes {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            content.extend(seed.to_le_bytes());
        }
        fs::write(self.machine.at("/layers/acme_one/lib/data"), content).expect("a file");
    }

    fn call<'a>(&self, phase: &'a str, more: &[&str]) -> Call<'a> {
        let host = self.store.host();
        let mut args: Vec<String> = ["-uid", "1000", "-gid", "1000"].map(str::to_owned).to_vec();
        if phase == "analyzer" {
            args.extend(["-run-image".to_owned(), format!("{host}/run:v1")]);
        }
        args.extend(more.iter().map(|arg| (*arg).to_owned()));
        if phase != "restorer" {
            args.push(format!("{host}/app:latest"));
        }
        Call {
            phase,
            args,
            env: vec![
                ("CNB_PLATFORM_API".into(), "0.13".into()),
                ("CNB_NO_COLOR".into(), "true".into()),
            ],
            cwd: "/",
            user: None,
        }
    }

    fn run(&self, phase: &str, more: &[&str]) -> Said {
        self.machine.run(&self.call(phase, more))
    }

    fn succeed(&self, phase: &str, more: &[&str]) -> String {
        let said = self.run(phase, more);
        assert_eq!(said.exit, Some(0), "{}{}", said.stdout, said.stderr);
        said.stdout
    }

    /// Returns the digest that the tag has.
    fn tag(&self) -> String {
        self.store.tags().get("app:latest").expect("the tag is there").clone()
    }

    /// Checks that the image of the tag is whole.
    fn assert_whole(&self) {
        let client = Client::new(HttpPolicy::default(), Arc::new(AnonymousKeychain)).expect("a client");
        let registry = RegistryStore::new(client);
        let reference = Reference::parse(&format!("{}/app:latest", self.store.host())).expect("a reference");
        let image = registry
            .image(&reference, &Platform::linux_amd64())
            .expect("it can be read");
        let faults = validate(&registry, &reference, &image.expect("it is there"));
        assert!(faults.is_empty(), "{faults:?}");
    }
}

/// A build that replaces the cache image of the one before.
pub(crate) fn replaced_cache_image() {
    for (api, stays) in [("0.12", false), ("0.13", true)] {
        let site = Site::new(|_| Store::start(None));
        let cache = format!("{}/cache:latest", site.store.host());
        let build = |seed| {
            site.fill(seed, 1000);
            for (phase, more) in [("analyzer", &[][..]), ("exporter", &["-cache-image", cache.as_str()])] {
                let mut call = site.call(phase, more);
                call.env[0].1 = api.into();
                let said = site.machine.run(&call);
                assert_eq!(said.exit, Some(0), "{}{}", said.stdout, said.stderr);
                assert!(!said.stdout.contains("Unable to delete"), "{}", said.stdout);
            }
            let tags = site.store.tags();
            tags.get("cache:latest").expect("the tag is there").clone()
        };
        let (first, second) = (build(1), build(2));
        assert_ne!(first, second);
        assert!(site.store.image("cache", &second).is_some(), "{api}");
        assert_eq!(site.store.image("cache", &first).is_some(), stays, "{api}");
    }
}

pub(crate) fn killed_at_twenty_points() {
    let site = Site::new(|_| Store::start(None));
    site.fill(1, 6 << 20);
    site.succeed("analyzer", &[]);
    let started = Instant::now();
    site.succeed("exporter", &[]);
    let duration = started.elapsed();
    let old = site.tag();
    let old_manifest = site.store.image("app", "latest").expect("it is there").manifest_text;
    site.succeed("analyzer", &[]);
    let mut seen = Vec::new();
    let (mut killed, mut random) = (0, 88_172_645_463_325_252_u64);
    for round in 0..20_u64 {
        // Other bytes in each round, so that what an earlier one has sent is of no use.
        site.fill(100 + round, 6 << 20);
        let mut child = site
            .machine
            .command(&site.call("exporter", &[]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("unshare of util-linux");
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let fraction = Duration::from_nanos(u64::try_from(duration.as_nanos()).expect("a short time") / 1000);
        std::thread::sleep(fraction * u32::try_from(random % 1000).expect("a small number"));
        killed += usize::from(child.try_wait().expect("it is a child").is_none());
        if round % 2 == 0 {
            let _ = child.kill();
        } else if let Some(pid) = rustix::process::Pid::from_raw(i32::try_from(child.id()).expect("a process id")) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        child.wait().expect("it is a child");
        site.assert_whole();
        let tag = site.tag();
        if tag != old {
            seen.push((round, tag));
            site.store.put_manifest("app", "latest", old_manifest.as_bytes());
        }
    }
    assert!(killed > 3, "only {killed} of 20 runs were killed before their end");
    for (round, tag) in seen {
        site.fill(100 + round, 6 << 20);
        site.succeed("exporter", &[]);
        assert_eq!(
            site.tag(),
            tag,
            "the image of round {round} is neither the old nor the new one"
        );
        site.store.put_manifest("app", "latest", old_manifest.as_bytes());
    }
    site.fill(119, 6 << 20);
    site.succeed("exporter", &[]);
    assert_ne!(site.tag(), old);
    site.assert_whole();
}

pub(crate) fn registry_gone_and_full() {
    let mut mounted = None;
    let mut site = Site::new(|folder| {
        let data = folder.join("registry");
        mounted = Some(Mounted::new(data.clone(), "8m"));
        Store::start_in(&data)
    });
    // From here on it goes before the site's folder.
    let _mounted = mounted;
    site.fill(1, 1 << 20);
    site.succeed("analyzer", &[]);
    site.succeed("exporter", &[]);
    let old = site.tag();

    site.fill(2, 20 << 20);
    let said = site.run("exporter", &[]);
    assert_eq!(said.exit, Some(62), "{}{}", said.stdout, said.stderr);
    let error = said.stdout.lines().last().expect("an error");
    assert!(
        error.starts_with("ERROR: failed to export: ") && error.contains(&site.store.host()),
        "{error}"
    );
    assert_eq!(site.tag(), old);
    site.assert_whole();

    site.store.pause();
    let said = site.run("exporter", &[]);
    assert_ne!(said.exit, Some(0));
    let error = said.stdout.lines().last().expect("an error");
    assert!(
        error.starts_with("ERROR: ") && error.contains("cannot connect"),
        "{error}"
    );
    site.store.resume();
    assert_eq!(site.tag(), old);

    // The registry keeps what was sent of the refused uploads until it cleans up.
    let data = site.folder.path().join("registry");
    let mut remount = Command::new("mount");
    remount.args(["-o", "remount,size=64m"]).arg(&data);
    assert!(remount.status().expect("mount of util-linux").success());
    site.fill(3, 1 << 20);
    site.succeed("exporter", &[]);
    assert_ne!(site.tag(), old);
    site.assert_whole();
}

pub(crate) fn unreadable_file() {
    let site = Site::new(|_| Store::start(None));
    site.fill(1, 1 << 20);
    site.succeed("analyzer", &[]);
    site.succeed("exporter", &[]);
    let old = site.tag();
    site.fill(2, 1 << 20);
    let file = site.machine.at("/layers/acme_one/lib/zzz");
    fs::write(&file, "secret").expect("a file");
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o000)).expect("a mode");
    std::os::unix::fs::chown(&file, Some(0), Some(0)).expect("an owner");
    // The exporter hands the layers directory itself to the build's user, not what is in it.
    let said = site.run("exporter", &[]);
    assert_eq!(said.exit, Some(62), "{}{}", said.stdout, said.stderr);
    let error = said.stdout.lines().last().expect("an error");
    assert!(
        error.starts_with("ERROR: failed to export: ") && error.contains("/layers/acme_one/lib/zzz: permission denied"),
        "{error}"
    );
    assert_eq!(site.tag(), old);
    site.assert_whole();
}

pub(crate) fn layers_full() {
    let site = Site::new(|_| Store::start(None));
    site.fill(1, 4 << 20);
    site.succeed("analyzer", &[]);
    site.succeed("exporter", &["-cache-dir", "/cache"]);
    let old = site.tag();
    site.succeed("analyzer", &[]);
    let group = fs::read(site.machine.at("/layers/group.toml")).expect("it is there");
    let analyzed = fs::read(site.machine.at("/layers/analyzed.toml")).expect("it is there");
    let _mounted = Mounted::new(site.machine.at("/layers"), "1m");
    site.machine
        .file("/layers/group.toml", &String::from_utf8_lossy(&group));
    site.machine
        .file("/layers/analyzed.toml", &String::from_utf8_lossy(&analyzed));
    let analyzed = site.machine.at("/layers/analyzed.toml");
    std::os::unix::fs::chown(analyzed, Some(1000), Some(1000)).expect("an owner");
    let said = site.run("restorer", &["-cache-dir", "/cache"]);
    assert!(
        said.stdout.contains("no space left on device"),
        "{:?} {}{}",
        said.exit,
        said.stdout,
        said.stderr
    );
    // Bills of materials are copied there by the exporter.
    fs::write(
        site.machine.at("/cnb/lifecycle/lifecycle.sbom.cdx.json"),
        vec![b' '; 2 << 20],
    )
    .expect("a file");
    site.machine.directory("/layers/config", 1000);
    site.machine.file("/layers/config/metadata.toml", "");
    let said = site.run("exporter", &[]);
    assert_eq!(said.exit, Some(62), "{}{}", said.stdout, said.stderr);
    let error = said.stdout.lines().last().expect("an error");
    assert!(
        error.starts_with("ERROR: failed to export: ") && error.contains("no space left on device"),
        "{error}"
    );
    assert_eq!(site.tag(), old);
    site.assert_whole();
}

pub(crate) fn cache_full() {
    let site = Site::new(|_| Store::start(None));
    let _mounted = Mounted::new(site.machine.at("/cache"), "1m");
    site.fill(1, 4 << 20);
    site.succeed("analyzer", &[]);
    let said = site.succeed("exporter", &["-cache-dir", "/cache"]);
    let warning = said
        .lines()
        .find(|line| line.starts_with("Warning: Failed to cache layer 'acme/one:lib'"));
    assert!(
        warning.is_some_and(|line| line.contains("no space left on device")),
        "{said}"
    );
    site.assert_whole();
    // What is left of the cache is a cache.
    site.succeed("analyzer", &[]);
    site.succeed("restorer", &["-cache-dir", "/cache"]);
}

pub(crate) fn two_gigabytes() {
    let site = Site::new(|_| Store::start(None));
    let peak = |bytes: u64| {
        let file = fs::File::create(site.machine.at("/layers/acme_one/lib/data")).expect("a file");
        file.set_len(bytes).expect("a hole");
        site.succeed("analyzer", &[]);
        let exporter = site.machine.command(&site.call("exporter", &[]));
        let output = Command::new("/usr/bin/env")
            .args(["python3", "-c", PEAK])
            .arg(exporter.get_program())
            .args(exporter.get_args())
            .env("CNB_PLATFORM_API", "0.13")
            .output()
            .expect("python3");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let last = text.lines().last().and_then(|line| line.parse::<u64>().ok());
        last.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
    };
    let (small, large) = (peak(10 << 20), peak(2_200 << 20));
    site.assert_whole();
    assert!(
        large < small + 8 * 1024,
        "peak memory: {small} KiB for 10 MiB, {large} KiB for 2,200 MiB"
    );
}

/// Runs a command and prints its peak memory in KiB; fails when it does.
const PEAK: &str = "import resource,subprocess,sys; subprocess.run(sys.argv[1:],check=True); \
                    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";

/// A small file system in memory. It goes before the folder that it is mounted in, which could not be removed else.
struct Mounted(PathBuf);

impl Mounted {
    fn new(path: PathBuf, size: &str) -> Self {
        fs::create_dir_all(&path).expect("a directory");
        let options = format!("size={size},uid=1000,gid=1000,mode=0755");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path);
        assert!(mount.status().expect("mount of util-linux").success());
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: the registry may still have files open.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
