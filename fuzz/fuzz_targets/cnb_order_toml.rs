//! What is read as TOML is written as TOML that reads the same.
#![no_main]

use cnb_order::{TomlTable, go_toml, parse_toml};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(table) = parse_toml(text) {
        let written = go_toml(&TomlTable::from(&table));
        let again = parse_toml(&written).expect("what is written is read");
        // By text, since not-a-number is unlike itself.
        assert_eq!(format!("{table:?}"), format!("{again:?}"));
    }
});
