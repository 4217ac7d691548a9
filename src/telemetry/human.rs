//! Sizes, ages and counts as people write them.

/// A size with three digits at most and a decimal unit, as disks are sold.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let digits = usize::from(unit != "B" && value < 9.95);
    format!("{value:.digits$} {unit}")
}

/// An age in its largest unit.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// So many of something: "1 file", "2 files".
pub fn count(n: u64, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_ages_and_counts_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_500), "1.5 kB");
        assert_eq!(size(999_999), "1.0 MB");
        assert_eq!(size(43_000_000_000), "43 GB");
        assert_eq!(size(u64::MAX), "18 EB");
        assert_eq!(age(90), "90 s");
        assert_eq!(age(7_300), "2 h");
        assert_eq!(age(200_000), "2 d");
        assert_eq!((count(0, "file"), count(1, "file")), ("0 files".into(), "1 file".into()));
    }
}
