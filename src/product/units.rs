//! The units that quantities in a header may be written in.

/// What a unit measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Angle,
    Energy,
    Length,
    Time,
}

use Dimension::{Angle, Energy, Length, Time};

/// Julian year in seconds.
const YEAR: f64 = 365.25 * DAY;
const DAY: f64 = 86_400.0;
const DEGREE: f64 = std::f64::consts::PI / 180.0;
/// One joule in electronvolts.
const JOULE: f64 = 1.0 / 1.602_176_634e-19;

/// Name, dimension, and size in rad, eV, m or s.
const UNITS: &[(&str, Dimension, f64)] = &[
    ("rad", Angle, 1.0),
    ("deg", Angle, DEGREE),
    ("arcmin", Angle, DEGREE / 60.0),
    ("arcsec", Angle, DEGREE / 3600.0),
    ("mas", Angle, DEGREE / 3_600_000.0),
    ("hourangle", Angle, DEGREE * 15.0),
    ("eV", Energy, 1.0),
    ("keV", Energy, 1e3),
    ("MeV", Energy, 1e6),
    ("GeV", Energy, 1e9),
    ("TeV", Energy, 1e12),
    ("PeV", Energy, 1e15),
    ("J", Energy, JOULE),
    ("erg", Energy, JOULE * 1e-7),
    ("m", Length, 1.0),
    ("mm", Length, 1e-3),
    ("cm", Length, 1e-2),
    ("km", Length, 1e3),
    ("s", Time, 1.0),
    ("ns", Time, 1e-9),
    ("us", Time, 1e-6),
    ("ms", Time, 1e-3),
    ("min", Time, 60.0),
    ("h", Time, 3600.0),
    ("d", Time, DAY),
    ("day", Time, DAY),
    ("wk", Time, 7.0 * DAY),
    ("a", Time, YEAR),
    ("yr", Time, YEAR),
    ("cy", Time, 100.0 * YEAR),
];

fn find(name: &str) -> Option<(Dimension, f64)> {
    UNITS.iter().find(|(unit, ..)| *unit == name).map(|&(_, dimension, size)| (dimension, size))
}

/// `value` in unit `from`, expressed in unit `to`; `None` if one is unknown or they measure different things.
pub(super) fn convert(value: f64, from: &str, to: &str) -> Option<f64> {
    let ((measures, from_size), (wanted, to_size)) = (find(from)?, find(to)?);
    if measures != wanted {
        return None;
    }
    Some(if from == to { value } else { value * (from_size / to_size) })
}

/// Seconds in a unit of time.
pub(super) fn seconds(unit: &str) -> Option<f64> {
    find(unit).filter(|(dimension, _)| *dimension == Time).map(|(_, size)| size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn converts_within_a_dimension_only() {
        assert_eq!(convert(1.0, "rad", "deg"), Some(57.295_779_513_082_32));
        assert_eq!(convert(20.0, "GeV", "TeV"), Some(0.02));
        assert_eq!(convert(83.63, "deg", "deg"), Some(83.63));
        assert_eq!(convert(1.0, "deg", "TeV"), None);
        assert_eq!(convert(1.0, "", "deg"), None);
        assert_eq!(seconds("d"), Some(86_400.0));
        assert_eq!(seconds("deg"), None);
    }
}
