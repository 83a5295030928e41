//! Objects as tables for people, with the columns that `kubectl get` is known for.
//!
//! Specification: Kubernetes `meta.k8s.io/v1` Table; columns of core kinds as `kubectl` 1.32 shows them, of
//! kpack's kinds as its custom resource definitions declare them (kpack 0.17.2, `config/*.yaml`).

mod age;
mod event;
mod pod;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::age::age;
use super::versions::Version;
use crate::{ApiError, Kind, Object};

/// A column: its name, its format, and whether it is shown only with `-o wide`.
struct Column {
    name: &'static str,
    format: &'static str,
    wide: bool,
}

const fn column(name: &'static str) -> Column {
    Column {
        name,
        format: "",
        wide: false,
    }
}

const fn wide(name: &'static str) -> Column {
    Column {
        name,
        format: "",
        wide: true,
    }
}

const NAME: Column = Column {
    name: "Name",
    format: "name",
    wide: false,
};

/// How much of each object a row carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Include {
    Metadata,
    Object,
    Nothing,
}

impl Include {
    /// Reads the parameter `includeObject`.
    pub(super) fn of(text: &str) -> Result<Self, ApiError> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            "None" => Ok(Self::Nothing),
            other => Err(ApiError::bad_request(format!(
                "unrecognized includeObject value: {other:?}"
            ))),
        }
    }
}

/// How tables are made for one request.
#[derive(Clone, Copy)]
pub(super) struct Table {
    /// API version of the table itself.
    pub(super) api_version: &'static str,
    /// Version in which objects are shown.
    pub(super) version: Version,
    pub(super) include: Include,
    /// Against which ages are counted.
    pub(super) now: Timestamp,
}

impl Table {
    /// Makes a table of objects of one kind; `metadata` is that of the list.
    pub(super) fn of(
        self,
        kind: Kind,
        objects: Vec<Object>,
        metadata: Value,
        with_columns: bool,
    ) -> Result<Value, ApiError> {
        let rows = objects
            .into_iter()
            .map(|object| self.row(object))
            .collect::<Result<Value, _>>()?;
        let mut table = json!({"kind": "Table", "apiVersion": self.api_version, "metadata": metadata});
        table["columnDefinitions"] = if with_columns {
            columns(kind, self.version).iter().map(Column::definition).collect()
        } else {
            Value::Null
        };
        table["rows"] = rows;
        Ok(table)
    }

    fn row(self, object: Object) -> Result<Value, ApiError> {
        let cells = cells(&object, self.version, self.now);
        let mut row = json!({ "cells": cells });
        match self.include {
            Include::Nothing => {}
            Include::Object => row["object"] = self.version.show(object)?,
            Include::Metadata => row["object"] = partial(&object, self.api_version),
        }
        Ok(row)
    }
}

/// Returns only the metadata of an object.
pub(super) fn partial(object: &Object, api_version: &str) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": object.metadata()})
}

impl Column {
    fn definition(&self) -> Value {
        json!({
            "name": self.name,
            "type": "string",
            "format": self.format,
            "description": "",
            "priority": i32::from(self.wide),
        })
    }
}

fn columns(kind: Kind, version: Version) -> &'static [Column] {
    const READY: &[Column] = &[NAME, column("Ready")];
    const LATEST: &[Column] = &[NAME, column("LatestImage"), column("Ready")];
    match kind {
        Kind::Namespace => const { &[NAME, column("Status"), column("Age")] },
        Kind::Secret => const { &[NAME, column("Type"), column("Data"), column("Age")] },
        Kind::ServiceAccount => const { &[NAME, column("Secrets"), column("Age")] },
        Kind::ConfigMap => const { &[NAME, column("Data"), column("Age")] },
        Kind::Pod => pod::COLUMNS,
        Kind::Event => event::COLUMNS,
        Kind::PersistentVolumeClaim => {
            const {
                &[
                    NAME,
                    column("Status"),
                    column("Volume"),
                    column("Capacity"),
                    column("Access Modes"),
                    column("StorageClass"),
                    column("VolumeAttributesClass"),
                    column("Age"),
                    wide("VolumeMode"),
                ]
            }
        }
        Kind::StorageClass => {
            const {
                &[
                    NAME,
                    column("Provisioner"),
                    column("ReclaimPolicy"),
                    column("VolumeBindingMode"),
                    column("AllowVolumeExpansion"),
                    column("Age"),
                ]
            }
        }
        Kind::Build => const { &[NAME, column("Image"), column("Succeeded")] },
        Kind::Image => LATEST,
        Kind::Builder | Kind::ClusterBuilder if version == Version::V1alpha1 => LATEST,
        Kind::Builder | Kind::ClusterBuilder => {
            const { &[NAME, column("LatestImage"), column("Ready"), column("UpToDate")] }
        }
        _ => READY,
    }
}

fn cells(object: &Object, version: Version, now: Timestamp) -> Vec<Value> {
    let name = json!(object.name());
    let age = json!(age(object.creation_timestamp(), now));
    let text = |pointer: &str| json!(object.text(pointer).unwrap_or_default());
    let latest = || object.pointer("/status/latestImage").cloned().unwrap_or_default();
    let condition = |kind: &str| condition(object, kind);
    match object.kind() {
        Kind::Namespace => vec![name, text("/status/phase"), age],
        Kind::Secret => vec![name, text("/type"), json!(size(object, "data")), age],
        Kind::ServiceAccount => {
            let secrets = object.pointer("/secrets").and_then(Value::as_array).map_or(0, Vec::len);
            vec![name, json!(secrets), age]
        }
        Kind::ConfigMap => vec![name, json!(size(object, "data") + size(object, "binaryData")), age],
        Kind::Pod => pod::cells(object, now),
        Kind::Event => event::cells(object, now),
        Kind::PersistentVolumeClaim => claim(object, age),
        Kind::StorageClass => storage_class(object, age),
        Kind::Build => vec![name, latest(), condition("Succeeded")],
        Kind::Image => vec![name, latest(), condition("Ready")],
        Kind::Builder | Kind::ClusterBuilder if version == Version::V1alpha1 => {
            vec![name, latest(), condition("Ready")]
        }
        Kind::Builder | Kind::ClusterBuilder => vec![name, latest(), condition("Ready"), condition("UpToDate")],
        _ => vec![name, condition("Ready")],
    }
}

/// The status of a condition, null when there is none: an empty cell.
fn condition(object: &Object, kind: &str) -> Value {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.get("type") == Some(&json!(kind)));
    found
        .and_then(|condition| condition.get("status"))
        .cloned()
        .unwrap_or_default()
}

fn size(object: &Object, field: &str) -> usize {
    object
        .as_value()
        .get(field)
        .and_then(Value::as_object)
        .map_or(0, serde_json::Map::len)
}

fn claim(object: &Object, age: Value) -> Vec<Value> {
    let text = |pointer: &str| json!(object.text(pointer).unwrap_or_default());
    let unset = |pointer: &str| json!(object.text(pointer).unwrap_or("<unset>"));
    let modes = object.pointer("/status/accessModes").and_then(Value::as_array);
    let modes = modes
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(|mode| match mode {
            "ReadWriteOnce" => "RWO",
            "ReadOnlyMany" => "ROX",
            "ReadWriteMany" => "RWX",
            "ReadWriteOncePod" => "RWOP",
            other => other,
        });
    let status = if object.deletion_timestamp().is_some() {
        json!("Terminating")
    } else {
        text("/status/phase")
    };
    vec![
        json!(object.name()),
        status,
        text("/spec/volumeName"),
        text("/status/capacity/storage"),
        json!(modes.collect::<Vec<_>>().join(",")),
        text("/spec/storageClassName"),
        unset("/spec/volumeAttributesClassName"),
        age,
        unset("/spec/volumeMode"),
    ]
}

fn storage_class(object: &Object, age: Value) -> Vec<Value> {
    let default = object.annotation("storageclass.kubernetes.io/is-default-class") == Some("true");
    let name = if default {
        format!("{} (default)", object.name())
    } else {
        object.name().to_owned()
    };
    let text = |pointer: &str, default: &str| json!(object.text(pointer).unwrap_or(default));
    let expansion = object
        .pointer("/allowVolumeExpansion")
        .and_then(Value::as_bool)
        .unwrap_or_default();
    vec![
        json!(name),
        text("/provisioner", ""),
        text("/reclaimPolicy", "Delete"),
        text("/volumeBindingMode", "Immediate"),
        json!(expansion),
        age,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-05T10:00:17Z".parse().unwrap()
    }

    fn table(object: Object) -> Value {
        let kind = object.kind();
        let table = Table {
            api_version: "meta.k8s.io/v1",
            version: Version::Stored,
            include: Include::Metadata,
            now: now(),
        };
        table.of(kind, vec![object], json!({}), true).unwrap()
    }

    #[test]
    fn each_kind_has_as_many_cells_as_columns() {
        for kind in Kind::all() {
            for version in [Version::Stored, Version::V1alpha1] {
                let object = Object::new(kind, None, "x");
                assert_eq!(
                    cells(&object, version, now()).len(),
                    columns(kind, version).len(),
                    "{kind}"
                );
            }
        }
    }

    #[test]
    fn a_namespace_shows_status_and_age() {
        let mut namespace = Object::new(Kind::Namespace, None, "web");
        namespace.set("status", json!({"phase": "Active"}));
        namespace
            .metadata_mut()
            .insert("creationTimestamp".to_owned(), json!("2026-01-05T10:00:00Z"));
        let table = table(namespace);
        assert_eq!(table["rows"][0]["cells"], json!(["web", "Active", "17s"]));
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    }

    #[test]
    fn an_image_without_status_has_empty_cells() {
        assert_eq!(
            table(Object::new(Kind::Image, Some("web"), "shop"))["rows"][0]["cells"],
            json!(["shop", null, null])
        );
    }
}
