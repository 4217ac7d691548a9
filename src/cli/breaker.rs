//! `breaker`: whether a contradiction stops all releases, and letting them go on.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::ledger::{age, iso, moment, read};
use super::operator::{Reason, change};
use crate::custody::brakes::Trip;
use crate::ledger::now;

/// Further contradictions told one by one.
const MOST_TOLD: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Let releases go on after the contradiction was looked at
    Reset(Reason),
}

pub(super) fn run(arguments: &Arguments, config: &Path, out: &mut dyn Write) -> Result<Exit, Failure> {
    if let Some(Command::Reset(reason)) = &arguments.command {
        let operator = reason.signed();
        let trip = change(config, |opened| async move { Ok(opened.ledger.reset_breaker(&operator).await?) })?;
        match trip {
            Some((trip, further)) => {
                writeln!(out, "reset; it was open since {}: {}", moment(trip.at), trip.reason)?;
                for other in further {
                    writeln!(out, "  and since {}: {}", moment(other.at), about(&other))?;
                }
            }
            None => writeln!(out, "it was not open")?,
        }
        return Ok(Exit::Good);
    }
    let (trip, further) = read(config, |reader| async move {
        Ok((reader.ledger.breaker().await?, reader.ledger.further_contradictions().await?))
    })?;
    if arguments.json {
        let mut told = report(trip.as_ref());
        told["further"] = further.iter().map(contradiction).collect();
        writeln!(out, "{told}")?;
    } else {
        writeln!(out, "{}", told(trip.as_ref(), &further))?;
    }
    Ok(if trip.is_some() { Exit::Bad } else { Exit::Good })
}

/// The stable keys of `--json`, here and in `status`.
pub(super) fn report(trip: Option<&Trip>) -> serde_json::Value {
    match trip {
        None => json!({ "open": false }),
        Some(trip) => {
            let mut told = contradiction(trip);
            told["open"] = true.into();
            told
        }
    }
}

fn contradiction(trip: &Trip) -> serde_json::Value {
    json!({ "since": iso(trip.at), "code": trip.code, "reason": trip.reason, "lfn": trip.lfn })
}

fn about(trip: &Trip) -> String {
    trip.lfn.as_ref().map_or_else(|| trip.reason.clone(), |lfn| format!("{lfn}: {}", trip.reason))
}

fn told(trip: Option<&Trip>, further: &[Trip]) -> String {
    let Some(trip) = trip else { return "closed: releases are not stopped".to_owned() };
    let file = trip.lfn.as_ref().map_or_else(String::new, |lfn| format!("  file      {lfn}\n"));
    let look = trip
        .lfn
        .as_ref()
        .map_or_else(|| "look at it".to_owned(), |lfn| format!("look at the file: dl0-ingest show {lfn}"));
    let mut also = String::new();
    // writing to a String cannot fail
    for other in further.iter().take(MOST_TOLD) {
        let _ = writeln!(also, "  also      {}", about(other));
    }
    if further.len() > MOST_TOLD {
        let _ = writeln!(also, "  also      {} more: dl0-ingest breaker --json", further.len() - MOST_TOLD);
    }
    let look = if further.is_empty() { look } else { format!("{look}, and at what came up since") };
    format!(
        "open: nothing is released\n  since     {}, for {}\n{file}  code      {}\n  reason    {}\n{also}\n\
         You can\n  {look}\n  then let releases go on: dl0-ingest breaker reset --reason TEXT",
        moment(trip.at),
        age(now(), trip.at),
        trip.code,
        trip.reason
    )
}
