//! Digests as storages write them.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// A digest algorithm that storages offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Algorithm {
    /// CRC-32C, eight hexadecimal digits.
    Crc32c,
    /// MD5, 32 hexadecimal digits.
    Md5,
    /// Adler-32, eight hexadecimal digits. Transfers ask for it, so a storage may answer from its cache.
    Adler32,
}

impl Algorithm {
    /// Its name in `Want-Digest` and `Digest`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Its name in `Want-Repr-Digest` and `Repr-Digest` (RFC 9530).
    pub(super) fn name_in_repr_digest(self) -> &'static str {
        match self {
            Self::Adler32 => "adler",
            other => other.as_str(),
        }
    }

    /// The digest of nothing.
    pub(super) fn of_nothing(self) -> &'static str {
        match self {
            Self::Crc32c => "00000000",
            Self::Md5 => "d41d8cd98f00b204e9800998ecf8427e",
            Self::Adler32 => "00000001",
        }
    }

    /// Length of a digest in bytes.
    fn bytes(self) -> usize {
        match self {
            Self::Crc32c | Self::Adler32 => 4,
            Self::Md5 => 16,
        }
    }

    /// A digest as lower-case hexadecimal digits, all of them, from what a storage wrote.
    ///
    /// Adler-32 is written in hexadecimal, possibly without leading zeros; the others in base64 (or, by some, in
    /// hexadecimal: padding tells them apart).
    fn normalise(self, written: &str) -> Option<String> {
        let digits = self.bytes() * 2;
        let is_hex = !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_hexdigit());
        match self {
            Self::Adler32 => {
                (is_hex && written.len() <= digits).then(|| format!("{:0>8}", written.to_ascii_lowercase()))
            }
            Self::Crc32c | Self::Md5 if is_hex && written.len() == digits => Some(written.to_ascii_lowercase()),
            Self::Crc32c | Self::Md5 => self.of_base64(written),
        }
    }

    fn of_base64(self, written: &str) -> Option<String> {
        let bytes = BASE64_STANDARD.decode(written).ok().filter(|bytes| bytes.len() == self.bytes())?;
        Some(bytes.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a `Digest` header says about one algorithm.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing: the storage does not know the algorithm and answered with another, or not at all.
    Nothing,
    /// A digest, as lower-case hexadecimal digits.
    Digest(String),
    /// The algorithm's name with something that is no digest of it.
    Nonsense(String),
    /// Two digests that differ.
    Two,
}

impl Said {
    /// What two headers say together. A digest counts for more than what is none.
    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Two, _) | (_, Self::Two) => Self::Two,
            (Self::Digest(one), Self::Digest(other)) if one != other => Self::Two,
            (digest @ Self::Digest(_), _) | (_, digest @ Self::Digest(_)) => digest,
            (nonsense @ Self::Nonsense(_), _) | (_, nonsense) => nonsense,
        }
    }
}

/// Looks for an algorithm in a `Digest` header, by its own name: a storage asked for an algorithm it does not know
/// answers with its default one.
pub(super) fn find(header: &str, algorithm: Algorithm) -> Said {
    let mut said = Said::Nothing;
    for instance in header.split(',') {
        // base64 ends in '=' too, so only the first one separates
        let Some((name, written)) = instance.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case(algorithm.as_str()) {
            let written = written.trim();
            said =
                said.and(algorithm.normalise(written).map_or_else(|| Said::Nonsense(written.to_owned()), Said::Digest));
        }
    }
    said
}

/// Looks for an algorithm in a `Repr-Digest` header: `crc32c=:ktmoWg==:` (RFC 9530, section 3).
pub(super) fn find_in_repr_digest(header: &str, algorithm: Algorithm) -> Said {
    let mut said = Said::Nothing;
    for member in header.split(',') {
        let Some((name, written)) = member.split_once('=') else { continue };
        if name.trim() == algorithm.name_in_repr_digest() {
            // what follows a semicolon are parameters
            let written = written.split(';').next().unwrap_or_default().trim();
            let bytes = written.strip_prefix(':').and_then(|rest| rest.strip_suffix(':'));
            let digest = bytes.and_then(|base64| algorithm.of_base64(base64));
            said = said.and(digest.map_or_else(|| Said::Nonsense(written.to_owned()), Said::Digest));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(hex: &str) -> Said {
        Said::Digest(hex.to_owned())
    }

    #[test]
    fn digests_come_out_as_lower_case_hexadecimal() {
        assert_eq!(find("adler32=222e27d7", Algorithm::Adler32), digest("222e27d7"));
        assert_eq!(find("ADLER32=222E27D7", Algorithm::Adler32), digest("222e27d7"));
        assert_eq!(find("adler32=1", Algorithm::Adler32), digest("00000001"));
        assert_eq!(find("crc32c=ktmoWg==", Algorithm::Crc32c), digest("92d9a85a"));
        assert_eq!(find("crc32c=92D9A85A", Algorithm::Crc32c), digest("92d9a85a"));
        assert_eq!(find("md5=1B2M2Y8AsgTpgAmY7PhCfg==", Algorithm::Md5), digest("d41d8cd98f00b204e9800998ecf8427e"));
    }

    #[test]
    fn the_answers_own_name_decides() {
        assert_eq!(find("adler32=222e27d7", Algorithm::Crc32c), Said::Nothing);
        assert_eq!(find("", Algorithm::Crc32c), Said::Nothing);
        assert_eq!(find("crc32c", Algorithm::Crc32c), Said::Nothing);
        assert_eq!(find("adler32=222e27d7, crc32c=ktmoWg==", Algorithm::Crc32c), digest("92d9a85a"));
    }

    #[test]
    fn two_digests_that_differ_say_nothing_and_one_that_is_repeated_is_one() {
        assert_eq!(find("adler32=222e27d7, adler32=222e27d8", Algorithm::Adler32), Said::Two);
        assert_eq!(find("adler32=222e27d7, ADLER32=222E27D7", Algorithm::Adler32), digest("222e27d7"));
        assert_eq!(find("crc32c=unknown, crc32c=ktmoWg==", Algorithm::Crc32c), digest("92d9a85a"));
        assert_eq!(find_in_repr_digest("crc32c=:ktmoWg==:, crc32c=:ktmoWQ==:", Algorithm::Crc32c), Said::Two);
    }

    #[test]
    fn representation_digests_are_byte_sequences() {
        assert_eq!(find_in_repr_digest("crc32c=:ktmoWg==:", Algorithm::Crc32c), digest("92d9a85a"));
        assert_eq!(find_in_repr_digest("sha-256=:AA==:, adler=:Ii4n1w==:;q=1", Algorithm::Adler32), digest("222e27d7"));
        assert_eq!(find_in_repr_digest("sha-256=:AA==:", Algorithm::Crc32c), Said::Nothing);
        for nonsense in ["crc32c=ktmoWg==", "crc32c=:ktmo:", "crc32c=?1"] {
            assert!(matches!(find_in_repr_digest(nonsense, Algorithm::Crc32c), Said::Nonsense(_)), "{nonsense}");
        }
    }

    #[test]
    fn what_is_no_digest_is_not_taken_for_one() {
        for nonsense in ["adler32=", "adler32=222e27d71", "adler32=xyz", "adler32=-1"] {
            assert!(matches!(find(nonsense, Algorithm::Adler32), Said::Nonsense(_)), "{nonsense}");
        }
        for nonsense in ["crc32c=ktmo", "crc32c=ktmoWgAA", "crc32c=!", "crc32c=92d9a8"] {
            assert!(matches!(find(nonsense, Algorithm::Crc32c), Said::Nonsense(_)), "{nonsense}");
        }
    }
}
