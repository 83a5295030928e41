//! metadata.toml and layer metadata: what is written is read back as the same; no text makes a reader panic.

use cnb_build::launch::LaunchMetadata;
use cnb_build::{BomEntry, BuildMetadata, BuildToml, Label, LaunchToml, LayerMetadata, Process, Slice};
use cnb_order::{ApiVersion, Entry};
use proptest::prelude::*;

/// Without DEL, which the reference writes into commands as it is, though TOML has no place for it.
fn text() -> impl Strategy<Value = String> {
    "\\PC{0,6}|[\\x00-\\x7e]{0,6}|[a-z/.-]{1,8}"
}

fn some<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..3)
}

fn process() -> impl Strategy<Value = Process> {
    (
        (
            text(),
            some(text()),
            prop::option::of(some(text())),
            any::<bool>(),
            any::<bool>(),
        ),
        (text(), text(), some(text())),
    )
        .prop_map(
            |((kind, command, args, direct, default), (buildpack_id, working_dir, exec_env))| Process {
                kind,
                command,
                args,
                direct,
                default,
                buildpack_id,
                working_dir,
                exec_env,
            },
        )
}

fn metadata() -> impl Strategy<Value = BuildMetadata> {
    let entry = || {
        (text(), text(), text(), text()).prop_map(|(id, version, api, homepage)| Entry {
            api,
            homepage,
            ..Entry::new(id, version)
        })
    };
    let extension = entry().prop_map(|entry| Entry {
        kind: cnb_order::ModuleKind::Extension,
        ..entry
    });
    let bom = (text(), text(), text()).prop_map(|(name, id, version)| BomEntry {
        name,
        buildpack: (id.into(), version.into()),
        ..BomEntry::default()
    });
    let label = (text(), text()).prop_map(|(key, value)| Label { key, value });
    let slice = prop::option::of(some(text())).prop_map(|paths| Slice { paths });
    (
        some(bom),
        some(entry()),
        some(extension),
        some(label),
        prop::option::of(some(process())),
        some(slice),
        text(),
    )
        .prop_map(
            |(bom, buildpacks, extensions, labels, processes, slices, default_process_type)| BuildMetadata {
                bom,
                buildpacks,
                extensions,
                labels,
                processes,
                slices,
                default_process_type,
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn metadata_toml_survives(metadata in metadata()) {
        let text = metadata.to_toml(ApiVersion::new(0, 15));
        let back = BuildMetadata::from_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&back, &metadata, "{}", text);
    }

    #[test]
    fn the_launcher_finds_each_process_in_metadata_toml(metadata in metadata()) {
        let text = metadata.to_toml(ApiVersion::new(0, 15));
        let launch = LaunchMetadata::from_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert_eq!(&launch.processes, &metadata.processes.unwrap_or_default());
    }

    #[test]
    fn no_text_makes_a_reader_panic(text in "(?s).{0,100}|(\\[\\[?(processes|bom|labels|unmet|slices|types|metadata)\\]?\\]\n|(type|command|args|direct|name|launch|key) = ('x'|1|true|\\['a', 1\\]|\\{\\})\n){0,8}") {
        for minor in [7, 8, 9, 12] {
            let _ = LaunchToml::from_toml(&text, ApiVersion::new(0, minor), "a");
        }
        let _ = BuildToml::from_toml(&text);
        let _ = BuildMetadata::from_toml(&text);
        let _ = LaunchMetadata::from_toml(&text);
        if let Ok(layer) = LayerMetadata::from_toml(&text, "layer.toml") {
            prop_assert!(LayerMetadata::from_toml(&layer.to_toml_without_types(), "layer.toml").is_ok());
        }
    }
}
