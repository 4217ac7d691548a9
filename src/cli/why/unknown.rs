//! A file the daemon has no record of: what the disk says about it.

use std::path::PathBuf;

use super::explanation::Explanation;
use crate::cli::exit::Failure;
use crate::cli::ledger::Reader;
use crate::config::format_duration;
use crate::names::{Lfn, TRIGGER_SUFFIX};

/// Looks for the file and its trigger, and at the triggers that were found wrong.
pub(in crate::cli) async fn unknown(reader: &Reader, lfn: &Lfn) -> Result<Explanation, Failure> {
    let file = reader.config.data_path.join(lfn.relative());
    let trigger = PathBuf::from(format!("{}{TRIGGER_SUFFIX}", file.display()));
    let wrong = reader.ledger.wrong_triggers().await?;
    let relative = format!("{}{TRIGGER_SUFFIX}", lfn.relative().display());
    let wrong = wrong.into_iter().find(|wrong| wrong.path == relative);
    let seen = Seen {
        elsewhere: lfn.relative().iter().next().is_none_or(|first| first.to_str() != Some(reader.config.vo.as_str())),
        file: file.symlink_metadata().is_ok(),
        trigger: trigger.symlink_metadata().is_ok(),
        complaint: wrong.map(|wrong| wrong.message),
    };
    let (because, operator) = seen.words(&trigger.display().to_string(), &reader.config);
    Ok(Explanation { lfn: lfn.as_str().to_owned(), state: None, because: vec![because], next: None, operator })
}

struct Seen {
    /// It belongs to another VO.
    elsewhere: bool,
    file: bool,
    trigger: bool,
    /// Why its trigger could not be taken.
    complaint: Option<String>,
}

impl Seen {
    fn words(self, trigger: &str, config: &crate::config::Config) -> (String, Vec<String>) {
        let interval = format_duration(config.intake.scan_interval);
        match self {
            Self { elsewhere: true, .. } => (
                format!(
                    "The daemon does not look there: it takes files below {} only.",
                    config.data_path.join(&config.vo).display()
                ),
                vec![format!(
                    "have it written below the directory of the VO '{}', or correct vo in the configuration",
                    config.vo
                )],
            ),
            Self { complaint: Some(complaint), .. } => (
                format!("The daemon has no record of it, because its trigger cannot be taken: {complaint}"),
                vec!["correct the trigger; it is looked at again as soon as it changes".to_owned()],
            ),
            Self { file: true, trigger: true, .. } => (
                format!(
                    "The daemon has no record of it, but it and its trigger are there; a scan comes every {interval}."
                ),
                vec!["see whether the daemon runs: dl0-ingest status".to_owned()],
            ),
            Self { file: true, trigger: false, .. } => (
                "The daemon has no record of it: the file is there, but nothing has asked for it to be taken."
                    .to_owned(),
                vec![format!("check its trigger, which ACADA makes after closing the file: {trigger} does not exist")],
            ),
            Self { file: false, trigger: true, .. } => (
                "The daemon has no record of it: its trigger is there, the file is not (yet).".to_owned(),
                vec!["wait for the file, or remove the trigger if it will not come".to_owned()],
            ),
            Self { file: false, trigger: false, .. } => (
                "The daemon has no record of it, and there is neither such a file nor a trigger for it on disk."
                    .to_owned(),
                vec![format!("check the name; its trigger would be {trigger}")],
            ),
        }
    }
}
