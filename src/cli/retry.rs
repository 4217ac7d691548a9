//! `retry`: a held file goes on, with all evidence to be gathered anew; a waiting one is due at once.

use std::io::Write;
use std::path::Path;

use clap::Args;

use super::exit::{Exit, Failure};
use super::ledger::lfn_of;
use super::operator::{Reason, change};
use super::why::unknown;
use crate::config::Config;
use crate::custody::{State, UnderItsName};
use crate::datadir::{self, DataDir};
use crate::ledger::{FileRow, Retried};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// LFNs or paths of the files
    #[arg(value_name = "LFN|PATH", required = true)]
    files: Vec<String>,
    #[command(flatten)]
    reason: Reason,
}

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let operator = arguments.reason.signed();
    let retried = change(config, |opened| async move {
        let mut rows = Vec::new();
        for given in &arguments.files {
            let lfn = lfn_of(&opened.config, given)?;
            match opened.ledger.by_lfn(lfn.as_str()).await? {
                Some(row) => rows.push(row),
                None => return Err(unknown(&opened, &lfn).await?.into_failure()),
            }
        }
        let mut retried = Vec::new();
        for row in rows {
            let found = under_its_name(&opened.config, &row)?;
            let outcome = opened.ledger.retry(&row, &operator, found).await?;
            retried.push((row.lfn, outcome));
        }
        Ok(retried)
    })?;
    let mut exit = Exit::Good;
    for (lfn, outcome) in retried {
        let (good, words) = told(&outcome);
        writeln!(out, "{lfn}: {words}")?;
        if !good {
            exit = Exit::Bad;
        }
    }
    Ok(exit)
}

/// What lies on site under the name of a file that had left. One that had not is taken for itself: it does not matter.
fn under_its_name(config: &Config, row: &FileRow) -> Result<UnderItsName, Failure> {
    if !matches!(row.held_from.as_deref().and_then(State::parse), Some(State::Released | State::Releasing)) {
        return Ok(UnderItsName::Itself);
    }
    let data = DataDir::new(&config.data_path, &config.vo);
    match data.identity(Path::new(row.lfn.trim_start_matches('/'))) {
        Ok(None) => Ok(UnderItsName::Nothing),
        Ok(Some(found)) if found == row.identity() => Ok(UnderItsName::Itself),
        Ok(Some(_)) | Err(datadir::Error::Symlink { .. } | datadir::Error::NotAFile { .. }) => {
            Ok(UnderItsName::Another)
        }
        Err(error) => Err(Failure::environment(error)),
    }
}

fn told(outcome: &Retried) -> (bool, String) {
    match outcome {
        Retried::BackTo(State::Released) => (true, "counts as released again; its rules hold its copies".to_owned()),
        Retried::BackTo(state) => (true, format!("goes on as {state}; everything from there is proven anew")),
        Retried::Due => (true, "was not held; it is looked at now".to_owned()),
        Retried::UnderWay => (true, "is just being released".to_owned()),
        Retried::Ended(state) => (false, format!("is {state}, there is nothing to try again")),
        Retried::No(why) => (false, format!("stays held: {why}")),
        Retried::Moved => (false, "has moved on meanwhile; see dl0-ingest why".to_owned()),
    }
}
