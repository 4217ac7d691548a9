//! What lies in `invalid/`: each file with its reason beside it, and its name known to the ledger.

use std::path::Path;

use serde_json::Value;

use crate::datadir::{self, DataDir};
use crate::engine::blocking;
use crate::engine::set_aside::reason_path;

use super::finding::{Code, Finding};
use super::sources::{Error, Sources};

const REASON_SUFFIX: &str = ".reason.json";

/// One file that was set aside, and what its reason file says.
pub(super) struct SetAside {
    /// Relative to the data root.
    pub(super) path: std::path::PathBuf,
    pub(super) identity: crate::custody::FileIdentity,
    /// `None`: there is none, or it is no JSON.
    pub(super) reason: Option<Value>,
}

/// The files in one directory below `invalid/`.
pub(super) async fn files(sources: &Sources, directory: &Path) -> Result<Vec<SetAside>, datadir::Error> {
    let (data, directory) = (sources.data.clone(), directory.to_owned());
    blocking(move || list(&data, &directory)).await
}

fn list(data: &DataDir, directory: &Path) -> Result<Vec<SetAside>, datadir::Error> {
    let entries = match data.read(directory) {
        Err(error) if error.is_missing() => return Ok(Vec::new()),
        read => read?.1,
    };
    let mut found = Vec::new();
    for entry in entries {
        if entry.name.as_encoded_bytes().ends_with(REASON_SUFFIX.as_bytes()) {
            continue;
        }
        let path = directory.join(&entry.name);
        // directories have their own turn, links and the like are not data
        let Ok(Some(identity)) = data.identity(&path) else { continue };
        let reason = match data.open(&reason_path(&path)) {
            Ok((file, _)) => serde_json::from_reader(std::io::BufReader::new(file)).ok(),
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        found.push(SetAside { path, identity, reason });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What has no business in one directory below `invalid/`.
pub(super) async fn unexplained(sources: &Sources, directory: &Path) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    for SetAside { path, reason, .. } in files(sources, directory).await? {
        let lfn = reason.as_ref().and_then(|reason| reason["lfn"].as_str());
        let row = match (lfn, &sources.ledger) {
            (Some(lfn), Some(ledger)) => ledger.by_lfn(lfn).await?,
            _ => None,
        };
        let message = match (lfn, &row) {
            (None, _) => "it has no reason file beside it that names its LFN".to_owned(),
            (Some(lfn), None) => format!("its reason file names {lfn}, which the ledger does not know"),
            (Some(_), Some(_)) => continue,
        };
        findings.push(Finding {
            code: Code::LeftoverInInvalid,
            file: format!("/{}", path.display()),
            state: None,
            invariant: None,
            message,
            repair: None,
        });
    }
    Ok(findings)
}
