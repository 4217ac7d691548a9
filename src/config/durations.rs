//! Durations as an operator writes them: `200ms`, `5s`, `10min`, `1h 30min`.

use std::time::Duration;

/// Units in the order in which [`format()`] uses them, with their length in milliseconds.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads one or more `<whole number><unit>` parts, spaces allowed between them.
///
/// Returns `None` for anything else, a bare number included: `5` could be seconds or minutes, and a guess that is
/// wrong here is noticed only when data pile up.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: u64 = rest[..digits].parse().ok()?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, length) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters])?;
        total = total.checked_add(count.checked_mul(*length)?)?;
        rest = rest[letters..].trim_start();
    }
    Some(Duration::from_millis(total))
}

/// Writes a duration the way [`parse`] reads it; what is below a millisecond is dropped.
pub fn format(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        if left >= length {
            parts.push(format!("{}{unit}", left / length));
            left %= length;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_unit_is_read() {
        assert_eq!(parse("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parse("5s"), Some(Duration::from_secs(5)));
        assert_eq!(parse("10min"), Some(Duration::from_mins(10)));
        assert_eq!(parse("1h 30min"), Some(Duration::from_mins(90)));
        assert_eq!(parse("2d"), Some(Duration::from_hours(48)));
        assert_eq!(parse("0s"), Some(Duration::ZERO));
    }

    #[test]
    fn a_guess_is_never_made() {
        for text in ["", "5", "5m", "s", "-5s", "1.5h", "5 s s", "5s 3", "99999999999999999999s", "9999999999999999d"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0u64..10_000_000_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse(&format(duration)), Some(duration));
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = parse(&text);
        }
    }
}
