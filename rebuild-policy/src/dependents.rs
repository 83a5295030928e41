//! The objects that an Image keeps beside its Builds: its source resolver and its cache claim.

use serde_json::{Value, json};

use crate::name::child_name;
use crate::resource::{Image, OwnerReference, SourceResolver, SourceResolverSpec};

/// Makes the SourceResolver of an Image.
pub fn source_resolver(image: &Image) -> SourceResolver {
    let spec = SourceResolverSpec {
        service_account: image.spec.service_account_name.clone(),
        source: image.spec.source.clone(),
    };
    let name = source_resolver_name(image);
    let mut resolver = SourceResolver::new("SourceResolver", &image.metadata.namespace, &name, spec);
    resolver.metadata.labels.clone_from(&image.metadata.labels);
    resolver.metadata.owner_references = vec![OwnerReference::controller_of("Image", &image.metadata)];
    resolver
}

/// Returns the name of the SourceResolver of an Image.
pub fn source_resolver_name(image: &Image) -> String {
    child_name(&image.metadata.name, "-source")
}

/// Returns the name of the cache claim of an Image.
pub fn cache_claim_name(image: &Image) -> String {
    child_name(&image.metadata.name, "-cache")
}

/// Makes the PersistentVolumeClaim of an Image's cache; `None` when no volume cache is wanted.
pub fn cache_claim(image: &Image) -> Option<Value> {
    let size = image.spec.volume_cache_size()?;
    let mut metadata = json!({
        "name": cache_claim_name(image),
        "namespace": image.metadata.namespace,
        "ownerReferences": [OwnerReference::controller_of("Image", &image.metadata)],
    });
    if !image.metadata.labels.is_empty() {
        metadata["labels"] = json!(image.metadata.labels);
    }
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
    });
    let class = image.spec.cache.as_ref().and_then(|cache| cache.volume.as_ref());
    if let Some(class) = class
        .map(|volume| &volume.storage_class_name)
        .filter(|name| !name.is_empty())
    {
        spec["storageClassName"] = json!(class);
    }
    Some(json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}))
}
