//! Whether a file has the tables its kind must have.

use fits_verify::Hdu;

/// The first table of every event file ACADA writes.
const DATA_STREAM: &str = "DataStream";
/// One of these holds the events, and is written after the others.
const EVENT_TABLES: [&str; 3] = ["Events", "SubarrayEvents", "Triggers"];

/// The file is well formed as far as it goes, but its data are missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// No HDU has any data.
    #[error("no HDU has any data: the file ends after its header; have ACADA deliver the file again")]
    NoData,
    /// An event file without events.
    #[error(
        "HDU {after} '{DATA_STREAM}' is there, but no table named {}: the file was cut between two HDUs; \
         have ACADA deliver the file again",
        EVENT_TABLES.join(", ")
    )]
    NoEvents {
        /// Index of the `DataStream` table.
        after: usize,
    },
}

/// Checks that data are there: a file cut exactly between two HDUs is valid FITS and yet incomplete.
///
/// # Errors
/// What is missing.
pub fn has_data(hdus: &[Hdu]) -> Result<(), Incomplete> {
    if hdus.iter().all(|hdu| hdu.layout.data_bytes == 0) {
        return Err(Incomplete::NoData);
    }
    let named = |hdu: &&Hdu, names: &[&str]| hdu.layout.name.as_deref().is_some_and(|name| names.contains(&name));
    match hdus.iter().find(|hdu| named(hdu, &[DATA_STREAM])) {
        Some(stream) if !hdus.iter().any(|hdu| named(&hdu, &EVENT_TABLES)) => {
            Err(Incomplete::NoEvents { after: stream.index })
        }
        _ => Ok(()),
    }
}
