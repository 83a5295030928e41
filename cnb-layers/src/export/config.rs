//! What the image's config says: labels, environment, entrypoint.

use std::fs;
use std::io;
use std::path::Path;

use cnb_order::toml_text;

use super::{Export, ExportError};
use crate::ImageDraft;
use crate::metadata::{BuildMetadata, DecodeError, LifecycleMetadata, Report, labels};
use crate::phase::{Log, LogExt as _};

impl Export<'_> {
    pub(super) fn set_labels(
        &self,
        draft: &mut ImageDraft,
        metadata: &LifecycleMetadata,
        build: &BuildMetadata,
        log: &dyn Log,
    ) -> Result<(), ExportError> {
        let inputs = &self.inputs;
        let refused = |action| move |source| ExportError::Unlabelable { action, source };
        let mut set = |name: &str, value: String| {
            log.info(format_args!("Adding label '{name}'"));
            draft.set_label(name, value);
        };
        let label = metadata.to_label().map_err(refused("marshall metadata"))?;
        set(labels::LIFECYCLE_METADATA, label);
        let label = build.to_label(&inputs.launcher_version, inputs.api);
        set(labels::BUILD_METADATA, label.map_err(refused("parse build metadata"))?);
        let label = inputs.project.to_label().map_err(refused("parse project metadata"))?;
        set(labels::PROJECT_METADATA, label);
        for (name, value) in &build.labels {
            set(name, value.clone());
        }
        if inputs.api.at_least(15) && !inputs.exec_env.is_empty() {
            set(labels::EXEC_ENV, inputs.exec_env.to_owned());
        }
        Ok(())
    }

    pub(super) fn configure(
        &self,
        draft: &mut ImageDraft,
        build: &BuildMetadata,
        log: &dyn Log,
    ) -> Result<(), ExportError> {
        let inputs = &self.inputs;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let config = draft.container_mut();
        for (name, value) in [
            ("CNB_LAYERS_DIR", text(inputs.layers_dir)),
            ("CNB_APP_DIR", text(inputs.app_dir)),
            ("CNB_PLATFORM_API", inputs.api.to_string()),
            ("CNB_DEPRECATION_MODE", "quiet".to_owned()),
        ] {
            log.debug(format_args!("Setting {name}={value}"));
            config.set_env(name, &value);
        }
        log.debug("Prepending /cnb/process and /cnb/lifecycle to PATH");
        let path = config.plain_env("PATH").unwrap_or_default();
        let path = format!("/cnb/process:/cnb/lifecycle:{path}");
        config.set_env("PATH", &path);
        config.working_dir = text(inputs.app_dir);
        log.debug(format_args!("Setting WORKDIR: '{}'", config.working_dir));
        config.cmd = Vec::new();
        let default = default_process(inputs.process_type, build)?;
        config.entrypoint = vec![match default.as_str() {
            "" => {
                log.info("no default process type");
                "/cnb/lifecycle/launcher".to_owned()
            }
            name => {
                log.info(format_args!("Setting default process type '{name}'"));
                format!("/cnb/process/{name}")
            }
        }];
        log.debug(format_args!("Setting ENTRYPOINT: '{}'", config.entrypoint[0]));
        Ok(())
    }

    pub(super) fn add_old_bom(&self, report: &mut Report) -> Result<(), ExportError> {
        for buildpack in &self.inputs.group.buildpacks {
            let path = self.disk_layers().join(buildpack.directory()).join("build.toml");
            match fs::read(path) {
                Ok(bytes) => toml_text(&bytes)
                    .map_err(DecodeError::from)
                    .and_then(|text| report.add_bom(text, &buildpack.id, &buildpack.version))
                    .map_err(ExportError::BuildToml)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(ExportError::ReadLayers {
                        buildpack: buildpack.id.clone(),
                        source,
                    });
                }
            }
        }
        Ok(())
    }
}

/// Decides which process starts by default; empty: none.
fn default_process(asked_for: &str, build: &BuildMetadata) -> Result<String, ExportError> {
    if asked_for.is_empty() {
        return Ok(build.default_process_type.clone());
    }
    if build.process_types().iter().any(|known| known == asked_for) {
        return Ok(asked_for.to_owned());
    }
    Err(ExportError::NoSuchProcess {
        name: asked_for.to_owned(),
    })
}
