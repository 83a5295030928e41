//! Everything a phase is told: flags, then environment variables, then defaults.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use crate::api::PlatformApi;
use crate::env::Env;
use crate::flags::{Flag, Kind, Misuse, Parsed};
use crate::number;

/// A phase of the lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Reads the previous image and checks access to the registries.
    Analyzer,
    /// Chooses the buildpacks.
    Detector,
    /// Brings back layers of the last build.
    Restorer,
    /// Runs the buildpacks.
    Builder,
    /// Makes the image.
    Exporter,
    /// Puts an image onto another base.
    Rebaser,
    /// All of them in one process, but the rebaser.
    Creator,
}

impl Phase {
    /// Every phase.
    pub(crate) const ALL: [Self; 7] = [
        Self::Analyzer,
        Self::Detector,
        Self::Restorer,
        Self::Builder,
        Self::Exporter,
        Self::Rebaser,
        Self::Creator,
    ];

    /// Returns the name of the program (`analyzer`).
    pub(crate) fn program(self) -> &'static str {
        match self {
            Self::Analyzer => "analyzer",
            Self::Detector => "detector",
            Self::Restorer => "restorer",
            Self::Builder => "builder",
            Self::Exporter => "exporter",
            Self::Rebaser => "rebaser",
            Self::Creator => "creator",
        }
    }

    /// Returns the name of the subcommand (`analyze`).
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::Analyzer => "analyze",
            Self::Detector => "detect",
            Self::Restorer => "restore",
            Self::Builder => "build",
            Self::Exporter => "export",
            Self::Rebaser => "rebase",
            Self::Creator => "create",
        }
    }
}

/// A row of the table of flags: what it is, which phases know it, and from which platform API up to
/// (and without) which other one.
struct Row(&'static str, Kind, &'static [Phase], u64, u64, &'static str);

const ALL: &[Phase] = &Phase::ALL;
const END: u64 = u64::MAX;

#[rustfmt::skip]
const ROWS: &[Row] = {
    use Kind::{Number, Repeated, Switch, Text};
    use Phase::{Analyzer, Builder, Creator, Detector, Exporter, Rebaser, Restorer};
    &[
        Row("analyzed", Text, &[Analyzer, Restorer, Exporter], 0, END, "path to analyzed.toml"),
        Row("analyzed", Text, &[Detector], 10, END, "path to analyzed.toml"),
        Row("analyzed", Text, &[Builder], 12, END, "path to analyzed.toml"),
        Row("app", Text, &[Detector, Builder, Exporter, Creator], 0, END, "path to app directory"),
        Row("build-config", Text, &[Detector, Builder, Creator], 11, END, "path to build config directory"),
        Row("build-image", Text, &[Restorer], 10, END, "reference to build image"),
        Row("buildpacks", Text, &[Detector, Builder, Creator], 0, END, "path to buildpacks directory"),
        Row("cache-dir", Text, &[Restorer, Exporter, Creator], 0, END, "path to cache directory"),
        Row("cache-image", Text, &[Analyzer, Restorer, Exporter, Creator], 0, END, "cache image tag name"),
        Row("daemon", Switch, &[Analyzer, Exporter, Rebaser, Creator], 0, END, "export to docker daemon"),
        Row("daemon", Switch, &[Restorer], 12, END, "export to docker daemon"),
        Row("extended", Text, &[Exporter], 12, END, "path to extended output"),
        Row("extensions", Text, &[Detector], 10, END, "path to extensions directory"),
        Row("force", Switch, &[Rebaser], 12, END, "rebase even when the run image is not known to fit"),
        Row("generated", Text, &[Detector], 10, END, "path to output directory of image extensions"),
        Row("generated", Text, &[Restorer], 12, END, "path to output directory of image extensions"),
        Row("gid", Number, &[Analyzer, Restorer, Exporter, Rebaser, Creator], 0, END, "GID of user's group in the stack's build and run images"),
        Row("group", Text, &[Detector, Restorer, Builder, Exporter], 0, END, "path to group.toml"),
        Row("image", Text, &[Exporter, Rebaser, Creator], 0, END, "[deprecated] reference to run image"),
        Row("insecure-registry", Repeated, &[Analyzer, Restorer, Exporter, Rebaser, Creator], 13, END, "insecure registries"),
        Row("launch-cache", Text, &[Analyzer], 9, END, "path to launch cache directory"),
        Row("launch-cache", Text, &[Exporter, Creator], 0, END, "path to launch cache directory"),
        Row("launcher", Text, &[Exporter, Creator], 0, END, "path to launcher binary"),
        Row("launcher-sbom", Text, &[Exporter, Creator], 11, END, "path to launcher SBOM directory"),
        Row("layers", Text, &[Analyzer, Detector, Restorer, Builder, Exporter, Creator], 0, END, "path to layers directory"),
        Row("layout", Switch, &[Analyzer, Restorer, Exporter, Creator], 12, END, "export to OCI layout format on disk"),
        Row("layout-dir", Text, &[Analyzer, Restorer, Exporter, Creator], 12, END, "path to OCI layout directory"),
        Row("log-level", Text, ALL, 0, END, "logging level"),
        Row("no-color", Switch, ALL, 0, END, "disable color output"),
        Row("order", Text, &[Detector, Creator], 0, END, "path to order.toml"),
        Row("parallel", Switch, &[Exporter, Creator], 0, END, "export app image and cache image in parallel"),
        Row("plan", Text, &[Detector, Builder], 0, END, "path to plan.toml"),
        Row("platform", Text, &[Detector, Builder, Creator], 0, END, "path to platform directory"),
        Row("previous-image", Text, &[Analyzer, Creator], 0, END, "reference to previous image"),
        Row("previous-image", Text, &[Rebaser], 11, END, "reference to previous image"),
        Row("process-type", Text, &[Exporter, Creator], 0, END, "default process type"),
        Row("project-metadata", Text, &[Exporter, Creator], 0, END, "path to project-metadata.toml"),
        Row("report", Text, &[Exporter, Rebaser, Creator], 0, END, "path to report.toml"),
        Row("run", Text, &[Analyzer, Detector, Exporter, Creator], 12, END, "path to run.toml"),
        Row("run", Text, &[Restorer], 14, END, "path to run.toml"),
        Row("run-image", Text, &[Analyzer, Exporter, Rebaser, Creator], 0, END, "reference to run image"),
        Row("skip-layers", Switch, &[Analyzer], 9, END, "do not provide layer metadata to buildpacks"),
        Row("skip-layers", Switch, &[Restorer], 0, END, "do not provide layer metadata to buildpacks"),
        Row("skip-restore", Switch, &[Creator], 0, END, "do not restore layers or layer metadata"),
        Row("stack", Text, &[Analyzer, Exporter, Creator], 0, 12, "path to stack.toml"),
        Row("system", Text, &[Detector, Creator], 15, END, "path to system.toml"),
        Row("tag", Repeated, &[Analyzer, Creator], 0, END, "additional tags"),
        Row("trust-timestamps", Switch, &[Creator], 0, END, "do not read restored layers whose files have kept inode, size and times"),
        Row("uid", Number, &[Analyzer, Restorer, Exporter, Rebaser, Creator], 0, END, "UID of user in the stack's build and run images"),
        Row("version", Switch, ALL, 0, END, "show version"),
    ]
};

/// Returns the flags that a phase knows at a platform API.
pub(crate) fn flags(phase: Phase, api: PlatformApi) -> Vec<Flag> {
    ROWS.iter()
        .filter(|row| row.2.contains(&phase) && api.at_least(row.3) && !api.at_least(row.4))
        .map(|row| Flag {
            name: row.0,
            kind: row.1,
            about: row.5,
        })
        .collect()
}

/// The inputs of all phases; each phase looks at those that concern it.
///
/// Directories are absolute and cleaned; files are as given, relative to the working directory.
/// Text that was not given is empty.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    /// The platform API asked for.
    pub(crate) api: PlatformApi,
    /// What follows the flags.
    pub(crate) positional: Vec<String>,
    /// `-analyzed`
    pub(crate) analyzed: PathBuf,
    /// `-app`
    pub(crate) app: PathBuf,
    /// `-build-config`
    pub(crate) build_config: PathBuf,
    /// `-build-image`
    pub(crate) build_image: String,
    /// `-buildpacks`
    pub(crate) buildpacks: PathBuf,
    /// `-cache-dir`
    pub(crate) cache_dir: Option<PathBuf>,
    /// `-cache-image`
    pub(crate) cache_image: String,
    /// `-daemon`
    pub(crate) daemon: bool,
    /// `CNB_EXEC_ENV`
    pub(crate) exec_env: String,
    /// `-extended`
    pub(crate) extended: PathBuf,
    /// `-extensions`
    pub(crate) extensions: PathBuf,
    /// `-force`
    pub(crate) force: bool,
    /// `-generated`
    pub(crate) generated: PathBuf,
    /// `-gid`
    pub(crate) gid: i64,
    /// `-group`
    pub(crate) group: PathBuf,
    /// `-image`, the old name of `-run-image`
    pub(crate) deprecated_image: String,
    /// `-insecure-registry`
    pub(crate) insecure_registries: Vec<String>,
    /// `-launch-cache`
    pub(crate) launch_cache: Option<PathBuf>,
    /// `-launcher`
    pub(crate) launcher: PathBuf,
    /// `-launcher-sbom`
    pub(crate) launcher_sbom: PathBuf,
    /// `-layers`
    pub(crate) layers: PathBuf,
    /// `-layout`
    pub(crate) layout: bool,
    /// `-layout-dir`; empty: none.
    pub(crate) layout_dir: PathBuf,
    /// `-log-level`
    pub(crate) log_level: String,
    /// `-no-color`
    pub(crate) no_colour: bool,
    /// `-order`, if it was given
    pub(crate) order: Option<PathBuf>,
    /// `-parallel`
    pub(crate) parallel: bool,
    /// `-plan`
    pub(crate) plan: PathBuf,
    /// `-platform`
    pub(crate) platform: PathBuf,
    /// `-previous-image`
    pub(crate) previous_image: String,
    /// `-process-type`
    pub(crate) process_type: String,
    /// `-project-metadata`
    pub(crate) project_metadata: PathBuf,
    /// `-report`
    pub(crate) report: PathBuf,
    /// `-run`
    pub(crate) run: PathBuf,
    /// `-run-image`
    pub(crate) run_image: String,
    /// `-skip-layers` or `-skip-restore`
    pub(crate) skip_layers: bool,
    /// `-stack`
    pub(crate) stack: PathBuf,
    /// `-system`
    pub(crate) system: PathBuf,
    /// `-tag`
    pub(crate) tags: Vec<String>,
    /// `-trust-timestamps`
    pub(crate) trust_timestamps: bool,
    /// `-uid`
    pub(crate) uid: i64,
    /// `-version`
    pub(crate) version: bool,
}

impl Inputs {
    /// Reads the inputs of `phase` from its arguments (without the program's name) and environment.
    ///
    /// `cwd` is what relative directories are relative to.
    pub(crate) fn parse(
        phase: Phase,
        api: PlatformApi,
        args: &[OsString],
        env: &Env,
        cwd: &Path,
    ) -> Result<Self, Misuse> {
        let parsed = Parsed::parse(&flags(phase, api), args)?;
        let source = Source { parsed: &parsed, env };
        let layers = absolute(cwd, &source.path("layers", "CNB_LAYERS_DIR", "/layers"));
        let beneath = |flag: &str, var: &str, name: &str| {
            source.given(flag, var).map_or_else(|| layers.join(name), PathBuf::from)
        };
        let directory = |flag: &str, var: &str, default: &str| absolute(cwd, &source.path(flag, var, default));
        let optional = |flag: &str, var: &str| source.given(flag, var).map(|path| absolute(cwd, Path::new(&path)));
        Ok(Self {
            api,
            positional: parsed.positional.iter().cloned().map(lossy).collect(),
            analyzed: beneath("analyzed", "CNB_ANALYZED_PATH", "analyzed.toml"),
            app: directory("app", "CNB_APP_DIR", "/workspace"),
            build_config: directory("build-config", "CNB_BUILD_CONFIG_DIR", "/cnb/build-config"),
            build_image: source.text("build-image", "CNB_BUILD_IMAGE"),
            buildpacks: directory("buildpacks", "CNB_BUILDPACKS_DIR", "/cnb/buildpacks"),
            cache_dir: optional("cache-dir", "CNB_CACHE_DIR"),
            cache_image: source.text("cache-image", "CNB_CACHE_IMAGE"),
            daemon: source.switch("daemon", &["CNB_USE_DAEMON"]),
            exec_env: env.text("CNB_EXEC_ENV").unwrap_or_else(|| "production".to_owned()),
            extended: absolute(cwd, &beneath("extended", "CNB_EXTENDED_DIR", "extended")),
            extensions: directory("extensions", "CNB_EXTENSIONS_DIR", "/cnb/extensions"),
            force: source.switch("force", &["CNB_FORCE_REBASE"]),
            generated: absolute(cwd, &beneath("generated", "CNB_GENERATED_DIR", "generated")),
            gid: source.number("gid", "CNB_GROUP_ID"),
            group: beneath("group", "CNB_GROUP_PATH", "group.toml"),
            deprecated_image: source.text("image", ""),
            insecure_registries: source.list("insecure-registry", "CNB_INSECURE_REGISTRIES"),
            launch_cache: optional("launch-cache", "CNB_LAUNCH_CACHE_DIR"),
            launcher: source.path("launcher", "", "/cnb/lifecycle/launcher"),
            launcher_sbom: source.path("launcher-sbom", "", "/cnb/lifecycle"),
            layout: source.switch("layout", &["CNB_USE_LAYOUT"]),
            layout_dir: source
                .given("layout-dir", "CNB_LAYOUT_DIR")
                .map_or_else(PathBuf::new, |dir| absolute(cwd, Path::new(&dir))),
            log_level: source
                .given("log-level", "CNB_LOG_LEVEL")
                .map_or_else(|| "info".into(), lossy),
            no_colour: source.switch("no-color", &["CNB_NO_COLOR"]),
            order: source.given("order", "CNB_ORDER_PATH").map(PathBuf::from),
            parallel: source.switch("parallel", &["CNB_PARALLEL_EXPORT"]),
            plan: beneath("plan", "CNB_PLAN_PATH", "plan.toml"),
            platform: directory("platform", "CNB_PLATFORM_DIR", "/platform"),
            previous_image: source.text("previous-image", "CNB_PREVIOUS_IMAGE"),
            process_type: source.text("process-type", "CNB_PROCESS_TYPE"),
            project_metadata: beneath("project-metadata", "CNB_PROJECT_METADATA_PATH", "project-metadata.toml"),
            report: beneath("report", "CNB_REPORT_PATH", "report.toml"),
            run: source.path("run", "CNB_RUN_PATH", "/cnb/run.toml"),
            run_image: source.text("run-image", "CNB_RUN_IMAGE"),
            skip_layers: match phase {
                Phase::Creator => source.switch("skip-restore", &["CNB_SKIP_LAYERS", "CNB_SKIP_RESTORE"]),
                _ => source.switch("skip-layers", &["CNB_SKIP_LAYERS", "CNB_SKIP_RESTORE"]),
            },
            stack: source.path("stack", "CNB_STACK_PATH", "/cnb/stack.toml"),
            system: source.path("system", "CNB_SYSTEM_PATH", "/cnb/system.toml"),
            tags: parsed.all("tag").collect(),
            trust_timestamps: source.switch("trust-timestamps", &["CNB_TRUST_TIMESTAMPS"]),
            uid: source.number("uid", "CNB_USER_ID"),
            version: parsed.switch("version").unwrap_or(false),
            layers,
        })
    }

    /// Returns the order file: the one given, else the one in the layers directory if `exists` says
    /// that there is one, else the builder's.
    pub(crate) fn order_path(&self, exists: impl Fn(&Path) -> bool) -> PathBuf {
        if let Some(given) = &self.order {
            return given.clone();
        }
        let beside = self.layers.join("order.toml");
        if exists(&beside) {
            beside
        } else {
            PathBuf::from("/cnb/order.toml")
        }
    }
}

/// Where the values come from.
struct Source<'a> {
    parsed: &'a Parsed,
    env: &'a Env,
}

impl Source<'_> {
    fn given(&self, flag: &str, variable: &str) -> Option<OsString> {
        match self.parsed.last(flag) {
            Some(value) if value.is_empty() => None,
            Some(value) => Some(value.to_owned()),
            None => self.env.get(variable).map(OsStr::to_owned),
        }
    }

    fn text(&self, flag: &str, variable: &str) -> String {
        self.given(flag, variable).map_or_else(String::new, lossy)
    }

    fn path(&self, flag: &str, variable: &str, default: &str) -> PathBuf {
        self.given(flag, variable)
            .map_or_else(|| PathBuf::from(default), PathBuf::from)
    }

    fn switch(&self, flag: &str, variables: &[&str]) -> bool {
        self.parsed
            .switch(flag)
            .unwrap_or_else(|| variables.iter().any(|name| self.env.is_true(name)))
    }

    /// A flag may have a base and low lines; a variable is decimal, and 0 when it is no number.
    fn number(&self, flag: &str, variable: &str) -> i64 {
        let number = match self.parsed.last(flag) {
            Some(value) => number::parse(&value.to_string_lossy()).ok(),
            None => self.env.text(variable).and_then(|text| text.parse().ok()),
        };
        number.unwrap_or(0)
    }

    fn list(&self, flag: &str, variable: &str) -> Vec<String> {
        let from_env = self.env.text(variable);
        let from_env = from_env.iter().flat_map(|text| text.split(',').map(str::to_owned));
        let flags: Vec<_> = self.parsed.all(flag).collect();
        if flags.is_empty() { from_env.collect() } else { flags }
    }
}

fn lossy(text: OsString) -> String {
    text.to_string_lossy().into_owned()
}

/// Makes a path absolute and cleans it by its text alone, following no links.
pub(crate) fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in cwd.join(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(phase: Phase, minor: &str, args: &[&str], env: &[(&str, &str)]) -> Result<Inputs, Misuse> {
        let env: Env = env.iter().copied().chain([("CNB_PLATFORM_API", minor)]).collect();
        let api = PlatformApi::requested(&env).expect("the test names a known version");
        let args: Vec<_> = args.iter().map(OsString::from).collect();
        Inputs::parse(phase, api, &args, &env, Path::new("/work"))
    }

    #[test]
    fn a_flag_wins_over_a_variable_and_that_over_the_default() {
        let env = [("CNB_LAYERS_DIR", "/from-env"), ("CNB_GROUP_PATH", "")];
        let by_env = inputs(Phase::Restorer, "0.12", &[], &env).expect("it is well formed");
        assert_eq!(by_env.layers, Path::new("/from-env"));
        assert_eq!(
            by_env.group,
            Path::new("/from-env/group.toml"),
            "an empty variable counts as unset"
        );
        let by_flag = inputs(Phase::Restorer, "0.12", &["-layers", "x/../y"], &env).expect("it is well formed");
        assert_eq!(by_flag.layers, Path::new("/work/y"));
        assert_eq!(by_flag.analyzed, Path::new("/work/y/analyzed.toml"));
    }

    #[test]
    fn flags_come_and_go_with_the_platform_api() {
        for (phase, since, flag) in [
            (Phase::Analyzer, 12, "-layout"),
            (Phase::Analyzer, 9, "-skip-layers"),
            (Phase::Analyzer, 13, "-insecure-registry=x"),
            (Phase::Restorer, 14, "-run=x"),
            (Phase::Exporter, 11, "-launcher-sbom=x"),
            (Phase::Rebaser, 11, "-previous-image=x"),
        ] {
            for minor in 7..=15 {
                let parsed = inputs(phase, &format!("0.{minor}"), &[flag, "image"], &[]);
                assert_eq!(parsed.is_ok(), minor >= since, "{flag} at 0.{minor}");
            }
        }
        assert!(inputs(Phase::Analyzer, "0.11", &["-stack", "x"], &[]).is_ok());
        assert!(inputs(Phase::Analyzer, "0.12", &["-stack", "x"], &[]).is_err());
    }

    #[test]
    fn either_variable_skips_the_layers_of_any_phase() {
        for name in ["CNB_SKIP_LAYERS", "CNB_SKIP_RESTORE"] {
            for phase in [Phase::Analyzer, Phase::Restorer, Phase::Creator] {
                assert!(
                    inputs(phase, "0.8", &[], &[(name, "true")])
                        .expect("it is well formed")
                        .skip_layers
                );
            }
        }
    }

    // row I1
    #[test]
    fn without_variables_the_defaults_hold() {
        let found = inputs(Phase::Creator, "0.15", &["image"], &[]).expect("it is well formed");
        for (path, default) in [
            (&found.app, "/workspace"),
            (&found.buildpacks, "/cnb/buildpacks"),
            (&found.extensions, "/cnb/extensions"),
            (&found.build_config, "/cnb/build-config"),
            (&found.platform, "/platform"),
            (&found.layers, "/layers"),
            (&found.system, "/cnb/system.toml"),
            (&found.run, "/cnb/run.toml"),
            (&found.analyzed, "/layers/analyzed.toml"),
            (&found.group, "/layers/group.toml"),
            (&found.plan, "/layers/plan.toml"),
            (&found.generated, "/layers/generated"),
            (&found.report, "/layers/report.toml"),
            (&found.project_metadata, "/layers/project-metadata.toml"),
            (&found.launcher, "/cnb/lifecycle/launcher"),
            (&found.launcher_sbom, "/cnb/lifecycle"),
        ] {
            assert_eq!(path, Path::new(default));
        }
        assert_eq!((found.uid, found.gid), (0, 0));
        assert_eq!(
            (found.exec_env.as_str(), found.log_level.as_str()),
            ("production", "info")
        );
        assert!(!found.daemon && !found.parallel && !found.skip_layers && !found.no_colour);
    }

    // row I2
    #[test]
    fn numbers_switches_and_lists_are_read_from_variables() {
        let env = [
            ("CNB_USER_ID", "1234"),
            ("CNB_GROUP_ID", "5678"),
            ("CNB_USE_DAEMON", "true"),
            ("CNB_INSECURE_REGISTRIES", "a,b,c"),
        ];
        let found = inputs(Phase::Creator, "0.15", &["image"], &env).expect("it is well formed");
        assert_eq!((found.uid, found.gid, found.daemon), (1234, 5678, true));
        assert_eq!(found.insecure_registries, ["a", "b", "c"]);
    }

    #[test]
    fn a_number_has_a_base_as_a_flag_and_none_as_a_variable() {
        let env = [("CNB_USER_ID", "010"), ("CNB_GROUP_ID", "0x10")];
        let found = inputs(Phase::Creator, "0.15", &["image"], &env).expect("it is well formed");
        assert_eq!((found.uid, found.gid), (10, 0));
        let args = ["-uid", "0x3e8", "-gid", "010", "image"];
        let found = inputs(Phase::Creator, "0.15", &args, &env).expect("it is well formed");
        assert_eq!((found.uid, found.gid), (1000, 8));
    }

    // row I3
    #[test]
    fn the_order_beside_the_layers_is_used_only_when_it_exists_and_none_is_given() {
        let plain = inputs(Phase::Detector, "0.12", &[], &[]).expect("it is well formed");
        assert_eq!(plain.order_path(|_| true), Path::new("/layers/order.toml"));
        assert_eq!(plain.order_path(|_| false), Path::new("/cnb/order.toml"));
        let given = inputs(Phase::Detector, "0.12", &["-order", "o.toml"], &[]).expect("it is well formed");
        assert_eq!(given.order_path(|_| true), Path::new("o.toml"));
    }
}
