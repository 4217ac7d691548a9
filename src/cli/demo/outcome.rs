//! What became of each file, by the ledger and by a look at the disks, and where to look next.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::delivery::Delivery;
use super::scene::{SITES, Scene};
use crate::cli::exit::Failure;
use crate::cli::table::table;
use crate::custody::State;
use crate::ledger::FileRow;

/// One file's end.
pub(super) struct Outcome<'d> {
    delivery: &'d Delivery,
    state: Option<State>,
    /// Sites that hold a copy that is byte for byte what was delivered.
    copies: Vec<&'static str>,
    on_site: bool,
    /// Where a rejected file lies, relative to the interface directory.
    invalid: Option<String>,
    /// Short, for the table.
    remark: String,
    /// Why it is not released, in full.
    reason: Option<String>,
}

impl<'d> Outcome<'d> {
    pub(super) fn of(delivery: &'d Delivery, rows: &BTreeMap<String, FileRow>, scene: &Scene) -> Self {
        let row = rows.get(delivery.lfn.as_str());
        let relative = delivery.lfn.relative();
        let identical =
            |rse: &str| fs::read(scene.site(rse).join(relative)).is_ok_and(|copy| copy == *delivery.content);
        let released = row.is_some_and(|row| row.state == State::Released);
        let reason = row.filter(|_| !released).and_then(|row| row.reason.clone().or_else(|| row.waits_for.clone()));
        let code = row.and_then(|row| row.reason_code.clone());
        Self {
            delivery,
            state: row.map(|row| row.state),
            copies: SITES.iter().filter(|(rse, _)| identical(rse)).map(|(_, site)| *site).collect(),
            on_site: scene.interface().join(relative).symlink_metadata().is_ok(),
            invalid: row.and_then(|row| row.invalid_path.clone()),
            remark: code.or_else(|| reason.is_some().then(|| "waits".to_owned())).unwrap_or_default(),
            reason,
        }
    }

    /// Whether it ended as it should.
    pub(super) fn as_it_should(&self) -> bool {
        match (self.delivery.sound, self.state) {
            (true, Some(State::Released)) => self.copies.len() == SITES.len() && !self.on_site,
            (false, Some(State::Rejected)) => self.copies.is_empty() && !self.on_site && self.invalid.is_some(),
            _ => false,
        }
    }

    fn cells(&self) -> [String; 5] {
        let on_site = match (&self.invalid, self.on_site) {
            (Some(_), _) => "in invalid/",
            (None, true) => "still there",
            (None, false) => "gone",
        };
        let copies = if self.copies.is_empty() { "-".to_owned() } else { self.copies.join(", ") };
        let state = self.state.map_or_else(|| "not recorded".to_owned(), |state| state.to_string());
        let remark = if self.remark.is_empty() { "-".to_owned() } else { self.remark.clone() };
        [state, copies, on_site.to_owned(), remark, self.delivery.short_name().to_owned()]
    }
}

/// The table and the verdict.
pub(super) fn tell(outcomes: &[Outcome<'_>], took: Duration, out: &mut dyn Write) -> Result<(), Failure> {
    // the name, which may be long, comes last: a narrow terminal cuts nothing in two
    let header = ["STATE", "SAME COPIES AT", "ON SITE", "REMARK", "FILE"];
    writeln!(out, "\n{}\n", table(header, &[], outcomes.iter().map(Outcome::cells)))?;
    for outcome in outcomes {
        if let Some(reason) = &outcome.reason {
            writeln!(out, "{}: {reason}\n", outcome.delivery.short_name())?;
        }
    }
    let good = outcomes.iter().filter(|outcome| outcome.as_it_should()).count();
    let verdict = if good == outcomes.len() { "as they should" } else { "as they should, the others did not" };
    writeln!(out, "{good} of {} files ended {verdict}, in {:.1} s.", outcomes.len(), took.as_secs_f64())?;
    Ok(())
}

/// Places and commands, for a scene that stays.
pub(super) fn where_next(
    outcomes: &[Outcome<'_>],
    scene: &Scene,
    ledger: &Path,
    program: &str,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    writeln!(out, "\nWhere to look next")?;
    let mut place = |name: &str, path: &Path| writeln!(out, "  {name:<15} {}", path.display());
    place("configuration", &scene.config())?;
    place("log", &scene.log())?;
    place("ledger", ledger)?;
    for (rse, site) in SITES {
        place(&format!("copies at {site}"), &scene.site(rse))?;
    }
    let rejected = outcomes.iter().find_map(|outcome| Some((outcome.delivery, outcome.invalid.as_ref()?)));
    if let Some((_, invalid)) = rejected {
        place("why rejected", &scene.interface().join(format!("{invalid}.reason.json")))?;
    }
    writeln!(out, "\nCommands to try")?;
    let config = scene.config();
    let mut command = |rest: &str| writeln!(out, "  {program} --config {} {rest}", config.display());
    command("status")?;
    command("list --json")?;
    if let Some(released) = outcomes.iter().find(|outcome| outcome.state == Some(State::Released)) {
        command(&format!("show {}", released.delivery.lfn))?;
    }
    if let Some((delivery, invalid)) = rejected {
        command(&format!("why {}", delivery.lfn))?;
        command(&format!("verify {}", scene.interface().join(invalid).display()))?;
    }
    Ok(())
}
