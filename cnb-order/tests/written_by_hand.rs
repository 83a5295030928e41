//! builder.toml and package.toml: what is refused, and that nothing gets lost.

use cnb_order::{
    BuildEnv, BuilderConfig, Distro, Entry, Group, LifecycleSource, ModuleKind, ModuleSource, Order, PackageConfig,
    RunImage, SystemBuildpacks, Target,
};
use proptest::prelude::*;

fn builder_error(text: &str) -> String {
    BuilderConfig::from_toml(text).expect_err("it is wrong").to_string()
}

// row K12
#[test]
fn a_misspelt_key_of_builder_toml_is_named() {
    assert_eq!(
        builder_error("[[buildpacks]]\nurl = 'noop'\n"),
        "unknown configuration element 'buildpacks.url'"
    );
    assert_eq!(
        builder_error("[[buidlpack]]\nuri = 'x'\n"),
        "unknown configuration element 'buidlpack'"
    );
    assert_eq!(
        builder_error("a = 1\n[build]\nimage = 'x'\nb = 2\n"),
        "unknown configuration elements 'a', 'build.b'"
    );
}

// row K13
#[test]
fn a_builder_without_an_order_draws_a_warning() {
    let config = BuilderConfig::from_toml("[build]\nimage = 'b'\n[[run.images]]\nimage = 'r'\n").expect("it is fine");
    assert_eq!(config.warnings(), ["empty 'order' definition"]);
    assert!(config.check().is_ok());
}

// row K14
#[test]
fn a_builder_needs_a_build_image_and_run_images_with_names() {
    let problem = |text: &str| {
        let config = BuilderConfig::from_toml(text).expect("it is TOML");
        config.check().expect_err("something is missing").to_string()
    };
    assert_eq!(problem("[[run.images]]\nimage = 'r'\n"), "build.image is required");
    assert_eq!(problem("[build]\nimage = 'b'\n"), "run.images are required");
    assert_eq!(
        problem("[build]\nimage = 'b'\n[[run.images]]\nmirrors = ['m']\n"),
        "run.images.image is required"
    );
}

#[test]
fn the_stack_fills_what_build_and_run_do_not_say() {
    let text = "[stack]\nid = 's'\nbuild-image = 'b'\nrun-image = 'r'\nrun-image-mirrors = ['m']\n";
    let config = BuilderConfig::from_toml(text).expect("it is fine");
    assert_eq!((config.stack_id.as_str(), config.build_image.as_str()), ("s", "b"));
    assert_eq!(
        config.run_images,
        [RunImage {
            image: "r".into(),
            mirrors: vec!["m".into()]
        }]
    );
    let config = BuilderConfig::from_toml(&format!("{text}[build]\nimage = 'other'\n")).expect("it is fine");
    assert_eq!(config.build_image, "other");
}

#[test]
fn a_variable_that_cannot_be_made_is_named_with_its_line() {
    assert_eq!(
        builder_error("[build]\nimage = 'b'\n[[build.env]]\nname = 'A'\nvalue = 'x'\nsuffix = 'append'\n"),
        "line 4: build.env 'A' with suffix 'append' needs a delim"
    );
    assert!(builder_error("[[build.env]]\nname = 'A'\nsuffix = 'up'\n").contains("unknown suffix 'up'"));
    assert!(builder_error("[[build.env]]\nvalue = 'A'\n").contains("must not be empty"));
}

#[test]
fn a_package_names_one_thing_and_each_dependency_one_place() {
    let error = |text: &str| PackageConfig::from_toml(text).expect_err("it is wrong").to_string();
    assert_eq!(error(""), "missing 'buildpack.uri' or 'extension.uri' configuration");
    assert!(error("[buildpack]\nuri = 'a'\n[extension]\nuri = 'b'\n").contains("only one of"));
    assert_eq!(
        error("[buildpack]\nuri = '.'\n[[dependencies]]\nuri = 'a'\nimage = 'b'\n"),
        "line 4: dependency configured with both 'uri' and 'image'"
    );
    assert_eq!(
        error("[buildpack]\nurl = '.'\n"),
        "unknown configuration element 'buildpack.url'"
    );
    assert!(error("[buildpack]\nuri = '.'\n[platform]\nos = 'plan9'\n").contains("found 'plan9'"));
    assert_eq!(
        error("[buildpack]\nuri = 7\n"),
        "toml: line 2 (last key \"buildpack.uri\"): incompatible types: TOML value has type int64; destination has type string"
    );
    let package = PackageConfig::from_toml("[extension]\nuri = '.'\n").expect("it is fine");
    assert_eq!((package.kind, package.os.as_str()), (ModuleKind::Extension, "linux"));
}

fn word() -> impl Strategy<Value = String> {
    "[a-z/.-]{1,6}|\\PC{1,4}"
}

fn source() -> impl Strategy<Value = ModuleSource> {
    (word(), any::<bool>(), "[a-z]{0,2}", "[0-9.]{0,3}").prop_map(|(place, image, id, version)| ModuleSource {
        uri: if image { String::new() } else { place.clone() },
        image: if image { place } else { String::new() },
        id,
        version,
    })
}

fn target() -> impl Strategy<Value = Target> {
    let distro = (word(), word()).prop_map(|(name, version)| Distro { name, version });
    (word(), word(), "[a-z]{0,2}", prop::collection::vec(distro, 0..2)).prop_map(|(os, arch, arch_variant, distros)| {
        Target {
            os,
            arch,
            arch_variant,
            distros,
        }
    })
}

fn some<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..3)
}

fn config() -> impl Strategy<Value = BuilderConfig> {
    let entry = || (word(), "[0-9.]{0,3}").prop_map(|(id, version)| Entry::new(id, version));
    let optional = (entry(), any::<bool>()).prop_map(|(entry, optional)| Entry { optional, ..entry });
    let group = some(optional).prop_map(|entries| Group { entries });
    let extensions = some(entry().prop_map(Entry::extension)).prop_map(|entries| Group { entries });
    let order = (some(group), some(extensions)).prop_map(|(groups, extensions)| Order { groups, extensions });
    let env = (
        word(),
        word(),
        prop::sample::select(vec!["", "default", "override", "append"]),
        word(),
    )
        .prop_map(|(name, value, suffix, delim)| BuildEnv {
            name,
            value,
            suffix: suffix.to_owned(),
            delim,
        });
    let run = (word(), some(word())).prop_map(|(image, mirrors)| RunImage { image, mirrors });
    let system = (some(entry()), some(entry())).prop_map(|(pre, post)| SystemBuildpacks { pre, post });
    (
        ("\\PC{0,5}", some(source()), some(source()), order, "[a-z]{0,3}"),
        (word(), some(env), some(run), "[a-z]{0,3}", some(target()), system),
    )
        .prop_map(|((description, buildpacks, extensions, order, stack_id), rest)| {
            let (build_image, build_env, run_images, version, targets, system) = rest;
            BuilderConfig {
                description,
                buildpacks,
                extensions,
                order,
                stack_id,
                build_image,
                build_env,
                run_images,
                lifecycle: LifecycleSource {
                    uri: String::new(),
                    version,
                },
                targets,
                system,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn builder_toml_survives_a_round_trip(config in config()) {
        let text = config.to_toml();
        prop_assert_eq!(&BuilderConfig::from_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?, &config, "{}", text);
    }

    #[test]
    fn package_toml_survives_a_round_trip(
        uri in word(), extension in any::<bool>(), dependencies in some(source()), windows in any::<bool>(), targets in some(target()),
    ) {
        let dependencies = dependencies
            .into_iter()
            .map(|source| ModuleSource { id: String::new(), version: String::new(), ..source })
            .collect();
        let package = PackageConfig {
            kind: if extension { ModuleKind::Extension } else { ModuleKind::Buildpack },
            uri,
            dependencies,
            os: if windows { "windows" } else { "linux" }.to_owned(),
            targets,
        };
        let text = package.to_toml();
        prop_assert_eq!(&PackageConfig::from_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?, &package);
    }

    #[test]
    fn no_text_makes_them_panic(text in "(\\[\\[?(build|run|order|system|buildpack|dependencies)(\\.(env|images|group|pre))?\\]?\\]\n|(image|uri|name|suffix|id) = ('x'|1|\\[\\]|\\{\\})\n){0,8}") {
        let _ = BuilderConfig::from_toml(&text);
        let _ = PackageConfig::from_toml(&text);
    }
}
