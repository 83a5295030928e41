//! Pages of the documentation whose second part a test keeps.

use std::{env, fs, path::Path};

/// Fails when the page says otherwise after `marker`; with `UPDATE_PAGES` in the environment it is written.
pub(crate) fn assert_page(page: &str, marker: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let known = fs::read_to_string(&file).unwrap_or_default();
    let (head, rest) = known
        .split_once(marker)
        .unwrap_or_else(|| panic!("{page} has no line {marker:?}"));
    if env::var_os("UPDATE_PAGES").is_some() {
        fs::write(&file, format!("{head}{marker}{text}")).expect("it is written");
    } else {
        assert!(
            rest == text,
            "{page} says otherwise than\n{text}\nset UPDATE_PAGES=1 to write it"
        );
    }
}
