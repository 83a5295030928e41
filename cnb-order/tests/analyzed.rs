//! analyzed.toml: what is read of it, and what is left when it is written again.

use cnb_order::{Analyzed, Target};

#[test]
fn a_variant_of_the_run_image_counts_only_under_the_key_of_the_reference() {
    let wanted = Target {
        arch: "amd64".to_owned(),
        arch_variant: "v7".to_owned(),
        ..Target::default()
    };
    for (key, fits) in [("variant", true), ("arch-variant", false)] {
        let text = format!("[run-image.target]\nos = 'linux'\narch = 'amd64'\n{key} = 'v8'\n");
        let target = Analyzed::from_toml(&text).expect("it is right").target();
        assert_eq!(target.satisfies(&wanted), fits, "{key}");
    }
}

#[test]
fn the_metadata_of_the_previous_image_is_checked_by_type() {
    for (text, problem) in [
        (
            "[metadata]\nbuildpacks = 'x'\n",
            "line 2 (last key \"metadata.buildpacks\")",
        ),
        (
            "[metadata.run-image]\nreference = 1\n",
            "(last key \"metadata.run-image.reference\")",
        ),
        ("[[metadata.app]]\nsha = 1\n", "(last key \"metadata.app.sha\")"),
        (
            "[metadata.stack]\nrun-image = 1\n",
            "(last key \"metadata.stack.run-image\")",
        ),
        (
            "[[metadata.buildpacks]]\nkey = 1\n",
            "(last key \"metadata.buildpacks.key\")",
        ),
        (
            "[[metadata.buildpacks]]\n[metadata.buildpacks.layers]\nl = 1\n",
            "metadata.buildpacks.layers.l",
        ),
        ("[[metadata.buildpacks]]\nstore = 1\n", "metadata.buildpacks.store"),
    ] {
        let error = Analyzed::from_toml(text).expect_err(text).to_string();
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn analyzed_toml_is_written_with_the_known_keys_only_each_once_and_all_that_are_always_there() {
    let text = "unknown = 1\n[metadata]\nother = 'x'\n[metadata.Config]\nSHA = 'c'\n[metadata.sbom]\n[[metadata.app]]\nold = 1\n\
                [[metadata.buildpacks]]\nkey = 'a'\nLayers = [1]\n[[metadata.buildpacks]]\nkey = 'b'\n\
                [metadata.buildpacks.layers.l]\ndata = 1\nBUILD = true\n";
    let written = "[metadata]\n\n  [[metadata.app]]\n    sha = \"\"\n  [metadata.sbom]\n    sha = \"\"\n\n  \
                   [[metadata.buildpacks]]\n    key = \"a\"\n    version = \"\"\n\n  [[metadata.buildpacks]]\n    key = \"b\"\n    \
                   version = \"\"\n    [metadata.buildpacks.layers]\n      [metadata.buildpacks.layers.l]\n        sha = \"\"\n        \
                   build = true\n        launch = false\n        cache = false\n  [metadata.config]\n    sha = \"c\"\n  \
                   [metadata.launcher]\n    sha = \"\"\n  [metadata.process-types]\n    sha = \"\"\n  [metadata.run-image]\n    \
                   top-layer = \"\"\n    reference = \"\"\n";
    assert_eq!(Analyzed::from_toml(text).expect("it is right").to_toml(), written);
}
