//! The demo as it happens: a bar per file on a terminal, a line per step elsewhere.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::delivery::Delivery;
use crate::custody::State;
use crate::ledger::FileRow;

/// The states in the order of the road.
const ROAD: [State; 7] = [
    State::Discovered,
    State::Verified,
    State::Registered,
    State::Replicated,
    State::Confirmed,
    State::Releasing,
    State::Released,
];

pub(super) struct Progress {
    began: Instant,
    seen: BTreeMap<String, State>,
    bars: Option<MultiProgress>,
    by_lfn: BTreeMap<String, ProgressBar>,
}

impl Progress {
    pub(super) fn begin() -> Self {
        let bars = io::stderr().is_terminal().then(MultiProgress::new);
        Self { began: Instant::now(), seen: BTreeMap::new(), bars, by_lfn: BTreeMap::new() }
    }

    /// A file was delivered.
    pub(super) fn delivered(&mut self, delivery: &Delivery) -> io::Result<()> {
        let Some(bars) = &self.bars else { return self.line("delivered", delivery) };
        let bar = bars.add(ProgressBar::new(ROAD.len() as u64));
        if let Ok(style) = ProgressStyle::with_template("{prefix:<20} {bar:14.cyan/dim} {wide_msg}") {
            bar.set_style(style.progress_chars("━━╌"));
        }
        bar.set_prefix(delivery.what);
        bar.set_message("delivered");
        self.by_lfn.insert(delivery.lfn.as_str().to_owned(), bar);
        Ok(())
    }

    /// The ledger was looked at.
    pub(super) fn seen(&mut self, rows: &[FileRow], deliveries: &[Delivery]) -> io::Result<()> {
        for row in rows {
            let Some(delivery) = deliveries.iter().find(|delivery| delivery.lfn.as_str() == row.lfn) else { continue };
            let before = self.seen.insert(row.lfn.clone(), row.state);
            if let Some(bar) = self.by_lfn.get(&row.lfn) {
                move_bar(bar, row);
            } else if before != Some(row.state) {
                self.line(row.state.as_str(), delivery)?;
            }
        }
        Ok(())
    }

    /// Nothing more comes; the bars stay as they are.
    pub(super) fn end(&self) {
        for bar in self.by_lfn.values().filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }

    /// How long it took so far.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn line(&self, step: &str, delivery: &Delivery) -> io::Result<()> {
        let seconds = self.began.elapsed().as_secs_f64();
        writeln!(io::stderr(), "{seconds:5.1} s  {step:<11} {} ({})", delivery.short_name(), delivery.what)
    }
}

fn move_bar(bar: &ProgressBar, row: &FileRow) {
    if let Some(step) = ROAD.iter().position(|state| *state == row.state) {
        bar.set_position(step as u64 + 1);
    }
    match row.state {
        State::Released => bar.finish_with_message("released: two proven copies, on-site copy gone"),
        State::Rejected => bar.abandon_with_message("rejected: moved to invalid/ with its reason"),
        State::Held => bar.abandon_with_message("held: waits for an operator"),
        state => bar.set_message(match &row.waits_for {
            Some(waits_for) => format!("{state}; waits for: {waits_for}"),
            None => state.to_string(),
        }),
    }
}
