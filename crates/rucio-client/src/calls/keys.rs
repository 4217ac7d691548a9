//! Keys of free metadata, and those that Rucio would take for something else.

use serde_json::{Map, Value};

use crate::did::Did;
use crate::errors::{Error, Kind, Outlook};

/// Columns of Rucio's table of DIDs (`DataIdentifier` in `db/sqla/models.py`) and the further keys of its column
/// plugin (`core/did_meta_plugins/did_column_meta.py`), as of Rucio 41. A value under such a key changes the DID
/// itself (`lifetime` makes it expire, `bytes` its size) or is lost; none ever reaches the store of free metadata.
const TAKEN: &[&str] = &[
    "access_cnt",
    "accessed_at",
    "account",
    "adler32",
    "availability",
    "bytes",
    "campaign",
    "closed_at",
    "complete",
    "constituent",
    "created_after",
    "created_at",
    "created_before",
    "datatype",
    "deleted_at",
    "did_type",
    "eol_at",
    "events",
    "expired_at",
    "guid",
    "hidden",
    "is_archive",
    "is_new",
    "is_open",
    "length",
    "lifetime",
    "lumiblocknr",
    "md5",
    "monotonic",
    "name",
    "obsolete",
    "panda_id",
    "phys_group",
    "prod_step",
    "project",
    "provenance",
    "purge_replicas",
    "run_number",
    "scope",
    "stream_name",
    "suppressed",
    "task_id",
    "transient",
    "type",
    "updated_at",
    "version",
];

/// Whether Rucio stores a value under this key as it is: not one of its own names, and without a `.`, which its
/// searches take for an operator.
pub fn metadata_key_is_safe(key: &str) -> bool {
    !key.is_empty() && !key.contains('.') && TAKEN.binary_search(&key).is_err()
}

/// Refuses metadata with a key that Rucio would misread.
pub(crate) fn check_keys(did: &Did, meta: &Map<String, Value>) -> Result<(), Error> {
    let Some(key) = meta.keys().find(|key| !metadata_key_is_safe(key)) else { return Ok(()) };
    let message = format!(
        "the metadata of {did} has the key '{key}', which Rucio would take for something else; \
         nothing was sent, the key must be renamed"
    );
    Err(Error::new(Kind::UnsafeMetadataKey, Outlook::Never, message).never_sent())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_keys_can_be_searched() {
        assert!(TAKEN.is_sorted());
    }

    #[test]
    fn keys_that_rucio_would_misread_are_not_safe() {
        for key in ["", ".", "a.b", "obs_id.gte", "lifetime", "version", "type", "project", "run_number", "bytes"] {
            assert!(!metadata_key_is_safe(key), "{key}");
        }
        for key in ["obs_id", "instrument__id", "valid_fits_checksum", "versions", "Version", "lifetimes"] {
            assert!(metadata_key_is_safe(key), "{key}");
        }
    }
}
