//! Ages as `kubectl` writes them: `17s`, `5m12s`, `3h`, `2d4h`.

use jiff::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
const YEAR: i64 = 365 * DAY;

/// Returns the age of something that happened at `since` (RFC 3339); `<unknown>` when that is not known.
pub(super) fn age(since: Option<&str>, now: Timestamp) -> String {
    match since.and_then(|since| since.parse::<Timestamp>().ok()) {
        None => "<unknown>".to_owned(),
        Some(since) => duration(now.as_second() - since.as_second()),
    }
}

/// Returns a number of seconds with two or three significant digits.
///
/// # Specification
/// Kubernetes `apimachinery/pkg/util/duration`, `HumanDuration`.
fn duration(seconds: i64) -> String {
    let two = |large: (i64, char), small: (i64, char)| {
        let (whole, rest) = (seconds / large.0, seconds % large.0 / small.0);
        if rest == 0 {
            format!("{whole}{}", large.1)
        } else {
            format!("{whole}{}{rest}{}", large.1, small.1)
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1..0 => "0s".to_owned(),
        _ if seconds < 2 * MINUTE => format!("{seconds}s"),
        _ if seconds < 10 * MINUTE => two((MINUTE, 'm'), (1, 's')),
        _ if seconds < 3 * HOUR => format!("{}m", seconds / MINUTE),
        _ if seconds < 8 * HOUR => two((HOUR, 'h'), (MINUTE, 'm')),
        _ if seconds < 2 * DAY => format!("{}h", seconds / HOUR),
        _ if seconds < 8 * DAY => two((DAY, 'd'), (HOUR, 'h')),
        _ if seconds < 2 * YEAR => format!("{}d", seconds / DAY),
        _ if seconds < 8 * YEAR => two((YEAR, 'y'), (DAY, 'd')),
        _ => format!("{}y", seconds / YEAR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_kubectl_writes_them() {
        let cases = [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (312, "5m12s"),
            (600, "10m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 120, "3h2m"),
            (9 * HOUR + 120, "9h"),
            (2 * DAY + 4 * HOUR, "2d4h"),
            (9 * DAY, "9d"),
            (2 * YEAR + DAY, "2y1d"),
            (9 * YEAR + DAY, "9y"),
            (-5, "<invalid>"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn an_unreadable_time_is_unknown() {
        assert_eq!(age(Some("yesterday"), Timestamp::UNIX_EPOCH), "<unknown>");
        assert_eq!(age(None, Timestamp::UNIX_EPOCH), "<unknown>");
    }
}
