//! The chain itself: sealing a record, reading one, and following a whole log. Pure over bytes.
//!
//! A line is a JSON object whose last member is `hash`: SHA-256 over the bytes before `,"hash":"`. `previous` is the `hash`
//! of the record before. What a crash left of a line is named by the next record (`torn`), so that no byte of the file
//! is outside the chain.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The effect of the first record of a log that begins anew, after what was there was found broken and put away.
pub(super) const RESTARTED: &str = "log-restarted";

/// What the first record of all names as its predecessor.
pub(super) const START: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const MARK: &[u8] = b",\"hash\":\"";
const END: &[u8] = b"\"}";
const DIGITS: usize = 64;
const SEAL: usize = MARK.len() + DIGITS + END.len();

/// The end of a log: what the next record has to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last record.
    pub seq: u64,
    /// Its hash.
    pub hash: String,
}

impl Default for Head {
    /// Before the first record.
    fn default() -> Self {
        Self { seq: 0, hash: START.to_owned() }
    }
}

/// What the chain needs to know of a record.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Link {
    pub(super) seq: u64,
    pub(super) previous: String,
    #[serde(default)]
    pub(super) torn: Option<String>,
    /// The log before this one, in the first record of a new file.
    #[serde(default)]
    pub(super) continues: Option<String>,
    /// What was carried out, or that the log begins anew.
    #[serde(default)]
    pub(super) effect: Option<String>,
    pub(super) hash: String,
}

impl Link {
    /// Whether it proves that another record stood in the place of this one.
    pub(super) fn replaces(&self, known: &Head) -> bool {
        (self.seq == known.seq && self.hash != known.hash)
            || (known.seq.checked_add(1) == Some(self.seq) && self.previous != known.hash)
    }
}

/// A record as a line, without its newline: the members as given, then the hash over them.
pub(super) fn seal(record: Map<String, Value>) -> (Vec<u8>, String) {
    let mut line = Value::Object(record).to_string().into_bytes();
    line.pop();
    let hash = sha256(&line);
    line.extend_from_slice(MARK);
    line.extend_from_slice(hash.as_bytes());
    line.extend_from_slice(END);
    (line, hash)
}

/// The record in a line, if its hash is that of its bytes.
pub(super) fn link(line: &[u8]) -> Option<Link> {
    let (body, seal) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
    let hash = seal.strip_prefix(MARK)?.strip_suffix(END)?;
    if sha256(body).as_bytes() != hash {
        return None;
    }
    serde_json::from_slice(line).ok()
}

/// SHA-256 in lower-case hex.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // writing to a String cannot fail
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What is wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A line whose hash is not that of its content, and that no later record names as torn.
    #[error("the line is not a record: its hash is not that of its content")]
    NotARecord,
    /// The log begins in the middle of a chain.
    #[error("the log begins with record {found}: what came before it is missing")]
    Beginning {
        /// The first record's number.
        found: u64,
    },
    /// A number is missing, repeated or out of order.
    #[error("record {found} follows record {after}: records are missing, repeated or out of order")]
    Sequence {
        /// The record before.
        after: u64,
        /// The record found.
        found: u64,
    },
    /// The predecessor is another one than the record names.
    #[error("record {seq} names another predecessor than the record before it")]
    Previous {
        /// The record.
        seq: u64,
    },
    /// A record names torn bytes that are not those before it.
    #[error("record {seq} tells of torn bytes before it that are not the ones there")]
    Torn {
        /// The record.
        seq: u64,
    },
    /// Fewer records than were acknowledged.
    #[error("the log ends with record {found}, the ledger knows of {known}: records are missing at the end")]
    Shortened {
        /// The last record.
        found: u64,
        /// As the ledger has it.
        known: u64,
    },
    /// A record is not the one that was acknowledged.
    #[error("record {seq} is not the one that the ledger knows under this number")]
    Replaced {
        /// The record.
        seq: u64,
    },
}

/// Where a log is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {flaw}")]
pub struct Break {
    /// Line of the file, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub flaw: Flaw,
}

/// Where a log that was found broken was put away, and a new one began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The first record of the new one.
    pub seq: u64,
    /// The file with what came before, if it says so.
    pub put_away: Option<String>,
}

/// Follows a log line by line.
#[derive(Debug, Default)]
pub struct Chain {
    known: Option<Head>,
    head: Option<Head>,
    restarts: Vec<Restart>,
    /// No record of this file was seen yet.
    begins: bool,
    records: u64,
    line: u64,
    gap: Option<Gap>,
}

/// Lines that are no records.
#[derive(Debug)]
struct Gap {
    line: u64,
    digest: Sha256,
}

impl Chain {
    /// Follows a log that must hold this record, the last one that the ledger knows to be written.
    pub fn holding(known: Option<Head>) -> Self {
        Self { known, ..Self::default() }
    }

    /// The next line, without its newline.
    pub fn next(&mut self, line: &[u8]) -> Result<(), Break> {
        self.line += 1;
        let Some(link) = link(line) else {
            self.widen(line);
            return Ok(());
        };
        let found = self.gap.take();
        match (&found, &link.torn) {
            (None, None) => {}
            (Some(gap), None) => return Err(Break { line: gap.line, flaw: Flaw::NotARecord }),
            (gap, Some(torn)) => {
                if gap.as_ref().is_none_or(|gap| hex(&gap.digest.clone().finalize()) != *torn) {
                    return Err(self.broken(Flaw::Torn { seq: link.seq }));
                }
            }
        }
        let restarts = self.begins && link.effect.as_deref() == Some(RESTARTED);
        self.begins = false;
        match &self.head {
            // what came before was put away, and is not followed
            _ if restarts => {}
            None if (link.seq, link.previous.as_str()) == (1, START) || link.continues.is_some() => {}
            None => return Err(self.broken(Flaw::Beginning { found: link.seq })),
            Some(head) if head.seq.checked_add(1) != Some(link.seq) => {
                return Err(self.broken(Flaw::Sequence { after: head.seq, found: link.seq }));
            }
            Some(head) if head.hash != link.previous => return Err(self.broken(Flaw::Previous { seq: link.seq })),
            Some(_) => {}
        }
        if let Some(known) = &self.known
            && link.replaces(known)
        {
            return Err(self.broken(Flaw::Replaced { seq: known.seq }));
        }
        if restarts {
            self.restarts.push(Restart { seq: link.seq, put_away: link.continues });
        }
        self.records += 1;
        self.head = Some(Head { seq: link.seq, hash: link.hash });
        Ok(())
    }

    fn widen(&mut self, line: &[u8]) {
        match &mut self.gap {
            Some(gap) => {
                gap.digest.update(b"\n");
                gap.digest.update(line);
            }
            None => self.gap = Some(Gap { line: self.line, digest: Sha256::new_with_prefix(line) }),
        }
    }

    fn broken(&self, flaw: Flaw) -> Break {
        Break { line: self.line, flaw }
    }

    /// A new file begins: lines are counted anew. Only a file that others follow may not end in the middle of a line.
    pub fn next_file(&mut self) -> Result<(), Break> {
        self.no_gap()?;
        (self.line, self.begins) = (0, true);
        Ok(())
    }

    /// Fails if the lines read last are no records.
    pub fn no_gap(&self) -> Result<(), Break> {
        match &self.gap {
            Some(gap) => Err(Break { line: gap.line, flaw: Flaw::NotARecord }),
            None => Ok(()),
        }
    }

    /// Fails if the log ends before the record that it must hold, or, if none is known, with lines that are no records:
    /// behind the one that is known there may be what a crash left.
    pub fn ends_well(&self) -> Result<(), Break> {
        let Some(known) = &self.known else { return self.no_gap() };
        let found = self.head().seq;
        if found < known.seq {
            return Err(self.broken(Flaw::Shortened { found, known: known.seq }));
        }
        Ok(())
    }

    /// Where the log was put away as broken and began anew.
    pub fn restarts(&self) -> &[Restart] {
        &self.restarts
    }

    /// The last record.
    pub fn head(&self) -> Head {
        self.head.clone().unwrap_or_default()
    }

    /// Records so far.
    pub fn records(&self) -> u64 {
        self.records
    }
}
