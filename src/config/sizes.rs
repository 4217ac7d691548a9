//! Sizes as an operator writes them: `500GB`, `4TB`, in decimal units, as disks are sold.

use super::decode::{FromValue, Refusal};
use super::document::Value;

const UNITS: [(&str, u64); 6] = [
    ("B", 1),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
];

/// A number of bytes.
pub(super) struct Size(pub(super) u64);

/// Reads `<whole number><unit>`, a space allowed between them.
fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == text[digits..].trim_start())?;
    text[..digits].parse::<u64>().ok()?.checked_mul(*unit)
}

impl FromValue for Size {
    fn from_value(value: &Value) -> Result<Self, Refusal> {
        const HELP: &str = "write a whole number with a unit (B, kB, MB, GB, TB, PB), such as 500GB";
        match value {
            Value::Text(text) => parse(text).map(Self).ok_or_else(|| Refusal::expected("a size", value, HELP)),
            Value::Integer(number) if *number >= 0 => {
                let help = format!("add a unit (B, kB, MB, GB, TB, PB), such as {number}GB");
                Err(Refusal { message: format!("the size {number} has no unit"), help })
            }
            other => Err(Refusal::expected("a size", other, HELP)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_with_a_decimal_unit() {
        assert_eq!(parse("4TB"), Some(4_000_000_000_000));
        assert_eq!(parse(" 500 GB "), Some(500_000_000_000));
        assert_eq!(parse("0B"), Some(0));
        for wrong in ["", "4", "TB", "4T", "4TiB", "1.5TB", "-1TB", "4 T B", "99999999PB"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
