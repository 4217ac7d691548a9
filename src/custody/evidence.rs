//! What proves that an off-site copy exists and is right.
//!
//! Facts are what Rucio and the storages said; a proof can only be made from complete facts, evidence only from proofs at
//! enough distinct sites, and a release order only from fresh evidence on top of an older first look.

use serde::{Deserialize, Serialize};

use super::copies::Copies;
use super::site::distinct;
use super::time::UnixMillis;

/// What the ledger knows of a file's content since it was verified. Hex, lower case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Size in bytes.
    pub bytes: u64,
    /// Adler-32, 8 digits.
    pub adler32: String,
    /// CRC-32C, 8 digits.
    pub crc32c: String,
    /// BLAKE3, 64 digits.
    pub blake3: String,
    /// MD5, 32 digits, where the configuration asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub md5: Option<String>,
}

impl Contents {
    /// The digest by this algorithm (`crc32c`, `md5`, `adler32`), if it is kept.
    pub fn digest(&self, algorithm: &str) -> Option<&str> {
        match algorithm {
            "crc32c" => Some(&self.crc32c),
            "adler32" => Some(&self.adler32),
            "md5" => self.md5.as_deref(),
            _ => None,
        }
    }
}

/// How much the storage's own word counts for an RSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoragePolicy {
    /// No proof without the storage's size and digest.
    Required,
    /// Used when it answers; a silent storage does not stop the proof, a contradicting one does.
    Preferred,
    /// Not asked.
    Off,
}

/// What the storage itself said about the physical file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageAnswer {
    /// It was not asked.
    NotAsked,
    /// It gave no usable answer (down, slow, refused); the reason for humans.
    Silent(String),
    /// It says there is no such file.
    Missing,
    /// Size, and the digest with the algorithm's name as the storage stated it.
    Stated {
        /// Size in bytes.
        bytes: u64,
        /// Algorithm (`crc32c`, `md5`, `adler32`) and value in hex; `None` when it computes none we can compare.
        digest: Option<(&'static str, String)>,
    },
}

impl StorageAnswer {
    /// Whether a storage that says so holds no copy of the file with these contents.
    pub fn contradicts(&self, contents: &Contents) -> bool {
        match self {
            Self::NotAsked | Self::Silent(_) => false,
            Self::Missing => true,
            Self::Stated { bytes, digest } => {
                let differs = |(algorithm, value): &(&'static str, String)| {
                    contents.digest(algorithm).is_some_and(|kept| kept != value)
                };
                *bytes != contents.bytes || digest.as_ref().is_some_and(differs)
            }
        }
    }

    /// Whether it cannot be true of any file: another size, with the digest of these contents.
    fn is_impossible(&self, contents: &Contents) -> bool {
        let Self::Stated { bytes, digest: Some((algorithm, value)) } = self else { return false };
        *bytes != contents.bytes && contents.digest(algorithm).is_some_and(|kept| kept == value)
    }
}

/// Whether what carries a rule stays in Rucio. What goes takes its rules with it, permanent or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// It has no end.
    Stays,
    /// It goes at that time, as Rucio writes it.
    Ends {
        /// The file or dataset.
        did: String,
        /// Rucio's date.
        at: String,
    },
    /// Rucio did not say.
    Unknown {
        /// The file or dataset.
        did: String,
    },
}

/// A lock as Rucio states it, with what matters of its rule.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // four independent facts, each asked by its name
pub struct LockFacts {
    /// The rule that holds the lock.
    pub rule: String,
    /// The rule belongs to our account.
    pub ours: bool,
    /// The lock's state is OK.
    pub ok: bool,
    /// The rule has an end.
    pub expires: bool,
    /// An operator has stopped the rule.
    pub suspended: bool,
    /// The file, and what the rule is on.
    pub carrier: Carrier,
}

impl LockFacts {
    /// Why a lock that is OK, of a permanent rule, proves nothing for now: somebody has decided something about it, and until
    /// they say more the copy is neither proven nor lost.
    fn doubtful(&self, rse: &str) -> Option<String> {
        match &self.carrier {
            _ if self.suspended => {
                Some(format!("rule {}, which holds the copy at {rse}, is SUSPENDED in Rucio", self.rule))
            }
            Carrier::Stays => None,
            Carrier::Ends { did, at } => Some(format!(
                "Rucio removes {did} at its end, {at}, and with it rule {}, which holds the copy at {rse}; take the end away \
                 in Rucio ('rucio erase --undo') if it is not meant",
                self.rule
            )),
            Carrier::Unknown { did } => Some(format!("Rucio does not say whether {did} has an end")),
        }
    }
}

/// What Rucio says of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It is there.
    Available,
    /// Its storage is out of reach for now, which says nothing about the copy.
    OutOfReach,
    /// It is not there, or not any more; Rucio's word for the state.
    Not(&'static str),
}

/// Everything that was said about one file at one off-site RSE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyFacts {
    /// The RSE; never the on-site one.
    pub rse: String,
    /// Value of the RSE attribute that tells sites apart.
    pub site: Option<String>,
    /// What Rucio says of the replica.
    pub availability: Availability,
    /// Size in Rucio's catalogue.
    pub catalogue_bytes: u64,
    /// Adler-32 in Rucio's catalogue, 8 hex digits.
    pub catalogue_adler32: Option<String>,
    /// Locks on the file at this RSE.
    pub locks: Vec<LockFacts>,
    /// The storage's own word.
    pub storage: StorageAnswer,
}

/// Why there is no proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The copy is not (or no longer) what it must be, as far as those say who must know.
    NotYet(String),
    /// Everybody answered and nothing contradicts itself, and the copies that are proven are too few.
    TooFew {
        /// Where they are.
        proven: Vec<String>,
        /// Where right copies lie that no rule of ours holds.
        unheld: Vec<String>,
        /// What is missing, for humans.
        reason: String,
    },
    /// The copy is there and right, and no permanent rule of ours holds it: no proof, and no loss while it lies there. Somebody
    /// ended or moved the rule, and it is placed again.
    Unheld {
        /// Its RSE.
        rse: String,
        /// The same, for humans.
        reason: String,
    },
    /// Somebody who must know could not be asked.
    Unknown(String),
    /// Somebody says that the copy differs from the file.
    Contradiction(String),
}

impl Doubt {
    /// The reason, for humans.
    pub fn reason(&self) -> &str {
        match self {
            Self::NotYet(reason)
            | Self::TooFew { reason, .. }
            | Self::Unheld { reason, .. }
            | Self::Unknown(reason)
            | Self::Contradiction(reason) => reason,
        }
    }

    /// Whether a look that ended so found a copy missing that the first one had proven.
    pub fn has_lost(&self, first: &FirstLook) -> bool {
        match self {
            Self::NotYet(_) => true,
            Self::TooFew { proven, unheld, .. } => first.lost(proven, unheld).is_some(),
            Self::Unheld { .. } | Self::Unknown(_) | Self::Contradiction(_) => false,
        }
    }
}

/// The proof of one off-site copy. Cannot be made without all its parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CopyProof {
    rse: String,
    site: String,
    rule: String,
    bytes: u64,
    adler32: String,
    storage_digest: Option<(&'static str, String)>,
}

impl CopyProof {
    /// Judges the facts about one copy against the content that was verified on site.
    pub fn from_facts(facts: &CopyFacts, contents: &Contents, policy: StoragePolicy) -> Result<Self, Doubt> {
        let rse = &facts.rse;
        if facts.catalogue_bytes != contents.bytes {
            return Err(Doubt::Contradiction(format!(
                "Rucio states {} bytes, the file on site has {}",
                facts.catalogue_bytes, contents.bytes
            )));
        }
        match &facts.catalogue_adler32 {
            Some(adler32) if *adler32 == contents.adler32 => {}
            Some(other) => {
                return Err(Doubt::Contradiction(format!(
                    "Rucio states adler32 {other}, the file on site has {}",
                    contents.adler32
                )));
            }
            None => return Err(Doubt::NotYet("Rucio states no adler32 for the file".to_owned())),
        }
        match facts.availability {
            Availability::Available => {}
            Availability::OutOfReach => {
                return Err(Doubt::Unknown(format!("Rucio says that {rse} is out of reach for now")));
            }
            Availability::Not(state) => return Err(Doubt::NotYet(format!("the replica at {rse} is {state}"))),
        }
        let site = facts.site.clone().ok_or_else(|| {
            Doubt::NotYet(format!("{rse} lacks the attribute that tells sites apart (see offsite.distinct_by)"))
        })?;
        let storage_digest = Self::judge_storage(facts, contents, policy)?;
        let rule = Self::judge_locks(facts)?;
        Ok(Self {
            rse: rse.clone(),
            site,
            rule,
            bytes: contents.bytes,
            adler32: contents.adler32.clone(),
            storage_digest,
        })
    }

    /// The rule that holds the copy.
    fn judge_locks(facts: &CopyFacts) -> Result<String, Doubt> {
        let rse = &facts.rse;
        let mut holding = facts.locks.iter().filter(|lock| lock.ours && lock.ok && !lock.expires).peekable();
        let Some(any) = holding.peek() else {
            let reason = format!("no permanent rule of ours holds an OK lock at {rse}");
            return Err(Doubt::Unheld { rse: rse.clone(), reason });
        };
        let doubt = any.doubtful(rse).unwrap_or_default();
        holding.find(|lock| lock.doubtful(rse).is_none()).map(|lock| lock.rule.clone()).ok_or(Doubt::Unknown(doubt))
    }

    fn judge_storage(
        facts: &CopyFacts,
        contents: &Contents,
        policy: StoragePolicy,
    ) -> Result<Option<(&'static str, String)>, Doubt> {
        let rse = &facts.rse;
        match (&facts.storage, policy) {
            (_, StoragePolicy::Off) => Ok(None),
            (answer, _) if answer.is_impossible(contents) => Err(Doubt::Unknown(format!(
                "the storage of {rse} contradicts itself: it states another size than the file's, with the file's digest"
            ))),
            (StorageAnswer::Missing, _) => {
                Err(Doubt::Contradiction(format!("Rucio says AVAILABLE at {rse}, the storage has no such file")))
            }
            (StorageAnswer::Stated { bytes, .. }, _) if *bytes != contents.bytes => Err(Doubt::Contradiction(format!(
                "the storage of {rse} holds {bytes} bytes, the file on site has {}",
                contents.bytes
            ))),
            (StorageAnswer::Stated { digest: Some((algorithm, value)), .. }, _) => {
                let Some(expected) = contents.digest(algorithm) else {
                    let reason = format!("the storage of {rse} states a {algorithm}, which we do not keep");
                    return Err(Doubt::Unknown(reason));
                };
                if value == expected {
                    Ok(Some((algorithm, value.clone())))
                } else {
                    Err(Doubt::Contradiction(format!(
                        "the storage of {rse} states {algorithm} {value}, the file on site has {expected}"
                    )))
                }
            }
            (_, StoragePolicy::Preferred) => Ok(None),
            (StorageAnswer::Stated { digest: None, .. }, StoragePolicy::Required) => Err(Doubt::Unknown(format!(
                "the storage of {rse} gives no digest we can compare (crc32c, adler32, or md5 with verify.md5)"
            ))),
            (StorageAnswer::Silent(reason), StoragePolicy::Required) => {
                Err(Doubt::Unknown(format!("the storage of {rse} does not answer: {reason}")))
            }
            (StorageAnswer::NotAsked, StoragePolicy::Required) => {
                Err(Doubt::Unknown(format!("the storage of {rse} was not asked")))
            }
        }
    }

    /// The RSE of the copy.
    pub fn rse(&self) -> &str {
        &self.rse
    }

    /// The site of the copy.
    pub fn site(&self) -> &str {
        &self.site
    }
}

/// Proofs of at least the required number of copies at distinct sites, all from one look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    at: UnixMillis,
    copies: Vec<CopyProof>,
    /// Further copies about which somebody could not be asked: neither proven nor lost.
    undecided: bool,
    /// Where right copies lie that no rule of ours holds: neither proven nor lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unheld: Vec<String>,
}

impl Evidence {
    /// Assembles one look. A single contradiction spoils it, whatever the other copies say.
    pub fn assemble(at: UnixMillis, judged: Vec<Result<CopyProof, Doubt>>, required: Copies) -> Result<Self, Doubt> {
        if let Some(contradiction) = judged.iter().find_map(|copy| match copy {
            Err(doubt @ Doubt::Contradiction(_)) => Some(doubt.clone()),
            _ => None,
        }) {
            return Err(contradiction);
        }
        let (mut copies, mut doubts, mut unheld) = (Vec::new(), Vec::new(), Vec::new());
        let mut unknown = false;
        for copy in judged {
            match copy {
                Ok(proof) => copies.push(proof),
                Err(doubt) => {
                    unknown |= matches!(doubt, Doubt::Unknown(_));
                    doubts.push(doubt.reason().to_owned());
                    if let Doubt::Unheld { rse, .. } = doubt {
                        unheld.push(rse);
                    }
                }
            }
        }
        let sites = distinct(copies.iter().map(CopyProof::site));
        if sites >= required.get() as usize {
            return Ok(Self { at, copies, undecided: unknown, unheld });
        }
        let mut reason = format!("{sites} of {} sites hold a proven copy", required.get());
        if !doubts.is_empty() {
            reason = format!("{reason}; {}", doubts.join("; "));
        }
        if unknown {
            return Err(Doubt::Unknown(reason));
        }
        Err(Doubt::TooFew { proven: copies.into_iter().map(|copy| copy.rse).collect(), unheld, reason })
    }

    /// When the look was taken.
    pub fn at(&self) -> UnixMillis {
        self.at
    }

    /// The proven copies.
    pub fn copies(&self) -> &[CopyProof] {
        &self.copies
    }

    /// Whether a copy at this RSE that is not proven may be there all the same.
    pub fn is_undecided_at(&self, rse: &str) -> bool {
        self.undecided || self.unheld.iter().any(|unheld| unheld == rse)
    }

    /// What a later look is held against.
    pub fn as_first_look(&self) -> FirstLook {
        FirstLook {
            at: self.at,
            rses: self.copies.iter().map(|copy| copy.rse.clone()).collect(),
            copies: self.copies.iter().map(|copy| serde_json::json!(copy)).collect(),
        }
    }

    /// How many sites hold a proven copy.
    pub fn sites(&self) -> usize {
        distinct(self.copies.iter().map(CopyProof::site))
    }
}

/// At how many sites evidence, or the order that rests on it, proved a copy, as it was written down. What cannot be read
/// proves nothing.
pub fn sites_on_record(written: &str) -> u32 {
    #[derive(Deserialize)]
    struct Copy {
        site: String,
    }
    #[derive(Deserialize)]
    struct Look {
        copies: Vec<Copy>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Order { evidence: Look },
        Evidence(Look),
    }
    let copies = match serde_json::from_str(written) {
        Ok(Written::Order { evidence } | Written::Evidence(evidence)) => evidence.copies,
        Err(_) => return 0,
    };
    u32::try_from(distinct(copies.iter().map(|copy| copy.site.as_str()))).unwrap_or(u32::MAX)
}

/// The earlier look, as remembered: a time and a list, no proof of anything by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirstLook {
    /// When it was taken.
    pub at: UnixMillis,
    /// Where copies were proven then.
    pub rses: Vec<String>,
    /// The proofs as they were written down, for the audit record: nothing is decided on them. Empty in a ledger from before
    /// they were kept.
    #[serde(default)]
    pub copies: Vec<serde_json::Value>,
}

impl FirstLook {
    /// What of it still counts: an RSE that is no data centre any more, by somebody's decision, has lost nothing.
    #[must_use]
    pub fn among(mut self, is_data_centre: impl Fn(&str) -> bool) -> Self {
        self.rses.retain(|rse| is_data_centre(rse));
        self
    }

    /// Where a copy was proven then and is neither among those that are now, nor among those that lie there unheld.
    pub fn lost(&self, proven: &[String], unheld: &[String]) -> Option<&str> {
        self.rses.iter().find(|rse| !proven.contains(rse) && !unheld.contains(rse)).map(String::as_str)
    }
}

#[cfg(test)]
pub(super) mod tests;
