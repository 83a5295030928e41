//! Reading TOML the way the reference lifecycle's decoder does.
//!
//! Keys match exactly or else without regard to case, unknown keys are ignored, a wrong type is an error, except that a
//! free-form table that is no table is dropped.

use toml::{Table, Value};

use crate::go_print::go_print;
use crate::toml_reader::{self, Node, Step};

/// Why a TOML file could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The text is not TOML.
    #[error("toml: {message}")]
    Syntax {
        /// What and where (line, column), in one line.
        message: String,
    },
    /// A value has another type than the format says.
    #[error(
        "toml: {}(last key \"{key}\"): incompatible types: TOML value has type {found}; destination has type {wanted}",
        .line.map(|line| format!("line {line} ")).unwrap_or_default()
    )]
    WrongType {
        /// The line of the value, when the text is known.
        line: Option<usize>,
        /// The path of the key, such as `order.group.id`.
        key: String,
        /// The type found.
        found: &'static str,
        /// The type that the format has there.
        wanted: &'static str,
    },
    /// The file breaks a rule of its format.
    #[error("{message}")]
    Invalid {
        /// Which rule, and where.
        message: String,
    },
}

/// Parses `text` as a TOML 1.1 document; a leading byte order mark is skipped.
///
/// As in the reference, tables may be extended where the standard forbids it but only one meaning is possible, and times without
/// seconds get them. Values nested more than 100 deep are refused.
///
/// # Errors
/// [`DecodeError::Syntax`] with the line.
pub fn parse_toml(text: &str) -> Result<Table, DecodeError> {
    toml_reader::read(text)
        .map(Node::into_table)
        .map_err(|broken| DecodeError::Syntax {
            message: broken.to_string(),
        })
}

/// Returns the text of a TOML file, without the mark of UTF-16 that some editors put in front.
///
/// # Errors
/// [`DecodeError::Syntax`] with the line when the bytes are not UTF-8.
pub fn toml_text(bytes: &[u8]) -> Result<&str, DecodeError> {
    let marked = bytes.strip_prefix(b"\xff\xfe").or(bytes.strip_prefix(b"\xfe\xff"));
    let bytes = marked.unwrap_or(bytes);
    if bytes.iter().take(6).any(|byte| *byte == 0) {
        let problem = "files cannot contain NULL bytes; probably using UTF-16; TOML files must be UTF-8";
        return Err(DecodeError::Syntax {
            message: format!("line 1: {problem}"),
        });
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let (text, rest) = bytes.split_at(error.valid_up_to());
        let line = text.split(|byte| *byte == b'\n').count();
        let byte = rest.first().copied().unwrap_or_default();
        DecodeError::Syntax {
            message: format!("line {line}: invalid UTF-8 byte: 0x{byte:02x}"),
        }
    })
}

/// The fields of one table, read by name and type.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    table: &'a Table,
    path: String,
    /// The text that the document was read from, and the way to this table in it: for the lines of messages.
    text: Option<&'a str>,
    steps: Vec<Step>,
}

impl<'a> Fields<'a> {
    /// Reads the fields of a whole document.
    pub fn new(table: &'a Table) -> Self {
        Self {
            table,
            path: String::new(),
            text: None,
            steps: Vec::new(),
        }
    }

    /// Reads the fields of a whole document that was parsed from `text`, so that messages can name lines.
    pub fn of(table: &'a Table, text: &'a str) -> Self {
        Self {
            text: Some(text),
            ..Self::new(table)
        }
    }

    /// Returns the line of the value of `key`, or of an element of it.
    pub fn line_of(&self, key: &str, element: Option<usize>) -> Option<usize> {
        let steps = self.steps_to(key, element)?;
        toml_reader::read(self.text?).ok()?.line_of(&steps)
    }

    fn steps_to(&self, key: &str, element: Option<usize>) -> Option<Vec<Step>> {
        let (written, _) = self.entry(key)?;
        let step = std::iter::once(Step::Field(written.clone()));
        let element = element.map(Step::Element);
        Some(self.steps.iter().cloned().chain(step).chain(element).collect())
    }

    fn entry(&self, key: &str) -> Option<(&'a String, &'a Value)> {
        self.table
            .get_key_value(key)
            .or_else(|| self.table.iter().find(|(have, _)| have.eq_ignore_ascii_case(key)))
    }

    fn below(&self, key: &str, element: Option<usize>, table: &'a Table) -> Self {
        Self {
            table,
            path: self.path_of(key),
            text: self.text,
            steps: self.text.and_then(|_| self.steps_to(key, element)).unwrap_or_default(),
        }
    }

    /// Returns the value of `key`: the exact key, or else the first that differs only by case.
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.entry(key).map(|(_, value)| value)
    }

    /// Returns the path of `key` within the document, for messages.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn wrong(&self, key: &str, value: &Value, wanted: &'static str) -> DecodeError {
        self.wrong_at(key, None, value, wanted)
    }

    fn wrong_at(&self, key: &str, element: Option<usize>, value: &Value, wanted: &'static str) -> DecodeError {
        DecodeError::WrongType {
            line: self.line_of(key, element),
            key: self.path_of(key),
            found: type_name(value),
            wanted,
        }
    }

    /// Reads a string; absent is empty.
    ///
    /// # Errors
    /// When the value is no string.
    pub fn text(&self, key: &str) -> Result<String, DecodeError> {
        match self.value(key) {
            None => Ok(String::new()),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value) => Err(self.wrong(key, value, "string")),
        }
    }

    /// Reads a boolean; absent is false.
    ///
    /// # Errors
    /// When the value is no boolean.
    pub fn flag(&self, key: &str) -> Result<bool, DecodeError> {
        match self.value(key) {
            None => Ok(false),
            Some(Value::Boolean(flag)) => Ok(*flag),
            Some(value) => Err(self.wrong(key, value, "boolean")),
        }
    }

    /// Reads an integer that is not negative.
    ///
    /// # Errors
    /// When the value is no such integer.
    pub fn count(&self, key: &str) -> Result<Option<u64>, DecodeError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => match value.as_integer().and_then(|number| u64::try_from(number).ok()) {
                Some(number) => Ok(Some(number)),
                None => Err(self.wrong(key, value, "integer")),
            },
        }
    }

    /// Reads a list of strings.
    ///
    /// # Errors
    /// When the value is no list, or an element no string.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, DecodeError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(list)) => list
                .iter()
                .enumerate()
                .map(|(at, item)| match item {
                    Value::String(text) => Ok(text.clone()),
                    item => Err(self.wrong_at(key, Some(at), item, "string")),
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Some),
            Some(value) => Err(self.wrong(key, value, "slice")),
        }
    }

    /// Reads the words of a command: a text is the only one, and in a list anything counts, as Go prints it.
    ///
    /// # Errors
    /// When the value is neither.
    pub fn words(&self, key: &str) -> Result<Option<Vec<String>>, DecodeError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::String(word)) => Ok(Some(vec![word.clone()])),
            Some(Value::Array(list)) => Ok(Some(list.iter().map(go_print).collect())),
            Some(value) => Err(DecodeError::Invalid {
                message: format!(
                    "toml: {}(last key \"{}\"): unknown command type {}",
                    self.line_of(key, None)
                        .map(|line| format!("line {line} "))
                        .unwrap_or_default(),
                    self.path_of(key),
                    type_name(value)
                ),
            }),
        }
    }

    /// Reads a table with known fields.
    ///
    /// # Errors
    /// When the value is no table.
    pub fn table(&self, key: &str) -> Result<Option<Fields<'a>>, DecodeError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Table(table)) => Ok(Some(self.below(key, None, table))),
            Some(value) => Err(self.wrong(key, value, "struct")),
        }
    }

    /// Reads a list of tables, each made into a value by `read`.
    ///
    /// # Errors
    /// When the value is no list, an element no table, or `read` fails.
    pub fn list<T>(
        &self,
        key: &str,
        read: impl Fn(&Fields<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(list)) => list
                .iter()
                .enumerate()
                .map(|(at, item)| match item {
                    Value::Table(table) => read(&self.below(key, Some(at), table)),
                    item => Err(self.wrong_at(key, Some(at), item, "struct")),
                })
                .collect::<Result<Vec<_>, _>>()
                .map(Some),
            Some(value) => Err(self.wrong(key, value, "slice")),
        }
    }

    /// Reads a free-form table; anything else is dropped.
    pub fn free(&self, key: &str) -> Option<Table> {
        self.value(key).and_then(Value::as_table).cloned()
    }

    /// Returns the table itself.
    pub fn as_table(&self) -> &'a Table {
        self.table
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Integer(_) => "int64",
        Value::Float(_) => "float64",
        Value::Boolean(_) => "bool",
        Value::Datetime(_) => "time.Time",
        Value::Array(_) => "[]any",
        Value::Table(_) => "map[string]any",
    }
}
