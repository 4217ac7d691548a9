//! `breaker`: whether a contradiction stops all releases, and letting them go on.

use std::io::Write;
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::ledger::{age, iso, moment, read};
use super::operator::{Reason, change};
use crate::custody::brakes::Trip;
use crate::ledger::now;

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
            Some(trip) => writeln!(out, "reset; it was open since {}: {}", moment(trip.at), trip.reason)?,
            None => writeln!(out, "it was not open")?,
        }
        return Ok(Exit::Good);
    }
    let trip = read(config, |reader| async move { Ok(reader.ledger.breaker().await?) })?;
    if arguments.json {
        writeln!(out, "{}", report(trip.as_ref()))?;
    } else {
        writeln!(out, "{}", told(trip.as_ref()))?;
    }
    Ok(if trip.is_some() { Exit::Bad } else { Exit::Good })
}

/// The stable keys of `--json`, here and in `status`.
pub(super) fn report(trip: Option<&Trip>) -> serde_json::Value {
    match trip {
        None => json!({ "open": false }),
        Some(trip) => json!({
            "open": true, "since": iso(trip.at), "code": trip.code, "reason": trip.reason, "lfn": trip.lfn,
        }),
    }
}

fn told(trip: Option<&Trip>) -> String {
    let Some(trip) = trip else { return "closed: releases are not stopped".to_owned() };
    let file = trip.lfn.as_ref().map_or_else(String::new, |lfn| format!("  file      {lfn}\n"));
    let look = trip
        .lfn
        .as_ref()
        .map_or_else(|| "look at it".to_owned(), |lfn| format!("look at the file: dl0-ingest show {lfn}"));
    format!(
        "open: nothing is released\n  since     {}, for {}\n{file}  code      {}\n  reason    {}\n\n\
         You can\n  {look}\n  then let releases go on: dl0-ingest breaker reset --reason TEXT",
        moment(trip.at),
        age(now(), trip.at),
        trip.code,
        trip.reason
    )
}
