//! Detection: runs the modules of group after group until one fits.

use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;

use cnb_order::{
    ApiVersion, BUILDPACK_APIS, Considered, DetectedGroup, Entry, GroupVisitor, Lookup, ModuleDescriptor, ModuleKind,
    Order, Plan, SystemBuildpacks, Verdict, walk,
};

use crate::explain::{self, GroupFailure, GroupOutcome, ModuleOutcome, PlanFailure};
use crate::one_run::{DetectRun, Prepared, prepare};
use crate::plan::has_buildpack;
use crate::{
    ApiError, BaseTarget, Candidate, DetectError, Environment, Explanation, Level, Log, MemoryLog, ModuleStore, Runner,
    os_text, resolve_plan,
};

/// What detection works on.
#[derive(Clone, Debug)]
pub struct DetectInputs {
    /// The source; the working directory of the modules.
    pub app_dir: PathBuf,
    /// The platform's directory, with the user's variables in `env/`.
    pub platform_dir: PathBuf,
    /// The operator's directory, with variables in `env/`.
    pub build_config_dir: Option<PathBuf>,
    /// Where the plan files of the runs are made.
    pub temp_dir: PathBuf,
    /// The Platform API.
    pub platform_api: ApiVersion,
    /// The execution environment, such as `production`; empty switches the filter off.
    pub exec_env: String,
    /// What modules inherit, before the variables of platform and operator.
    pub env: Environment,
    /// What the application will run on.
    pub target: BaseTarget,
}

impl DetectInputs {
    /// Takes the directories; everything else gets a default: the newest Platform API, `production`, an empty environment
    /// and a target of which nothing is known but `linux` on `amd64`.
    pub fn new(app_dir: impl Into<PathBuf>, platform_dir: impl Into<PathBuf>, temp_dir: PathBuf) -> Self {
        Self {
            app_dir: app_dir.into(),
            platform_dir: platform_dir.into(),
            build_config_dir: None,
            temp_dir,
            platform_api: ApiVersion::new(0, 15),
            exec_env: "production".to_owned(),
            env: Environment::new(),
            target: BaseTarget::new(cnb_order::TargetData::default(), "amd64", Ok(String::new())),
        }
    }
}

/// The result of detection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Detected {
    /// The modules selected: group.toml.
    pub group: DetectedGroup,
    /// What they agreed on: plan.toml.
    pub plan: Plan,
}

/// Finds the first group of the order that fits the source.
///
/// The modules of a group run at the same time, each at most once however many groups it is in; groups are tried one after
/// the other. The log gets the reference's lines: of a success those about results once it is known, of a failure all of
/// them at every level.
///
/// # Errors
/// [`DetectError`], with the exit code that belongs to it.
///
/// # Specification
/// Buildpack API 0.12, "Phase #1: Detection", in the interpretation of the reference lifecycle.
pub fn detect(
    order: &Order,
    inputs: &DetectInputs,
    modules: &ModuleStore,
    runner: &dyn Runner,
    log: &mut dyn Log,
) -> Result<Detected, DetectError> {
    let mut detection = Detection {
        inputs,
        modules,
        runner,
        target: inputs.target.clone(),
        log,
        buffer: MemoryLog::new(),
        runs: HashMap::new(),
        descriptors: HashMap::new(),
        explanation: Explanation::default(),
    };
    let verdict = walk(order, modules, &mut detection);
    let Detection {
        buffer,
        log,
        explanation,
        ..
    } = detection;
    let result = match verdict {
        Ok(Verdict::Selected(detected)) => Ok(detected),
        Ok(Verdict::NoDetection) => Err(DetectError::NoDetection { explanation }),
        Ok(Verdict::Errored) => Err(DetectError::ModulesFailed { explanation }),
        Err(error) => Err(error),
    };
    buffer.replay(log, result.is_err());
    result
}

struct Detection<'a> {
    inputs: &'a DetectInputs,
    modules: &'a ModuleStore,
    runner: &'a dyn Runner,
    target: BaseTarget,
    log: &'a mut dyn Log,
    /// Lines about results, held back until it is known whether detection succeeds.
    buffer: MemoryLog,
    runs: HashMap<String, DetectRun>,
    descriptors: HashMap<String, Rc<ModuleDescriptor>>,
    explanation: Explanation,
}

impl GroupVisitor for Detection<'_> {
    type Found = Detected;
    type Error = DetectError;

    fn consider(&mut self, entry: &Entry, descriptor: &Rc<ModuleDescriptor>) -> Result<Considered, DetectError> {
        let key = entry.titled_name();
        if self.inputs.platform_api.at_least(12)
            && let Some(problem) = self.target.mismatch(descriptor, self.log)
            && !entry.optional
        {
            self.runs.insert(key, DetectRun::failed(problem));
            return Ok(Considered::Keep);
        }
        if self.excluded(descriptor) {
            let message = format!(
                "Skipping {} due to execution environment mismatch; current: {}, buildpack supports: [{}]",
                entry.full_name(),
                self.inputs.exec_env,
                descriptor.info().exec_env.join(" ")
            );
            self.log.log(Level::Debug, &message);
            return Ok(Considered::Skip);
        }
        self.descriptors.insert(key, Rc::clone(descriptor));
        Ok(Considered::Keep)
    }

    fn group(&mut self, entries: &[Entry]) -> Result<Verdict<Detected>, DetectError> {
        self.run_all(entries)?;
        self.judge(entries)
    }
}

impl Detection<'_> {
    fn excluded(&self, descriptor: &ModuleDescriptor) -> bool {
        let (current, supported) = (&self.inputs.exec_env, &descriptor.info().exec_env);
        self.inputs.platform_api.at_least(15)
            && !current.is_empty()
            && descriptor.api_version().is_some_and(|api| api.at_least(12))
            && !supported.is_empty()
            && !supported.iter().any(|one| one == "*" || one == current)
    }

    /// Runs those of the group that have not run yet, all at the same time.
    fn run_all(&mut self, entries: &[Entry]) -> Result<(), DetectError> {
        let mut ready = Vec::new();
        for entry in entries {
            let key = entry.titled_name();
            if self.runs.contains_key(&key) || ready.iter().any(|(name, _)| *name == key) {
                continue;
            }
            let Some(descriptor) = self.descriptors.get(&key).cloned() else {
                continue;
            };
            match prepare(
                entry,
                &descriptor,
                self.inputs,
                self.modules,
                &mut self.target,
                self.log,
            ) {
                Prepared::Decided(run) => {
                    self.runs.insert(key, run);
                }
                Prepared::Ready(run) => ready.push((key, run)),
            }
        }
        let runner = self.runner;
        let finished: Vec<(String, DetectRun)> = std::thread::scope(|scope| {
            let started: Vec<_> = ready
                .into_iter()
                .map(|(key, run)| {
                    let thread = std::thread::Builder::new().spawn_scoped(scope, move || run.run(runner));
                    (key, thread)
                })
                .collect();
            started
                .into_iter()
                .map(|(key, thread)| {
                    let run = match thread {
                        Ok(thread) => thread
                            .join()
                            .unwrap_or_else(|_| DetectRun::failed("the runner panicked")),
                        Err(error) => DetectRun::failed(format!("start a thread: {}", os_text(&error))),
                    };
                    (key, run)
                })
                .collect()
        });
        self.runs.extend(finished);
        Ok(())
    }

    fn judge(&mut self, entries: &[Entry]) -> Result<Verdict<Detected>, DetectError> {
        for entry in entries {
            let Some(run) = self.runs.get(&entry.titled_name()) else {
                continue;
            };
            let level = if matches!(run.code, 0 | 100) {
                Level::Debug
            } else {
                Level::Info
            };
            for (what, text) in [("Output", &run.output), ("Error", &run.error)] {
                if !text.is_empty() {
                    self.buffer
                        .log(level, &format!("======== {what}: {} ========", entry.full_name()));
                    self.buffer.shared(level, text);
                }
            }
        }
        self.buffer.log(Level::Debug, "======== Results ========");
        let (mut failed, mut errored) = (false, false);
        let mut candidates = Vec::new();
        for entry in entries {
            let name = entry.full_name();
            let Some(run) = self.runs.get(&entry.titled_name()) else {
                continue;
            };
            match run.code {
                0 => {
                    self.buffer.log(Level::Debug, &format!("pass: {name}"));
                    candidates.push(Candidate {
                        entry: entry.clone(),
                        plan: run.plan.clone(),
                    });
                }
                100 if entry.optional => self.buffer.log(Level::Debug, &format!("skip: {name}")),
                100 => {
                    self.buffer.log(Level::Debug, &format!("fail: {name}"));
                    failed = true;
                }
                code => {
                    let code = if code == -1 {
                        String::new()
                    } else {
                        format!(" ({code})")
                    };
                    self.buffer.log(Level::Info, &format!("err:  {name}{code}"));
                    errored = true;
                    failed |= !entry.optional;
                }
            }
        }
        if failed {
            self.explain(entries, explain::failed);
            return Ok(if errored {
                Verdict::Errored
            } else {
                Verdict::NoDetection
            });
        }
        if !has_buildpack(&candidates) {
            self.buffer.log(Level::Debug, "fail: no viable buildpacks in group");
            self.explain(entries, |_| GroupFailure::Empty);
            return Ok(Verdict::NoDetection);
        }
        self.agree(&candidates, entries)
    }

    fn explain(&mut self, entries: &[Entry], failure: impl FnOnce(&[ModuleOutcome]) -> GroupFailure) {
        let run_of = |entry: &Entry| self.runs.get(&entry.titled_name());
        let modules: Vec<_> = entries
            .iter()
            .filter_map(|entry| run_of(entry).map(|run| ModuleOutcome::of(entry, run)))
            .collect();
        let failure = failure(&modules);
        self.explanation.add(GroupOutcome { modules, failure });
    }

    fn agree(&mut self, candidates: &[Candidate], entries: &[Entry]) -> Result<Verdict<Detected>, DetectError> {
        let Some(agreement) = resolve_plan(candidates, &mut self.buffer)? else {
            self.explain(entries, |_| GroupFailure::Plan(PlanFailure::of(candidates)));
            return Ok(Verdict::NoDetection);
        };
        let considered = entries.len();
        let participants: Vec<&Entry> = agreement.participants.iter().map(|&at| &candidates[at].entry).collect();
        if participants.len() < considered {
            let text = format!("{} of {considered} buildpacks participating", participants.len());
            self.buffer.log(Level::Info, &text);
        }
        let width = participants
            .iter()
            .map(|entry| entry.id.as_str().len())
            .max()
            .unwrap_or_default();
        let mut group = DetectedGroup::default();
        for entry in participants {
            self.buffer
                .log(Level::Info, &format!("{:width$} {}", entry.id.as_str(), entry.version));
            let selected = Entry {
                optional: false,
                ..entry.clone()
            };
            match entry.kind {
                ModuleKind::Buildpack => group.buildpacks.push(selected),
                ModuleKind::Extension => group.extensions.push(selected),
            }
        }
        Ok(Verdict::Selected(Detected {
            group,
            plan: agreement.plan,
        }))
    }
}

/// Checks that the Buildpack API of each of the modules is supported; inside of composites it is not looked at.
///
/// # Errors
/// For the first module that is missing or whose API is not supported.
pub fn check_apis<'a>(entries: impl IntoIterator<Item = &'a Entry>, lookup: &dyn Lookup) -> Result<(), ApiError> {
    for entry in entries {
        let descriptor = lookup.descriptor(entry)?;
        let (api, module) = (descriptor.api().to_owned(), entry.full_name());
        match api.parse::<ApiVersion>() {
            Err(_) => {
                return Err(ApiError::Unparsable {
                    api,
                    kind: entry.kind.word(),
                    module,
                });
            }
            Ok(version) if !BUILDPACK_APIS.supports(version) => {
                return Err(ApiError::Unsupported {
                    api,
                    kind: entry.kind.title(),
                    module,
                });
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// Puts the system buildpacks around each group of the order.
pub fn merge_system(order: &mut Order, system: &SystemBuildpacks, log: &mut dyn Log) {
    for group in &mut order.groups {
        let (merged, before, behind) = system.around(group);
        if before > 0 {
            log.log(
                Level::Debug,
                &format!("Prepending {before} system buildpack(s) to group"),
            );
        }
        if behind > 0 {
            log.log(
                Level::Debug,
                &format!("Appending {behind} system buildpack(s) to group"),
            );
        }
        *group = merged;
    }
}
