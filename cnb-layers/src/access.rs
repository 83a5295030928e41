//! Which images can be used: equality of names, mirrors, rights at registries.

use registry_auth::{Reference, RegistryHost};

use crate::metadata::{Distro, RunImageNames, TargetMetadata, labels};
use crate::{Image, ImageError, MemoryStore};

/// Asks registries what may be done there, before hours of work end in a refusal.
pub trait RegistryAccess: Send + Sync {
    /// Checks that the image may be read. An image that does not exist may be read.
    ///
    /// # Errors
    /// When the registry refuses or cannot be reached.
    fn check_read(&self, image: &Reference) -> Result<(), ImageError>;

    /// Checks that an image may be written there, leaving nothing behind.
    ///
    /// # Errors
    /// When the registry refuses or cannot be reached.
    fn check_write(&self, image: &Reference) -> Result<(), ImageError>;
}

/// Allows everything: for images that lie on this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl RegistryAccess for AllowAll {
    fn check_read(&self, _image: &Reference) -> Result<(), ImageError> {
        Ok(())
    }

    fn check_write(&self, _image: &Reference) -> Result<(), ImageError> {
        Ok(())
    }
}

impl RegistryAccess for MemoryStore {
    fn check_read(&self, _image: &Reference) -> Result<(), ImageError> {
        Ok(())
    }

    fn check_write(&self, _image: &Reference) -> Result<(), ImageError> {
        Ok(())
    }
}

impl RegistryAccess for registry_client::Client {
    fn check_read(&self, image: &Reference) -> Result<(), ImageError> {
        match Self::check_read(self, image) {
            // Any other answer than a refusal shows that one may ask; what is missing may be read.
            Err(error) if !matches!(error.status(), None | Some(401 | 403)) => Ok(()),
            other => Ok(other?),
        }
    }

    fn check_write(&self, image: &Reference) -> Result<(), ImageError> {
        Ok(Self::check_write(self, image.repository())?)
    }
}

/// Returns whether two names mean the same image: digests are cut off, defaults are filled in.
pub(crate) fn same_image(one: &str, other: &str) -> bool {
    normal_name(one) == normal_name(other)
}

fn normal_name(name: &str) -> String {
    let cut = if name.contains("@sha256:") {
        name.split('@').next().unwrap_or(name)
    } else {
        name
    };
    Reference::parse(cut).map_or_else(|_| cut.to_owned(), |reference| reference.to_string())
}

impl RunImageNames {
    /// Returns whether `name` is the image or one of its mirrors, which may be known without the image. Empty text is
    /// no name.
    pub fn contain(&self, name: &str) -> bool {
        let mut names = std::iter::once(&self.image).chain(&self.mirrors);
        names.any(|known| !known.is_empty() && same_image(known, name))
    }

    /// Chooses the name to read the image from: the first on `registry` that `is_readable`, else the first
    /// of all that is. Names that cannot be parsed are passed over.
    pub fn choose(&self, registry: &RegistryHost, is_readable: &dyn Fn(&Reference) -> bool) -> Option<String> {
        let names = std::iter::once(&self.image).chain(&self.mirrors);
        let parsed: Vec<_> = names
            .filter_map(|name| Some((name, Reference::parse(name).ok()?)))
            .collect();
        let here = parsed.iter().filter(|(_, reference)| reference.registry() == registry);
        here.chain(&parsed)
            .find(|(_, reference)| is_readable(reference))
            .map(|(name, _)| (*name).clone())
    }
}

impl TargetMetadata {
    /// Returns the machine that an image is for.
    pub fn of(image: &Image) -> Self {
        let config = image.config();
        let label = |name| image.label(name).unwrap_or_default().to_owned();
        // An empty label says that there is a distribution, too.
        let has_distro = [labels::DISTRO_NAME, labels::DISTRO_VERSION]
            .iter()
            .any(|name| image.label(name).is_some());
        let distro = || Distro {
            name: label(labels::DISTRO_NAME),
            version: label(labels::DISTRO_VERSION),
        };
        Self {
            id: label(labels::BASE_ID),
            os: config.os.clone(),
            arch: config.architecture.clone(),
            arch_variant: config.variant.clone(),
            distro: has_distro.then(distro),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_when_they_mean_the_same() {
        assert!(same_image("acme/run", "index.docker.io/acme/run:latest"));
        assert!(same_image(
            "r.example/run:1@sha256:3c3507ada438de19e2adb170e2e1c970134143150730d255d5e5ad1705a2d96d",
            "r.example/run:1"
        ));
        assert!(!same_image("r.example/run:1", "r.example/run:2"));
        assert!(same_image("Not A Name", "Not A Name"));
    }

    #[test]
    fn a_mirror_is_known_also_where_the_image_itself_is_not_named() {
        let names = RunImageNames {
            image: String::new(),
            mirrors: vec![String::new(), "r.example/run:1".into()],
        };
        assert!(names.contain("r.example/run:1"));
        assert!(!names.contain("r.example/run:2"));
        assert!(!names.contain(""));
    }

    #[test]
    fn an_empty_label_of_a_distribution_is_one() {
        let target = |base: crate::BaseImage| {
            let (store, tag) = (
                crate::MemoryStore::new(),
                Reference::parse("r.example/run:1").expect("it is a name"),
            );
            let pushed = base.push(&store, &[tag], crate::Compression::default());
            TargetMetadata::of(&pushed.expect("memory takes all")).distro
        };
        let base = crate::BaseImage::new(crate::Platform::linux_amd64());
        assert_eq!(target(base.clone()), None);
        let named = Distro {
            name: String::new(),
            version: "12".into(),
        };
        assert_eq!(target(base.clone().label(labels::DISTRO_VERSION, "12")), Some(named));
        assert_eq!(target(base.label(labels::DISTRO_NAME, "")), Some(Distro::default()));
    }

    #[test]
    fn a_mirror_beside_the_output_wins_then_the_first_that_can_be_read() {
        let names = RunImageNames {
            image: "one.example/run".into(),
            mirrors: vec!["No Name".into(), "two.example/run".into(), "three.example/run".into()],
        };
        let host: RegistryHost = "two.example".parse().expect("it is a host");
        assert_eq!(names.choose(&host, &|_| true).as_deref(), Some("two.example/run"));
        let not_two = |reference: &Reference| *reference.registry() != host;
        assert_eq!(names.choose(&host, &not_two).as_deref(), Some("one.example/run"));
        assert_eq!(names.choose(&host, &|_| false), None);
    }
}
