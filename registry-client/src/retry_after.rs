//! How long a server asks to be left alone.

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap,
    header::{DATE, RETRY_AFTER},
};

/// The longest that is understood; nobody waits for so long, and no sum of it overflows.
const MOST: Duration = Duration::from_secs(365 * 86_400);

/// What an answer's `Retry-After` says: an extension of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryAfter(pub(crate) Duration);

impl RetryAfter {
    /// Reads a number of seconds or a date; a date is compared with the server's own `Date`, or else with `now`.
    pub(crate) fn read(headers: &HeaderMap, now: SystemTime) -> Option<Self> {
        let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        let wait = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().map_or(MOST, Duration::from_secs)
        } else {
            let sent = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?.trim()));
            http_date(text)?.duration_since(sent.unwrap_or(now)).unwrap_or_default()
        };
        Some(Self(wait.min(MOST)))
    }
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Reads a date as http has them.
///
/// # Specification
/// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`, and for old servers `Sunday, 06-Nov-94 08:49:37 GMT` and
/// `Sun Nov  6 08:49:37 1994`.
fn http_date(text: &str) -> Option<SystemTime> {
    let words: Vec<_> = text.split([' ', ',', '-']).filter(|word| !word.is_empty()).collect();
    let ([_, day, month, year, time, "GMT"] | [_, month, day, time, year]) = *words.as_slice() else {
        return None;
    };
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year = match (number(year)?, year.len()) {
        (year @ ..70, 2) => 2000 + year,
        (year, 2) => 1900 + year,
        (year, 4) => year,
        _ => return None,
    };
    let mut parts = time.split(':').map(number);
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_before(year, month as u64 + 1, number(day)?)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits && text.len() <= 4)
}

/// Counts the days from 1970 on.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    if year < 1970 || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the odd day comes last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year / 4 - year / 100 + year / 400;
    (year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1).checked_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn read(retry_after: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().expect("a value"));
        if let Some(date) = date {
            headers.insert(DATE, date.parse().expect("a value"));
        }
        RetryAfter::read(&headers, at(784_111_770)).map(|wait| wait.0.as_secs())
    }

    #[test]
    fn seconds_and_all_three_forms_of_a_date_are_understood() {
        assert_eq!(read("7", None), Some(7));
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(http_date(date), Some(at(784_111_777)), "{date}");
            assert_eq!(read(date, None), Some(7), "{date}");
        }
        assert_eq!(http_date("Thu, 29 Feb 2024 23:59:60 GMT"), Some(at(1_709_251_200)));
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(at(0)));
    }

    #[test]
    fn a_date_counts_from_the_servers_own_clock_where_it_tells_that() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(read(date, Some("Sun, 06 Nov 1994 08:48:37 GMT")), Some(60));
        assert_eq!(read(date, Some("Sun, 06 Nov 1994 09:49:37 GMT")), Some(0), "it is past");
        assert_eq!(read(date, Some("yesterday")), Some(7));
    }

    #[test]
    fn what_is_neither_is_nothing_and_a_long_time_has_an_end() {
        for text in [
            "",
            "-1",
            "+5",
            "1.5",
            "soon",
            "Sun, 06 Nov 1994",
            "Sun, 06 Foo 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 00 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(read(text, None), None, "{text}");
        }
        for text in [
            "18446744073709551615",
            "99999999999999999999999",
            "Fri, 31 Dec 9999 23:59:59 GMT",
        ] {
            assert_eq!(read(text, None), Some(MOST.as_secs()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_panic(text in "[A-Za-z0-9 ,:-]{0,40}", day in "[0-9]{1,4}", year in "[0-9]{1,5}") {
            let _ = http_date(&text);
            let _ = http_date(&format!("Sun, {day} Nov {year} 08:49:37 GMT"));
        }
    }
}
