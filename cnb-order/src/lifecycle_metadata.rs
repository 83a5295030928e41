//! The metadata of the previous image in analyzed.toml: read by type, kept in the form in which it is written.

use toml::Table;

use crate::decode::{DecodeError, Fields};
use crate::{TomlTable, TomlValue};

/// Reads the table; what is always written is there, and what no phase knows is not.
pub(crate) fn read(fields: &Fields<'_>) -> Result<TomlTable, DecodeError> {
    let mut all = TomlTable::new();
    if let Some(app) = fields.list("app", sha)? {
        all = all.tables("app", app);
    }
    if let Some(sbom) = fields.table("sbom")? {
        all = all.with("sbom", TomlValue::Table(sha(&sbom)?));
    }
    if let Some(buildpacks) = fields.list("buildpacks", buildpack)? {
        all = all.tables("buildpacks", buildpacks);
    }
    for key in ["config", "launcher", "process-types"] {
        all = all.with(key, part(fields, key, sha)?);
    }
    all = all.with("run-image", part(fields, "run-image", run_image)?);
    if let Some(stack) = fields.table("stack")? {
        let names = part(&stack, "run-image", |image| names(TomlTable::new(), image))?;
        all = all.with("stack", TomlValue::Table(TomlTable::new().with("run-image", names)));
    }
    Ok(all)
}

/// Returns the metadata of no image.
pub(crate) fn none() -> TomlTable {
    read(&Fields::new(&Table::new())).unwrap_or_default()
}

/// Reads a part that is written whether it was there or not.
fn part(
    fields: &Fields<'_>,
    key: &str,
    read: impl Fn(&Fields<'_>) -> Result<TomlTable, DecodeError>,
) -> Result<TomlValue, DecodeError> {
    let found = match fields.table(key)? {
        Some(found) => read(&found)?,
        None => read(&Fields::new(&Table::new()))?,
    };
    Ok(TomlValue::Table(found))
}

fn sha(fields: &Fields<'_>) -> Result<TomlTable, DecodeError> {
    Ok(TomlTable::new().text("sha", &fields.text("sha")?))
}

fn run_image(fields: &Fields<'_>) -> Result<TomlTable, DecodeError> {
    let table = TomlTable::new()
        .text("top-layer", &fields.text("top-layer")?)
        .text("reference", &fields.text("reference")?);
    names(table, fields)
}

fn names(table: TomlTable, fields: &Fields<'_>) -> Result<TomlTable, DecodeError> {
    let table = table.text_if("image", &fields.text("image")?);
    let mirrors = fields.texts("mirrors")?.unwrap_or_default();
    Ok(if mirrors.is_empty() {
        table
    } else {
        table.texts("mirrors", &mirrors)
    })
}

fn buildpack(fields: &Fields<'_>) -> Result<TomlTable, DecodeError> {
    let mut table = TomlTable::new()
        .text("key", &fields.text("key")?)
        .text("version", &fields.text("version")?);
    // A map of layers that is none is dropped.
    if fields.value("layers").is_some_and(toml::Value::is_table)
        && let Some(layers) = fields.table("layers")?
    {
        let mut all = TomlTable::new();
        for name in layers.as_table().keys() {
            if let Some(found) = layers.table(name)? {
                all = all.with(name, TomlValue::Table(layer(&found)?));
            }
        }
        table = table.with("layers", TomlValue::Table(all));
    }
    if let Some(store) = fields.table("store")? {
        let store = TomlTable::new().free("metadata", store.free("metadata").as_ref());
        table = table.with("store", TomlValue::Table(store));
    }
    Ok(table)
}

fn layer(fields: &Fields<'_>) -> Result<TomlTable, DecodeError> {
    let mut table = TomlTable::new().text("sha", &fields.text("sha")?);
    if let Some(data) = fields.value("metadata") {
        table = table.with("metadata", TomlValue::from(data));
    }
    for flag in ["build", "launch", "cache"] {
        table = table.flag(flag, fields.flag(flag)?);
    }
    Ok(table)
}
