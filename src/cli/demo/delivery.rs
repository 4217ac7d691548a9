//! What the demo delivers: small real files of ACADA's mock, compiled in, and a damaged copy of one of them.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::names::{Lfn, NameError, TRIGGER_SUFFIX};

/// A file to deliver.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    /// What it is, for people.
    pub(super) what: &'static str,
    pub(super) lfn: Lfn,
    pub(super) content: Cow<'static, [u8]>,
    /// Whether it should be released; a file that is not sound should be rejected.
    pub(super) sound: bool,
}

/// A fixture with its directory in the interface directory and what it is.
struct Fixture {
    what: &'static str,
    directory: &'static str,
    name: &'static str,
    content: &'static [u8],
}

macro_rules! fixture {
    ($what:literal, $directory:expr, $name:literal) => {
        Fixture {
            what: $what,
            directory: $directory,
            name: $name,
            content: include_bytes!(concat!("../../../fixtures/dl0/", $name)),
        }
    };
}

const TELESCOPE: &str = "/ctao/acada/dl0/LSTN-01/events/2026/01/01";
const SUBARRAY: &str = "/ctao/acada/dl0/array/ctao-north/events/2026/01/01";
const MONITORING: &str = "/ctao/acada/dl0/array/ctao-north/monitoring/2026/01/01";

const CALIBRATION: Fixture = fixture!(
    "calibration events",
    TELESCOPE,
    "TEL001_SDH000_20260101T200000_SBID2000000456_OBSID2000000456_TEL_CAL_CHUNK000.fits.fz"
);
const MUONS: Fixture = fixture!(
    "muon rings",
    TELESCOPE,
    "TEL001_SDH000_20260101T200000_SBID2000000456_OBSID2000000456_TEL_MUON_CHUNK000.fits.fz"
);
const SHOWERS: Fixture = fixture!(
    "shower events",
    TELESCOPE,
    "TEL001_SDH000_20260101T200000_SBID2000000456_OBSID2000000456_TEL_SHOWER_CHUNK000.fits.fz"
);
const TRIGGERS: Fixture = fixture!(
    "subarray triggers",
    SUBARRAY,
    "SUB001_SWAT001_20260101T200000_SBID2000000456_OBSID2000000456_SUBARRAY_CHUNK000.fits.fz"
);
const WEATHER: Fixture = fixture!("weather", MONITORING, "WEATHER_20260101T200000.fits");

/// The files in the order of their delivery.
pub(super) fn deliveries() -> Result<Vec<Delivery>, NameError> {
    let mut deliveries = Vec::new();
    for fixture in [CALIBRATION, MUONS, SHOWERS, TRIGGERS, WEATHER] {
        deliveries.push(Delivery {
            what: fixture.what,
            lfn: Lfn::try_from(format!("{}/{}", fixture.directory, fixture.name).as_str())?,
            content: Cow::Borrowed(fixture.content),
            sound: true,
        });
    }
    // in the middle, so that good files come before and after it
    deliveries.insert(3, damaged()?);
    Ok(deliveries)
}

/// The next chunk of muons, with one bit of its last HDU's data turned over.
fn damaged() -> Result<Delivery, NameError> {
    let name = MUONS.name.replace("CHUNK000", "CHUNK001");
    let mut content = MUONS.content.to_vec();
    // the last block may be padding; the one before it is data
    let place = content.len().saturating_sub(2880 + 1);
    if let Some(byte) = content.get_mut(place) {
        *byte ^= 1;
    }
    Ok(Delivery {
        what: "muon rings, damaged",
        lfn: Lfn::try_from(format!("{}/{name}", MUONS.directory).as_str())?,
        content: Cow::Owned(content),
        sound: false,
    })
}

impl Delivery {
    /// Writes file and trigger as ACADA does: the trigger, a relative symlink, only after the file is closed.
    pub(super) fn deliver(&self, interface: &Path) -> io::Result<()> {
        let path = interface.join(self.lfn.relative());
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&path, &self.content)?;
        let name = path.file_name().unwrap_or_default();
        let mut trigger = PathBuf::from(&path).into_os_string();
        trigger.push(TRIGGER_SUFFIX);
        symlink(name, trigger)
    }

    /// The end of its name, which tells it from the others.
    pub(super) fn short_name(&self) -> &str {
        let name = self.lfn.as_str().rsplit('/').next().unwrap_or_default();
        name.split_once("_OBSID2000000456_").map_or(name, |(_, end)| end)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fixity::{Options, examine};

    #[test]
    fn exactly_the_damaged_file_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let deliveries = deliveries().unwrap();
        assert_eq!(deliveries.iter().filter(|delivery| !delivery.sound).count(), 1);
        for delivery in deliveries {
            delivery.deliver(directory.path()).unwrap();
            let path = directory.path().join(delivery.lfn.relative());
            let report = examine(&fs::File::open(&path).unwrap(), &Options::default()).unwrap();
            assert_eq!(report.accepted(), delivery.sound, "{}: {:?}", delivery.what, report.reasons);
            let trigger = directory.path().join(format!("{}{TRIGGER_SUFFIX}", delivery.lfn.relative().display()));
            assert_eq!(trigger.canonicalize().unwrap(), path.canonicalize().unwrap());
        }
    }
}
