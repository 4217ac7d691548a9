//! `why`: what a file waits for, in words; what comes next; what an operator can do.

use std::io::Write;
use std::path::Path;

use super::exit::{Exit, Failure};
use super::ledger::{OneFile, lfn_of, moment, read};
use crate::custody::State;
use crate::custody::brakes::Brakes;
use crate::kill_switch;
use crate::ledger::{Settlement, now};

mod explain;
mod explanation;
mod in_rucio;
mod unknown;

use explanation::Explanation;

pub(super) use unknown::unknown;

pub(super) fn run(arguments: &OneFile, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    let explanation = read(config, |reader| async move {
        let lfn = lfn_of(&reader.config, &arguments.file)?;
        match reader.ledger.by_lfn(lfn.as_str()).await? {
            Some(row) => {
                let brakes = Brakes {
                    kill_switch: kill_switch::reason(&reader.config.kill_switch_path()),
                    ..reader.ledger.brakes(Some(&row), false).await?
                };
                let mut explanation = explain::explain(&row, &reader.config, &brakes, now());
                let told = in_rucio::ask(&reader, &row).await?;
                explanation.because.extend(told.because);
                explanation.operator.extend(told.operator);
                if row.state == State::Released {
                    explanation.because.extend(of_dataset(&reader.ledger.settlement(&row.dataset_did()).await?));
                }
                Ok(explanation)
            }
            None => unknown(&reader, &lfn).await,
        }
    })?;
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(&explanation)?)?;
    } else {
        tell(&explanation, out)?;
    }
    Ok(if explanation.state.is_some() { Exit::Good } else { Exit::Bad })
}

/// What is left to do about the rules of a released file's dataset.
fn of_dataset(known: &Settlement) -> Option<String> {
    match (&known.unsettled, known.settled_at) {
        (Some(why), _) => Some(format!("Its dataset is not settled: {why}.")),
        (None, Some(at)) => Some(format!("Its dataset is settled since {}: two rules hold all copies.", moment(at))),
        (None, None) => None,
    }
}

fn tell(explanation: &Explanation, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "{}", explanation.lfn)?;
    for line in &explanation.because {
        writeln!(out, "  {line}")?;
    }
    if let Some(next) = &explanation.next {
        writeln!(out, "\nNext\n  {next}")?;
    }
    if !explanation.operator.is_empty() {
        writeln!(out, "\nYou can")?;
        for line in &explanation.operator {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}
