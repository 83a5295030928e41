//! What a registry says about a manifest, and a manifest's bytes.

use registry_auth::Digest;

/// What a registry says about a manifest without handing it over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The digest of the manifest's bytes.
    pub digest: Digest,
    /// The media type, without parameters; empty if the server did not say.
    pub media_type: String,
    /// The size of the manifest in bytes, where the server said it.
    pub size: Option<u64>,
}

/// A manifest or index as it is stored, byte for byte. Its digest has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawManifest {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// The media type the server gave, or the one in the document; empty if there is none.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
}

impl RawManifest {
    /// Returns whether this is a list of manifests, by its media type.
    pub fn is_index(&self) -> bool {
        [OCI_INDEX, DOCKER_LIST].contains(&self.media_type.as_str())
    }
}

const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The media types of manifests and indexes that are asked for.
pub(crate) const MANIFEST_TYPES: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";
