//! Dates as headers have them (section 9.1.1, and 4.4.2.1 for those of the last century).

/// Whether this is a date of a calendar: `YYYY-MM-DD[Thh:mm:ss[.s…]]`, the year perhaps with a sign and a fifth digit, or
/// `DD/MM/YY` for the years 1900 to 1999.
pub(super) fn is_date(text: &str) -> bool {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    if !date.is_ascii() {
        return false;
    }
    if let [day, month, year] = date.split('/').collect::<Vec<_>>()[..] {
        let fields = (digits(day, 2), digits(month, 2), digits(year, 2));
        return time.is_none() && matches!(fields, (Some(d), Some(m), Some(y)) if is_day(1900 + y, m, d));
    }
    let signed = date.starts_with(['+', '-']);
    let Some((year, rest)) = date[usize::from(signed)..].split_once('-') else { return false };
    let Some((month, day)) = rest.split_once('-') else { return false };
    // a leap year is one with and without its sign
    let fields = (digits(year, if signed { 5 } else { 4 }), digits(month, 2), digits(day, 2));
    matches!(fields, (Some(y), Some(m), Some(d)) if is_day(y, m, d)) && time.is_none_or(is_time)
}

fn is_time(time: &str) -> bool {
    let (whole, fraction) = time.split_once('.').map_or((time, None), |(whole, fraction)| (whole, Some(fraction)));
    let fields: Vec<_> = whole.split(':').map(|field| digits(field, 2)).collect();
    let fraction = fraction.is_none_or(|fraction| fraction.bytes().all(|byte| byte.is_ascii_digit()));
    // a leap second has the number 60
    fraction && matches!(fields[..], [Some(0..24), Some(0..60), Some(0..=60)])
}

/// A number of exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u32> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let last = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return false,
    };
    (1..=last).contains(&day)
}

#[cfg(test)]
mod tests {
    use super::is_date;

    #[test]
    fn dates_of_the_standard_and_no_others() {
        for date in [
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-12-31T23:59:60.123456789",
            "2024-02-29",
            "31/12/99",
            "-04713-11-24T12:00:00",
            "+12026-01-01",
        ] {
            assert!(is_date(date), "{date}");
        }
        for date in [
            "",
            "31/13/2026",
            "31/13/26",
            "2026-02-30T25:00:00",
            "2026-02-29",
            "2026-1-1",
            "2026-01-01T",
            "2026-01-01T12:00",
            "2026-01-01 12:00:00",
            "2026-01-01T12:00:00Z",
            "2026-01-01T12:60:00",
            "2026-13-01",
            "2026-00-10",
            "20260101",
            "12026-01-01",
            "2026-01-01Tab:00:00",
            "é026-01-01",
        ] {
            assert!(!is_date(date), "{date}");
        }
    }
}
