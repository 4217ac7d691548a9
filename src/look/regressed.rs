//! Whether copies that were proven are not any more, or whether more are asked for than there were.

use std::collections::BTreeMap;

use crate::custody::{Doubt, FirstLook};
use crate::ledger::{self, FileRow};

/// What the first look proved of a file, as far as it still counts. `sites`: the site of each data centre now.
pub(crate) fn first_look(row: &FileRow, sites: &BTreeMap<String, String>) -> Result<Option<FirstLook>, ledger::Error> {
    Ok(row.first_look()?.map(|first| first.among(|rse| sites.contains_key(rse))))
}

/// Whether a look that found too little of a file found less than the first one did. A data centre that left the expression,
/// or whose site changed, has lost nothing, nor has a file of which more copies are required than before, or one whose rule
/// somebody ended or moved: that was somebody's decision, and the file waits for what is missing. `sites`: the site of each
/// data centre now.
pub(crate) fn has_regressed(
    row: &FileRow,
    doubt: &Doubt,
    sites: &BTreeMap<String, String>,
) -> Result<bool, ledger::Error> {
    Ok(first_look(row, sites)?.is_some_and(|first| doubt.has_lost(&first)))
}

/// The same in words.
pub(crate) fn regressed(doubt: &Doubt) -> String {
    format!("evidence that was complete is not any more: {}", doubt.reason())
}
