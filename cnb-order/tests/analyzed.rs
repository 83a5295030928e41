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
