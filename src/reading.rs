//! Reading a file once: digests, FITS and metadata from the same bytes, and the certainty that it was the same file all the
//! time. What is delivered, what is delivered again and what an audit finds are read in the same way.

use std::num::NonZeroUsize;

use crate::config::Config;
use crate::custody::{Contents, FileIdentity, invariants};
use crate::datadir::DataDir;
use crate::fixity::{self, Report};
use crate::names::Lfn;

/// What one reading gave.
pub(crate) enum Reading {
    /// The whole file was read, unchanged from begin to end.
    Read(Box<Report>),
    /// It is not the file that was delivered, or it changed meanwhile.
    Changed(FileIdentity),
    /// There is no file.
    Missing,
    /// It could not be read.
    Failed(String),
    /// Shutdown.
    Cancelled,
}

/// What was read, in the ledger's form.
pub(crate) fn contents(report: &Report) -> Contents {
    Contents {
        bytes: report.fixity.bytes,
        adler32: report.fixity.adler32_hex(),
        crc32c: report.fixity.crc32c_hex(),
        blake3: report.fixity.blake3_hex(),
        md5: report.fixity.md5_hex(),
    }
}

/// How files are read, as the operator wants it.
pub(crate) fn as_configured(config: &Config) -> fixity::Options {
    let verify = config.verify;
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    fixity::Options {
        depth: verify.depth,
        // files that are read at the same time share the cores
        decode_threads: NonZeroUsize::new(cores / verify.threads).or(Some(NonZeroUsize::MIN)),
        md5: verify.md5,
        require_checksum: verify.require_checksum,
        accept_missing_metadata: !verify.reject_missing_metadata,
        ..fixity::Options::default()
    }
}

/// Reads a file once and makes sure that it was the same file all the time.
pub(crate) fn read_once(data: &DataDir, name: &Lfn, expected: FileIdentity, options: &fixity::Options) -> Reading {
    let path = name.relative();
    let (file, opened) = match data.open(path) {
        Ok(opened) => opened,
        Err(error) if error.is_missing() => return Reading::Missing,
        Err(error) => return Reading::Failed(error.to_string()),
    };
    if opened != expected {
        return Reading::Changed(opened);
    }
    let report = match fixity::examine(&file, options) {
        Ok(report) => report,
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Reading::Cancelled,
        Err(error) => return Reading::Failed(format!("cannot read {}: {error}", data.absolute(path).display())),
    };
    // the open file and the name must both still be what was delivered
    let after = DataDir::identity_of(&file, path).and_then(|open| Ok((open, data.identity(path)?)));
    match after {
        Ok((open, Some(named)))
            if open == expected
                && named == expected
                && invariants::read_once(expected.bytes, report.fixity.bytes).is_ok() =>
        {
            Reading::Read(Box::new(report))
        }
        Ok((_, Some(named))) => Reading::Changed(named),
        Ok((_, None)) => Reading::Missing,
        Err(error) => Reading::Failed(error.to_string()),
    }
}
