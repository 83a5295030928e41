//! The steps of a full build.

use jiff::Timestamp;
use registry_auth::Reference;
use serde_json::{Value, json};

use super::{PodError, PodInputs, account, bindings, schedule, step_security, volumes};
use crate::key::{BUILD_CHANGES_ANNOTATION, BUILD_NUMBER_LABEL, BUILDER_KIND_ANNOTATION, BUILDER_NAME_ANNOTATION};
use crate::resource::{BuildSpec, EnvVar, SourceConfig};
use crate::strconv::parse_int;

const HOME: &str = "/builder/home";

/// Makes the pod's spec.
pub(super) fn spec(inputs: &PodInputs<'_>, platform_api: &str) -> Result<Value, PodError> {
    let build = inputs.build;
    let wanted = &build.spec;
    let secrets = account::all(inputs.account, wanted);
    let pulling = account::pulling(inputs.account, wanted);
    let signing = account::signing(inputs.account);
    let steps = Steps {
        inputs,
        platform_api,
        run_image: run_image(inputs),
    };

    let shared = [
        "layers-dir",
        "home-dir",
        "workspace-dir",
        "platform-dir",
        "report-dir",
        "network-wait-launcher-dir",
    ];
    let mut all_volumes: Vec<Value> = secrets.volumes.iter().chain(&signing.volumes).cloned().collect();
    all_volumes.sort_by_key(volume_index);
    all_volumes.dedup();
    all_volumes.extend(pulling.volumes.iter().cloned());
    all_volumes.extend(volumes::cache(wanted));
    all_volumes.extend(shared.map(volumes::empty));
    all_volumes.push(volumes::source_pull_secrets(wanted));
    all_volumes.push(volumes::notary(wanted));
    all_volumes.extend(bindings::volumes(inputs.bindings));

    let mut spec = json!({
        "initContainers": [
            steps.prepare(&secrets, &pulling)?,
            steps.analyze(),
            steps.detect(),
            steps.restore(),
            steps.build(),
            steps.export()?,
        ],
        "containers": [completion(inputs, &secrets, &signing, Home::Mounted)],
        "volumes": all_volumes,
        "securityContext": {
            "runAsUser": inputs.builder.uid,
            "runAsGroup": inputs.builder.gid,
            "fsGroup": inputs.builder.gid,
            "runAsNonRoot": true,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    });
    if let Some(seconds) = wanted.active_deadline_seconds {
        spec["activeDeadlineSeconds"] = json!(seconds);
    }
    if !wanted.builder.image_pull_secrets.is_empty() {
        spec["imagePullSecrets"] = json!(wanted.builder.image_pull_secrets);
    }
    schedule(&mut spec, build);
    Ok(spec)
}

/// Volumes of secrets are numbered; those for signing stand between the others.
fn volume_index(volume: &Value) -> u64 {
    let name = volume["name"].as_str().unwrap_or_default();
    name.rsplit('-')
        .next()
        .and_then(|index| index.parse().ok())
        .unwrap_or(u64::MAX)
}

/// Returns the run image: the Build's, else the builder's.
pub(super) fn run_image<'a>(inputs: &PodInputs<'a>) -> &'a str {
    match inputs.build.spec.run_image.image.as_str() {
        "" => &inputs.builder.run_image,
        image => image,
    }
}

struct Steps<'a> {
    inputs: &'a PodInputs<'a>,
    platform_api: &'a str,
    run_image: &'a str,
}

impl Steps<'_> {
    fn spec(&self) -> &BuildSpec {
        &self.inputs.build.spec
    }

    fn prepare(&self, secrets: &account::SecretUse, pulling: &account::SecretUse) -> Result<Value, PodError> {
        let mut mounts: Vec<Value> = secrets.mounts.iter().chain(&pulling.mounts).cloned().collect();
        mounts.extend([
            volumes::read_only("registry-source-pull-secrets-dir", "/registrySourcePullSecrets"),
            volumes::platform(),
            volumes::mount("workspace-dir", volumes::WORKSPACE),
            volumes::home(),
            volumes::mount("layers-dir", "/projectMetadata"),
        ]);
        let arguments: Vec<&String> = secrets.arguments.iter().chain(&pulling.arguments).collect();
        let mut step = self.step(
            "prepare",
            &self.inputs.options.images.build_init,
            "/cnb/process/build-init",
        );
        step["workingDir"] = json!(volumes::WORKSPACE);
        step["env"] = json!(self.prepare_env()?);
        step["volumeMounts"] = json!(mounts);
        if !arguments.is_empty() {
            step["args"] = json!(arguments);
        }
        Ok(step)
    }

    fn prepare_env(&self) -> Result<Vec<EnvVar>, PodError> {
        let build = self.inputs.build;
        let annotation = |key: &str| build.metadata.annotations.get(key).map_or("", String::as_str);
        let tag = build.spec.tags.first().map_or("", String::as_str);
        let registry = Reference::parse(tag)
            .map_err(|_| PodError::InvalidReference { text: tag.to_owned() })?
            .registry()
            .to_string();
        let mut env = source_env(&build.spec.source);
        env.extend(build.spec.env.iter().map(|variable| EnvVar {
            name: format!("PLATFORM_ENV_{}", variable.name),
            ..variable.clone()
        }));
        let trust = self.inputs.options.ssh_trust_unknown_hosts.to_string();
        let more = [
            ("SOURCE_SUB_PATH", build.spec.source.sub_path.as_str()),
            ("PROJECT_DESCRIPTOR_PATH", &build.spec.project_descriptor_path),
            ("IMAGE_TAG", tag),
            ("RUN_IMAGE", self.run_image),
            ("BUILDER_IMAGE", &build.spec.builder.image),
            ("BUILDER_NAME", annotation(BUILDER_NAME_ANNOTATION)),
            ("BUILDER_KIND", annotation(BUILDER_KIND_ANNOTATION)),
            ("DNS_PROBE_HOSTNAME", &registry),
            ("BUILD_CHANGES", annotation(BUILD_CHANGES_ANNOTATION)),
            ("INSECURE_SSH_TRUST_UNKNOWN_HOSTS", &trust),
        ];
        env.extend(more.map(|(name, value)| EnvVar::new(name, value)));
        Ok(env)
    }

    fn analyze(&self) -> Value {
        let spec = self.spec();
        let mut arguments = vec![
            "-layers=/layers".to_owned(),
            "-analyzed=/layers/analyzed.toml".to_owned(),
            format!("-run-image={}", self.run_image),
        ];
        if spec.cache_claim().is_none() {
            arguments.extend(self.previous_cache());
        }
        arguments.extend(spec.tags.iter().skip(1).map(|tag| format!("-tag={tag}")));
        if let Some(last) = spec.last_build.as_ref().filter(|last| !last.image.is_empty()) {
            arguments.push(format!("-previous-image={}", last.image));
        }
        arguments.extend(spec.tags.first().cloned());
        let mut step = self.lifecycle_step("analyze", "/cnb/lifecycle/analyzer", &arguments);
        step["env"] = json!([home(), self.api(), bindings_root()]);
        step["volumeMounts"] = json!([volumes::layers(), volumes::app(spec), volumes::home()]);
        step
    }

    fn detect(&self) -> Value {
        let arguments = [
            "-app=/workspace",
            "-group=/layers/group.toml",
            "-plan=/layers/plan.toml",
        ];
        let mut mounts = vec![volumes::layers(), volumes::platform(), volumes::app(self.spec())];
        mounts.extend(bindings::mounts(self.inputs.bindings));
        let mut step = self.lifecycle_step("detect", "/cnb/lifecycle/detector", &arguments.map(str::to_owned));
        step["env"] = json!([self.api()]);
        step["volumeMounts"] = json!(mounts);
        step
    }

    fn restore(&self) -> Value {
        let mut arguments = vec!["-group=/layers/group.toml".to_owned(), "-layers=/layers".to_owned()];
        arguments.extend(self.cache_volume().or_else(|| self.previous_cache()));
        arguments.push("-analyzed=/layers/analyzed.toml".to_owned());
        let mut mounts = vec![volumes::layers(), volumes::home()];
        mounts.extend(volumes::cache_mount(self.spec()));
        let mut step = self.lifecycle_step("restore", "/cnb/lifecycle/restorer", &arguments);
        step["env"] = json!([home(), self.api()]);
        step["volumeMounts"] = json!(mounts);
        step
    }

    fn build(&self) -> Value {
        let arguments = [
            "-layers=/layers",
            "-app=/workspace",
            "-group=/layers/group.toml",
            "-plan=/layers/plan.toml",
        ];
        let mut mounts = vec![volumes::layers(), volumes::platform(), volumes::app(self.spec())];
        mounts.extend(bindings::mounts(self.inputs.bindings));
        let mut step = self.lifecycle_step("build", "/cnb/lifecycle/builder", &arguments.map(str::to_owned));
        step["env"] = json!([self.api(), bindings_root()]);
        step["volumeMounts"] = json!(mounts);
        step
    }

    fn export(&self) -> Result<Value, PodError> {
        let spec = self.spec();
        let mut arguments = [
            "-layers=/layers",
            "-app=/workspace",
            "-group=/layers/group.toml",
            "-analyzed=/layers/analyzed.toml",
            "-project-metadata=/layers/project-metadata.toml",
        ]
        .map(str::to_owned)
        .to_vec();
        let cache_tag = || spec.registry_cache_tag().map(|tag| format!("-cache-image={tag}"));
        arguments.extend(self.cache_volume().or_else(cache_tag));
        if !spec.default_process.is_empty() {
            arguments.push(format!("-process-type={}", spec.default_process));
        }
        arguments.push("-report=/var/report/report.toml".to_owned());
        arguments.extend(spec.tags.iter().cloned());

        let mut env = vec![home(), self.api()];
        if let Some(seconds) = creation_time(&spec.creation_time, self.inputs.now)? {
            env.push(EnvVar::new("SOURCE_DATE_EPOCH", &seconds.to_string()));
        }
        env.push(EnvVar::new("CNB_RUN_IMAGE", self.run_image));
        let mut mounts = vec![
            volumes::layers(),
            volumes::app(spec),
            volumes::home(),
            volumes::report(),
        ];
        mounts.extend(volumes::cache_mount(spec));
        let mut step = self.lifecycle_step("export", "/cnb/lifecycle/exporter", &arguments);
        step["env"] = json!(env);
        step["volumeMounts"] = json!(mounts);
        Ok(step)
    }

    fn cache_volume(&self) -> Option<String> {
        self.spec().cache_claim().map(|_| "-cache-dir=/cache".to_owned())
    }

    /// The cache image to read from: the one the last build left, else the one that will be written.
    fn previous_cache(&self) -> Option<String> {
        let tag = self.spec().registry_cache_tag()?;
        let last = self.spec().last_build.as_ref().map(|last| last.cache.image.as_str());
        Some(format!(
            "-cache-image={}",
            last.filter(|image| !image.is_empty()).unwrap_or(tag)
        ))
    }

    fn api(&self) -> EnvVar {
        EnvVar::new("CNB_PLATFORM_API", self.platform_api)
    }

    fn lifecycle_step(&self, name: &str, program: &str, arguments: &[String]) -> Value {
        let mut step = self.step(name, &self.inputs.builder.image, program);
        step["args"] = json!(arguments);
        step
    }

    fn step(&self, name: &str, image: &str, program: &str) -> Value {
        step(self.inputs, name, image, program)
    }
}

/// What every step has.
pub(super) fn step(inputs: &PodInputs<'_>, name: &str, image: &str, program: &str) -> Value {
    json!({
        "name": name,
        "image": image,
        "command": [program],
        "imagePullPolicy": "IfNotPresent",
        "resources": inputs.build.spec.resources,
        "securityContext": step_security(),
    })
}

/// Whether `completion` sees the home directory with the registry credentials.
pub(super) enum Home {
    Mounted,
    Absent,
}

/// The last step: reports what was built.
pub(super) fn completion(
    inputs: &PodInputs<'_>,
    secrets: &account::SecretUse,
    signing: &account::SecretUse,
    home: Home,
) -> Value {
    let build = inputs.build;
    let spec = &build.spec;
    let mut arguments = Vec::new();
    if let Some(v1) = spec.notary.as_ref().and_then(|notary| notary.v1.as_ref()) {
        arguments.push(format!("-notary-v1-url={}", v1.url));
    }
    arguments.extend(secrets.arguments.iter().cloned());
    let created = build
        .metadata
        .creation_timestamp
        .as_deref()
        .and_then(|time| time.parse().ok());
    let stamp = created.unwrap_or(inputs.now).strftime("%Y%m%d.%H%M%S").to_string();
    let number = build.metadata.labels.get(BUILD_NUMBER_LABEL).map_or("", String::as_str);
    arguments.push(format!("-cosign-annotations=buildTimestamp={stamp}"));
    arguments.push(format!("-cosign-annotations=buildNumber={number}"));
    let annotations = spec.cosign.iter().flat_map(|cosign| &cosign.annotations);
    arguments.extend(annotations.map(|one| format!("-cosign-annotations={}={}", one.name, one.value)));
    arguments.extend(signing.arguments.iter().cloned());

    let secret_mounts = secrets.mounts.iter().chain(&signing.mounts).cloned();
    let cache = EnvVar::new("CACHE_TAG", spec.registry_cache_tag().unwrap_or_default());
    let message = EnvVar::new("TERMINATION_MESSAGE_PATH", "/tmp/termination-log");
    let (env, mounts): (Vec<EnvVar>, Vec<Value>) = match home {
        Home::Mounted => (
            vec![self::home(), cache, message],
            secret_mounts
                .chain([volumes::home(), volumes::report(), volumes::notary_mount()])
                .collect(),
        ),
        Home::Absent => (
            vec![cache, message],
            [volumes::report(), volumes::notary_mount()]
                .into_iter()
                .chain(secret_mounts)
                .collect(),
        ),
    };
    let mut step = step(
        inputs,
        "completion",
        &inputs.options.images.completion,
        "/cnb/process/completion",
    );
    step["args"] = json!(arguments);
    step["env"] = json!(env);
    step["volumeMounts"] = json!(mounts);
    step["terminationMessagePath"] = json!("/tmp/termination-log");
    step["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    step
}

fn home() -> EnvVar {
    EnvVar::new("HOME", HOME)
}

fn bindings_root() -> EnvVar {
    EnvVar::new("SERVICE_BINDING_ROOT", "/platform/bindings")
}

fn source_env(source: &SourceConfig) -> Vec<EnvVar> {
    if let Some(git) = &source.git {
        return vec![
            EnvVar::new("GIT_URL", &git.url),
            EnvVar::new("GIT_REVISION", &git.revision),
            EnvVar::new("GIT_INITIALIZE_SUBMODULES", &git.initialize_submodules.to_string()),
        ];
    }
    if let Some(blob) = &source.blob {
        let mut env = vec![
            EnvVar::new("BLOB_URL", &blob.url),
            EnvVar::new("BLOB_STRIP_COMPONENTS", &blob.strip_components.to_string()),
        ];
        env.push(EnvVar::new("BLOB_AUTH", &(!blob.auth.is_empty()).to_string()));
        return env;
    }
    source
        .registry
        .iter()
        .map(|registry| EnvVar::new("REGISTRY_IMAGE", &registry.image))
        .collect()
}

fn creation_time(text: &str, now: Timestamp) -> Result<Option<i64>, PodError> {
    match text {
        "" => Ok(None),
        "now" => Ok(Some(now.as_second())),
        text => match parse_int(text) {
            Ok(seconds) => Ok(Some(seconds)),
            Err(problem) => Err(PodError::InvalidCreationTime {
                text: text.to_owned(),
                problem,
            }),
        },
    }
}
