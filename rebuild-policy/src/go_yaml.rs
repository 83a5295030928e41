//! YAML text as Go's writer gives it.

use serde_json::Value;

/// Lines are folded at the first blank beyond this column.
const WIDTH: usize = 80;

/// Writes a value as block YAML with sorted keys, in the form that Kubernetes' clients write it.
///
/// # Examples
/// ```
/// let value = serde_json::json!({"b": [{"c": "1"}], "a": {}});
/// assert_eq!(rebuild_policy::go_yaml(&value), "a: {}\nb:\n- c: \"1\"\n");
/// ```
pub fn go_yaml(value: &Value) -> String {
    let mut text = String::new();
    write_block(value, 0, &mut text);
    text
}

fn write_block(value: &Value, indent: usize, text: &mut String) {
    let blanks = " ".repeat(indent);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            for key in keys {
                // A key is never folded and stands in one line.
                let style = match Style::of(key) {
                    Style::Literal => Style::Double,
                    style => style,
                };
                text.push_str(&blanks);
                write_line(key, style, None, text);
                text.push(':');
                write_value(&map[key], indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut inner = String::new();
                write_block(item, indent + 2, &mut inner);
                // The first line of the item stands behind the dash.
                text.push_str(&format!("{blanks}- {}", inner.trim_start_matches(' ')));
            }
        }
        other => {
            text.push_str(&blanks);
            write_inline(other, indent, text);
        }
    }
}

fn write_value(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            write_block(value, indent + 2, text);
        }
        // Lists stand in the column of their key.
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            write_block(value, indent, text);
        }
        other => {
            text.push(' ');
            write_inline(other, indent + 2, text);
        }
    }
}

/// Writes what follows on the line of a key or dash, and ends the line; `indent` is the column of further lines.
fn write_inline(value: &Value, indent: usize, text: &mut String) {
    match value {
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        Value::String(string) => match Style::of(string) {
            Style::Literal => write_literal(string, indent, text),
            style => write_line(string, style, Some(indent), text),
        },
        other => text.push_str(&other.to_string()),
    }
    text.push('\n');
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    /// A block of lines.
    Literal,
}

impl Style {
    fn of(text: &str) -> Self {
        let has_break = text.contains('\n');
        if !text.chars().all(|c| c == '\n' || is_printable(c))
            || text.contains(" \n")
            || has_break && text.ends_with(' ')
        {
            return Self::Double;
        }
        if has_break {
            return Self::Literal;
        }
        if means_something_else(text) {
            return Self::Double;
        }
        if has_indicator(text) || text.starts_with(' ') || text.ends_with(' ') {
            return Self::Single;
        }
        Self::Plain
    }
}

/// Whether a character stands for itself. Go's writer knows those of the first 65,536 only.
fn is_printable(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Whether a character of `text` would mean something to a reader of YAML.
fn has_indicator(text: &str) -> bool {
    let bare = |mark| text == mark || text.starts_with(&format!("{mark} "));
    text.starts_with(|first| "#,[]{}&*!|>'\"%@`".contains(first))
        || ["-", "?", ":"].into_iter().any(bare)
        || text.starts_with("---")
        || text.starts_with("...")
        || text.contains(": ")
        || text.ends_with(':')
        || text.contains(" #")
        || text.contains(['\u{2028}', '\u{2029}'])
}

fn write_literal(string: &str, indent: usize, text: &mut String) {
    let (body, chomping) = match string.strip_suffix('\n') {
        Some(body) if body.is_empty() || body.ends_with('\n') => (body, "+"),
        Some(body) => (body, ""),
        None => (string, "-"),
    };
    // Without it the indentation of the block would be taken from the first line.
    let hint = if string.starts_with([' ', '\n']) { "2" } else { "" };
    text.push_str(&format!("|{hint}{chomping}"));
    for line in body.split('\n') {
        text.push('\n');
        if !line.is_empty() {
            text.push_str(&" ".repeat(indent));
            text.push_str(line);
        }
    }
}

/// Writes text in quotes or none, folded to lines that begin at `indent` unless that is `None`.
fn write_line(string: &str, style: Style, indent: Option<usize>, text: &mut String) {
    let quote = match style {
        Style::Single => "'",
        Style::Double => "\"",
        Style::Plain | Style::Literal => "",
    };
    let line_start = text.rfind('\n').map_or(0, |at| at + 1);
    let mut column = text[line_start..].chars().count() + quote.len();
    text.push_str(quote);
    let mut before = None;
    let mut rest = string.chars().peekable();
    while let Some(character) = rest.next() {
        let next = rest.peek().copied();
        // The first of several blanks is where a line may end; only double quotes can keep the others behind it.
        let is_place = character == ' '
            && before != Some(' ')
            && next.is_some()
            && (quote.is_empty() || before.is_some())
            && (next != Some(' ') || style == Style::Double);
        if let Some(indent) = indent.filter(|_| is_place && column > WIDTH) {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
            if next == Some(' ') {
                text.push('\\');
                column += 1;
            }
        } else {
            let written = match (style, character) {
                (Style::Single, '\'') => "''".to_owned(),
                (Style::Double, character) => escaped(character),
                (_, character) => character.to_string(),
            };
            column += written.chars().count();
            text.push_str(&written);
        }
        before = Some(character);
    }
    text.push_str(quote);
}

/// Returns a character as double quotes have it.
fn escaped(character: char) -> String {
    let short = match character {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' | '\\' => character,
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ if is_printable(character) => return character.to_string(),
        _ => {
            return match u32::from(character) {
                code @ 0..=0xff => format!("\\x{code:02X}"),
                code @ 0x100..=0xffff => format!("\\u{code:04X}"),
                code => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{short}")
}

/// Whether plain `text` would be read as a number, a boolean, a time, null or nothing.
fn means_something_else(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    const FLOATS: [&str; 2] = [".inf", ".nan"];
    let is_one_of = |words: &[&str], text: &str| {
        words.iter().any(|word| {
            // Lower case, upper case or a capital: no other mixture counts.
            let letters = word.trim_start_matches('.');
            let capital = word.replacen(letters, &(letters[..1].to_uppercase() + &letters[1..]), 1);
            text == *word || text == word.to_uppercase() || text == capital
        })
    };
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    text.is_empty()
        || text == "~"
        || is_one_of(&WORDS, text)
        || is_one_of(&FLOATS, text)
        || text == ".NaN"
        || is_one_of(&FLOATS[..1], unsigned)
        || is_number(text)
        || is_sexagesimal(unsigned)
        || is_time(text)
}

/// Whether `text` is a whole number, perhaps with the prefix of a base, or one with a fraction.
fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return false;
    }
    let plain = text.replace('_', "");
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let radix = match unsigned.get(..2) {
        Some("0x" | "0X") => Some(16),
        Some("0o" | "0O") => Some(8),
        Some("0b" | "0B") => Some(2),
        _ => None,
    };
    if let Some(radix) = radix {
        let digits = &unsigned[2..];
        let most = if plain.starts_with('-') { 1 << 63 } else { u64::MAX };
        return digits.starts_with(|c: char| c.is_digit(radix))
            && u64::from_str_radix(digits, radix).is_ok_and(|number| number <= most);
    }
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok_and(f64::is_finite)
}

/// Whether `text` is a number in base 60, such as `12:30`.
fn is_sexagesimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut parts = whole.split(':');
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let first = parts.next().unwrap_or_default();
    let mut count = 0;
    first.starts_with(|c: char| c.is_ascii_digit())
        && is_digits(first)
        && is_digits(fraction)
        && parts
            .inspect(|_| count += 1)
            .all(|part| number_up_to(part, 59).is_some())
        && count > 0
}

/// Reads one or two digits.
fn number_up_to(text: &str, most: u8) -> Option<u8> {
    let is_short = matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| is_short && *number <= most)
}

/// Whether `text` is a date, such as `2026-1-5`, or one with a time of day.
fn is_time(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(&text[at..])),
        None => (text, None),
    };
    is_date(date).unwrap_or(false) && time.is_none_or(|time| is_time_of_day(time).unwrap_or(false))
}

fn is_date(text: &str) -> Option<bool> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 || !year.bytes().all(|b| b.is_ascii_digit()) || parts.next().is_some() {
        return None;
    }
    let (month, day) = (number_up_to(month, 12)?, number_up_to(day, 31)?);
    let year = year.parse().ok()?;
    Some(jiff::civil::Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).is_ok())
}

/// `T10:00:00Z`, `t10:00:00.5+01:00` or ` 10:00:00`.
fn is_time_of_day(text: &str) -> Option<bool> {
    let (has_zone, text) = match text.strip_prefix(' ') {
        Some(text) => (false, text),
        None => (true, &text[1..]),
    };
    let text = if !has_zone {
        text
    } else if let Some(text) = text.strip_suffix('Z') {
        text
    } else {
        let at = text.rfind(['+', '-'])?;
        let (hours, minutes) = text[at + 1..].split_once(':')?;
        if hours.len() != 2 || minutes.len() != 2 {
            return None;
        }
        number_up_to(hours, 24)?;
        number_up_to(minutes, 60)?;
        &text[..at]
    };
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    number_up_to(parts.next()?, 23)?;
    number_up_to(parts.next()?, 59)?;
    number_up_to(parts.next()?, 59)?;
    Some(parts.next().is_none() && !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let yaml = go_yaml(&json!({"a": {"b": {"k000": text}}}));
        let written = yaml
            .strip_prefix("a:\n  b:\n    k000: ")
            .and_then(|yaml| yaml.strip_suffix('\n'));
        assert_eq!(written, Some(expected), "{text:?}");
    }

    #[test]
    fn text_that_would_be_read_as_something_else_is_in_double_quotes() {
        for text in [
            "",
            "~",
            "null",
            "Null",
            "true",
            "TRUE",
            "y",
            "Y",
            "n",
            "yes",
            "Yes",
            "on",
            "off",
            ".inf",
            ".Inf",
            "+.inf",
            "-.INF",
            ".NaN",
            "2026-1-5",
            "2026-01-05",
            "2026-01-05T10:00:00Z",
            "2026-01-05 10:00:00",
            "12:30",
            "190:20:30",
            "190:20:30.15",
            "-12:30",
            "1:2",
            "1:59:59.5",
            "2026-01-05T1:2:3Z",
            "2026-01-05t10:00:00.5+01:00",
            ".NAN",
            "0x1F",
            "0X1F",
            "09",
            "0_9",
            "+.5",
            "0.5e-3",
            "0o17",
            "017",
            "0b11",
            "-0b1",
            "+0x1",
            "1_000",
            "1__0",
            "1e3",
            "12e03",
            "1.5",
            "1.",
            ".5",
            "-1",
            "+1",
        ] {
            check(text, &format!("\"{text}\""));
        }
        for text in [
            "inf",
            "NaN",
            "nULL",
            "tRue",
            "yEs",
            "=",
            "<<",
            "1e",
            "0x",
            "_1",
            "1:60",
            "0.1.2",
            "1,000",
            ".",
            "..",
            "2026-13-45",
            "2026-02-30",
            "2026-01-05T10:00:00",
            "2026-01-05 10:00:00Z",
            "1e999",
            "-0xFFFFFFFFFFFFFFFF",
            "0b12",
            "+.",
            "+.nan",
            ".nAN",
            "-a",
            "?a",
            ":a",
            "a:b",
            "a#b",
            "a - b",
            "a  b",
            "a'b",
            "a\\b",
            "é",
        ] {
            check(text, text);
        }
    }

    #[test]
    fn text_that_yaml_would_take_apart_is_in_single_quotes() {
        for text in [
            "---", "--- a", "---a", "...", "-", "- a", "?", "? a", ":", ": a", "a: b", "a:", "a: ", "a #b", "#a", ",a",
            "[a", "]a", "{a", "}a", "&a", "*a", "!a", "|a", ">a", "\"a", "%a", "@a", "`a", " a", "a ", " ", "  ",
        ] {
            check(text, &format!("'{text}'"));
        }
        check("'a", "'''a'");
    }

    #[test]
    fn lines_are_a_block_unless_a_character_or_a_blank_before_a_break_forbids_it() {
        for (text, expected) in [
            ("line1\n\nline2", "|-\n      line1\n\n      line2"),
            ("a\n", "|\n      a"),
            ("a\n\n", "|+\n      a\n"),
            ("\n", "|2+\n"),
            ("\n\n", "|2+\n\n"),
            ("\na", "|2-\n\n      a"),
            (" a\nb", "|2-\n       a\n      b"),
            ("a\n b", "|-\n      a\n       b"),
            ("a:\n#b", "|-\n      a:\n      #b"),
            ("a\tb\nc", r#""a\tb\nc""#),
            ("a \nb", r#""a \nb""#),
            ("a\n ", r#""a\n ""#),
            (" \n", r#"" \n""#),
            ("a\r\nb", r#""a\r\nb""#),
            ("a😀\nb", r#""a\U0001F600\nb""#),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn characters_that_are_not_printable_or_beyond_the_basic_plane_are_escaped() {
        for (text, expected) in [
            ("😀", r#""\U0001F600""#),
            ("a\tb'c", r#""a\tb'c""#),
            ("a\u{0}\u{7}\u{1b}\"\\", r#""a\0\a\e\"\\""#),
            ("\u{1}\u{7f}\u{ffff}", r#""\x01\x7F\uFFFF""#),
        ] {
            check(text, expected);
        }
    }

    #[test]
    fn text_is_folded_at_the_first_blank_beyond_column_80() {
        let seventy = "0123456 ".repeat(8) + "012345";
        check(&format!("{seventy} 7 b c  d"), &format!("{seventy} 7\n      b c  d"));
        check(&format!("{seventy} 78  b  c"), &format!("{seventy} 78  b  c"));
        check(&format!("'{seventy} b c"), &format!("'''{seventy}\n      b c'"));
        check(&format!("'{seventy} 78 b "), &format!("'''{seventy}\n      78 b '"));
        check(&format!("\t{seventy} b c"), &format!("\"\\t{seventy}\n      b c\""));
        check(
            &format!("{} b c", "x".repeat(90)),
            &format!("{}\n      b c", "x".repeat(90)),
        );
        check(&format!("{seventy} 7   "), &format!("'{seventy}\n      7   '"));
    }

    proptest! {
        #[test]
        fn it_reads_back_as_the_same_text(text in "[ -~\\n\\t'\":#é😀-]{0,120}") {
            let value = json!({"list": [{"a": text.clone()}, text.clone()], "k": text});
            let back: Value = serde_saphyr::from_str(&go_yaml(&value)).expect("it is YAML");
            prop_assert_eq!(back, value);
        }
    }
}
