use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// A point in time as image configs write it: RFC 3339, such as `1980-01-01T00:00:01Z`.
///
/// The text keeps the offset it came with. A fraction loses its trailing zeros and what is finer than
/// a nanosecond, and an offset of zero becomes `Z`, as Go writes it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp(String);

impl Timestamp {
    /// Returns the time that reproducible images carry: `1980-01-01T00:00:01Z`.
    pub fn reproducible() -> Self {
        Self("1980-01-01T00:00:01Z".to_owned())
    }

    /// Returns Go's zero time, which stands for "not known": `0001-01-01T00:00:00Z`.
    pub fn zero() -> Self {
        Self("0001-01-01T00:00:00Z".to_owned())
    }

    /// Returns the time this many seconds after (or before) 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// When the year is not one of 0 to 9999, which RFC 3339 cannot express.
    pub fn from_unix_seconds(seconds: i64) -> Result<Self, InvalidTimestamp> {
        let days = seconds.div_euclid(86_400);
        let of_day = seconds.rem_euclid(86_400);
        let (year, month, day) = civil_from_days(days);
        if !(0..=9999).contains(&year) {
            return Err(InvalidTimestamp {
                text: seconds.to_string(),
                problem: "the year is not one of 0 to 9999",
            });
        }
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        Ok(Self(format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self::zero()
    }
}

/// Returns the proleptic Gregorian date of the day this many days after 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    // Counts years from March, so that the leap day is the last of its year.
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the normal form of an RFC 3339 text, or what is wrong with it.
fn normal_form(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "it must look like 2024-03-04T05:06:07Z";
    // Go reads an hour of one digit as well.
    let padded = match (text.get(..11), text.get(11..)) {
        (Some(date), Some(clock)) if clock.find(':') == Some(1) => format!("{date}0{clock}"),
        _ => text.to_owned(),
    };
    let (text, bytes) = (padded.as_str(), padded.as_bytes());
    let number = |from: usize, to: usize| -> Result<u32, &'static str> {
        let digits = bytes.get(from..to).ok_or(FORM)?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err(FORM);
        }
        Ok(digits
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(digit - b'0')))
    };
    let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    if separators.iter().any(|(at, byte)| bytes.get(*at) != Some(byte)) {
        return Err(FORM);
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if !(1..=12).contains(&month) || day == 0 || day > days_in(year, month) {
        return Err("there is no such day");
    }
    if number(11, 13)? > 23 || number(14, 16)? > 59 || number(17, 19)? > 59 {
        return Err("there is no such time of day");
    }
    let mut rest = &text[19..];
    let mut fraction = "";
    // Go reads a comma as well.
    if let Some(after) = rest.strip_prefix(['.', ',']) {
        let end = after
            .bytes()
            .position(|byte| !byte.is_ascii_digit())
            .unwrap_or(after.len());
        if end == 0 {
            return Err(FORM);
        }
        fraction = after[..end.min(9)].trim_end_matches('0');
        rest = &after[end..];
    }
    let offset = match rest.as_bytes() {
        b"Z" => "Z",
        [b'+' | b'-', _, _, b':', _, _] => {
            let at = text.len() - 5;
            if number(at, at + 2)? > 23 || number(at + 3, at + 5)? > 59 {
                return Err("there is no such offset");
            }
            if &rest[1..] == "00:00" { "Z" } else { rest }
        }
        _ => return Err(FORM),
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    Ok(format!("{}{dot}{fraction}{offset}", &text[..19]))
}

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        if !text.is_ascii() {
            return Err(InvalidTimestamp {
                text: text.chars().take(100).collect(),
                problem: "it must be ASCII",
            });
        }
        normal_form(text).map(Self).map_err(|problem| InvalidTimestamp {
            text: text.chars().take(100).collect(),
            problem,
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Why something is no [`Timestamp`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an RFC 3339 time: {problem}")]
pub struct InvalidTimestamp {
    /// What was given, at most its first 100 characters.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_written_as_go_writes_them() {
        for (text, normal) in [
            ("1980-01-01T00:00:01Z", "1980-01-01T00:00:01Z"),
            (
                "2024-03-04T05:06:07.123456789+02:00",
                "2024-03-04T05:06:07.123456789+02:00",
            ),
            ("2024-03-04T05:06:07.1200Z", "2024-03-04T05:06:07.12Z"),
            ("2024-03-04T05:06:07.000Z", "2024-03-04T05:06:07Z"),
            ("2024-02-29T05:06:07+00:00", "2024-02-29T05:06:07Z"),
            ("2024-02-29T05:06:07,50Z", "2024-02-29T05:06:07.5Z"),
            ("2024-02-29T5:06:07Z", "2024-02-29T05:06:07Z"),
            (
                "2024-03-04T05:06:07.1234567891-07:30",
                "2024-03-04T05:06:07.123456789-07:30",
            ),
        ] {
            assert_eq!(text.parse::<Timestamp>().expect(text).as_str(), normal);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2024",
            "2024-02-30T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-03-04 05:06:07Z",
            "2024-03-04T24:00:00Z",
            "2024-03-04T05:06:07",
            "2024-03-04T05:06:07.Z",
            "2024-03-04T05:06:07+2:00",
            "2024-03-04T05:06:07é",
            "2024-03-04T05:06:07ZZ",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }

    #[test]
    fn unix_seconds_become_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (315_532_801, "1980-01-01T00:00:01Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(Timestamp::from_unix_seconds(seconds).expect(text).as_str(), text);
        }
        assert!(Timestamp::from_unix_seconds(253_402_300_800).is_err());
        assert!(Timestamp::from_unix_seconds(i64::MIN).is_err());
    }
}
