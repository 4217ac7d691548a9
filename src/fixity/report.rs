//! What one read says about a file: the conclusions from its digests, its walk and its metadata.

use serde::Serialize;
use serde_json::{Map, Value};

use super::digests::Fixity;
use super::findings::Finding;
use super::options::Options;
use crate::product;
use fits_verify::{Checksum, Walk};

/// The checksums of one HDU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HduReport {
    /// Index, 0 for the primary HDU.
    pub index: usize,
    /// EXTNAME.
    pub name: Option<String>,
    /// CHECKSUM over header and data unit.
    pub checksum: Checksum,
    /// DATASUM over the data unit.
    pub datasum: Checksum,
}

/// Warnings of an HDU whose sum nobody has said.
const WITHOUT_SUM: [&str; 2] = ["checksum-absent", "checksum-undefined"];

/// All that one read says about a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Size and digests.
    pub fixity: Fixity,
    /// Why the file must not be accepted; empty if it may.
    pub reasons: Vec<Finding>,
    /// Odd but safe.
    pub warnings: Vec<Finding>,
    /// The HDUs in order.
    pub hdus: Vec<HduReport>,
    /// Bytes after the last HDU.
    pub trailing_bytes: u64,
    /// Product metadata under flat keys; `None` if there are none or they are invalid.
    pub metadata: Option<Map<String, Value>>,
    /// Whether no CHECKSUM or DATASUM disagrees with the bytes; `None` if the file could not be walked to its end.
    pub valid_fits_checksum: Option<bool>,
}

impl Report {
    /// Whether the file may be accepted.
    pub fn accepted(&self) -> bool {
        self.reasons.is_empty()
    }

    /// Draws the conclusions from what was read.
    pub(super) fn of(fixity: Fixity, walk: &Walk, options: &Options) -> Self {
        let mut reasons: Vec<Finding> = walk.problems.iter().map(Finding::from).collect();
        let (required, odd): (Vec<_>, Vec<_>) =
            walk.warnings.iter().partition(|warning| options.require_checksum && WITHOUT_SUM.contains(&warning.code));
        reasons.extend(required.into_iter().map(Finding::from));
        let mut warnings: Vec<Finding> = odd.into_iter().map(Finding::from).collect();

        let metadata = match metadata(&fixity, walk, &mut warnings) {
            Ok(keys) => Some(keys),
            Err(without) => {
                if options.accept_missing_metadata { &mut warnings } else { &mut reasons }.extend(without);
                None
            }
        };
        // a damaged header can hide a table, and then the damage is the reason
        if walk.complete
            && walk.problems.is_empty()
            && let Err(incomplete) = product::has_data(&walk.hdus)
        {
            reasons.push(Finding { code: "no-data-hdu", message: incomplete.to_string() });
        }

        let hdus = walk.hdus.iter().map(|hdu| HduReport {
            index: hdu.index,
            name: hdu.layout.name.clone(),
            checksum: hdu.checksum,
            datasum: hdu.datasum,
        });
        let hdus: Vec<_> = hdus.collect();
        let all_agree = hdus.iter().all(|hdu| hdu.checksum != Checksum::Bad && hdu.datasum != Checksum::Bad);
        Self {
            fixity,
            reasons,
            warnings,
            valid_fits_checksum: (walk.complete && !hdus.is_empty()).then_some(all_agree),
            hdus,
            trailing_bytes: walk.trailing_bytes,
            metadata,
        }
    }
}

/// The product metadata; keywords without effect are warned of.
///
/// # Errors
/// Why there are none. Of a file that could not be walked to its end that is not said: its metadata may be in the rest.
fn metadata(fixity: &Fixity, walk: &Walk, warnings: &mut Vec<Finding>) -> Result<Map<String, Value>, Option<Finding>> {
    let Some((index, header)) = &walk.kept else {
        let message = "no HDU has the keyword CTAOMETA, so there is no product metadata; \
                       have the file written with the CTAO data product keywords and delivered again";
        return Err(walk.complete.then(|| Finding { code: "missing-metadata", message: message.to_owned() }));
    };
    let place = walk.hdus.get(*index).map_or_else(|| format!("HDU {index}"), |hdu| hdu.place().to_string());
    match product::metadata(header, &fixity.blake3) {
        Ok(found) => {
            let ignored = found.ignored.iter().map(|ignored| format!("{place}: {ignored}"));
            warnings.extend(ignored.map(|message| Finding { code: "metadata-ignored", message }));
            Ok(found.keys)
        }
        Err(invalid) => Err(Some(Finding { code: "invalid-metadata", message: format!("{place}: {invalid}") })),
    }
}
