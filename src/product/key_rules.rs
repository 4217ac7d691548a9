//! The rules of the model that concern single keys.

use serde_json::{Map, Value as Json};

use super::input::{Given, Input, Source};
use super::model::{Model, is_below};
use super::outcome::{Defect, Ignored};
use super::{convert, coordinates, time, units};
use fits_verify::{Header, Value};

const T_MIN: &str = "observation__coverage__time__t_min";
const T_MAX: &str = "observation__coverage__time__t_max";
const REFERENCE: &str = "observation__coverage__time__reference";
const DATA_SOURCE: &str = "instance__data_source";

/// Short keywords of older metadata versions.
const RENAMED: &[(&str, &str)] = &[("ANAMODE", "ACTCONF")];
/// Other names of keys in HIERARCH cards.
const ALIASES: &[(&str, &str)] =
    &[("instance__tel_id", "instance__ae_id"), ("sdc__nsb_conditions", "sdc__sky_brightness")];

/// The keyword that an older one has become.
pub(super) fn current_keyword(keyword: &str) -> &str {
    RENAMED.iter().find(|(old, _)| *old == keyword).map_or(keyword, |(_, new)| new)
}

/// The key that an alias stands for.
pub(super) fn current_key(key: String) -> String {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, key)| (*key).to_owned())
}

/// A header must not have both the older and the newer name of a keyword.
pub(super) fn renamed(header: &Header, input: &mut Input) {
    for (old, new) in RENAMED {
        if let (Some(card), Some(_)) = (header.get(old), header.get(new)) {
            let what = format!("is the older name of {new}, and the header has both");
            input.defects.push(Defect { keyword: (*old).to_owned(), value: None, offset: Some(card.offset), what });
        }
    }
}

/// A data source given in two HIERARCH cards is one value in the catalogue.
pub(super) fn data_source(input: &mut Input) {
    let component = input.given.remove(&format!("{DATA_SOURCE}__component"));
    let id = input.given.remove(&format!("{DATA_SOURCE}__id"));
    let (component, id) = match (component, id) {
        (None, None) => return,
        (Some(component), Some(id)) => (component, id),
        (Some(given), None) | (None, Some(given)) => {
            let what = "stands alone; a data source needs both COMPONENT and ID";
            return input.defects.push(given.defect(what));
        }
    };
    if let Some(whole) = input.given.get(DATA_SOURCE) {
        return input.defects.push(whole.defect("is given a second time by HIERARCH cards"));
    }
    let text = match &component.value {
        Source::Card(value) => convert::text(value).map(str::to_owned),
        _ => return,
    };
    let number = match &id.value {
        Source::Card(value) => convert::integer(value)
            .and_then(|number| number.as_u64().map(|number| number.to_string()).ok_or_else(|| "negative".to_owned())),
        _ => return,
    };
    match (text, number) {
        (Ok(text), Ok(number)) => {
            let value = Source::Ready(format!("{text}{number:0>3}").into());
            input.given.insert(DATA_SOURCE.to_owned(), Given { value, ..component });
        }
        (text, number) => {
            input.defects.extend(text.err().map(|what| component.defect(what)));
            input.defects.extend(number.err().map(|what| id.defect(what)));
        }
    }
}

/// An observation is known by its times. Without them its other keys have no effect; with numeric ones, they are turned
/// into UTC by the time reference (section 9.2), which is not stored.
pub(super) fn observation(model: &Model, header: &Header, input: &mut Input) -> Option<Ignored> {
    if !input.given.contains_key(T_MIN) && !input.given.contains_key(T_MAX) {
        let mut keywords = Vec::new();
        input.given.retain(|key, given| {
            let below = is_below(key, "observation");
            if below && !is_below(key, REFERENCE) {
                keywords.push(given.keyword.clone());
            }
            !below
        });
        let why = "without TSTART and TSTOP there is no observation they could describe";
        return (!keywords.is_empty()).then_some(Ignored { keywords, why });
    }
    let numeric = |key: &str| {
        let value = input.given.get(key).map(|given| &given.value);
        matches!(value, Some(Source::Card(Value::Integer(_) | Value::Real(_))))
    };
    if numeric(T_MIN) || numeric(T_MAX) {
        let reference = Reference::of(model, header, input);
        for key in [T_MIN, T_MAX] {
            convert_time(key, reference.as_ref(), input);
        }
    }
    input.given.retain(|key, _| !is_below(key, REFERENCE));
    None
}

fn convert_time(key: &str, reference: Option<&Reference>, input: &mut Input) {
    let Some(given) = input.given.get_mut(key) else { return };
    let seconds = match (&given.value, reference) {
        #[allow(clippy::cast_precision_loss)]
        (Source::Card(Value::Integer(n)), Some(reference)) => *n as f64 * reference.unit,
        (Source::Card(Value::Real(real)), Some(reference)) => real * reference.unit,
        (Source::Card(Value::Integer(_) | Value::Real(_)), None) => {
            // what is wrong with the reference has been said
            given.value = Source::Refused;
            return;
        }
        _ => return,
    };
    let Some(reference) = reference else { return };
    match time::elapsed(reference.mjd, seconds, &reference.scale) {
        Ok(instant) => given.value = Source::Ready(instant.to_string().into()),
        Err(what) => {
            input.defects.push(given.defect(what));
            given.value = Source::Refused;
        }
    }
}

/// What numeric times count from.
struct Reference {
    mjd: f64,
    /// Seconds.
    unit: f64,
    /// TIMESYS; empty if absent, which means UTC (section 9.2.1).
    scale: String,
}

impl Reference {
    /// Reads the reference; `None` if it is wrong, with the defects noted.
    fn of(model: &Model, header: &Header, input: &mut Input) -> Option<Self> {
        let before = input.defects.len();
        let card = |name: &str| input.given.get(&format!("{REFERENCE}__{name}"));
        let mut defects = Vec::new();
        let mut checked = |name: &str| {
            let given = card(name)?;
            let field = model.by_key(&format!("{REFERENCE}__{name}"))?;
            match &given.value {
                Source::Card(Value::Undefined) => {
                    defects.push(given.defect("has no value; give one, or leave the keyword out"));
                    None
                }
                Source::Card(value) => convert::any(&field.kinds, &upper(name, value))
                    .map_err(|what| defects.push(given.defect(what)))
                    .ok(),
                _ => None,
            }
        };
        checked("position");
        checked("resolution");
        let unit = checked("unit").and_then(|unit| unit.as_str().and_then(units::seconds)).unwrap_or(1.0);
        let scale = checked("system").and_then(|scale| scale.as_str().map(str::to_owned)).unwrap_or_default();
        // of both forms, the pair counts: it is the more precise one (section 9.2.2)
        let mjd = split_reference(header).or_else(|| checked("time_mjd").and_then(|mjd| mjd.as_f64()));
        if mjd.is_none() && card("time_mjd").is_none() {
            let what = "is missing, and numeric TSTART and TSTOP count from it";
            defects.push(Defect::new("MJDREF", what));
        }
        input.defects.append(&mut defects);
        if input.defects.len() > before {
            return None;
        }
        Some(Self { mjd: mjd?, unit, scale })
    }
}

/// TIMESYS is compared in upper case.
fn upper(name: &str, value: &Value) -> Value {
    match value {
        Value::Text(text) if name == "system" => Value::Text(text.to_uppercase()),
        other => other.clone(),
    }
}

/// MJDREFI and MJDREFF, the integer and the fractional part of the reference.
fn split_reference(header: &Header) -> Option<f64> {
    let part = |keyword| header.get(keyword)?.value().and_then(|value| convert::quantity(value, "d").ok());
    Some(part("MJDREFI")? + part("MJDREFF")?)
}

/// Rules across groups, over what has been converted.
pub(super) fn across(keys: &mut Map<String, Json>, input: &mut Input) {
    let lunar = keys.get("instance__lunar_cycle_id").filter(|cycle| cycle.as_i64() != Some(0));
    let period = keys.get("instance__observing_period_id").and_then(Json::as_str).unwrap_or_default();
    if lunar.is_some() && period.is_empty() {
        input.defects.push(Defect::new("LUNCYCLE", "needs PERIOD beside it"));
    }
    let text = |key: &str| keys.get(key).and_then(Json::as_str).unwrap_or_default();
    let (level, division) = (text("data__level"), text("data__division"));
    if ["R0", "R1", "DL0", "DL1", "DL2", "DL3"].contains(&level) && ["Binned", "Model"].contains(&division) {
        let what = format!("is '{division}', which data of level {level} cannot be");
        input.defects.push(Defect::new("DATADIV", what));
    }
    if input.has("sdc") && text("instance__facility_name") != "Simulated-CTAO" {
        let what = "marks a data challenge, so TELESCOP must be 'Simulated-CTAO'";
        input.defects.push(Defect::new("SDC_NSB", what));
    }
    let placed = keys.contains_key("instance__site_id") || input.has("observation__location");
    if input.has("simulation__node") && !placed {
        let what =
            "describe a point of a simulation, which needs a place: INSTRUME, or OBSGEO-L, OBSGEO-B and OBSGEO-H";
        input.defects.push(Defect::new("SIMZEN, SIMAZ", what));
    }
    simulation_node(keys, input);
}

/// Where the place of a simulation is known, its hour angle and declination follow from zenith angle and azimuth: they
/// are filled in if they are absent, and must agree if they are there.
fn simulation_node(keys: &mut Map<String, Json>, input: &mut Input) {
    const NODE: &str = "simulation__node";
    /// Degrees by which both may differ.
    const TOLERANCE: f64 = 0.11;
    let number = |key: &str| keys.get(key).and_then(Json::as_f64);
    let node = |name: &str| number(&format!("{NODE}__{name}"));
    let latitude = number("observation__location__latitude");
    let (Some(zenith), Some(azimuth), Some(latitude)) = (node("zenith"), node("azimuth"), latitude) else { return };
    let before = input.defects.len();
    for (keyword, value, range) in [
        ("OBSGEO-B", Some(latitude), -90.0..=90.0),
        ("SIMZEN", Some(zenith), 0.0..=180.0),
        ("SIMDEC", node("declination"), -90.0..=90.0),
    ] {
        if let Some(value) = value.filter(|value| !range.contains(value)) {
            let what = format!("is {value}, and must be between {} and {} degrees", range.start(), range.end());
            input.defects.push(Defect::new(keyword, what));
        }
    }
    if input.defects.len() > before {
        return;
    }
    let expected = coordinates::hour_angle(zenith, azimuth, latitude);
    let given = coordinates::HourAngle {
        hour_angle: node("hour_angle").unwrap_or(expected.hour_angle),
        declination: node("declination").unwrap_or(expected.declination),
    };
    let separation = given.separation(expected);
    if separation > TOLERANCE {
        let what = format!(
            "lie {separation:.2} degrees from the direction of SIMZEN and SIMAZ, which is {:.4}, {:.4}",
            expected.hour_angle, expected.declination
        );
        input.defects.push(Defect::new("SIMHA, SIMDEC", what));
        return;
    }
    // in the order of the model, behind the azimuth
    let mut place = keys.keys().position(|key| *key == format!("{NODE}__azimuth")).unwrap_or(keys.len());
    for (name, value) in [("hour_angle", given.hour_angle), ("declination", given.declination)] {
        place += 1;
        let key = format!("{NODE}__{name}");
        if !keys.contains_key(&key) {
            keys.shift_insert(place, key, value.into());
        }
    }
}
