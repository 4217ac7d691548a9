//! What was found over all files.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde::Serialize;

use crate::cli::exit::Failure;
use crate::fixity::{Finding, Report};
use crate::telemetry::human;

/// Counts over all files.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    files: u64,
    accepted: u64,
    pub(super) rejected: u64,
    pub(super) unread: u64,
    bytes: u64,
    seconds: f64,
    /// Files with a reason of this code.
    reasons: BTreeMap<String, u64>,
    /// Files with a warning of this code.
    warnings: BTreeMap<String, u64>,
}

impl Summary {
    pub(super) fn add(&mut self, report: &Report) {
        self.files += 1;
        self.bytes += report.fixity.bytes;
        *(if report.accepted() { &mut self.accepted } else { &mut self.rejected }) += 1;
        count(&mut self.reasons, &report.reasons);
        count(&mut self.warnings, &report.warnings);
    }

    pub(super) fn add_unread(&mut self) {
        self.files += 1;
        self.unread += 1;
    }

    pub(super) fn has_warning(&self, code: &str) -> bool {
        self.warnings.contains_key(code)
    }

    pub(super) fn took(&mut self, time: Duration) {
        self.seconds = (time.as_secs_f64() * 1e3).round() / 1e3;
    }

    /// The last line of `--json --summary`.
    pub(super) fn line(&self, out: &mut dyn Write) -> Result<(), Failure> {
        writeln!(out, "{}", serde_json::json!({ "summary": self }))?;
        Ok(())
    }

    /// The same for people.
    pub(super) fn block(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let Self { files, accepted, rejected, unread, bytes, seconds, .. } = self;
        let rate = *bytes as f64 / seconds.max(1e-3) / 1e9;
        let size = human::size(*bytes);
        writeln!(out, "{}: {accepted} accepted, {rejected} rejected, {unread} not read", human::count(*files, "file"))?;
        for (kind, codes) in [("reason", &self.reasons), ("warning", &self.warnings)] {
            for (code, files) in codes {
                writeln!(out, "  {kind:<9}{code}: {files}")?;
            }
        }
        writeln!(out, "  {size} in {seconds:.1} s, {rate:.2} GB/s")?;
        Ok(())
    }
}

fn count(codes: &mut BTreeMap<String, u64>, findings: &[Finding]) {
    let mut seen: Vec<&str> = findings.iter().map(|finding| finding.code).collect();
    seen.sort_unstable();
    seen.dedup();
    for code in seen {
        *codes.entry(code.to_owned()).or_default() += 1;
    }
}
