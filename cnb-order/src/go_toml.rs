//! TOML text exactly as the reference lifecycle's encoder writes it.

use std::fmt::Write as _;

use toml::value::Datetime;
use toml::{Table, Value};

/// A value to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum TomlValue {
    /// A string.
    Text(String),
    /// A string written with JSON escapes, as the reference does for `command` in metadata.toml.
    JsonText(String),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Flag(bool),
    /// A date, a time, or both.
    Datetime(Datetime),
    /// A list; written as `[[tables]]` when all its elements are tables and it is not empty.
    List(Vec<TomlValue>),
    /// A table.
    Table(TomlTable),
}

impl From<&Value> for TomlValue {
    fn from(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.clone()),
            Value::Integer(number) => Self::Integer(*number),
            Value::Float(number) => Self::Float(*number),
            Value::Boolean(flag) => Self::Flag(*flag),
            Value::Datetime(time) => Self::Datetime(*time),
            Value::Array(list) => Self::List(list.iter().map(Self::from).collect()),
            Value::Table(table) => Self::Table(TomlTable::from(table)),
        }
    }
}

/// A table to be written: fields in the order they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TomlTable(Vec<(String, TomlValue)>);

impl From<&Table> for TomlTable {
    /// Takes a free-form table; its keys come in byte order.
    fn from(table: &Table) -> Self {
        let mut fields: Vec<_> = table
            .iter()
            .map(|(key, value)| (key.clone(), TomlValue::from(value)))
            .collect();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(fields)
    }
}

impl TomlTable {
    /// Makes an empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, key: &str, value: TomlValue) -> Self {
        self.0.push((key.to_owned(), value));
        self
    }

    /// Adds a string.
    #[must_use]
    pub fn text(self, key: &str, text: &str) -> Self {
        self.with(key, TomlValue::Text(text.to_owned()))
    }

    /// Adds a string unless it is empty.
    #[must_use]
    pub fn text_if(self, key: &str, text: &str) -> Self {
        if text.is_empty() { self } else { self.text(key, text) }
    }

    /// Adds a boolean.
    #[must_use]
    pub fn flag(self, key: &str, flag: bool) -> Self {
        self.with(key, TomlValue::Flag(flag))
    }

    /// Adds a boolean if it is true.
    #[must_use]
    pub fn flag_if(self, key: &str, flag: bool) -> Self {
        if flag { self.flag(key, true) } else { self }
    }

    /// Adds a list of strings.
    #[must_use]
    pub fn texts<T: AsRef<str>>(self, key: &str, texts: &[T]) -> Self {
        self.with(
            key,
            TomlValue::List(
                texts
                    .iter()
                    .map(|text| TomlValue::Text(text.as_ref().to_owned()))
                    .collect(),
            ),
        )
    }

    /// Adds a list of tables.
    #[must_use]
    pub fn tables(self, key: &str, tables: impl IntoIterator<Item = TomlTable>) -> Self {
        self.with(key, TomlValue::List(tables.into_iter().map(TomlValue::Table).collect()))
    }

    /// Adds a free-form table if there is one.
    #[must_use]
    pub fn free(self, key: &str, table: Option<&Table>) -> Self {
        match table {
            Some(table) => self.with(key, TomlValue::Table(TomlTable::from(table))),
            None => self,
        }
    }

    /// Says whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes a document: within each table first the plain fields, then the sub-tables, indented by two spaces a level.
///
/// An empty table gives an empty text.
///
/// ```
/// use cnb_order::{go_toml, TomlTable};
/// let text = go_toml(&TomlTable::new().tables("group", [TomlTable::new().text("id", "a").text("version", "1")]));
/// assert_eq!(text, "[[group]]\n  id = \"a\"\n  version = \"1\"\n");
/// ```
pub fn go_toml(document: &TomlTable) -> String {
    let mut writer = Writer { out: String::new() };
    writer.fields(&mut Vec::new(), document);
    writer.out
}

struct Writer {
    out: String,
}

impl Writer {
    fn fields(&mut self, path: &mut Vec<String>, table: &TomlTable) {
        for (key, value) in table.0.iter().filter(|(_, value)| !is_sub(value)) {
            self.indent(path.len());
            let _ = write!(self.out, "{} = ", quoted_key(key));
            self.inline(value);
            self.out.push('\n');
        }
        for (key, value) in table.0.iter().filter(|(_, value)| is_sub(value)) {
            path.push(quoted_key(key));
            match value {
                TomlValue::Table(sub) => {
                    if path.len() == 1 {
                        self.blank();
                    }
                    self.header(path, "[", "]");
                    self.fields(path, sub);
                }
                TomlValue::List(list) => {
                    for item in list {
                        self.blank();
                        self.header(path, "[[", "]]");
                        if let TomlValue::Table(sub) = item {
                            self.fields(path, sub);
                        }
                    }
                }
                _ => {}
            }
            path.pop();
        }
    }

    fn blank(&mut self) {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
    }

    fn indent(&mut self, depth: usize) {
        for _ in 0..depth {
            self.out.push_str("  ");
        }
    }

    fn header(&mut self, path: &[String], open: &str, close: &str) {
        self.indent(path.len() - 1);
        let _ = writeln!(self.out, "{open}{}{close}", path.join("."));
    }

    fn inline(&mut self, value: &TomlValue) {
        match value {
            TomlValue::Text(text) => self.out.push_str(&quoted(text)),
            TomlValue::JsonText(text) => self
                .out
                .push_str(&crate::go_json(&serde_json::Value::String(text.clone()))),
            TomlValue::Integer(number) => {
                let _ = write!(self.out, "{number}");
            }
            TomlValue::Float(number) => self.out.push_str(&float(*number)),
            TomlValue::Flag(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            TomlValue::Datetime(time) => {
                let _ = write!(self.out, "{time}");
            }
            TomlValue::List(list) => {
                self.out.push('[');
                for (at, item) in list.iter().enumerate() {
                    if at > 0 {
                        self.out.push_str(", ");
                    }
                    self.inline(item);
                }
                self.out.push(']');
            }
            TomlValue::Table(table) => {
                self.out.push('{');
                let plain = table.0.iter().filter(|(_, item)| !is_sub(item));
                let sub = table.0.iter().filter(|(_, item)| is_sub(item));
                for (at, (key, item)) in plain.chain(sub).enumerate() {
                    if at > 0 {
                        self.out.push_str(", ");
                    }
                    let _ = write!(self.out, "{} = ", quoted_key(key));
                    self.inline(item);
                }
                self.out.push('}');
            }
        }
    }
}

fn is_sub(value: &TomlValue) -> bool {
    match value {
        TomlValue::Table(_) => true,
        TomlValue::List(list) => !list.is_empty() && list.iter().all(|item| matches!(item, TomlValue::Table(_))),
        _ => false,
    }
}

fn quoted_key(key: &str) -> String {
    let bare = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if bare { key.to_owned() } else { quoted(key) }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Writes a float as TOML wants it: always with a fraction or an exponent.
fn float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number.is_nan() {
        return if number.is_sign_negative() { "-nan" } else { "nan" }.to_owned();
    }
    let text = go_float(number);
    if text.contains(['.', 'e']) { text } else { text + ".0" }
}

/// Writes a float as Go's `%v` does: the shortest text that reads back as the same number, with an exponent below 1e-4 and
/// from a million on.
///
/// ```
/// assert_eq!(cnb_order::go_float(1.5), "1.5");
/// assert_eq!(cnb_order::go_float(1_000_000.0), "1e+06");
/// ```
pub fn go_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let (digits, exponent) = shortest(number);
    if number != 0.0 && !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    plain(number)
}

/// Writes the fewest digits that read back as the same number, without an exponent.
pub(crate) fn plain(number: f64) -> String {
    let (digits, exponent) = shortest(number);
    let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
    match usize::try_from(exponent) {
        // All digits stand before the point, perhaps with zeros behind them.
        Ok(exponent) if exponent >= places => {
            let zeros = "0".repeat(exponent - places);
            format!("{}{zeros}", digits.replace('.', ""))
        }
        Ok(exponent) => format!("{number:.*}", places - exponent),
        Err(_) => format!("{number}"),
    }
}

/// Returns the fewest digits that read back as the same number, as `1.25`, and the exponent.
///
/// Where two such texts are as close to the number, Go takes the one whose last digit is even.
pub(crate) fn shortest(number: f64) -> (String, i32) {
    let text = format!("{number:e}");
    let (digits, _) = text.split_once('e').unwrap_or((&text, "0"));
    let places = digits.split_once('.').map_or(0, |(_, places)| places.len());
    let closest = format!("{number:.places$e}");
    let text = if closest.parse() == Ok(number) { closest } else { text };
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (digits.to_owned(), exponent.parse().unwrap_or(0))
}
