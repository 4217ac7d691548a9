//! A second opinion: CFITSIO, the reader most software uses, goes over the same file and must see the same HDUs.
//!
//! Only `verify --cross-check` and the tests call it; the daemon does not. There are valid files that kill CFITSIO, so
//! `verify` asks for it [`apart`], in a process of its own. CFITSIO interprets file names (`a.fits[1]`,
//! `ftp://…`, filters, compressed relatives of a name), so it never sees one from outside: it opens the file descriptor
//! under `/proc/self/fd`. Of its functions only those are used that a safe interface has: opening, moving from HDU to HDU
//! and reading keywords. Its checksum functions are not among them, and it cannot read the columns of ZFITS at all.

pub mod apart;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use fitsio::FitsFile;
use fitsio::errors::{Error as FitsioError, FitsError};
use fitsio::hdu::{FitsHdu, HduInfo};
use serde::{Deserialize, Serialize};

use fits_verify::{Hdu, Header, Value, Walk, Walker};

/// Bytes per read of our own walk.
const BLOCK: usize = 256 * 1024;
/// Longest string CFITSIO gives back without its rest in CONTINUE cards.
const TEXT_MAX: usize = 68;
/// Integers that are compared in every HDU, beside `NAXISn`.
const INTEGERS: &[&str] = &[
    "BITPIX", "NAXIS", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP", "ZNAXIS1", "ZNAXIS2", "ZHEAPPTR", "ZTILELEN", "OBS_ID",
];
/// Strings that are compared in every HDU, beside `TFORMn`.
const TEXTS: &[&str] =
    &["XTENSION", "EXTNAME", "CHECKSUM", "DATASUM", "CTAOMETA", "DATALEVL", "DATATYPE", "CREATED", "DATAID", "TITLE"];

/// Address space of the process that is asked, in bytes. Of a DL0 file only headers are kept; a gzip file is unpacked into
/// memory.
const MEMORY: u64 = 512 << 20;
/// What CFITSIO says when it cannot open a file, or has no memory for what is in a compressed one (`FILE_NOT_OPENED`,
/// `MEMORY_ALLOCATION` of its `fitsio.h`).
const NOT_OPENED: [i32; 2] = [104, 113];

/// One thing about which CFITSIO and we do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disagreement {
    /// The HDU, counted from 0, if it is about one.
    pub hdu: Option<usize>,
    /// What it is about: a keyword, or the number of HDUs.
    pub subject: String,
    /// What we read.
    pub ours: String,
    /// What CFITSIO reads.
    pub cfitsio: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hdu) = self.hdu {
            write!(f, "HDU {hdu}, ")?;
        }
        write!(f, "{}: we read {}, CFITSIO reads {}", self.subject, self.ours, self.cfitsio)
    }
}

/// Why there is no second opinion. Says nothing about whether the file is sound.
#[derive(Debug, thiserror::Error)]
pub enum NoOpinion {
    /// We cannot read the file.
    #[error("the file cannot be read once more: {0}")]
    Unreadable(#[from] io::Error),
    /// CFITSIO cannot open it, which is also what it says when its memory is not enough.
    #[error("CFITSIO cannot open the file within {} MiB of memory (its status {status})", MEMORY >> 20)]
    NotOpened {
        /// CFITSIO's number for it.
        status: i32,
    },
    /// There is no process of its own for it, or none that can be heard.
    #[error("CFITSIO cannot be asked in a process of its own: {0}")]
    NotAsked(io::Error),
    /// The process has died.
    #[error("CFITSIO died of signal {signal} over this file")]
    Died {
        /// Its number.
        signal: i32,
    },
    /// The process was ended, for it took too long.
    #[error("CFITSIO was not done with this file within {} s", patience.as_secs())]
    TooSlow {
        /// How long it had.
        patience: Duration,
    },
    /// The process gave no answer that makes sense.
    #[error("CFITSIO's process gave no answer ({status})")]
    NoAnswer {
        /// How it ended.
        status: ExitStatus,
    },
}

/// Walks a file once more and compares the HDUs and their keywords with what CFITSIO makes of them, in this very process.
///
/// A file that neither of the two can read is agreed upon. The position of `file` is neither used nor changed.
///
/// # Errors
/// Whatever reading the file gives, and that CFITSIO cannot open it at all.
pub fn cross_check(file: &File) -> Result<Vec<Disagreement>, NoOpinion> {
    let walk = walk(file)?;
    let mut found = Vec::new();
    let descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
    let opened = FitsFile::open(&descriptor).and_then(|mut fits| fits.num_hdus().map(|hdus| (fits, hdus)));
    let (mut fits, hdus) = match opened {
        Ok(opened) => opened,
        Err(FitsioError::Fits(FitsError { status, .. })) if NOT_OPENED.contains(&status) => {
            return Err(NoOpinion::NotOpened { status });
        }
        Err(error) => {
            if !walk.hdus.is_empty() {
                found.push(number_of_hdus(&walk, format!("none ({error})")));
            }
            return Ok(found);
        }
    };
    if hdus != walk.hdus.len() {
        found.push(number_of_hdus(&walk, hdus.to_string()));
    }
    for hdu in walk.hdus.iter().take(hdus) {
        let header = header(file, hdu)?;
        Comparison { fits: &mut fits, hdu, header: &header, found: &mut found }.keywords();
    }
    Ok(found)
}

fn number_of_hdus(walk: &Walk, cfitsio: String) -> Disagreement {
    Disagreement { hdu: None, subject: "number of HDUs".to_owned(), ours: walk.hdus.len().to_string(), cfitsio }
}

fn walk(file: &File) -> io::Result<Walk> {
    let mut walker = Walker::new();
    let mut block = vec![0; BLOCK];
    let mut offset = 0;
    loop {
        match file.read_at(&mut block, offset) {
            Ok(0) => return Ok(walker.finish()),
            Ok(length) => {
                walker.feed(&block[..length]);
                offset += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Reads a header again; its length was found to be within bounds.
fn header(file: &File, hdu: &Hdu) -> io::Result<Header> {
    let length = usize::try_from(hdu.data_offset - hdu.header_offset).map_err(io::Error::other)?;
    let mut raw = vec![0; length];
    file.read_exact_at(&mut raw, hdu.header_offset)?;
    Ok(Header::parse(&raw, hdu.header_offset))
}

/// What we read of a keyword.
enum Ours<T> {
    Absent,
    Value(T),
    /// Nothing to compare: a value of another type, which CFITSIO converts, or a keyword that occurs twice, of which it
    /// takes the next one.
    Beyond,
}

struct Comparison<'a> {
    fits: &'a mut FitsFile,
    hdu: &'a Hdu,
    header: &'a Header,
    found: &'a mut Vec<Disagreement>,
}

impl Comparison<'_> {
    fn keywords(mut self) {
        let count = |keyword: &str| match self.header.get(keyword).and_then(|card| card.value()) {
            Some(Value::Integer(count)) => u16::try_from(*count).unwrap_or(0).min(999),
            _ => 0,
        };
        let (axes, fields) = (count("NAXIS"), count("TFIELDS"));
        for keyword in INTEGERS.iter().map(|&keyword| keyword.to_owned()).chain((1..=axes).map(|n| format!("NAXIS{n}")))
        {
            self.integer(&keyword);
        }
        for keyword in TEXTS.iter().map(|&keyword| keyword.to_owned()).chain((1..=fields).map(|n| format!("TFORM{n}")))
        {
            self.text(&keyword);
        }
    }

    fn integer(&mut self, keyword: &str) {
        let ours = self.ours(keyword, |value| match value {
            Value::Integer(value) => i64::try_from(*value).ok(),
            _ => None,
        });
        let theirs = self.place().read_key::<i64>(self.fits, keyword);
        self.compare(keyword, ours, theirs);
    }

    fn text(&mut self, keyword: &str) {
        let ours = self.ours(keyword, |value| match value {
            Value::Text(text) if text.len() <= TEXT_MAX && text.is_ascii() => Some(text.clone()),
            _ => None,
        });
        let theirs = self.place().read_key::<String>(self.fits, keyword);
        self.compare(keyword, ours, theirs.map(|text| text.trim_end().to_owned()));
    }

    fn ours<T>(&self, keyword: &str, read: impl Fn(&Value) -> Option<T>) -> Ours<T> {
        let mut cards = self.header.cards().iter().filter(|card| card.keyword == keyword);
        match (cards.next(), cards.next()) {
            (None, _) => Ours::Absent,
            (Some(card), None) => card.value().and_then(read).map_or(Ours::Beyond, Ours::Value),
            (Some(_), Some(_)) => Ours::Beyond,
        }
    }

    /// The HDU by number alone: asking the package for its columns can panic.
    fn place(&self) -> FitsHdu {
        FitsHdu { info: HduInfo::AnyInfo, number: self.hdu.index }
    }

    fn compare<T: PartialEq + fmt::Debug>(&mut self, keyword: &str, ours: Ours<T>, theirs: fitsio::errors::Result<T>) {
        let ours = match (ours, &theirs) {
            (Ours::Beyond, _) | (Ours::Absent, Err(_)) => return,
            (Ours::Value(ours), Ok(theirs)) if ours == *theirs => return,
            (Ours::Value(ours), _) => format!("{ours:?}"),
            (Ours::Absent, Ok(_)) => "nothing".to_owned(),
        };
        let cfitsio = theirs.map_or_else(|error| format!("nothing ({error})"), |value| format!("{value:?}"));
        self.found.push(Disagreement { hdu: Some(self.hdu.index), subject: keyword.to_owned(), ours, cfitsio });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
