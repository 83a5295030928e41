//! Files that the platform or earlier phases give: group.toml, run.toml, stack.toml, project-metadata.toml.

use serde_json::Value;

use super::decode::{self, DecodeError, Fields};
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
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let value = decode::toml(text)?;
        let Some(fields) = Fields::of(&value, "the file")? else {
            return Ok(Self::default());
        };
        Ok(Self {
            buildpacks: fields.tables("group", GroupBuildpack::read)?.unwrap_or_default(),
            extensions: fields
                .tables("group-extensions", GroupBuildpack::read)?
                .unwrap_or_default(),
        })
    }
}

impl GroupBuildpack {
    fn read(fields: &Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: fields.text("id")?,
            version: fields.text("version")?,
            api: fields.text("api")?,
        })
    }

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
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let value = decode::toml(text)?;
        let Some(fields) = Fields::of(&value, "the file")? else {
            return Ok(Self::default());
        };
        Ok(Self {
            images: fields.tables("images", names)?.unwrap_or_default(),
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
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let value = decode::toml(text)?;
        let Some(fields) = Fields::of(&value, "the file")? else {
            return Ok(Self::default());
        };
        Ok(Self {
            run_image: fields
                .table("run-image")?
                .map_or(Ok(RunImageNames::default()), |table| names(&table))?,
        })
    }
}

fn names(fields: &Fields<'_>) -> Result<RunImageNames, DecodeError> {
    Ok(RunImageNames {
        image: fields.text("image")?,
        mirrors: fields.texts("mirrors")?.unwrap_or_default(),
    })
}

/// The content of project-metadata.toml: where the source came from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProjectMetadata {
    source: Option<Source>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Source {
    kind: String,
    version: Option<Value>,
    metadata: Option<Value>,
}

impl ProjectMetadata {
    /// Reads the text of the file.
    pub fn from_toml(text: &str) -> Result<Self, DecodeError> {
        let value = decode::toml(text)?;
        let Some(fields) = Fields::of(&value, "the file")? else {
            return Ok(Self::default());
        };
        // Free-form data that is no table is dropped, as the reference does.
        let table = |fields: &Fields<'_>, key: &str| match fields.get(key) {
            Some(Value::Object(map)) if map.is_empty() => None,
            Some(value @ Value::Object(_)) => Some(value.clone()),
            _ => None,
        };
        let source = match fields.table("source")? {
            None => None,
            Some(source) => Some(Source {
                kind: source.text("type")?,
                version: table(&source, "version"),
                metadata: table(&source, "metadata"),
            }),
        };
        Ok(Self { source })
    }

    /// Returns the text of the label `io.buildpacks.project.metadata`.
    pub fn to_label(&self) -> String {
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
            version: Option<&'a Value>,
            #[serde(skip_serializing_if = "Option::is_none")]
            metadata: Option<&'a Value>,
        }
        let source = self.source.as_ref().map(|source| SourceLabel {
            kind: &source.kind,
            version: source.version.as_ref(),
            metadata: source.metadata.as_ref(),
        });
        super::to_json(&Label { source })
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
            project.to_label(),
            "{\"source\":{\"type\":\"git\",\"version\":{\"commit\":\"0\\u003c1\"},\"metadata\":{\"depth\":1,\"refs\":[\"main\"]}}}"
        );
        assert_eq!(ProjectMetadata::default().to_label(), "{}");
    }

    #[test]
    fn a_buildpack_directory_has_underscores_for_slashes() {
        let group =
            Group::from_toml("[[group]]\nid = \"a/b/c\"\nversion = \"1\"\napi = \"0.10\"").expect("it is well formed");
        assert_eq!(group.buildpacks[0].directory(), "a_b_c");
    }
}
