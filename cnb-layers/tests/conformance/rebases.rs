//! Which bases fit an image, and which one it asks for.

use cnb_layers::metadata::labels;
use cnb_layers::phase::{MemoryLog, PlatformApi};
use cnb_layers::rebase::{Misfit, RebaseError, RebaseInputs, check_rebase, rebase};
use cnb_layers::{AllowAll, Compression, Image, MemoryStore, Platform};

use crate::build::{reference, run_image};

const STACK: (&str, &str) = (labels::STACK_ID, "acme");

/// An image for a machine with some labels; `api` is the platform API it was built with, `x` for none.
fn image(api: &str, platform: Platform, labels: &[(&str, &str)]) -> Image {
    let mut image = cnb_layers::BaseImage::new(platform);
    if api != "x" {
        image = image.env("CNB_PLATFORM_API", api);
    }
    for (name, value) in labels {
        image = image.label(*name, *value);
    }
    let store = MemoryStore::new();
    let pushed = image.push(&store, &[reference("registry.example/any")], Compression::default());
    pushed.expect("memory takes all")
}

fn linux() -> Platform {
    Platform::linux_amd64()
}

/// What is said when images of a stack have these mixins.
fn mixins(app: Option<&str>, base: Option<&str>) -> Result<(), String> {
    let made = |mixins: Option<&str>| {
        let mixins = mixins.map(|mixins| (labels::STACK_MIXINS, mixins));
        let labels: Vec<_> = [STACK].into_iter().chain(mixins).collect();
        image("0.11", linux(), &labels)
    };
    let checked = check_rebase(&made(app), &made(base), false);
    checked.map(|_| ()).map_err(|error| error.to_string())
}

// row 11.7/B12
#[test]
fn a_base_may_have_more_mixins_than_needed_and_any_stage_before_their_names() {
    for (app, base) in [
        (None, None),
        (Some("null"), Some("null")),
        (None, Some(r#"["mixin-1"]"#)),
        (Some("null"), Some(r#"["mixin-1"]"#)),
        (Some(r#"["mixin-1", "mixin-2"]"#), Some(r#"["mixin-2", "mixin-1"]"#)),
        (Some(r#"["mixin-1"]"#), Some(r#"["mixin-1", "mixin-2"]"#)),
        (
            Some(r#"["build:mixin-1", "mixin-2"]"#),
            Some(r#"["mixin-1", "run:mixin-2"]"#),
        ),
    ] {
        assert_eq!(mixins(app, base), Ok(()), "{app:?} {base:?}");
    }
}

// rows 11.7/B13 11.7/B14
#[test]
fn a_missing_mixin_is_named_and_so_is_a_list_that_cannot_be_read() {
    let missing = mixins(Some(r#"["mixin-1", "mixin-2"]"#), Some(r#"["mixin-2"]"#));
    assert_eq!(missing, Err("missing required mixin(s): mixin-1".to_owned()));
    let missing = mixins(Some(r#"["mixin-1"]"#), None);
    assert_eq!(missing, Err("missing required mixin(s): mixin-1".to_owned()));
    for (app, base, whose) in [("bad", "[]", "app image"), ("[]", "bad", "run image")] {
        let error = mixins(Some(app), Some(base)).expect_err("it is no JSON");
        let label = "failed to unmarshal context of label 'io.buildpacks.stack.mixins'";
        let problem = "invalid character 'b' looking for beginning of value";
        assert_eq!(error, format!("get {whose} mixins: {label}: {problem}"));
    }
}

/// Machines and distributions that do not serve an application for the other.
fn others() -> Vec<(Platform, Vec<(&'static str, &'static str)>)> {
    let platform = |change: fn(&mut Platform)| {
        let mut platform = linux();
        "v1".clone_into(&mut platform.variant);
        change(&mut platform);
        platform
    };
    let distro = |name, version| vec![STACK, (labels::DISTRO_NAME, name), (labels::DISTRO_VERSION, version)];
    vec![
        (
            platform(|other| "windows".clone_into(&mut other.os)),
            distro("ubuntu", "22.04"),
        ),
        (
            platform(|other| "arm64".clone_into(&mut other.architecture)),
            distro("ubuntu", "22.04"),
        ),
        (
            platform(|other| "v2".clone_into(&mut other.variant)),
            distro("ubuntu", "22.04"),
        ),
        (platform(|_| ()), distro("debian", "22.04")),
        (platform(|_| ()), distro("ubuntu", "24.04")),
    ]
}

fn app(api: &str) -> Image {
    let mut platform = linux();
    "v1".clone_into(&mut platform.variant);
    let distro = [
        STACK,
        (labels::DISTRO_NAME, "ubuntu"),
        (labels::DISTRO_VERSION, "22.04"),
    ];
    image(api, platform, &distro)
}

// row 11.7/B15
#[test]
fn for_an_image_of_an_older_platform_the_machine_does_not_matter() {
    for api in ["x", "0.11"] {
        for (platform, labels) in others() {
            let base = image("x", platform, &labels);
            assert_eq!(check_rebase(&app(api), &base, false), Ok(Vec::new()), "{api}");
        }
    }
}

// row 11.7/B16
#[test]
fn for_an_image_of_an_older_platform_the_stacks_must_be_the_same() {
    for api in ["x", "0.11"] {
        let other = (labels::STACK_ID, "other");
        for (of_app, of_base, expected) in [
            (
                Some(STACK),
                Some(other),
                "incompatible stack: 'other' is not compatible with 'acme'",
            ),
            (Some(STACK), None, "stack not defined on new base image"),
            (None, Some(STACK), "stack not defined on app image"),
        ] {
            let made = |stack: Option<(&str, &str)>| image(api, linux(), &stack.into_iter().collect::<Vec<_>>());
            // Force does not help.
            for force in [false, true] {
                let error = check_rebase(&made(of_app), &made(of_base), force).expect_err("they do not fit");
                assert_eq!(error.to_string(), expected, "{api}");
            }
        }
    }
}

// rows 11.7/B17 11.7/B18
#[test]
fn from_platform_api_0_12_on_the_machine_must_be_the_same_unless_forced() {
    let described = |os: &str, arch: &str, variant: &str, distro: &str, version: &str| {
        format!(
            r#"{{"os":"{os}","arch":"{arch}","arch-variant":"{variant}","distro":{{"name":"{distro}","version":"{version}"}}}}"#
        )
    };
    let ours = described("linux", "amd64", "v1", "ubuntu", "22.04");
    let theirs = [
        described("windows", "amd64", "v1", "ubuntu", "22.04"),
        described("linux", "arm64", "v1", "ubuntu", "22.04"),
        described("linux", "amd64", "v2", "ubuntu", "22.04"),
        described("linux", "amd64", "v1", "debian", "22.04"),
        described("linux", "amd64", "v1", "ubuntu", "24.04"),
    ];
    for ((platform, labels), theirs) in others().into_iter().zip(theirs) {
        let base = image("x", platform, &labels);
        let text =
            format!("unable to satisfy target os/arch constraints; new run image: {theirs}, old run image: {ours}");
        let error = check_rebase(&app("0.12"), &base, false).expect_err("it does not fit");
        assert_eq!(error.to_string(), format!("{text}; please provide -force to override"));
        let warnings = check_rebase(&app("0.12"), &base, true).expect("it is forced");
        assert_eq!(warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), [text]);
    }
}

// row 11.7/B19
#[test]
fn from_platform_api_0_12_on_stacks_do_not_matter() {
    for of_base in [&[(labels::STACK_ID, "other")][..], &[]] {
        let base = image("x", linux(), of_base);
        let fits = |labels: &[(&str, &str)]| check_rebase(&image("0.12", linux(), labels), &base, false);
        assert_eq!(fits(&[STACK]), Ok(Vec::new()));
        assert_eq!(fits(&[]), Ok(Vec::new()));
    }
}

#[test]
fn the_platform_api_of_an_image_may_lack_a_minor_number_but_not_hold_signs() {
    // Another stack on the same machine: an image of an older platform refuses it.
    let base = image("x", linux(), &[(labels::STACK_ID, "other")]);
    for (api, since_0_12) in [
        ("1", true),
        ("1.", true),
        ("12", true),
        ("v0.12", true),
        ("0.012", true),
        ("0", false),
        ("0.", false),
        ("v0.9", false),
    ] {
        let checked = check_rebase(&image(api, linux(), &[STACK]), &base, false);
        assert_eq!(checked.is_ok(), since_0_12, "{api}: {checked:?}");
        assert!(!matches!(checked, Err(Misfit::PlatformApi(_))), "{api}");
    }
    for api in ["+0.12", "0.+9", "-1", ".12", "0.12.1", " 0.12", "99999999999999999999"] {
        let refused = check_rebase(&image(api, linux(), &[STACK]), &base, true);
        assert_eq!(refused, Err(Misfit::PlatformApi(api.to_owned())));
    }
}

/// Rebases an image whose label says `names` about its base; returns the base that it has then, or what is wrong.
fn asked_for(minor: u64, names: &str) -> Result<String, RebaseError> {
    rebased(minor, names, None, true)
}

/// The same with a base that the caller names, by force or without.
fn rebased(minor: u64, names: &str, named: Option<&str>, force: bool) -> Result<String, RebaseError> {
    let (store, app) = (MemoryStore::new(), "registry.example/acme/app:1");
    let push = |image: cnb_layers::BaseImage, name: &str| {
        let pushed = image.push(&store, &[reference(name)], Compression::default());
        pushed.expect("memory takes all")
    };
    let base = || run_image("one").label(STACK.0, STACK.1);
    for name in ["registry.example/acme/run:1", "registry.example/acme/stack-run:1"] {
        push(base(), name);
    }
    let top_layer = push(base(), app).top_layer().expect("it has layers").to_string();
    let metadata = format!(r#"{{"runImage":{{"topLayer":"{top_layer}","reference":"r"{names}}}"#);
    push(base().label(labels::LIFECYCLE_METADATA, metadata), app);
    let inputs = RebaseInputs {
        api: PlatformApi::new(minor).expect("it is known"),
        app,
        names: &[app.to_owned()],
        run_image: named,
        force,
        platform: &linux(),
        wait: &|_| (),
    };
    rebase(&inputs, &store, &store, &AllowAll, &MemoryLog::default())?;
    let image = cnb_layers::ImageSource::image(&store, &reference(app), &linux());
    let image = image.expect("it is readable").expect("it is there");
    let label: serde_json::Value =
        serde_json::from_str(image.label(labels::LIFECYCLE_METADATA).expect("it has one")).expect("it is JSON");
    let pinned = label["runImage"]["reference"].as_str().expect("it is text");
    Ok(pinned.split('@').next().unwrap_or_default().to_owned())
}

// row 11.9/X5
#[test]
fn the_base_asked_for_is_the_run_image_then_that_of_the_stack() {
    let run = r#","image":"registry.example/acme/run:1""#;
    let stack = r#"},"stack":{"runImage":{"image":"registry.example/acme/stack-run:1"}}"#;
    let found = |minor, names: &str| asked_for(minor, names).map_err(|error| error.to_string());
    assert_eq!(
        found(12, &format!("{run}{stack}")),
        Ok("registry.example/acme/run".to_owned())
    );
    assert_eq!(found(12, stack), Ok("registry.example/acme/stack-run".to_owned()));
    assert_eq!(
        found(11, &format!("{run}{stack}")),
        Ok("registry.example/acme/stack-run".to_owned())
    );
    for (minor, names) in [(12, "}".to_owned()), (11, format!("{run}}}"))] {
        let error = asked_for(minor, &names).expect_err("it names none");
        assert!(matches!(error, RebaseError::NoRunImageName), "{error}");
    }
}

#[test]
fn a_base_that_is_a_mirror_is_known_also_where_the_image_is_not_named() {
    let names = r#""image":"","mirrors":["registry.example/acme/run:1"]"#;
    for label in [
        format!(r",{names}}}"),
        format!(r#"}},"stack":{{"runImage":{{{names}}}}}"#),
    ] {
        let found = rebased(12, &label, Some("registry.example/acme/run:1"), false);
        assert_eq!(found.expect("it is known"), "registry.example/acme/run", "{label}");
        let error = rebased(12, &label, Some("registry.example/acme/stack-run:1"), false).expect_err("it is not known");
        assert!(matches!(error, RebaseError::UnknownBase { .. }), "{error}");
    }
}
