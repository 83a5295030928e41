//! Whole numbers as Go reads them.

use std::num::IntErrorKind;

const SYNTAX: &str = "invalid syntax";
const RANGE: &str = "value out of range";

/// Reads a decimal number with an optional sign; the error is what Go's `strconv.ParseInt` says of it.
pub(crate) fn parse_int(text: &str) -> Result<i64, &'static str> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(SYNTAX);
    }
    // As there: a wrong character is found unless the digits before it are too many for 64 bits.
    let magnitude: u64 = digits
        .parse()
        .map_err(|error: std::num::ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => RANGE,
            _ => SYNTAX,
        })?;
    let value = i128::from(magnitude);
    i64::try_from(if text.starts_with('-') { -value } else { value }).map_err(|_| RANGE)
}

#[cfg(test)]
mod tests {
    use super::parse_int;

    #[test]
    fn a_number_is_read_or_refused_with_the_reason_that_go_gives() {
        for (text, expected) in [
            ("7", Ok(7)),
            ("+7", Ok(7)),
            ("-007", Ok(-7)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err("value out of range")),
            ("-9223372036854775809", Err("value out of range")),
            ("99999999999999999999", Err("value out of range")),
            ("999999999999999999999x", Err("value out of range")),
            ("9999999999999999999x", Err("invalid syntax")),
            ("", Err("invalid syntax")),
            ("-", Err("invalid syntax")),
            ("--5", Err("invalid syntax")),
            ("+-5", Err("invalid syntax")),
            ("1_0", Err("invalid syntax")),
            (" 1", Err("invalid syntax")),
        ] {
            assert_eq!(parse_int(text), expected, "{text}");
        }
    }
}
