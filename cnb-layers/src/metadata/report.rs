//! report.toml: which image a build has made.

use cnb_order::{Fields, TomlTable, TomlValue, go_toml, parse_toml};

use super::build::BomEntry;
use super::decode::DecodeError;

/// The content of report.toml.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The names under which the image was saved, in the order given.
    pub tags: Vec<String>,
    /// The image's id, for images in a daemon.
    pub image_id: String,
    /// The manifest's digest, for images in a registry.
    pub digest: String,
    /// The manifest's size in bytes; 0 when it is not known.
    pub manifest_size: u64,
    bom: Vec<BomEntry>,
}

impl Report {
    /// Returns the text of the file.
    pub fn to_toml(&self) -> String {
        let mut document = TomlTable::new();
        if !self.bom.is_empty() {
            let build = TomlTable::new().tables("bom", self.bom.iter().map(entry));
            document = document.with("build", TomlValue::Table(build));
        }
        let mut image = TomlTable::new()
            .texts("tags", &self.tags)
            .text_if("image-id", &self.image_id)
            .text_if("digest", &self.digest);
        if self.manifest_size > 0 {
            let size = i64::try_from(self.manifest_size).unwrap_or(i64::MAX);
            image = image.with("manifest-size", TomlValue::Integer(size));
        }
        go_toml(&document.with("image", TomlValue::Table(image)))
    }

    /// Returns the report with what `saved` says about the image.
    pub(crate) fn with_image(self, saved: Self) -> Self {
        Self { bom: self.bom, ..saved }
    }

    /// Adds the old bill of materials of a buildpack: the text of its build.toml.
    pub(crate) fn add_bom(&mut self, build_toml: &str, id: &str, version: &str) -> Result<(), DecodeError> {
        let table = parse_toml(build_toml)?;
        let fields = Fields::of(&table, build_toml);
        for mut entry in fields.list("bom", BomEntry::read)?.unwrap_or_default() {
            id.clone_into(&mut entry.buildpack.id);
            version.clone_into(&mut entry.buildpack.version);
            self.bom.push(entry);
        }
        Ok(())
    }
}

fn entry(entry: &BomEntry) -> TomlTable {
    let buildpack = TomlTable::new()
        .text("id", &entry.buildpack.id)
        .text("version", &entry.buildpack.version);
    TomlTable::new()
        .text("name", &entry.name)
        .text_if("version", &entry.version)
        .free("metadata", entry.metadata.as_ref())
        .with("buildpack", TomlValue::Table(buildpack))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_tags_digest_and_size() {
        let report = Report {
            tags: vec!["r/app:latest".into(), "r/app:v2".into()],
            digest: "sha256:d".into(),
            manifest_size: 1706,
            ..Report::default()
        };
        assert_eq!(
            report.to_toml(),
            "[image]\n  tags = [\"r/app:latest\", \"r/app:v2\"]\n  digest = \"sha256:d\"\n  manifest-size = 1706\n"
        );
    }

    #[test]
    fn old_bills_of_materials_come_first_with_their_buildpack() {
        let mut report = Report {
            tags: vec!["r/app".into()],
            ..Report::default()
        };
        let build = "[[bom]]\nname = \"node\"\nversion = \"18\"\n[bom.metadata]\nk = 1";
        report.add_bom(build, "acme/node", "1.2.3").expect("it is well formed");
        assert_eq!(
            report.to_toml(),
            "[build]\n\n  [[build.bom]]\n    name = \"node\"\n    version = \"18\"\n    [build.bom.metadata]\n      k = 1\n    \
             [build.bom.buildpack]\n      id = \"acme/node\"\n      version = \"1.2.3\"\n\n[image]\n  tags = [\"r/app\"]\n"
        );
    }
}
