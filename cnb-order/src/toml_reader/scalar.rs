//! Strings, numbers, booleans, dates and times.

use toml::Value;
use toml::value::{Datetime, Offset};

use super::{Broken, Reader, is_control, shown};

impl Reader<'_> {
    pub(super) fn scalar(&mut self) -> Result<Value, Broken> {
        for (quotes, quote) in [("\"\"\"", '"'), ("'''", '\'')] {
            if self.eat(quotes) {
                return self.string_of_lines(quote).map(Value::String);
            }
        }
        for quote in ['"', '\''] {
            if self.rest.starts_with(quote) {
                self.bump();
                return self.string_on_one_line(quote).map(Value::String);
            }
        }
        self.plain()
    }

    /// Reads the rest of a string behind its opening quote.
    pub(super) fn string_on_one_line(&mut self, quote: char) -> Result<String, Broken> {
        let mut text = String::new();
        loop {
            text.push_str(self.take(|c| c != quote && c != '\\' && !is_control(c)));
            match self.peek() {
                Some(c) if c == quote => {
                    self.bump();
                    return Ok(text);
                }
                Some('\\') if quote == '"' => {
                    self.bump();
                    text.push(self.escape()?);
                }
                Some('\\') => {
                    self.bump();
                    text.push('\\');
                }
                None => return Err(self.broken(format!("unexpected EOF; expected '{quote}'"))),
                Some('\n') => return Err(self.broken("strings cannot contain newlines")),
                Some(c) => return Err(self.control(c)),
            }
        }
    }

    /// Reads the rest of a string behind its three opening quotes.
    fn string_of_lines(&mut self, quote: char) -> Result<String, Broken> {
        let end: String = std::iter::repeat_n(quote, 3).collect();
        let mut text = String::new();
        self.newline();
        loop {
            text.push_str(self.take(|c| c != quote && c != '\\' && !is_control(c)));
            if self.eat(&end) {
                // Up to two more belong to the string.
                for _ in 0..2 {
                    if self.rest.starts_with(quote) {
                        self.bump();
                        text.push(quote);
                    }
                }
                return Ok(text);
            }
            match self.peek() {
                None => return Err(self.broken(format!("unexpected EOF; expected '{end}'"))),
                Some('\\') if quote == '"' => {
                    self.bump();
                    if !self.end_of_line()? {
                        text.push(self.escape()?);
                    }
                }
                Some('\r') if self.rest.starts_with("\r\n") => {
                    self.newline();
                    text.push_str("\r\n");
                }
                Some(c) if c == quote || c == '\n' || c == '\\' => text.extend(self.bump()),
                Some(c) => return Err(self.control(c)),
            }
        }
    }

    /// Behind a backslash: skips the end of the line and all blanks up to the next text, if there is nothing else.
    fn end_of_line(&mut self) -> Result<bool, Broken> {
        let behind = self.rest.trim_start_matches([' ', '\t']);
        if !(behind.starts_with('\n') || behind.starts_with("\r\n")) {
            return match behind.len() == self.rest.len() {
                true => Ok(false),
                false => Err(self.broken("invalid escape: '\\ '")),
            };
        }
        loop {
            self.blanks();
            if !self.newline() {
                return Ok(true);
            }
        }
    }

    fn escape(&mut self) -> Result<char, Broken> {
        let found = self.bump();
        let kind = found.unwrap_or_default();
        let digits = match found {
            Some('b') => return Ok('\u{8}'),
            Some('t') => return Ok('\t'),
            Some('n') => return Ok('\n'),
            Some('f') => return Ok('\u{c}'),
            Some('r') => return Ok('\r'),
            Some('e') => return Ok('\u{1b}'),
            Some('"') => return Ok('"'),
            Some('\\') => return Ok('\\'),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some(c) => return Err(self.broken(format!("invalid escape in string '\\{}'", shown(c)))),
            None => return Err(self.broken("unexpected EOF in an escape")),
        };
        let hex = self
            .rest
            .get(..digits)
            .filter(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let Some(hex) = hex else {
            return Err(self.broken(format!("expected {digits} hexadecimal digits in an escape")));
        };
        self.rest = &self.rest[digits..];
        u32::from_str_radix(hex, 16)
            .ok()
            .and_then(char::from_u32)
            .ok_or_else(|| self.broken(format!("Escaped character '\\{kind}{hex}' is not valid UTF-8.")))
    }

    /// Reads a value without quotes.
    fn plain(&mut self) -> Result<Value, Broken> {
        let found = match self.peek() {
            // Of values even a single letter is a word.
            Some(letter) if letter.is_ascii_alphabetic() => self.next_word().replace('\'', "\""),
            _ => self.next_word(),
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_' | ':');
        let all = self.rest;
        let mut word = self.take(is_part);
        if is_date(word) && self.rest.starts_with(' ') && self.rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
            self.rest = &self.rest[1..];
            let time = self.take(is_part);
            word = &all[..word.len() + 1 + time.len()];
        }
        match word {
            "true" => Ok(Value::Boolean(true)),
            "false" => Ok(Value::Boolean(false)),
            "inf" | "+inf" => Ok(Value::Float(f64::INFINITY)),
            "-inf" => Ok(Value::Float(f64::NEG_INFINITY)),
            "nan" | "+nan" => Ok(Value::Float(f64::NAN.copysign(1.0))),
            "-nan" => Ok(Value::Float(f64::NAN.copysign(-1.0))),
            _ if word.len() > 4 && (word.contains(':') || is_date(word.get(..10).unwrap_or_default())) => {
                self.datetime(word)
            }
            _ => self.number(word, &found),
        }
    }

    fn datetime(&self, word: &str) -> Result<Value, Broken> {
        let invalid = || self.broken(format!("invalid datetime: \"{word}\""));
        let mut datetime: Datetime = word.parse().map_err(|_| invalid())?;
        if let Some(time) = &mut datetime.time {
            // The reference knows no leap seconds.
            if time.second == Some(60) {
                return Err(invalid());
            }
            time.second.get_or_insert(0);
            // An instant has one text: no fraction of nothing, and `Z` where the offset is none.
            time.nanosecond = time.nanosecond.filter(|nanosecond| *nanosecond != 0);
        }
        if datetime.offset == Some(Offset::Custom { minutes: 0 }) {
            datetime.offset = Some(Offset::Z);
        }
        Ok(Value::Datetime(datetime))
    }

    fn number(&self, word: &str, found: &str) -> Result<Value, Broken> {
        let (sign, digits) = match word.strip_prefix(['+', '-']) {
            Some(digits) => (&word[..1], digits),
            None => ("", word),
        };
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            if let Some(digits) = digits.strip_prefix(prefix) {
                if !sign.is_empty() {
                    return Err(self.broken(format!("cannot use sign with non-decimal numbers: '{sign}{prefix}'")));
                }
                let digits = self.without_underscores(digits, word, "integer", |c| c.is_digit(radix))?;
                let number = i64::from_str_radix(&digits, radix);
                return number
                    .map(Value::Integer)
                    .map_err(|_| self.broken(format!("{word} is out of range for int64")));
            }
        }
        if digits.starts_with('.') {
            return Err(self.broken("floats must start with a digit, not '.'"));
        }
        if !digits.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.broken(format!("expected value but found {found} instead")));
        }
        let is_float = digits.contains(['.', 'e', 'E']);
        let what = if is_float { "float" } else { "integer" };
        let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (digits, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        if whole.len() > 1 && whole.starts_with('0') {
            return Err(self.broken(format!("Invalid {what} \"{word}\": cannot have leading zeroes")));
        }
        if fraction == Some("") {
            let problem = "'.' must be followed by one or more digits";
            return Err(self.broken(format!("Invalid float \"{word}\": {problem}")));
        }
        let decimal = |text: &str| self.without_underscores(text, word, what, |c| c.is_ascii_digit());
        let mut plain = format!("{sign}{}", decimal(whole)?);
        if let Some(fraction) = fraction {
            plain = format!("{plain}.{}", decimal(fraction)?);
        }
        if let Some(exponent) = exponent {
            let (sign, digits) = match exponent.strip_prefix(['+', '-']) {
                Some(digits) => (&exponent[..1], digits),
                None => ("", exponent),
            };
            plain = format!("{plain}e{sign}{}", decimal(digits)?);
        }
        if !is_float {
            let number = plain.parse().map(Value::Integer);
            return number.map_err(|_| self.broken(format!("{word} is out of range for int64")));
        }
        match plain.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(self.broken(format!("{word} is out of range for float64"))),
        }
    }

    /// Checks that there is nothing but digits, and single underscores between them; `what` is the kind of number.
    fn without_underscores(
        &self,
        text: &str,
        word: &str,
        what: &str,
        is_digit: impl Fn(char) -> bool,
    ) -> Result<String, Broken> {
        let plain = text.replace('_', "");
        if plain.is_empty() || !plain.chars().all(is_digit) {
            return Err(self.broken(format!("Invalid {what} \"{word}\"")));
        }
        if text.split('_').any(str::is_empty) {
            let problem = "underscores must be surrounded by digits";
            return Err(self.broken(format!("Invalid {what} \"{word}\": {problem}")));
        }
        Ok(plain)
    }
}

/// Says whether a text looks like `1979-05-27`.
fn is_date(text: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 10 && text.bytes().enumerate().all(shape)
}
