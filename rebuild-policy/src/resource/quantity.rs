//! Amounts with a unit, such as `500m` or `2Gi`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const NANO: i128 = 1_000_000_000;
/// Largest magnitude of a binary amount, in nano units: 2^63 − 1 units, where Kubernetes caps too.
const LARGEST_BINARY: i128 = i64::MAX as i128 * NANO;
/// Largest magnitude of the other amounts.
const LARGEST: i128 = i128::MAX;

/// An amount as Kubernetes writes it; equal amounts are equal however they are spelled.
///
/// Written canonically: the largest unit that keeps an integer, in the family (decimal, binary, exponent) it was read
/// in; a binary amount below 1024 or with a fraction has no binary form and is written as a decimal one. Fractions below
/// one nano are rounded up, binary amounts beyond 2^63 − 1 are capped. A decimal text that needs no other unit is kept as
/// it was written, such as `12E6`, `0012` or `+5`.
///
/// ```
/// use rebuild_policy::Quantity;
/// let quarter: Quantity = "0.25".parse().unwrap();
/// assert_eq!(quarter.to_string(), "250m");
/// assert_eq!(quarter, "250m".parse().unwrap());
/// ```
///
/// # Deviation
/// Kubernetes has no limit for decimal amounts; here they are capped beyond 1.7 × 10^20. It also keeps a sign or leading
/// zeros of some binary amounts.
#[derive(Clone, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    family: Family,
    /// The text, when it is kept as it was written.
    written: Option<Box<str>>,
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
#[error("{problem}")]
pub struct InvalidQuantity {
    /// The text.
    pub text: String,
    problem: &'static str,
}

const WRONG_FORM: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const WRONG_SUFFIX: &str = "unable to parse quantity's suffix";

impl Quantity {
    /// Returns the amount in whole units, rounded up.
    pub fn value(&self) -> i64 {
        saturated(ceil_div(self.nanos, NANO))
    }

    /// Returns the amount in thousandths of a unit, rounded up.
    pub fn millis(&self) -> i64 {
        saturated(ceil_div(self.nanos, NANO / 1000))
    }
}

fn saturated(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

fn ceil_div(value: i128, by: i128) -> i128 {
    value.div_euclid(by) + i128::from(value.rem_euclid(by) != 0)
}

impl FromStr for Quantity {
    type Err = InvalidQuantity;

    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        parse(text).map_err(|problem| InvalidQuantity {
            text: text.to_owned(),
            problem,
        })
    }
}

/// Reads a quantity. As in Kubernetes a missing number is 0, even if there is nothing but a sign, a dot or a unit.
fn parse(text: &str) -> Result<Quantity, &'static str> {
    if text.is_empty() {
        return Err(WRONG_FORM);
    }
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits_end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (whole, rest) = rest.split_at(digits_end);
    let (fraction, suffix) = match rest.strip_prefix('.') {
        None => ("", rest),
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
    };
    if !is_suffix(suffix) {
        return Err(WRONG_FORM);
    }
    let (family, power) = unit(suffix).ok_or(WRONG_SUFFIX)?;
    let written = is_kept(whole, fraction, &power).then(|| text.into());
    let nanos = scaled(whole, fraction, power);
    Ok(Quantity {
        nanos: if negative { -nanos } else { nanos },
        family,
        written,
    })
}

/// Whether `text` has the form of a unit: letters, then perhaps a sign, then digits.
fn is_suffix(text: &str) -> bool {
    let rest = text.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    rest.bytes().all(|b| b.is_ascii_digit())
}

/// Whether Kubernetes writes the text back as it is: a decimal amount of at most 18 digits that neither another unit nor
/// rounding would change. One with a fraction below 1 is written anew all the same.
fn is_kept(whole: &str, fraction: &str, power: &Power) -> bool {
    let Power::Ten(power) = power else { return false };
    let whole = whole.trim_start_matches('0');
    let decimals = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let scale = power.saturating_sub(decimals);
    !whole.is_empty()
        && whole.len() + fraction.len() <= 18
        && scale >= -9
        && scale % 3 == 0
        && ![whole, fraction].concat().ends_with("000")
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
    let largest = if factor == 1 { LARGEST } else { LARGEST_BINARY };
    // The value is digits × 10^shift × factor; what is left of 24 digits is beyond the cap or below a nano.
    let shift = tens.saturating_sub(i32::try_from(fraction.len()).unwrap_or(i32::MAX));
    let digits: String = [whole, fraction].concat();
    let digits = digits.trim_start_matches('0');
    let magnitude = i64::from(shift) + wide(digits.len());
    if magnitude > 40 {
        return largest;
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
            None => return largest,
        }
        shift -= 1;
    }
    while shift < 0 {
        inexact |= value % 10 != 0;
        value /= 10;
        shift += 1;
    }
    value.saturating_add(i128::from(inexact)).min(largest)
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
                LARGEST_BINARY
            } else {
                (product + i128::from(inexact)).min(LARGEST_BINARY)
            };
        }
        inexact |= value % 10 != 0;
        value /= 10;
        shift += 1;
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(written) = &self.written {
            return f.write_str(written);
        }
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
        // Blanks around the text are skipped in documents only.
        text.trim_matches(' ').parse().map_err(serde::de::Error::custom)
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
            ("1e4", "10e3"),
            ("1000e3", "1e6"),
            ("1.5e3", "1500"),
            ("0.5e0", "500e-3"),
            ("100Ki", "100Ki"),
            ("0.1n", "1n"),
            ("500", "500"),
            ("0.5Ki", "512"),
            (".5", "500m"),
            ("+0.5", "500m"),
            ("2.000", "2"),
            ("+1000", "1k"),
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
        for text in [
            "", " ", " 1G ", "1x", "a", "1 G", "1Gib", "1I", "1_0", "1..", "1.2.3", "..5", "1e3e", "3-K",
        ] {
            let error = text.parse::<Quantity>().unwrap_err();
            assert_eq!(error.to_string(), super::WRONG_FORM, "{text}");
        }
    }

    #[test]
    fn a_unit_of_the_right_letters_that_does_not_exist_is_named_as_the_problem() {
        for text in [
            "1K",
            "1ii",
            "1e",
            "1e+",
            "1ee3",
            "1-",
            "1+3",
            "1m3",
            "1i",
            "3eK",
            "1e99999999999999999999",
        ] {
            let error = text.parse::<Quantity>().unwrap_err();
            assert_eq!(error.to_string(), "unable to parse quantity's suffix", "{text}");
        }
    }

    #[test]
    fn a_missing_number_is_zero() {
        for text in ["-", "+", ".", "-.", "k", ".Gi", "e3"] {
            assert_eq!(canonical(text), "0", "{text}");
        }
    }

    #[test]
    fn a_decimal_text_that_needs_no_other_unit_is_kept_as_it_was_written() {
        for text in [
            "12E6",
            "1E3",
            "1e0",
            "1E+3",
            "1e03",
            "0012",
            "+5",
            "-05",
            "1.",
            "1.500",
            "1.5e1",
            "1.50e2",
            "+1.500M",
            "0100k",
            "005m",
            "123456789012345.678",
            "1.500u",
        ] {
            assert_eq!(canonical(text), text, "{text}");
        }
        for (text, expected) in [
            ("0.005", "5m"),
            ("+0.123", "123m"),
            ("1.500n", "2n"),
            ("1.5000", "1500m"),
            ("+1234567890123456789", "1234567890123456789"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn only_binary_amounts_are_capped_at_64_bits() {
        for (text, expected) in [
            ("16Ei", "9223372036854775807"),
            ("-16Ei", "-9223372036854775807"),
            ("100E", "100E"),
            ("1e19", "10e18"),
            ("99999999999999999999", "99999999999999999999"),
            ("12345678901234567890.5", "12345678901234567890500m"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn blanks_around_an_amount_are_skipped_in_documents() {
        let quantity: Quantity = serde_json::from_str("\" 1G \"").unwrap();
        assert_eq!(quantity.to_string(), "1G");
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
