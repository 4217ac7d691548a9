//! Adler-32 as Rucio has it: a number, written by whoever registered the file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An Adler-32. Equal if the number is; written as it was read, for Rucio itself compares the letters.
#[derive(Clone, Debug)]
pub struct Adler32 {
    number: u32,
    written: String,
}

/// A text that is no Adler-32.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an adler32: one to eight hexadecimal digits")]
pub struct NotAdler32(String);

impl FromStr for Adler32 {
    type Err = NotAdler32;

    /// In any case, with or without leading zeros.
    fn from_str(written: &str) -> Result<Self, NotAdler32> {
        let digits = (1..=8).contains(&written.len()) && written.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u32::from_str_radix(written, 16) {
            Ok(number) if digits => Ok(Self { number, written: written.to_owned() }),
            _ => Err(NotAdler32(written.to_owned())),
        }
    }
}

impl From<u32> for Adler32 {
    fn from(number: u32) -> Self {
        Self { number, written: format!("{number:08x}") }
    }
}

impl PartialEq for Adler32 {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Adler32 {}

impl PartialEq<str> for Adler32 {
    fn eq(&self, other: &str) -> bool {
        other.parse().is_ok_and(|other: Self| *self == other)
    }
}

impl fmt::Display for Adler32 {
    /// Eight hexadecimal digits, lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.number)
    }
}

impl Serialize for Adler32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.written)
    }
}

/// As Rucio tells it; a text that is none tells nothing.
pub(crate) fn if_it_is_one<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Adler32>, D::Error> {
    Ok(Option::<String>::deserialize(field)?.and_then(|written| written.parse().ok()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_number_counts_and_the_letters_are_kept() {
        let upper: Adler32 = "1DB97A19".parse().unwrap();
        assert_eq!(upper, "1db97a19".parse::<Adler32>().unwrap());
        assert_eq!(upper, *"1db97a19");
        assert_eq!(upper.to_string(), "1db97a19");
        assert_eq!(serde_json::json!(upper), "1DB97A19");
        assert_eq!("1".parse::<Adler32>().unwrap(), Adler32::from(1));
        assert_ne!(upper, Adler32::from(1));
    }

    #[test]
    fn what_is_none_tells_nothing() {
        for text in ["", "0x1db97a1", "1db97a191", "+1db97a1", "unknown", "-1"] {
            assert!(text.parse::<Adler32>().is_err(), "{text}");
        }
    }
}
