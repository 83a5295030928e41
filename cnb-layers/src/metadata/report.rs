//! report.toml: which image a build has made.

use super::build::BomEntry;
use super::decode::{self, DecodeError, Fields};
use super::toml_text::{self, Toml};

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
        let text = |text: &str| Toml::Text(text.to_owned());
        let mut pairs = Vec::new();
        if !self.bom.is_empty() {
            let bom = Toml::Array(self.bom.iter().map(entry).collect());
            pairs.push(("build".to_owned(), Toml::Table(vec![("bom".to_owned(), bom)])));
        }
        let mut image = vec![(
            "tags".to_owned(),
            Toml::Array(self.tags.iter().map(|tag| text(tag)).collect()),
        )];
        if !self.image_id.is_empty() {
            image.push(("image-id".to_owned(), text(&self.image_id)));
        }
        if !self.digest.is_empty() {
            image.push(("digest".to_owned(), text(&self.digest)));
        }
        if self.manifest_size > 0 {
            let size = i64::try_from(self.manifest_size).unwrap_or(i64::MAX);
            image.push(("manifest-size".to_owned(), Toml::Integer(size)));
        }
        pairs.push(("image".to_owned(), Toml::Table(image)));
        toml_text::document(&pairs)
    }

    /// Returns the report with what `saved` says about the image.
    pub(crate) fn with_image(self, saved: Self) -> Self {
        Self { bom: self.bom, ..saved }
    }

    /// Adds the old bill of materials of a buildpack: the text of its build.toml.
    pub(crate) fn add_bom(&mut self, build_toml: &str, id: &str, version: &str) -> Result<(), DecodeError> {
        let value = decode::toml(build_toml)?;
        let Some(fields) = Fields::of(&value, "the file")? else {
            return Ok(());
        };
        for mut entry in fields.tables("bom", BomEntry::read)?.unwrap_or_default() {
            id.clone_into(&mut entry.buildpack.id);
            version.clone_into(&mut entry.buildpack.version);
            self.bom.push(entry);
        }
        Ok(())
    }
}

fn entry(entry: &BomEntry) -> Toml {
    let text = |text: &str| Toml::Text(text.to_owned());
    let mut pairs = vec![("name".to_owned(), text(&entry.name))];
    if !entry.version.is_empty() {
        pairs.push(("version".to_owned(), text(&entry.version)));
    }
    if let Some(metadata) = Toml::from_json(&entry.metadata) {
        pairs.push(("metadata".to_owned(), metadata));
    }
    let buildpack = vec![
        ("id".to_owned(), text(&entry.buildpack.id)),
        ("version".to_owned(), text(&entry.buildpack.version)),
    ];
    pairs.push(("buildpack".to_owned(), Toml::Table(buildpack)));
    Toml::Table(pairs)
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
