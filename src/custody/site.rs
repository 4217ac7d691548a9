//! Sites by what a person reads in their names.

use std::collections::BTreeSet;

/// A site's name as it is compared: two that differ in case or in surrounding blanks are one site.
pub fn folded(site: &str) -> String {
    site.trim().to_lowercase()
}

/// How many sites these are.
pub(super) fn distinct<'a>(sites: impl Iterator<Item = &'a str>) -> usize {
    sites.map(folded).collect::<BTreeSet<_>>().len()
}

/// Whether two names that are two sites look like one of them misspelt.
pub fn look_alike(one: &str, other: &str) -> bool {
    let letters = |site: &str| folded(site).chars().filter(|letter| letter.is_alphanumeric()).collect::<String>();
    let (one, other) = (letters(one), letters(other));
    one == other || (one.len().min(other.len()) > 4 && strsim::damerau_levenshtein(&one, &other) == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_blanks_make_no_other_site() {
        for same in ["pic", "PIC ", "\tPic"] {
            assert_eq!(folded(same), folded("PIC"));
        }
        assert_ne!(folded("PIC"), folded("PIC2"));
    }

    #[test]
    fn misspelt_names_are_noticed() {
        for (one, other, alike) in [
            ("PIC.ES", "PIC-ES", true),
            ("FRASCATI", "FRASCATTI", true),
            ("Frascati", "Farscati", true),
            ("PIC", "PSC", false),
            ("SITE-A", "SITE-B", true),
            ("CSCS", "DESY", false),
        ] {
            assert_eq!(look_alike(one, other), alike, "{one} {other}");
        }
    }
}
