//! `verify`: reads files as the daemon would and says whether they are sound. Needs no configuration, changes nothing.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::fs::{Mode, OFlags};
use serde::Serialize;
use serde_json::{Map, Value};

use super::exit::{Exit, Failure, complain};
use crate::fixity::{Checksum, Finding, HduReport, Options, Report, examine};
use crate::telemetry::human;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Files to read
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Reject a file with an HDU that has no CHECKSUM
    #[arg(long)]
    require_checksum: bool,
    /// One JSON object per file and line instead of text
    #[arg(long)]
    json: bool,
}

/// Why a file could not be read to its end, as itself. Says nothing about whether it is sound.
#[derive(Debug)]
struct Unread {
    code: &'static str,
    message: String,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Exit, Failure> {
    let several_cores = std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    let options =
        Options { parallel_blake3: several_cores, require_checksum: arguments.require_checksum, ..Options::default() };
    let (mut rejected, mut unread) = (false, false);
    for path in &arguments.files {
        match verify(path, &options) {
            Ok(report) => {
                rejected |= !report.accepted();
                if arguments.json { line(path, &report, out)? } else { block(path, &report, out)? }
            }
            Err(error) => {
                unread = true;
                complain(&format_args!("{}: {}", path.display(), error.message));
                if arguments.json {
                    let error = serde_json::json!({ "code": error.code, "message": error.message });
                    let object = serde_json::json!({ "path": path.display().to_string(), "error": error });
                    writeln!(out, "{object}")?;
                }
            }
        }
        out.flush()?;
    }
    Ok(match (rejected, unread) {
        (true, _) => Exit::Bad,
        (false, true) => Exit::Environment,
        (false, false) => Exit::Good,
    })
}

fn verify(path: &Path, options: &Options) -> Result<Report, Unread> {
    let file = open(path)?;
    let unreadable = |error: io::Error| Unread { code: "unreadable", message: format!("cannot be read: {error}") };
    let before = file.metadata().map_err(unreadable)?;
    let report = examine(&file, options).map_err(unreadable)?;
    let after = file.metadata().map_err(unreadable)?;
    let identity = |stat: &std::fs::Metadata| (stat.len(), stat.mtime(), stat.mtime_nsec());
    if identity(&before) != identity(&after) || report.fixity.bytes != after.len() {
        let message = "changed while it was read; verify it again when its writer has finished".to_owned();
        return Err(Unread { code: "changed-while-read", message });
    }
    Ok(report)
}

/// Opens a regular file. Symlinks are followed; a FIFO or device is refused without waiting for it or waking it up.
fn open(path: &Path) -> Result<File, Unread> {
    let failed = |error: io::Error| {
        let (code, message) = match error.kind() {
            io::ErrorKind::NotFound => ("not-found", "there is no such file".to_owned()),
            io::ErrorKind::PermissionDenied => ("permission-denied", "this user may not read it".to_owned()),
            _ => ("unreadable", format!("cannot be opened: {error}")),
        };
        Unread { code, message }
    };
    let regular = |stat: &std::fs::Metadata| {
        let refusal = || Unread { code: "not-a-file", message: format!("is {}, not a file", kind(stat)) };
        stat.is_file().then_some(()).ok_or_else(refusal)
    };
    // before opening, since opening a device may already do something to it; and after, since names move
    regular(&path.metadata().map_err(failed)?)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let descriptor = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let file = File::from(descriptor);
    regular(&file.metadata().map_err(failed)?)?;
    Ok(file)
}

fn kind(stat: &std::fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = stat.file_type();
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

/// The object of `--json`; its keys and their order are a promise.
#[derive(Serialize)]
struct Line<'r> {
    path: String,
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

fn line(path: &Path, report: &Report, out: &mut dyn Write) -> Result<(), Failure> {
    let line = Line {
        path: path.display().to_string(),
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

fn block(path: &Path, report: &Report, out: &mut dyn Write) -> Result<(), Failure> {
    writeln!(out, "{}: {}", path.display(), verdict(report))?;
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
