//! One file's report, as a line of JSON or as a block for people.

use std::io::Write;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};

use super::read::Unread;
use crate::cli::exit::Failure;
use crate::fixity::{Checksum, Finding, HduReport, Report};
use crate::printable::one_line;
use crate::telemetry::human;

/// The object of `--json`; its keys and their order are a promise.
#[derive(Serialize)]
struct Line<'r> {
    path: String,
    /// The bytes of a path that is not UTF-8, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    bytes: u64,
    adler32: String,
    crc32c: String,
    blake3: String,
    verdict: &'static str,
    reasons: &'r [Finding],
    warnings: &'r [Finding],
    fits: Fits<'r>,
    metadata: &'r Option<Map<String, Value>>,
}

#[derive(Serialize)]
struct Fits<'r> {
    hdus: &'r [HduReport],
    trailing_bytes: u64,
}

fn verdict(report: &Report) -> &'static str {
    if report.accepted() { "accepted" } else { "rejected" }
}

pub(super) fn line(path: &Path, report: &Report, out: &mut dyn Write) -> Result<(), Failure> {
    let line = Line {
        path: path.display().to_string(),
        path_bytes: path_bytes(path),
        bytes: report.fixity.bytes,
        adler32: report.fixity.adler32_hex(),
        crc32c: report.fixity.crc32c_hex(),
        blake3: report.fixity.blake3_hex(),
        verdict: verdict(report),
        reasons: &report.reasons,
        warnings: &report.warnings,
        fits: Fits { hdus: &report.hdus, trailing_bytes: report.trailing_bytes },
        metadata: &report.metadata,
    };
    writeln!(out, "{}", serde_json::to_string(&line)?)?;
    Ok(())
}

/// A path that is not UTF-8 cannot be in JSON: the bytes are given beside the text, which does not lead to the file.
fn path_bytes(path: &Path) -> Option<String> {
    let hex = |hex: String, byte: &u8| hex + &format!("{byte:02x}");
    path.to_str().is_none().then(|| path.as_os_str().as_bytes().iter().fold(String::new(), hex))
}

/// The object of a file that could not be read.
pub(super) fn unread_line(path: &Path, error: &Unread, out: &mut dyn Write) -> Result<(), Failure> {
    let error = serde_json::json!({ "code": error.code, "message": error.message });
    let mut line = serde_json::json!({ "path": path.display().to_string() });
    if let Some(bytes) = path_bytes(path) {
        line["path_bytes"] = bytes.into();
    }
    line["error"] = error;
    writeln!(out, "{line}")?;
    Ok(())
}

pub(super) fn block(path: &Path, report: &Report, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "{}: {}", one_line(&path.to_string_lossy()), verdict(report))?;
    for (kind, findings) in [("reason", &report.reasons), ("warning", &report.warnings)] {
        for Finding { code, message } in findings {
            writeln!(out, "  {kind:<9}{code}: {message}")?;
        }
    }
    let fixity = &report.fixity;
    writeln!(out, "  size     {} ({} bytes)", human::size(fixity.bytes), fixity.bytes)?;
    writeln!(out, "  adler32  {}", fixity.adler32_hex())?;
    writeln!(out, "  crc32c   {}", fixity.crc32c_hex())?;
    writeln!(out, "  blake3   {}", fixity.blake3_hex())?;
    for hdu in &report.hdus {
        let name = hdu.name.as_deref().unwrap_or(if hdu.index == 0 { "primary" } else { "unnamed" });
        let sums = format!("CHECKSUM {}, DATASUM {}", word(hdu.checksum), word(hdu.datasum));
        writeln!(out, "  HDU {:<4} {name}: {sums}", hdu.index)?;
    }
    if report.trailing_bytes > 0 {
        writeln!(out, "  trailing {} bytes after the last HDU", report.trailing_bytes)?;
    }
    if let Some(metadata) = &report.metadata {
        writeln!(out, "  metadata {} keys", metadata.len())?;
    }
    Ok(())
}

fn word(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::Ok => "ok",
        Checksum::Bad => "BAD",
        Checksum::Absent => "absent",
    }
}
