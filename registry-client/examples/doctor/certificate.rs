//! Reads who a certificate is for, who signed it and until when it holds, out of its DER.

use std::time::{Duration, SystemTime};

/// What is worth telling about a certificate.
pub(crate) struct Certificate {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) expires: Option<SystemTime>,
}

/// One value: its tag and what is in it.
struct Value<'a> {
    tag: u8,
    bytes: &'a [u8],
}

/// Takes the next value off `bytes`.
fn value<'a>(bytes: &mut &'a [u8]) -> Option<Value<'a>> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        (length, rest)
    };
    let (inner, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(Value { tag, bytes: inner })
}

impl Certificate {
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut certificate = value(&mut &*der)?.bytes;
        let mut fields = value(&mut certificate)?.bytes;
        if value(&mut fields)?.tag == 0xa0 {
            // That was the version, which all but the oldest have; the serial number comes next.
            value(&mut fields)?;
        }
        let _algorithm = value(&mut fields)?;
        let issuer = common_name(value(&mut fields)?.bytes);
        let mut validity = value(&mut fields)?.bytes;
        let _from = value(&mut validity)?;
        let until = value(&mut validity)?;
        let subject = common_name(value(&mut fields)?.bytes);
        Some(Self {
            subject,
            issuer,
            expires: time(&until),
        })
    }
}

/// Finds the common name, or else the organization.
fn common_name(mut name: &[u8]) -> String {
    let mut found = String::new();
    while let Some(set) = value(&mut name) {
        let mut set = set.bytes;
        let Some(mut pair) = value(&mut set).map(|pair| pair.bytes) else {
            break;
        };
        let (Some(kind), Some(text)) = (value(&mut pair), value(&mut pair)) else {
            break;
        };
        let text = String::from_utf8_lossy(text.bytes);
        let text: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
        match kind.bytes {
            [0x55, 0x04, 0x03] => return text,
            [0x55, 0x04, 0x0a] => found = text,
            _ => {}
        }
    }
    if found.is_empty() { "no name".to_owned() } else { found }
}

/// Reads `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(value: &Value<'_>) -> Option<SystemTime> {
    let text = std::str::from_utf8(value.bytes).ok()?;
    let (year, rest) = if value.tag == 0x17 {
        let (year, rest) = text.split_at_checked(2)?;
        let year: u64 = year.parse().ok()?;
        (if year < 50 { 2000 + year } else { 1900 + year }, rest)
    } else {
        let (year, rest) = text.split_at_checked(4)?;
        (year.parse().ok()?, rest)
    };
    let number = |at: usize| rest.get(at..at + 2)?.parse::<u64>().ok();
    let days = days_before(year, number(0)?, number(2)?)?;
    at(days, number(4)?, number(6)?, number(8)?)
}

/// Reads the `Date` of an answer: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(crate) fn http_date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let days = days_before(words.next()?.parse().ok()?, month, day)?;
    let mut clock = words.next()?.split(':').map_while(|number| number.parse().ok());
    at(days, clock.next()?, clock.next()?, clock.next()?)
}

fn at(days: u64, hour: u64, minute: u64, second: u64) -> Option<SystemTime> {
    // The server says what it likes: no sum of it may overflow.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Counts the days from 1970 on.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the odd day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    Some(year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468)
}
