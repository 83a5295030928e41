//! Reads TOML in the dialect of the reference lifecycle's decoder: TOML 1.1, and tables may be extended wherever that
//! is not ambiguous. Knows the line of each value.

mod scalar;
mod tree;

pub(crate) use tree::{Node, Step};

/// How deep values, and how long keys and table names, may be nested.
const DEEPEST: usize = 100;

/// Why a text is not TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub line: usize,
    /// The key that was being read, or the last one read.
    pub key: String,
    pub message: String,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}", self.line)?;
        if !self.key.is_empty() {
            write!(f, " (last key \"{}\")", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Reads a whole document.
pub(crate) fn read(text: &str) -> Result<Node, Broken> {
    let mut reader = Reader {
        rest: text.strip_prefix('\u{feff}').unwrap_or(text),
        line: 1,
        prefix: Vec::new(),
        key: Vec::new(),
    };
    reader.document()
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    /// The table that keys belong to.
    prefix: Vec<String>,
    /// The key being read, for messages.
    key: Vec<String>,
}

impl<'a> Reader<'a> {
    fn broken(&self, message: impl Into<String>) -> Broken {
        let key = self.prefix.iter().chain(&self.key);
        Broken {
            line: self.line,
            key: key.map(String::as_str).collect::<Vec<_>>().join("."),
            message: message.into(),
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes the next character, whatever it is.
    fn bump(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next()?;
        self.rest = chars.as_str();
        if next == '\n' {
            self.line += 1;
        }
        Some(next)
    }

    fn eat(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Takes characters as long as they fit; none of them may be a newline.
    fn take(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn blanks(&mut self) {
        self.take(|c| matches!(c, ' ' | '\t'));
    }

    fn newline(&mut self) -> bool {
        let found = self.eat("\n") || self.eat("\r\n");
        self.line += usize::from(found);
        found
    }

    /// Names what comes next, for messages.
    fn next_word(&self) -> String {
        match self.peek() {
            None => "end of file".to_owned(),
            Some('\n') => "'\\n'".to_owned(),
            Some(next) => {
                let word: String = self
                    .rest
                    .chars()
                    .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '+'))
                    .take(30)
                    .collect();
                match word.len() {
                    0 | 1 => format!("'{}'", shown(next)),
                    _ => format!("\"{word}\""),
                }
            }
        }
    }

    fn comment(&mut self) -> Result<(), Broken> {
        if self.eat("#") {
            self.take(|c| !is_control(c));
            if let Some(c) = self.peek().filter(|c| *c != '\n' && !self.rest.starts_with("\r\n")) {
                return Err(self.control(c));
            }
        }
        Ok(())
    }

    fn control(&self, c: char) -> Broken {
        let number = u32::from(c);
        self.broken(format!(
            "TOML files cannot contain control characters: '0x{number:02x}'"
        ))
    }

    /// Skips blanks, comments and newlines.
    fn space(&mut self) -> Result<(), Broken> {
        loop {
            self.blanks();
            self.comment()?;
            if !self.newline() {
                return Ok(());
            }
        }
    }

    fn document(&mut self) -> Result<Node, Broken> {
        let mut root = Node::table(1);
        let mut at: Vec<String> = Vec::new();
        loop {
            self.space()?;
            if self.peek().is_none() {
                return Ok(root);
            }
            if self.rest.starts_with('[') {
                at = self.header(&mut root)?;
            } else {
                self.prefix.clone_from(&at);
                let table = root.current(&at).ok_or_else(|| self.broken("the table is gone"))?;
                self.pair(table)?;
            }
            self.blanks();
            self.comment()?;
            if !self.newline() && self.peek().is_some() {
                let found = self.next_word();
                return Err(match self.peek() {
                    Some(c) if is_control(c) => self.control(c),
                    _ => self.broken(format!(
                        "expected a top-level item to end with a newline, comment, or EOF, but got {found} instead"
                    )),
                });
            }
        }
    }

    /// Reads `[name]` or `[[name]]`, and makes the table.
    fn header(&mut self, root: &mut Node) -> Result<Vec<String>, Broken> {
        self.prefix.clear();
        self.key.clear();
        let line = self.line;
        let list = self.eat("[[");
        let end = if list {
            "]]"
        } else {
            self.eat("[");
            "]"
        };
        self.blanks();
        if self.rest.starts_with(']') {
            return Err(self.broken("unexpected end of table name (table names cannot be empty)"));
        }
        let name = self.key("expected '.' or ']' to end table name, but got")?;
        if !self.eat(end) {
            let found = self.next_word();
            return Err(self.broken(format!(
                "expected '.' or ']' to end table name, but got {found} instead"
            )));
        }
        self.key.clear();
        root.define(&name, list, line).map_err(|message| self.broken(message))?;
        Ok(name)
    }

    /// Reads a key of one or more parts, with the blanks around it.
    fn key(&mut self, expected: &str) -> Result<Vec<String>, Broken> {
        let mut parts = Vec::new();
        loop {
            self.blanks();
            parts.push(self.key_part(parts.is_empty(), expected)?);
            if parts.len() > DEEPEST {
                return Err(self.broken(format!("keys of more than {DEEPEST} parts are not read")));
            }
            self.blanks();
            if !self.eat(".") {
                return Ok(parts);
            }
        }
    }

    fn key_part(&mut self, first: bool, expected: &str) -> Result<String, Broken> {
        match self.peek() {
            Some(quote @ ('"' | '\'')) => {
                self.bump();
                self.string_on_one_line(quote)
            }
            _ => {
                let part = self.take(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
                if !part.is_empty() {
                    return Ok(part.to_owned());
                }
                let found = self.next_word();
                Err(self.broken(match self.peek() {
                    Some('=') if first => "unexpected '=': key name appears blank".to_owned(),
                    Some('.') if first => "unexpected '.': keys cannot start with a '.'".to_owned(),
                    Some('=') => "unexpected '='".to_owned(),
                    _ => format!("{expected} {found} instead"),
                }))
            }
        }
    }

    /// Reads `key = value` into a table.
    fn pair(&mut self, table: &mut Node) -> Result<(), Broken> {
        self.key.clear();
        self.pair_at(table, 0)
    }

    fn pair_at(&mut self, table: &mut Node, depth: usize) -> Result<(), Broken> {
        const EXPECTED: &str = "expected '.' or '=', but got";
        let line = self.line;
        let before = self.key.len();
        let key = self.key(EXPECTED)?;
        if !self.eat("=") {
            if self.peek().is_none() {
                return Err(self.broken("unexpected EOF; expected key separator '='"));
            }
            let found = self.next_word();
            return Err(self.broken(format!("{EXPECTED} {found} instead")));
        }
        self.key.extend(key.iter().cloned());
        self.blanks();
        let value = self.value(depth)?;
        let shown = self.broken("").key;
        table
            .insert(&key, value, line)
            .map_err(|()| self.broken(format!("Key '{shown}' has already been defined.")))?;
        // At the top the key stays, as the last one read.
        if depth > 0 {
            self.key.truncate(before);
        }
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node, Broken> {
        if depth > DEEPEST {
            return Err(self.broken(format!("values nested more than {DEEPEST} deep are not read")));
        }
        let line = self.line;
        match self.peek() {
            Some('[') => self.array(depth, line),
            Some('{') => self.inline_table(depth, line),
            _ => Ok(Node::scalar(self.scalar()?, line)),
        }
    }

    fn array(&mut self, depth: usize, line: usize) -> Result<Node, Broken> {
        self.eat("[");
        let mut items = Vec::new();
        loop {
            self.space()?;
            if self.eat("]") {
                return Ok(Node::array(items, line));
            }
            if self.rest.starts_with(',') {
                return Err(self.broken("unexpected comma"));
            }
            if self.peek().is_none() {
                return Err(self.broken("expected a comma (',') or array terminator (']'), but got end of file"));
            }
            items.push(self.value(depth + 1)?);
            self.space()?;
            if !self.eat(",") && !self.rest.starts_with(']') {
                let found = self.next_word();
                return Err(self.broken(format!(
                    "expected a comma (',') or array terminator (']'), but got {found}"
                )));
            }
        }
    }

    fn inline_table(&mut self, depth: usize, line: usize) -> Result<Node, Broken> {
        self.eat("{");
        let mut table = Node::inline(line);
        loop {
            self.space()?;
            if self.eat("}") {
                return Ok(table);
            }
            if self.peek().is_none() {
                return Err(
                    self.broken("expected a comma or an inline table terminator '}', but got end of file instead")
                );
            }
            self.pair_at(&mut table, depth + 1)?;
            self.space()?;
            if !self.eat(",") && !self.rest.starts_with('}') {
                let found = self.next_word();
                return Err(self.broken(format!(
                    "expected a comma or an inline table terminator '}}', but got {found} instead"
                )));
            }
        }
    }
}

/// Says whether a character is one that TOML has no place for; newlines are judged by the caller.
fn is_control(c: char) -> bool {
    c != '\t' && (c < ' ' || c == '\u{7f}')
}

/// Shows a character as Go does in single quotes: printable ones as they are.
fn shown(c: char) -> String {
    let number = u32::from(c);
    match c {
        '"' => c.to_string(),
        _ if c.is_ascii() => c.escape_default().to_string(),
        _ if !c.escape_debug().to_string().starts_with("\\u") => c.to_string(),
        _ if number > 0xffff => format!("\\U{number:08x}"),
        _ => format!("\\u{number:04x}"),
    }
}
