//! From a card's value to the value in the catalogue, by type.

use serde_json::{Number, Value as Json};
use url::Url;

use super::model::Kind;
use super::{email, time, units};
use fits_verify::Value;

/// Particles a product may be about, by name.
const MESSENGERS: &[&str] = &["cosmic-ray", "muon", "neutrino", "photon", "electron", "proton"];

/// Converts a value to one of the types a field may have.
///
/// # Errors
/// What is wrong with the value, in words.
pub(super) fn any(kinds: &[Kind], value: &Value) -> Result<Json, String> {
    let mut error = String::new();
    for kind in kinds {
        match one(kind, value) {
            Ok(json) => return Ok(json),
            Err(why) => error = why,
        }
    }
    Err(error)
}

fn one(kind: &Kind, value: &Value) -> Result<Json, String> {
    match kind {
        Kind::Text => Ok(text(value)?.into()),
        Kind::Integer => integer(value).map(Json::Number),
        Kind::Float => number(value).and_then(json),
        Kind::Uuid => {
            let uuid = uuid::Uuid::try_parse(text(value)?).map_err(|_| "not a UUID")?;
            Ok(uuid.hyphenated().to_string().into())
        }
        Kind::Date => time::date(text(value).map_err(|_| time::NOT_A_DATE)?).map(Json::from),
        Kind::Time => {
            let instant = time::instant(text(value).map_err(|_| time::NOT_A_TIME)?)?;
            Ok(instant.to_string().into())
        }
        Kind::Url => {
            let url =
                Url::parse(text(value)?).map_err(|error| format!("not a URL ({error}); write it with its scheme"))?;
            Ok(String::from(url).into())
        }
        Kind::Email => email::normalise(text(value)?).map(Json::from),
        Kind::Messenger => messenger(text(value)?).map(Json::from),
        Kind::TimeUnit => {
            let unit = text(value)?;
            units::seconds(unit).map(|_| unit.into()).ok_or_else(|| "not a unit of time, such as s or d".to_owned())
        }
        Kind::Quantity(unit) => quantity(value, unit).and_then(json),
        Kind::OneOf(values) => match value {
            Value::Text(text) if values.contains(&text.as_str()) => Ok(text.as_str().into()),
            _ => Err(format!("not one of {}", values.join(", "))),
        },
        Kind::Flags(values) => flags(value, values).map(Json::from),
        Kind::DataSource => data_source(text(value)?).map(Json::from),
    }
}

/// A string; numbers and logicals are not taken for one.
pub(super) fn text(value: &Value) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err("not a string".to_owned()),
    }
}

/// An integer, also one written as a whole real number, as a logical, or in a string.
pub(super) fn integer(value: &Value) -> Result<Number, String> {
    const WHAT: &str = "not an integer";
    let digits = match value {
        Value::Integer(n) => n.to_string(),
        Value::Logical(logical) => u8::from(*logical).to_string(),
        // the text of a whole number has no exponent and no fraction
        Value::Real(real) if real.is_finite() && real.fract() == 0.0 => format!("{real:.0}"),
        Value::Text(text) => {
            let text = text.trim();
            let whole = text.split_once('.').map_or(text, |(whole, zeros)| {
                if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') { whole } else { text }
            });
            let unsigned = whole.strip_prefix(['+', '-']).unwrap_or(whole);
            if unsigned.starts_with('_') || unsigned.ends_with('_') || unsigned.contains("__") {
                return Err(WHAT.to_owned());
            }
            whole.replace('_', "")
        }
        _ => return Err(WHAT.to_owned()),
    };
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(&digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WHAT.to_owned());
    }
    let exact = digits.parse::<u64>().map(Number::from).or_else(|_| digits.parse::<i64>().map(Number::from));
    exact.map_err(|_| "an integer of more than 64 bits, which the catalogue cannot hold".to_owned())
}

/// A real number.
fn number(value: &Value) -> Result<f64, String> {
    const WHAT: &str = "not a number";
    let number = match value {
        Value::Real(real) => *real,
        #[allow(clippy::cast_precision_loss)]
        Value::Integer(n) => *n as f64,
        Value::Logical(logical) => f64::from(u8::from(*logical)),
        Value::Text(text) => text.trim().parse().map_err(|_| WHAT)?,
        _ => return Err(WHAT.to_owned()),
    };
    if number.is_finite() { Ok(number) } else { Err(WHAT.to_owned()) }
}

fn json(number: f64) -> Result<Json, String> {
    Number::from_f64(number).map(Json::Number).ok_or_else(|| "not a finite number".to_owned())
}

/// A number in the unit of the model, from a plain number or from a string such as `1.0 rad`.
pub(super) fn quantity(value: &Value, unit: &str) -> Result<f64, String> {
    let Value::Text(text) = value else {
        return match value {
            Value::Real(_) | Value::Integer(_) => number(value),
            _ => Err(format!("not a number in {unit}")),
        };
    };
    let (number, written) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let number: f64 = number.parse().map_err(|_| format!("not a number with a unit such as '1.0 {unit}'"))?;
    let written = written.trim();
    match units::convert(number, written, unit) {
        Some(converted) if converted.is_finite() => Ok(converted),
        _ if written.is_empty() => Err(format!("a string without a unit; write a number in {unit}, or add the unit")),
        _ => Err(format!("in a unit that is not known or cannot be converted to {unit}")),
    }
}

fn messenger(text: &str) -> Result<String, String> {
    let number = text.strip_prefix("pdgid").and_then(|rest| rest.strip_prefix(['+', '-']));
    let numbered = number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    if numbered || MESSENGERS.contains(&text) {
        return Ok(text.to_owned());
    }
    Err(format!("not one of {}, pdgid+N, pdgid-N", MESSENGERS.join(", ")))
}

/// Names joined with `|` in any case, or the number whose bits they are.
fn flags(value: &Value, names: &[&str]) -> Result<String, String> {
    let wrong = || format!("not one or more of {} joined with '|'", names.join(", "));
    let bits: u64 = match value {
        Value::Text(text) => {
            let bit = |part: &str| names.iter().position(|name| name.eq_ignore_ascii_case(part.trim()));
            text.split('|').try_fold(0, |bits, part| bit(part).map(|bit| bits | 1 << bit)).ok_or_else(wrong)?
        }
        other => integer(other)?.as_u64().filter(|bits| *bits < 1 << names.len()).ok_or_else(wrong)?,
    };
    let set: Vec<_> = names.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1).map(|(_, name)| *name).collect();
    Ok(if set.is_empty() { "0".to_owned() } else { set.join("|") })
}

/// Component and number of a data source, the number with at least three digits.
fn data_source(text: &str) -> Result<String, String> {
    const WHAT: &str = "not a data source; write capital letters and a number, such as SDH001";
    let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
    let (component, number) = text.split_at(letters);
    if component.is_empty() || number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WHAT.to_owned());
    }
    let number = number.trim_start_matches('0');
    Ok(format!("{component}{number:0>3}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn string(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn integers_in_all_their_forms() {
        let read = |value: &Value| one(&Kind::Integer, value).map(|json| json.to_string());
        for (value, expected) in [
            (Value::Integer(-3), "-3"),
            (Value::Integer(9_223_372_036_854_775_808), "9223372036854775808"),
            (Value::Real(5.0), "5"),
            (Value::Logical(true), "1"),
            (string(" 42"), "42"),
            (string("+5"), "5"),
            (string("1_000"), "1000"),
            (string("007"), "7"),
            (string("5.0"), "5"),
            (string("-5.00"), "-5"),
        ] {
            assert_eq!(read(&value).as_deref(), Ok(expected), "{value:?}");
        }
        for text in ["", "5.5", "0x10", "1e3", "1__0", "_1", "1_", "--1", "+-1", "5."] {
            assert!(read(&string(text)).is_err(), "{text}");
        }
        assert!(read(&Value::Real(5.5)).is_err());
        assert!(read(&Value::Integer(i128::MAX)).unwrap_err().contains("64 bits"));
        assert!(read(&Value::Real(1e300)).is_err());
    }

    #[test]
    fn flags_in_any_case_come_out_in_order() {
        let names = ["IMAGES", "PARAMETERS", "GEOMETRY"];
        assert_eq!(flags(&string("geometry | IMAGES"), &names).as_deref(), Ok("IMAGES|GEOMETRY"));
        assert_eq!(flags(&Value::Integer(3), &names).as_deref(), Ok("IMAGES|PARAMETERS"));
        assert_eq!(flags(&Value::Integer(0), &names).as_deref(), Ok("0"));
        assert!(flags(&Value::Integer(8), &names).is_err());
        assert!(flags(&Value::Integer(-1), &names).is_err());
        assert!(flags(&string(""), &names).is_err());
    }

    #[test]
    fn data_sources_have_three_digits_at_least() {
        for (text, expected) in
            [("SDH1", "SDH001"), ("SDH0001", "SDH001"), ("SDH1234", "SDH1234"), ("SWAT000", "SWAT000")]
        {
            assert_eq!(data_source(text).as_deref(), Ok(expected));
        }
        for text in ["SDH", "001", "sdh1", "SDH-1", "SDH1x", ""] {
            assert!(data_source(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_need_a_unit_only_in_strings() {
        assert_eq!(quantity(&Value::Integer(83), "deg"), Ok(83.0));
        assert_eq!(quantity(&string("58119.0 d"), "d"), Ok(58119.0));
        assert!(quantity(&string("83.63"), "deg").unwrap_err().contains("without a unit"));
        assert!(quantity(&string("1 TeV"), "deg").is_err());
        assert!(quantity(&string("nan deg"), "deg").is_err());
        assert!(quantity(&Value::Logical(true), "deg").is_err());
    }
}
