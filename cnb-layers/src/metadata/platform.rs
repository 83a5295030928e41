//! Files that the platform or earlier phases give: group.toml, run.toml, stack.toml, project-metadata.toml.

use cnb_order::{DetectedGroup, Entry, Fields, RunImage, RunInfo, parse_toml};

use super::Data;
use super::decode::{DecodeError, EncodeError};
use super::label::RunImageNames;

/// The content of group.toml: the buildpacks of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The buildpacks in their order.
    pub buildpacks: Vec<GroupBuildpack>,
    /// The extensions in their order.
    pub extensions: Vec<GroupBuildpack>,
}

/// A buildpack of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupBuildpack {
    /// The id, such as `acme/node`.
    pub id: String,
    /// The version.
    pub version: String,
    /// The buildpack API, as text.
    pub api: String,
}

impl Group {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let found = DetectedGroup::from_toml(text)?;
        let all = |entries: Vec<Entry>| entries.into_iter().map(GroupBuildpack::from).collect();
        Ok(Self {
            buildpacks: all(found.buildpacks),
            extensions: all(found.extensions),
        })
    }
}

impl From<Entry> for GroupBuildpack {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            version: entry.version.to_string(),
            api: entry.api,
        }
    }
}

impl GroupBuildpack {
    /// Returns the name of its directory beneath the layers: the id with `_` for `/`.
    pub fn directory(&self) -> String {
        self.id.replace('/', "_")
    }
}

/// The content of run.toml: the run images of a builder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunToml {
    /// The images, the preferred one first.
    pub images: Vec<RunImageNames>,
}

impl RunToml {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let images = RunInfo::from_toml(text)?.images.into_iter();
        Ok(Self {
            images: images.map(RunImageNames::from).collect(),
        })
    }
}

/// The content of stack.toml: the run image of an older builder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackToml {
    /// The run image.
    pub run_image: RunImageNames,
}

impl StackToml {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let image = RunInfo::from_stack_toml(text)?.images.into_iter().next();
        Ok(Self {
            run_image: image.map(RunImageNames::from).unwrap_or_default(),
        })
    }
}

impl From<RunImage> for RunImageNames {
    fn from(image: RunImage) -> Self {
        Self {
            image: image.image,
            mirrors: image.mirrors,
        }
    }
}

/// The content of project-metadata.toml: where the source came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectMetadata {
    source: Option<Source>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Source {
    kind: String,
    version: Option<Data>,
    metadata: Option<Data>,
}

impl ProjectMetadata {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// When it is not TOML or a value has the wrong type.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let table = parse_toml(text)?;
        let fields = Fields::of(&table, text);
        let data = |fields: &Fields<'_>, key: &str| {
            let found = fields.free(key).filter(|table| !table.is_empty());
            found.map(|table| Data::from(&table))
        };
        let source = match fields.table("source")? {
            None => None,
            Some(source) => Some(Source {
                kind: source.text("type")?,
                version: data(&source, "version"),
                metadata: data(&source, "metadata"),
            }),
        };
        Ok(Self { source })
    }

    /// Returns the text of the label `io.buildpacks.project.metadata`.
    ///
    /// # Errors
    /// When the free-form parts hold what JSON has no place for, such as an infinite number.
    pub fn to_label(&self) -> Result<String, EncodeError> {
        use serde::Serialize;
        #[derive(Serialize)]
        struct Label<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            source: Option<SourceLabel<'a>>,
        }
        #[derive(Serialize)]
        struct SourceLabel<'a> {
            #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
            kind: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            version: Option<&'a Data>,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata: Option<&'a Data>,
        }
        let source = self.source.as_ref().map(|source| SourceLabel {
            kind: &source.kind,
            version: source.version.as_ref(),
            metadata: source.metadata.as_ref(),
        });
        super::try_json(&Label { source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_of_a_project_becomes_a_label() {
        let text = "[source]\ntype = \"git\"\n[source.version]\ncommit = \"0<1\"\n[source.metadata]\ndepth = 1\nrefs = [\"main\"]";
        let project = ProjectMetadata::from_toml(text).expect("it is well formed");
        assert_eq!(
            project.to_label().as_deref(),
            Ok(
                "{\"source\":{\"type\":\"git\",\"version\":{\"commit\":\"0\\u003c1\"},\"metadata\":{\"depth\":1,\"refs\":[\"main\"]}}}"
            )
        );
        assert_eq!(ProjectMetadata::default().to_label().as_deref(), Ok("{}"));
    }

    #[test]
    fn a_buildpack_directory_has_underscores_for_slashes() {
        let group =
            Group::from_toml("[[group]]\nid = \"a/b/c\"\nversion = \"1\"\napi = \"0.10\"").expect("it is well formed");
        assert_eq!(group.buildpacks[0].directory(), "a_b_c");
    }
}
