//! Whole numbers by the rules of Go's flag package: with a prefix for the base, and `_` between digits.

use std::error::Error;
use std::fmt;

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotANumber {
    /// It is not written like one.
    Syntax,
    /// It has more than 64 bits.
    Range,
}

impl fmt::Display for NotANumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "parse error",
            Self::Range => "value out of range",
        })
    }
}

impl Error for NotANumber {}

/// Reads a number in base 2 (`0b`), 8 (`0o` or `0`), 16 (`0x`) or 10, with a sign or without. What is too large is so
/// from the digit on that makes it so, whatever follows.
pub(crate) fn parse(text: &str) -> Result<i64, NotANumber> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (base, digits) = base(unsigned);
    if digits.is_empty() {
        return Err(NotANumber::Syntax);
    }
    let mut value: u64 = 0;
    for digit in digits.chars().filter(|digit| *digit != '_') {
        let digit = digit.to_digit(base).ok_or(NotANumber::Syntax)?;
        let next = value.checked_mul(u64::from(base));
        value = next
            .and_then(|value| value.checked_add(u64::from(digit)))
            .ok_or(NotANumber::Range)?;
    }
    // A prefix stands for a digit before the first `_`.
    let after_a_digit = base != 10;
    if !separates_digits(digits, after_a_digit) {
        return Err(NotANumber::Syntax);
    }
    let value = if text.starts_with('-') {
        0_i64.checked_sub_unsigned(value)
    } else {
        0_i64.checked_add_unsigned(value)
    };
    value.ok_or(NotANumber::Range)
}

/// Returns the base, and what follows its prefix; a prefix that nothing follows is none.
fn base(unsigned: &str) -> (u32, &str) {
    for (prefixes, base) in [(["0b", "0B"], 2), (["0o", "0O"], 8), (["0x", "0X"], 16)] {
        let rest = prefixes.iter().find_map(|prefix| unsigned.strip_prefix(prefix));
        if let Some(rest) = rest.filter(|rest| !rest.is_empty()) {
            return (base, rest);
        }
    }
    match unsigned.strip_prefix('0') {
        Some(rest) if !rest.is_empty() => (8, rest),
        _ => (10, unsigned),
    }
}

/// Returns whether every `_` has a digit on both sides.
fn separates_digits(digits: &str, mut after_a_digit: bool) -> bool {
    for digit in digits.chars() {
        if digit == '_' && !after_a_digit {
            return false;
        }
        after_a_digit = digit != '_';
    }
    after_a_digit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_prefixes_for_their_base_and_low_lines_between_digits() {
        for (text, number) in [
            ("0", 0),
            ("1000", 1000),
            ("+7", 7),
            ("-1", -1),
            ("0x3e8", 1000),
            ("0X3E8", 1000),
            ("-0x10", -16),
            ("0o17", 15),
            ("0O17", 15),
            ("0b101", 5),
            ("0B1", 1),
            ("010", 8),
            ("00", 0),
            ("1_000", 1000),
            ("0_10", 8),
            ("0x_ff", 255),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_is_told_from_what_is_no_number() {
        for text in [
            "", "+", "-", "x", "0x", "0b", "08", "0b2", "0xg", "1_", "_1", "1__0", "0x_", "0_", "--1", " 1", "1.0",
            "1e3",
        ] {
            assert_eq!(parse(text), Err(NotANumber::Syntax), "{text}");
        }
        for text in [
            "99999999999999999999",
            "99999999999999999999x",
            "9223372036854775808",
            "-9223372036854775809",
            "0x10000000000000000",
        ] {
            assert_eq!(parse(text), Err(NotANumber::Range), "{text}");
        }
    }
}
