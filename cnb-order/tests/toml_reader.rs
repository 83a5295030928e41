//! The TOML reader against the `toml` crate's, and what it says of broken texts.

use cnb_order::{BuildpackDescriptor, Order, TomlTable, go_toml, parse_toml, toml_text};
use proptest::prelude::*;
use toml::value::Offset;
use toml::{Table, Value};

/// Gives times the form that the reader here gives them: with seconds, without a fraction of nothing, `Z` for no offset.
fn complete(value: &mut Value) {
    match value {
        Value::Datetime(datetime) => {
            if let Some(time) = &mut datetime.time {
                time.second.get_or_insert(0);
                time.nanosecond = time.nanosecond.filter(|nanosecond| *nanosecond != 0);
            }
            if datetime.offset == Some(Offset::Custom { minutes: 0 }) {
                datetime.offset = Some(Offset::Z);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(complete),
        Value::Table(table) => table.iter_mut().for_each(|(_, value)| complete(value)),
        _ => {}
    }
}

fn oracle(text: &str) -> Option<Table> {
    let mut value = Value::Table(text.parse().ok()?);
    complete(&mut value);
    value.as_table().cloned()
}

/// Compares by text, since not-a-number is unlike itself.
fn same(a: &Table, b: &Table) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

/// Neither the grammar nor the reference lets a line end between a key, its equals sign and its value; the crate does
/// in inline tables.
fn breaks_a_line_at_an_equals_sign(value: &str) -> bool {
    let ends = |side: &str| side[side.trim_end().len()..].contains('\n');
    let begins = |side: &str| side[..side.len() - side.trim_start().len()].contains('\n');
    value
        .match_indices('=')
        .any(|(at, _)| ends(&value[..at]) || begins(&value[at + 1..]))
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Value::Integer),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Value::Float),
        any::<bool>().prop_map(Value::Boolean),
        "(?s).{0,12}".prop_map(Value::String),
        "[0-9]{4}-0[1-9]-1[0-9](T0[0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|-0[0-9]:30)?)?"
            .prop_map(|text| Value::Datetime(text.parse().expect("a date"))),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::btree_map("[a-z. \"\\PC]{0,4}", inner, 0..4)
                .prop_map(|map| Value::Table(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_the_toml_crate_writes_is_read_as_the_same(map in prop::collection::btree_map("[a-z. \\PC]{0,4}", any_value(), 0..5)) {
        let table: Table = map.into_iter().collect();
        let text = toml::to_string(&table).expect("tables can be written");
        let found = parse_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
        prop_assert!(same(&found, &oracle(&text).expect("it wrote it")), "{text}");
    }

    #[test]
    fn single_values_are_taken_or_refused_as_by_the_toml_crate(
        value in "[-+]?[0-9_]{1,4}(\\.[0-9_]{0,3})?([eE][-+]?[0-9_]{0,2})?|0[xob][0-9a-f_]{0,4}|\"([a-z\\\\\"bux0-9]|\\\\[btnfrexuU\"\\\\])*\"|\
                 [0-9]{2,5}-[0-9]{2}-[0-9]{2}([T ][0-9:.Z+-]{0,14})?|[0-9]{2}:[0-9]{2}(:[0-9]{2})?|'[^']{0,5}'|\
                 \"\"\"[a\"\\\\ \n]{0,6}\"\"\"|[a-z+-]{1,5}|\\[[0-9, \n#]{0,6}\\]|\\{[a-c=0-9, \n.]{0,9}\\}",
    ) {
        let text = format!("a = {value}\n");
        // Leap seconds the reference does not know.
        prop_assume!(!value.contains(":60"));
        prop_assume!(!breaks_a_line_at_an_equals_sign(&value));
        match (parse_toml(&text), oracle(&text)) {
            (Ok(found), Some(expected)) => prop_assert!(same(&found, &expected), "{found:?} {expected:?}"),
            (Ok(found), None) => prop_assert!(false, "{text} is read as {found:?}"),
            (Err(error), Some(_)) => prop_assert!(false, "{text} is refused: {error}"),
            (Err(_), None) => {}
        }
    }

    #[test]
    fn documents_that_the_toml_crate_reads_are_read_as_the_same(
        lines in prop::collection::vec("\\[[a-c](\\.[a-c]){0,2}\\]|\\[\\[[a-c](\\.[a-c]){0,2}\\]\\]|[a-c](\\.[a-c]){0,2} = [0-9]|[a-c] = \\{ [a-c] = 1 \\}|#.{0,3}", 0..8),
        end in "\n|\r\n",
    ) {
        let text = lines.join(&end);
        if let Some(expected) = oracle(&text) {
            let found = parse_toml(&text).map_err(|error| TestCaseError::fail(format!("{error}\n{text}")))?;
            prop_assert!(same(&found, &expected), "{text}\n{found:?}\n{expected:?}");
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "(?s).{0,80}|[\\[\\]{}=.,\"'a1 \n\\\\#-]{0,60}") {
        let _ = parse_toml(&text);
    }
}

#[test]
fn nesting_without_end_is_refused_instead_of_followed() {
    for text in [
        format!("a = {}", "[".repeat(1_000_000)),
        format!("a = {}", "{a=".repeat(1_000_000)),
        format!("{}a = 1", "a.".repeat(1_000_000)),
        format!("[{}a]", "a.".repeat(1_000_000)),
        format!("a = {}1{}", "[".repeat(90), "]".repeat(90)) + "\n[b\n",
    ] {
        assert!(parse_toml(&text).is_err());
    }
    assert!(parse_toml(&format!("a = {}1{}", "[".repeat(90), "]".repeat(90))).is_ok());
}

#[test]
fn no_line_ends_beside_an_equals_sign() {
    for text in [
        "a =\n1\n",
        "a\n= 1\n",
        "a = { b =\n1 }\n",
        "a = { b\n= 1 }\n",
        "a = {0=\n0}\n",
    ] {
        assert!(parse_toml(text).is_err(), "{text}");
    }
}

#[test]
fn messages_name_line_and_key_as_those_of_the_reference() {
    let message = |text: &str| parse_toml(text).expect_err("it is broken").to_string();
    assert_eq!(
        message("\nbad=toml"),
        "toml: line 2 (last key \"bad\"): expected value but found \"toml\" instead"
    );
    assert_eq!(message("a"), "toml: line 1: unexpected EOF; expected key separator '='");
    assert_eq!(
        message("a = 1\n[t]\nx = 1\nx = 2\n"),
        "toml: line 4 (last key \"t.x\"): Key 't.x' has already been defined."
    );
    assert_eq!(
        message("# ok\n\na = 1\u{1}"),
        "toml: line 3 (last key \"a\"): TOML files cannot contain control characters: '0x01'"
    );
}

#[test]
fn a_wrong_type_is_found_on_its_line() {
    let message = |error: cnb_order::DecodeError| error.to_string();
    let error = Order::from_toml("# groups\n[[order]]\ngroup = [\n  { id = 'a', version = '1' },\n  { id = 7 },\n]\n");
    assert_eq!(
        message(error.expect_err("7 is no id")),
        "toml: line 5 (last key \"order.group.id\"): incompatible types: TOML value has type int64; destination has type string"
    );
    let error = BuildpackDescriptor::from_toml(
        "api = '0.12'\n[Buildpack]\nid = 'a'\nexec-env = [\n  'test',\n  { name = 'x' },\n]\n",
        &[],
    );
    assert_eq!(
        message(error.expect_err("a table is no text")),
        "toml: line 6 (last key \"buildpack.exec-env\"): incompatible types: TOML value has type map[string]any; destination \
         has type string"
    );
}

#[test]
fn a_time_is_written_without_needless_zeros_and_with_z_for_no_offset() {
    for (read, written) in [
        ("1979-05-27T07:32:00.000Z", "1979-05-27T07:32:00Z"),
        ("1979-05-27 07:32:00.120000+00:00", "1979-05-27T07:32:00.12Z"),
        ("1979-05-27t07:32:00-00:00", "1979-05-27T07:32:00Z"),
        ("1979-05-27T07:32:00.000000", "1979-05-27T07:32:00"),
        ("1979-05-27T07:32:00.500+01:30", "1979-05-27T07:32:00.5+01:30"),
        ("07:32:00.000", "07:32:00"),
    ] {
        let table = parse_toml(&format!("t = {read}\n")).expect("it is a time");
        assert_eq!(go_toml(&TomlTable::from(&table)), format!("t = {written}\n"));
    }
}

#[test]
fn what_is_not_a_number_keeps_its_sign() {
    let table = parse_toml("a = [nan, +nan, -nan]\n").expect("they are floats");
    assert_eq!(go_toml(&TomlTable::from(&table)), "a = [nan, nan, -nan]\n");
}

#[test]
fn a_mark_of_utf_16_in_front_of_utf_8_is_passed_over() {
    assert_eq!(toml_text(b"\xff\xfea = 1\n"), Ok("a = 1\n"));
    assert_eq!(toml_text(b"\xfe\xffa = 1\n"), Ok("a = 1\n"));
    for utf_16 in [b"\xff\xfea\0\n\0".as_slice(), b"\0a\0\n"] {
        let error = toml_text(utf_16).expect_err("it is UTF-16").to_string();
        assert!(error.contains("probably using UTF-16"), "{error}");
    }
}

/// Where the reader here names another line, key or number: it reads numbers as a whole, and keys in front of lines.
const DIFFERENT: [&str; 13] = [
    "a = 0x\n",
    "a = 0XFF\n",
    "a = 0b12\n",
    "a = 19790-05-27\n",
    "a = 1\na.b = 2\n",
    "[[a]]\nx = 1\n[a.x]\ny = 1\n",
    "a = 1 b = 2\n",
    "[a\n",
    "[a] b\n",
    "a = [1\n",
    "a = {b = 1\n",
    "a = 1\n\0",
    "a = 1\u{85}b = 2\n",
];

#[test]
fn broken_texts_are_described_with_the_words_of_the_reference() {
    let cases = include_str!("fixtures/toml/syntax.jsonl");
    let cases = cases
        .lines()
        .map(|line| line.parse::<serde_json::Value>().expect("JSON"));
    let mut different = Vec::new();
    let mut compared = 0;
    for case in cases {
        let (text, expected) = (&case["text"], &case["expect"]["error"]);
        let (Some(text), Some(expected)) = (text.as_str(), expected.as_str()) else {
            continue;
        };
        if DIFFERENT.contains(&text) {
            continue;
        }
        let found = parse_toml(text).expect_err(text).to_string();
        if found != expected {
            different.push(format!("{text:?}: {found}, not {expected}"));
        }
        compared += 1;
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
    assert!(compared > 50, "{compared}");
}

#[test]
fn a_character_that_is_escaped_is_named_as_it_is_written() {
    let message = |text: &str| parse_toml(text).expect_err("it is broken").to_string();
    assert!(message("a = \"\\U00110000\"").contains("Escaped character '\\U00110000' is not valid UTF-8."));
    assert!(message("a = \"\\é\"").contains("invalid escape in string '\\é'"));
}
