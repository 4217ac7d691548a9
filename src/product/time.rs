//! Points in time as headers write them (section 9 of the standard), and as the catalogue stores them: UTC, to the
//! nanosecond, without a zone letter.

use std::fmt;

use hifitime::{Epoch, TimeScale};
use jiff::civil::Date;
use jiff::{Span, ToSpan};

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const SECONDS_PER_DAY: u64 = 86_400;
/// Day zero of the Modified Julian Date.
const MJD_ZERO: Date = jiff::civil::date(1858, 11, 17);

/// A point in time: a day, and the nanoseconds since its midnight (one second more on a day with a leap second).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instant {
    day: Date,
    nanos: u64,
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, fraction) = (self.nanos / NANOS_PER_SECOND, self.nanos % NANOS_PER_SECOND);
        // a leap second is 23:59:60
        let minutes = (seconds / 60).min(24 * 60 - 1);
        let second = seconds - minutes * 60;
        let (year, month, day) = (self.day.year(), self.day.month(), self.day.day());
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{second:02}.{fraction:09}", minutes / 60, minutes % 60)
    }
}

/// Said of what is no date.
pub(super) const NOT_A_DATE: &str = "not a date; write it as '2026-01-31'";
/// Said of what is no point in time.
pub(super) const NOT_A_TIME: &str = "not a time of ISO 8601; write it as '2026-01-31T20:00:00.123'";

/// A date, or a date and time of day at midnight sharp.
pub(super) fn date(text: &str) -> Result<String, String> {
    let mut rest = text;
    let day = calendar_date(&mut rest).filter(|_| !text.starts_with(['+', '-'])).ok_or(NOT_A_DATE)?;
    if !rest.is_empty() {
        let midnight = rest
            .strip_prefix(['T', 't', ' '])
            .and_then(|mut time| time_of_day(&mut time).map(|clock| (clock, time)))
            .filter(|(_, zone)| offset_minutes(zone).is_some())
            .map(|(clock, _)| clock.minutes == 0 && clock.second == 0 && clock.nanos == 0);
        match midnight {
            None => return Err(NOT_A_DATE.to_owned()),
            Some(false) => return Err("not a date but a time of day; write it as '2026-01-31'".to_owned()),
            Some(true) => {}
        }
    }
    Ok(day.to_string())
}

/// A date and time of the FITS standard or ISO 8601.
pub(super) fn instant(text: &str) -> Result<Instant, String> {
    let mut rest = text;
    let mut day = calendar_date(&mut rest).ok_or(NOT_A_TIME)?;
    let mut clock = Clock::default();
    if let Some(mut time) = rest.strip_prefix(['T', ' ']) {
        clock = time_of_day(&mut time).ok_or(NOT_A_TIME)?;
        rest = time;
    }
    if let Some(scale) = rest.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        let scale = match scale {
            "UTC" | "UT" | "GMT" => return Instant::new(day, clock, false),
            "TAI" | "IAT" => TimeScale::TAI,
            "TT" | "TDT" | "ET" => TimeScale::TT,
            _ => return Err(format!("in the time scale {scale:?}, which is not one of UTC, TAI, TT")),
        };
        return Instant::new(day, clock, true)?.read_in(scale);
    }
    let offset = offset_minutes(rest).ok_or(NOT_A_TIME)?;
    if offset != 0 {
        let minutes = i64::from(clock.minutes) - offset;
        day = day.checked_add(minutes.div_euclid(24 * 60).days()).map_err(|_| out_of_range())?;
        clock.minutes = u32::try_from(minutes.rem_euclid(24 * 60)).unwrap_or_default();
    }
    Instant::new(day, clock, false)
}

/// A time given as seconds since a reference date, rounded to milliseconds.
///
/// `scale` is TIMESYS. UT1 and LOCAL have no fixed relation to UTC and are taken as UTC, like an absent TIMESYS.
pub(super) fn elapsed(reference_mjd: f64, seconds: f64, scale: &str) -> Result<Instant, String> {
    let whole_days = reference_mjd.floor();
    let millis = ((reference_mjd - whole_days) * SECONDS_PER_DAY as f64 + seconds) * 1000.0;
    let in_range = |value: f64, limit: f64| value.is_finite() && value.abs() < limit;
    if !in_range(whole_days, 1e7) || !in_range(millis, 1e15) {
        return Err(out_of_range());
    }
    #[allow(clippy::cast_possible_truncation)] // both were checked
    let (whole_days, millis) = (whole_days as i64, millis.round() as i64);
    let millis_per_day = 1000 * SECONDS_PER_DAY.cast_signed();
    let days = whole_days + millis.div_euclid(millis_per_day);
    let days = Span::new().try_days(days).map_err(|_| out_of_range())?;
    let day = MJD_ZERO.checked_add(days).map_err(|_| out_of_range())?;
    let nanos = millis.rem_euclid(millis_per_day).unsigned_abs() * 1_000_000;
    let instant = Instant { day, nanos };
    match scale {
        "TAI" => instant.read_in(TimeScale::TAI),
        "TT" => instant.read_in(TimeScale::TT),
        "GPS" => instant.read_in(TimeScale::GPST),
        _ => Ok(instant),
    }
}

fn out_of_range() -> String {
    "out of range; years 0 to 9999 are possible".to_owned()
}

/// A time of day as written.
#[derive(Clone, Copy, Default)]
struct Clock {
    /// Minutes since midnight.
    minutes: u32,
    /// Second of the minute, 60 only in a leap second.
    second: u32,
    /// Fraction of the second; rounding can make it a full one.
    nanos: u64,
}

impl Instant {
    /// Puts day and time of day together. A second 60 must be a leap second, and a `uniform` scale has none.
    fn new(day: Date, clock: Clock, uniform: bool) -> Result<Self, String> {
        let leap = !uniform && has_leap_second(day);
        if clock.second == 60 && !(leap && clock.minutes == 24 * 60 - 1) {
            return Err(format!("second 60, but {day} has no leap second there"));
        }
        let seconds = u64::from(clock.minutes) * 60 + u64::from(clock.second);
        let nanos = seconds * NANOS_PER_SECOND + clock.nanos;
        let length = (SECONDS_PER_DAY + u64::from(leap)) * NANOS_PER_SECOND;
        if nanos < length {
            return Ok(Self { day, nanos });
        }
        Ok(Self { day: day.tomorrow().map_err(|_| out_of_range())?, nanos: nanos - length })
    }

    /// The instant whose reading in `scale` this is, in UTC.
    fn read_in(self, scale: TimeScale) -> Result<Self, String> {
        let (seconds, nanos) = (self.nanos / NANOS_PER_SECOND, self.nanos % NANOS_PER_SECOND);
        let narrow = |n: u64| u8::try_from(n).map_err(|_| out_of_range());
        let unsigned = |n: i8| u8::try_from(n).map_err(|_| out_of_range());
        let (hour, minute, second) = (narrow(seconds / 3600)?, narrow(seconds / 60 % 60)?, narrow(seconds % 60)?);
        let nanos = u32::try_from(nanos).map_err(|_| out_of_range())?;
        let (year, month, day) = (self.day.year().into(), unsigned(self.day.month())?, unsigned(self.day.day())?);
        let epoch = Epoch::maybe_from_gregorian(year, month, day, hour, minute, second, nanos, scale);
        let epoch = epoch.map_err(|_| out_of_range())?;
        let (year, month, day, hour, minute, second, nanos) = epoch.to_gregorian(TimeScale::UTC);
        let signed = |n: u8| i8::try_from(n).map_err(|_| out_of_range());
        let year = i16::try_from(year).map_err(|_| out_of_range())?;
        let day = Date::new(year, signed(month)?, signed(day)?).map_err(|_| out_of_range())?;
        let seconds = u64::from(hour) * 3600 + u64::from(minute) * 60 + u64::from(second);
        Ok(Self { day, nanos: seconds * NANOS_PER_SECOND + u64::from(nanos) })
    }
}

/// Whether a leap second was put in at the end of this day.
fn has_leap_second(day: Date) -> bool {
    let offset = |day: Date| {
        let (month, of_month) = (u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?);
        let noon = Epoch::maybe_from_gregorian_utc(day.year().into(), month, of_month, 12, 0, 0, 0).ok()?;
        Some(noon.leap_seconds_iers())
    };
    match (offset(day), day.tomorrow().ok().and_then(offset)) {
        (Some(today), Some(tomorrow)) => tomorrow == today + 1,
        _ => false,
    }
}

/// Takes `YYYY-MM-DD` or a signed year of five digits.
fn calendar_date(rest: &mut &str) -> Option<Date> {
    let sign = if rest.starts_with('-') { -1 } else { 1 };
    let year_digits = match rest.strip_prefix(['+', '-']) {
        Some(unsigned) => {
            *rest = unsigned;
            5
        }
        None => 4,
    };
    let year = i16::try_from(digits(rest, year_digits)?).ok()? * sign;
    let month = i8::try_from(digits(skip(rest, '-')?, 2)?).ok()?;
    let day = i8::try_from(digits(skip(rest, '-')?, 2)?).ok()?;
    Date::new(year, month, day).ok()
}

/// Takes `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction`.
fn time_of_day(rest: &mut &str) -> Option<Clock> {
    let hour = digits(rest, 2).filter(|hour| *hour < 24)?;
    let minute = digits(skip(rest, ':')?, 2).filter(|minute| *minute < 60)?;
    let mut clock = Clock { minutes: hour * 60 + minute, ..Clock::default() };
    if skip(rest, ':').is_some() {
        clock.second = digits(rest, 2).filter(|second| *second <= 60)?;
        if skip(rest, '.').is_some() {
            clock.nanos = fraction(rest)?;
        }
    }
    Some(clock)
}

/// Takes the digits of a fraction and rounds them to nanoseconds.
fn fraction(rest: &mut &str) -> Option<u64> {
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, after) = rest.split_at(length);
    *rest = after;
    let (kept, dropped) = digits.split_at(length.min(9));
    let nanos: u64 = format!("{kept:0<9}").parse().ok()?;
    Some(nanos + u64::from(dropped.as_bytes().first().is_some_and(|digit| *digit >= b'5')))
}

/// The zone at the end: nothing, `Z`, or `±HH:MM`, in minutes east.
fn offset_minutes(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone == "Z" {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let mut rest = zone.strip_prefix(['+', '-'])?;
    let hours = digits(&mut rest, 2).filter(|hours| *hours < 24)?;
    let _ = skip(&mut rest, ':');
    let minutes = if rest.is_empty() { 0 } else { digits(&mut rest, 2).filter(|minutes| *minutes < 60)? };
    rest.is_empty().then(|| sign * i64::from(hours * 60 + minutes))
}

/// Takes exactly `n` digits.
fn digits(rest: &mut &str, n: usize) -> Option<u32> {
    let (head, tail) = rest.split_at_checked(n)?;
    if !head.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    *rest = tail;
    head.parse().ok()
}

/// Takes one expected character.
fn skip<'a, 'b>(rest: &'a mut &'b str, expected: char) -> Option<&'a mut &'b str> {
    *rest = rest.strip_prefix(expected)?;
    Some(rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: &str) {
        assert_eq!(instant(text).unwrap().to_string(), expected, "{text}");
    }

    #[test]
    fn fits_and_iso_forms() {
        reads("2026-01-01", "2026-01-01T00:00:00.000000000");
        reads("2026-01-01T20:00", "2026-01-01T20:00:00.000000000");
        reads("2026-01-01 20:00:00", "2026-01-01T20:00:00.000000000");
        reads("2026-01-01T20:00:00.1234567894", "2026-01-01T20:00:00.123456789");
        reads("2026-01-01T20:00:00.1234567896", "2026-01-01T20:00:00.123456790");
        reads("2025-12-31T23:59:59.9999999996", "2026-01-01T00:00:00.000000000");
        reads("1900-01-01T00:00:00", "1900-01-01T00:00:00.000000000");
        reads("+02026-01-01T20:00:00", "2026-01-01T20:00:00.000000000");
    }

    #[test]
    fn zones_and_scales_become_utc() {
        reads("2026-01-01T20:00:00.5Z", "2026-01-01T20:00:00.500000000");
        reads("2026-01-01T20:00:00+02:00", "2026-01-01T18:00:00.000000000");
        reads("2026-01-01T01:00:00+02:00", "2025-12-31T23:00:00.000000000");
        reads("2025-12-31T23:00:00-02:30", "2026-01-01T01:30:00.000000000");
        reads("2026-01-01T00:00:37(TAI)", "2026-01-01T00:00:00.000000000");
        reads("2026-01-01T00:01:09.184(TT)", "2026-01-01T00:00:00.000000000");
        reads("2026-01-01T00:00:00(UTC)", "2026-01-01T00:00:00.000000000");
    }

    #[test]
    fn second_60_is_for_leap_seconds_only() {
        reads("2016-12-31T23:59:60", "2016-12-31T23:59:60.000000000");
        reads("2016-12-31T23:59:60.5", "2016-12-31T23:59:60.500000000");
        reads("2016-12-31T23:59:60.9999999999", "2017-01-01T00:00:00.000000000");
        assert!(instant("2026-01-01T23:59:60").unwrap_err().contains("no leap second"));
        assert!(instant("2016-12-31T12:00:60").is_err());
    }

    #[test]
    fn what_is_not_iso_8601_is_refused() {
        let refused = [
            "2026",
            "61041.5",
            "1767297600",
            "J2026.0",
            "B1950.0",
            "2026:001:20:00:00",
            "yesterday",
            " 2026-01-01",
            "",
            "2026-01-01T25:00:00",
            "2026-02-30",
            "2026-01-01T20:00:00.",
            "2026-01-01T20:00:00X",
            "2026-01-01T",
            "26-01-01",
            "2026-01-01T20:00:00+25:00",
            "2026-01-01T20:00:00(MOON)",
        ];
        for text in refused {
            let read = instant(text).map(|instant| instant.to_string());
            assert!(read.is_err() || text.ends_with('.'), "{text} was read as {read:?}");
        }
    }

    #[test]
    fn elapsed_times_are_read_in_their_scale() {
        let reads = |mjd, seconds, scale| elapsed(mjd, seconds, scale).unwrap().to_string();
        assert_eq!(reads(58119.0, 270_806_400.0, "UTC"), "2026-08-01T08:00:00.000000000");
        assert_eq!(reads(58119.0, 270_806_401.999_6, ""), "2026-08-01T08:00:02.000000000");
        assert_eq!(reads(58119.0, 270_806_400.123_456, "UTC"), "2026-08-01T08:00:00.123000000");
        assert_eq!(reads(58119.0, 270_806_400.0, "TAI"), "2026-08-01T07:59:23.000000000");
        assert_eq!(reads(58119.0, 270_806_400.0, "TT"), "2026-08-01T07:58:50.816000000");
        assert_eq!(reads(58119.0, 270_806_400.0, "GPS"), "2026-08-01T07:59:42.000000000");
        assert_eq!(reads(0.5, 0.0, "UTC"), "1858-11-17T12:00:00.000000000");
        assert!(elapsed(f64::NAN, 0.0, "UTC").is_err());
        assert!(elapsed(0.0, 1e300, "UTC").is_err());
        assert!(elapsed(9e6, 0.0, "TAI").is_err());
    }

    #[test]
    fn nights_are_dates() {
        assert_eq!(date("2026-01-01").as_deref(), Ok("2026-01-01"));
        assert_eq!(date("2026-01-01T00:00:00Z").as_deref(), Ok("2026-01-01"));
        for text in
            ["2026-13-01", "01/02/2026", "20260101", "2026-1-1", "2026-02-30", "2026-01-01T12:00", "", "+02026-01-01"]
        {
            assert!(date(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9T:+.()Z -]{0,40}|\\PC{0,20}", mjd in any::<f64>(), seconds in any::<f64>(), scale in "TAI|TT|GPS|UTC") {
            let _ = (instant(&text), date(&text), elapsed(mjd, seconds, &scale));
        }
    }
}
