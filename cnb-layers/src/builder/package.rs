use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cnb_order::{
    BuildpackDescriptor, BuildpackId, BuildpackVersion, BuildpackageMetadata, Fields, Group, Stack, Target, parse_toml,
};
use registry_auth::Reference;
use serde::Serialize;

use crate::{
    Compression, History, Image, ImageDraft, ImageFormat, ImageTarget, LayerBuilder, Modes, Tree, UploadError,
    media_type, push_image, upload_layer,
};

/// Why a buildpackage could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// A buildpack.toml cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A buildpack.toml is malformed.
    #[error("{path} is not a valid buildpack.toml")]
    Descriptor {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: cnb_order::DecodeError,
    },
    /// An id or version cannot be a directory's name.
    #[error("buildpack {buildpack:?} cannot be packaged: its id or version is empty or no file name")]
    Name {
        /// `id@version`.
        buildpack: String,
    },
    /// A composite's order names a buildpack that was not given.
    #[error("buildpack '{buildpack}' references buildpack '{missing}' which is not present")]
    Missing {
        /// The composite, `id@version`.
        buildpack: String,
        /// What it names.
        missing: String,
    },
    /// A buildpack was given that no order names.
    #[error("buildpack '{unused}' is not used by buildpack '{buildpack}'")]
    Unused {
        /// The main buildpack, `id@version`.
        buildpack: String,
        /// The one not used.
        unused: String,
    },
    /// A layer or the image could not be stored.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

/// One buildpack of a package, in pack's order of fields.
#[derive(Serialize)]
struct PackagedLayer {
    #[serde(skip_serializing_if = "String::is_empty")]
    api: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stacks: Vec<Stack>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Target>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    order: Vec<Group>,
    #[serde(rename = "layerDiffID")]
    layer_diff_id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    homepage: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
}

/// The label that says which buildpack a package is, in pack's order of fields.
#[derive(Serialize)]
struct PackageLabel<'a> {
    id: &'a BuildpackId,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    version: &'a BuildpackVersion,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    homepage: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    keywords: &'a [String],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    stacks: Vec<Stack>,
}

struct Module {
    dir: PathBuf,
    descriptor: BuildpackDescriptor,
}

impl Module {
    fn read(dir: &Path) -> Result<Self, PackageError> {
        let path = dir.join("buildpack.toml");
        let text = fs::read_to_string(&path).map_err(|source| PackageError::Read {
            path: path.clone(),
            source,
        })?;
        let mut descriptor =
            BuildpackDescriptor::from_toml(&text, &[]).map_err(|source| PackageError::Descriptor { path, source })?;
        // Targets that were derived from something else are for running it, not for its label.
        if parse_toml(&text).is_ok_and(|table| Fields::new(&table).value("targets").is_none()) {
            descriptor.targets.clear();
        }
        let module = Self {
            dir: dir.to_owned(),
            descriptor,
        };
        let version = module.descriptor.info.version.as_str();
        let is_name = !matches!(version, "" | "." | "..") && !version.contains(['/', '\0']);
        if !module.descriptor.info.id.names_a_directory() || !is_name {
            return Err(PackageError::Name {
                buildpack: module.title(),
            });
        }
        Ok(module)
    }

    fn title(&self) -> String {
        format!("{}@{}", self.descriptor.info.id, self.descriptor.info.version)
    }

    /// Returns the layer: `/cnb/buildpacks/<id>/<version>`, owned by root, modes independent of the umask.
    fn layer(&self) -> LayerBuilder {
        let parent = format!("/cnb/buildpacks/{}", self.descriptor.info.id.escaped());
        let mut tree = Tree::new(&self.dir, format!("{parent}/{}", self.descriptor.info.version), 0, 0);
        tree.modes = Modes::Normal;
        LayerBuilder::new().directory(parent, 0o755, 0, 0).tree(tree)
    }
}

/// Makes a buildpackage of the buildpack in directory `main`, and for a composite of those that its
/// order names, in the directories `dependencies`; writes it to `tags`.
///
/// Layers, labels and config are those that pack makes: equal directories give equal layers, whatever
/// the umask and the time of their files.
///
/// # Errors
/// When a buildpack.toml is missing or malformed, the dependencies are not exactly those that are
/// needed, or `target` fails.
pub fn write_buildpackage(
    main: &Path,
    dependencies: &[PathBuf],
    target: &dyn ImageTarget,
    tags: &[Reference],
    compression: Compression,
) -> Result<Image, PackageError> {
    let repository = tags.first().ok_or(UploadError::NoTag)?.repository();
    let main = Module::read(main)?;
    let mut modules: Vec<Module> = Vec::new();
    for dir in dependencies {
        let module = Module::read(dir)?;
        if modules.iter().all(|known| known.title() != module.title()) {
            modules.push(module);
        }
    }
    check_references(&main, &modules)?;
    let stacks = common_stacks(&main, &modules);
    let title = main.descriptor.info.clone();
    modules.push(main);

    let mut draft = ImageDraft::empty(ImageFormat::Docker);
    "linux".clone_into(&mut draft.config_mut().os);
    let mut label: BTreeMap<BuildpackId, BTreeMap<BuildpackVersion, PackagedLayer>> = BTreeMap::new();
    for module in modules {
        let content = module.layer();
        let (layer, _) = upload_layer(target, repository, &content, media_type::DOCKER_LAYER_GZIP, compression)?;
        let BuildpackDescriptor {
            api,
            info,
            order,
            targets,
            stacks,
            ..
        } = module.descriptor;
        let packaged = PackagedLayer {
            api,
            stacks,
            targets,
            order,
            layer_diff_id: layer.diff_id.to_string(),
            homepage: info.homepage,
            name: info.name,
        };
        label.entry(info.id).or_default().insert(info.version, packaged);
        draft.push_layer(layer, History::default());
    }
    let package = PackageLabel {
        id: &title.id,
        name: &title.name,
        version: &title.version,
        description: &title.description,
        homepage: &title.homepage,
        keywords: &title.keywords,
        stacks,
    };
    draft.set_label(BuildpackageMetadata::LABEL, json(&package));
    draft.set_label(cnb_order::BuildpackLayersLabel::LABEL, json(&label));
    let image = draft.finish();
    push_image(target, &image, repository, tags).map_err(UploadError::from)?;
    Ok(image)
}

fn json<T: Serialize>(value: &T) -> String {
    cnb_order::go_json_of(value).expect("labels have only text keys")
}

/// Checks that the orders lead from the main buildpack to all dependencies, and to nothing else.
fn check_references(main: &Module, modules: &[Module]) -> Result<(), PackageError> {
    let by_title: BTreeMap<String, &Module> = modules
        .iter()
        .chain([main])
        .map(|module| (module.title(), module))
        .collect();
    let mut reached = BTreeSet::from([main.title()]);
    let mut waiting = vec![main];
    while let Some(module) = waiting.pop() {
        for entry in module.descriptor.order.iter().flat_map(|group| &group.entries) {
            let title = format!("{}@{}", entry.id, entry.version);
            let Some(next) = by_title.get(&title) else {
                return Err(PackageError::Missing {
                    buildpack: module.title(),
                    missing: title,
                });
            };
            if reached.insert(title) {
                waiting.push(next);
            }
        }
    }
    match modules.iter().find(|module| !reached.contains(&module.title())) {
        None => Ok(()),
        Some(unused) => Err(PackageError::Unused {
            buildpack: main.title(),
            unused: unused.title(),
        }),
    }
}

/// Returns the stacks on which all buildpacks of the package run. One that says nothing of stacks runs on any.
fn common_stacks(main: &Module, modules: &[Module]) -> Vec<Stack> {
    let any = || {
        vec![Stack {
            id: "*".to_owned(),
            mixins: Vec::new(),
        }]
    };
    let of = |module: &Module| {
        let stacks = module.descriptor.stacks.clone();
        if stacks.is_empty() { any() } else { stacks }
    };
    let components: Vec<&Module> = modules
        .iter()
        .chain([main])
        .filter(|module| module.descriptor.order.is_empty())
        .collect();
    let mut lists = components.into_iter().map(of);
    let first = lists.next().unwrap_or_else(any);
    lists.fold(first, |common, list| both(&common, &list))
}

fn both(a: &[Stack], b: &[Stack]) -> Vec<Stack> {
    let mut common = Vec::new();
    for left in a {
        for right in b {
            let id = match (left.id.as_str(), right.id.as_str()) {
                (one, other) if one == other => one,
                ("*", other) => other,
                (one, "*") => one,
                _ => continue,
            };
            let mixins: BTreeSet<String> = left.mixins.iter().chain(&right.mixins).cloned().collect();
            common.push(Stack {
                id: id.to_owned(),
                mixins: mixins.into_iter().collect(),
            });
        }
    }
    common
}
