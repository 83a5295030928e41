//! Amounts with a unit, such as `500m` or `2Gi`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANO: i128 = 1_000_000_000;
/// Largest magnitude, in nano units: 2^63 − 1 units, where Kubernetes caps too.
const LARGEST: i128 = i64::MAX as i128 * NANO;

/// An amount as Kubernetes writes it; equal amounts are equal however they are spelled.
///
/// Written canonically: the largest unit that keeps an integer, in the family (decimal, binary, exponent) it was read
/// in; a binary amount below 1024 or with a fraction has no binary form and is written as a decimal one. Fractions below
/// one nano are rounded up, amounts beyond 2^63 − 1 are capped.
///
/// ```
/// use rebuild_policy::Quantity;
/// let quarter: Quantity = "0.25".parse().unwrap();
/// assert_eq!(quarter.to_string(), "250m");
/// assert_eq!(quarter, "250m".parse().unwrap());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    family: Family,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Family {
    #[default]
    Decimal,
    Binary,
    Exponent,
}

/// A text that is no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
pub struct InvalidQuantity {
    /// The text.
    pub text: String,
}

impl Quantity {
    /// Returns the amount in whole units, rounded up.
    pub fn value(&self) -> i64 {
        i64::try_from(ceil_div(self.nanos, NANO)).unwrap_or(i64::MAX)
    }

    /// Returns the amount in thousandths of a unit, rounded up.
    pub fn millis(&self) -> i64 {
        i64::try_from(ceil_div(self.nanos, NANO / 1000)).unwrap_or(i64::MAX)
    }
}

fn ceil_div(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        parse(text).ok_or_else(|| InvalidQuantity { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Quantity> {
    let (negative, rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let digits_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (whole, rest) = rest.split_at(digits_end);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (family, power) = unit(suffix)?;
    let nanos = scaled(whole, fraction, power);
    Some(Quantity {
        nanos: if negative { -nanos } else { nanos },
        family,
    })
}

/// Power of ten or of 1024, and the family it belongs to.
enum Power {
    Ten(i32),
    Kibi(u32),
}

fn unit(suffix: &str) -> Option<(Family, Power)> {
    let decimal = |power| Some((Family::Decimal, Power::Ten(power)));
    let binary = |power| Some((Family::Binary, Power::Kibi(power)));
    match suffix {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?;
            let signless = power.strip_prefix(['+', '-']).unwrap_or(power);
            if signless.is_empty() || !signless.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let power: i32 = power.parse().ok()?;
            Some((Family::Exponent, Power::Ten(power)))
        }
    }
}

/// Returns `whole.fraction` times the power, in nano units, rounded up and capped.
fn scaled(whole: &str, fraction: &str, power: Power) -> i128 {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    if whole.is_empty() && fraction.bytes().all(|b| b == b'0') {
        return 0;
    }
    let (tens, factor) = match power {
        Power::Ten(power) => (power.saturating_add(9), 1_i128),
        Power::Kibi(power) => (9, 1_i128 << (10 * power)),
    };
    // The value is digits × 10^shift × factor; what is left of 24 digits is beyond the cap or below a nano.
    let shift = tens.saturating_sub(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let magnitude = i64::from(shift) + wide(digits.len());
    if magnitude > 40 {
        return LARGEST;
    }
    if magnitude < -40 {
        return 1;
    }
    let mut value: i128 = 0;
    let mut inexact = false;
    let keep = digits.len().min(30);
    for digit in digits[..keep].bytes() {
        value = value * 10 + i128::from(digit - b'0');
    }
    inexact |= digits[keep..].bytes().any(|b| b != b'0');
    let mut shift = i64::from(shift) + wide(digits.len() - keep);
    let Some(mut value) = value.checked_mul(factor) else {
        return shrink(value, factor, shift);
    };
    while shift > 0 {
        match value.checked_mul(10) {
            Some(more) => value = more,
            None => return LARGEST,
        }
        shift -= 1;
    }
    while shift < 0 {
        inexact |= value % 10 != 0;
        value /= 10;
        shift += 1;
    }
    (value + i128::from(inexact)).min(LARGEST)
}

fn wide(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The rare case of many digits with a binary unit: digits below a nano are dropped first.
fn shrink(mut value: i128, factor: i128, mut shift: i64) -> i128 {
    let mut inexact = false;
    loop {
        if let Some(product) = value.checked_mul(factor) {
            let mut product = product;
            while shift < 0 {
                inexact |= product % 10 != 0;
                product /= 10;
                shift += 1;
            }
            return if shift > 0 {
                LARGEST
            } else {
                (product + i128::from(inexact)).min(LARGEST)
            };
        }
        inexact |= value % 10 != 0;
        value /= 10;
        shift += 1;
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.family == Family::Binary && !small && self.nanos % NANO == 0 {
            let mut units = self.nanos / NANO;
            let mut power = 0;
            while units % 1024 == 0 && power < 6 {
                units /= 1024;
                power += 1;
            }
            return write!(f, "{units}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
        }
        let (mut units, mut power) = (self.nanos, 0);
        while units % 1000 == 0 && power < 9 {
            units /= 1000;
            power += 1;
        }
        if self.family == Family::Exponent {
            let exponent = wide(power) * 3 - 9;
            return if exponent == 0 {
                write!(f, "{units}")
            } else {
                write!(f, "{units}e{exponent}")
            };
        }
        write!(f, "{units}{}", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][power])
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Number(serde_json::Number),
        }
        let text = match Form::deserialize(deserializer)? {
            Form::Text(text) => text,
            Form::Number(number) => number.to_string(),
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Quantity;

    fn canonical(text: &str) -> String {
        text.parse::<Quantity>()
            .map_or_else(|_| "invalid".to_owned(), |quantity| quantity.to_string())
    }

    #[test]
    fn amounts_are_written_in_the_largest_unit_that_keeps_an_integer() {
        for (text, expected) in [
            ("0.25", "250m"),
            ("1000m", "1"),
            ("2G", "2G"),
            ("2000M", "2G"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("1024", "1024"),
            ("0", "0"),
            ("-0.5", "-500m"),
            ("1e3", "1e3"),
            ("12E6", "12e6"),
            ("100Ki", "100Ki"),
            ("0.1n", "1n"),
            ("99999999999999999999999", "9223372036854775807"),
            ("500", "500"),
            ("0.5Ki", "512"),
            (".5", "500m"),
            ("5.", "5"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn a_binary_amount_with_a_fraction_is_written_as_a_decimal_one() {
        for (text, expected) in [
            ("1.7Gi", "1825361100800m"),
            ("-1.7Gi", "-1825361100800m"),
            ("0.1Gi", "107374182400m"),
            ("1.1Ki", "1126400m"),
            ("0.0001Ki", "102400u"),
            ("1.2345678901Gi", "1325607178167805543n"),
            ("7.9Ei", "9108079886394091110400m"),
            ("0.5Gi", "512Mi"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "-", ".", "1x", "a", "1e", "1 G", "1Gib", "1ee3", "1e+"] {
            assert_eq!(canonical(text), "invalid", "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn the_canonical_text_means_the_same(text in "[+-]?[0-9]{1,30}(\\.[0-9]{0,30})?([numkMGTPE]|[KMGTPE]i|e-?[0-9]{1,3})?") {
            let quantity: Quantity = text.parse().unwrap();
            prop_assert_eq!(quantity.to_string().parse::<Quantity>().unwrap().value(), quantity.value());
        }
    }
}
