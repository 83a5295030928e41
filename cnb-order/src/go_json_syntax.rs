//! What Go says of text that is not JSON.

/// Returns the message of Go's `encoding/json` for text that is not JSON, or `None` when it is.
///
/// Only the syntax counts: nothing is said of types, nesting or surrogates. Takes time in proportion to the text.
///
/// ```
/// assert_eq!(cnb_order::go_json_problem("{}"), None);
/// assert_eq!(cnb_order::go_json_problem("{").unwrap(), "unexpected end of JSON input");
/// assert_eq!(
///     cnb_order::go_json_problem("xyz").unwrap(),
///     "invalid character 'x' looking for beginning of value"
/// );
/// ```
pub fn go_json_problem(text: &str) -> Option<String> {
    // Go finishes a text with a blank, which some places do not take: those it names with a character.
    let text = format!("{text} ");
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
    };
    match scanner.document() {
        Ok(()) => None,
        Err(Problem::End) => Some("unexpected end of JSON input".to_owned()),
        Err(Problem::Byte(byte, place)) => Some(format!("invalid character {} {place}", quoted(byte))),
    }
}

/// Where the text stops to be JSON.
enum Problem {
    /// At its end.
    End,
    /// At a byte that may not stand there, and what Go calls the place.
    Byte(u8, String),
}

type Scanned = Result<(), Problem>;

/// What may come next.
#[derive(Clone, Copy)]
enum Next {
    Value,
    /// A value, or the end of an empty array.
    FirstElement,
    Key,
    /// A key, or the end of an empty object.
    FirstKey,
    /// What follows a value.
    After,
}

#[derive(Clone, Copy)]
enum Container {
    Object,
    Array,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn document(&mut self) -> Scanned {
        let mut open: Vec<Container> = Vec::new();
        let mut next = Next::Value;
        loop {
            self.skip_blanks();
            next = match (next, open.last().copied()) {
                (Next::After, None) => {
                    return match self.bytes.get(self.at) {
                        None => Ok(()),
                        Some(byte) => Err(Problem::Byte(*byte, "after top-level value".to_owned())),
                    };
                }
                (Next::After, Some(container)) => self.after(container, &mut open)?,
                (Next::FirstElement, _) if self.take(b"]") => close(&mut open),
                (Next::FirstKey, _) if self.take(b"}") => close(&mut open),
                (Next::Key | Next::FirstKey, _) => {
                    self.expect(b"\"", "looking for beginning of object key string")?;
                    self.string()?;
                    self.skip_blanks();
                    self.expect(b":", "after object key")?;
                    Next::Value
                }
                (Next::Value | Next::FirstElement, _) => self.value(&mut open)?,
            };
        }
    }

    fn after(&mut self, container: Container, open: &mut Vec<Container>) -> Result<Next, Problem> {
        let (end, next, place) = match container {
            Container::Object => (b"}", Next::Key, "after object key:value pair"),
            Container::Array => (b"]", Next::Value, "after array element"),
        };
        if self.take(end) {
            return Ok(close(open));
        }
        self.expect(b",", place)?;
        Ok(next)
    }

    fn value(&mut self, open: &mut Vec<Container>) -> Result<Next, Problem> {
        let place = "looking for beginning of value";
        match self.byte(place, |_| true)? {
            b'{' => {
                open.push(Container::Object);
                return Ok(Next::FirstKey);
            }
            b'[' => {
                open.push(Container::Array);
                return Ok(Next::FirstElement);
            }
            b'"' => self.string()?,
            b't' => self.word("true")?,
            b'f' => self.word("false")?,
            b'n' => self.word("null")?,
            b'-' => {
                let first = self.byte("in numeric literal", |byte| byte.is_ascii_digit())?;
                self.number(first)?;
            }
            first @ b'0'..=b'9' => self.number(first)?,
            byte => return Err(Problem::Byte(byte, place.to_owned())),
        }
        Ok(Next::After)
    }

    /// Reads the rest of a word after its first letter.
    fn word(&mut self, word: &str) -> Scanned {
        for letter in word.bytes().skip(1) {
            let place = format!("in literal {word} (expecting {})", quoted(letter));
            self.expect(&[letter], &place)?;
        }
        Ok(())
    }

    /// Reads the rest of a number after its first digit.
    fn number(&mut self, first: u8) -> Scanned {
        if first != b'0' {
            self.skip_digits();
        }
        if self.take(b".") {
            self.byte("after decimal point in numeric literal", |byte| byte.is_ascii_digit())?;
            self.skip_digits();
        }
        if self.take(b"eE") {
            self.take(b"+-");
            self.byte("in exponent of numeric literal", |byte| byte.is_ascii_digit())?;
            self.skip_digits();
        }
        Ok(())
    }

    /// Reads the rest of a string after its opening quote.
    fn string(&mut self) -> Scanned {
        loop {
            match self.byte("in string literal", |byte| byte >= b' ')? {
                b'"' => return Ok(()),
                b'\\' => {
                    let escape = self.byte("in string escape code", |byte| b"bfnrt\\/\"u".contains(&byte))?;
                    for _ in 0..if escape == b'u' { 4 } else { 0 } {
                        self.byte("in \\u hexadecimal character escape", |byte| byte.is_ascii_hexdigit())?;
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads one byte.
    fn byte(&mut self, place: &str, is_right: impl Fn(u8) -> bool) -> Result<u8, Problem> {
        match self.bytes.get(self.at) {
            None => Err(Problem::End),
            Some(byte) if is_right(*byte) => {
                self.at += 1;
                Ok(*byte)
            }
            Some(byte) => Err(Problem::Byte(*byte, place.to_owned())),
        }
    }

    fn expect(&mut self, any: &[u8], place: &str) -> Scanned {
        self.byte(place, |byte| any.contains(&byte)).map(drop)
    }

    /// Reads one of some bytes, if it is there.
    fn take(&mut self, any: &[u8]) -> bool {
        let is_there = self.bytes.get(self.at).is_some_and(|byte| any.contains(byte));
        self.at += usize::from(is_there);
        is_there
    }

    fn skip_digits(&mut self) {
        while self.take(b"0123456789") {}
    }

    fn skip_blanks(&mut self) {
        while self.take(b" \t\r\n") {}
    }
}

fn close(open: &mut Vec<Container>) -> Next {
    open.pop();
    Next::After
}

/// Returns a byte in single quotes, as Go's messages have it: bytes from 128 on count as characters of Latin-1.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        0x7 => r"'\a'".to_owned(),
        0x8 => r"'\b'".to_owned(),
        0xb => r"'\v'".to_owned(),
        0xc => r"'\f'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0..=0x1f | 0x7f => format!("'\\x{byte:02x}'"),
        0x80..=0xa0 | 0xad => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::go_json_problem;

    #[test]
    fn a_wrong_character_is_named_with_the_place_where_it_stands() {
        for (text, place) in [
            ("xyz", "'x' looking for beginning of value"),
            ("[,]", "',' looking for beginning of value"),
            ("[1,]", "']' looking for beginning of value"),
            ("{a", "'a' looking for beginning of object key string"),
            (r#"{"a":1,}"#, "'}' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "'1' after object key"),
            (r#"{"a":1 "b"}"#, "'\"' after object key:value pair"),
            ("[1 2]", "'2' after array element"),
            ("{} x", "'x' after top-level value"),
            ("01", "'1' after top-level value"),
            ("\"a\nb\"", r"'\n' in string literal"),
            (r#""\x""#, "'x' in string escape code"),
            (r#""\u12g4""#, r"'g' in \u hexadecimal character escape"),
            ("-x", "'x' in numeric literal"),
            ("1.x", "'x' after decimal point in numeric literal"),
            ("1ex", "'x' in exponent of numeric literal"),
            ("trap", "'a' in literal true (expecting 'u')"),
            ("nul.", "'.' in literal null (expecting 'l')"),
            ("'a'", r"'\'' looking for beginning of value"),
            ("é", "'Ã' looking for beginning of value"),
            // In the middle of a word, the end is a blank.
            ("tru", "' ' in literal true (expecting 'e')"),
            ("-", "' ' in numeric literal"),
            ("[1.", "' ' after decimal point in numeric literal"),
            ("1e", "' ' in exponent of numeric literal"),
            ("\"\\", "' ' in string escape code"),
            ("\"\\u1", r"' ' in \u hexadecimal character escape"),
        ] {
            assert_eq!(
                go_json_problem(text),
                Some(format!("invalid character {place}")),
                "{text}"
            );
        }
    }

    #[test]
    fn text_that_ends_too_early_says_so() {
        for text in ["", " ", "{", "[1", "[1,", r#"{"a""#, r#"{"a":"#, "\"a", "\"a "] {
            assert_eq!(
                go_json_problem(text).as_deref(),
                Some("unexpected end of JSON input"),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_parser_on_what_is_json(text in "[\\[\\]{},:\"a01.e+\\- \\\\ntrue]{0,12}") {
            prop_assert_eq!(go_json_problem(&text).is_none(), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
        }
    }
}
