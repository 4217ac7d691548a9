//! From what a look has seen to production's own judgement of it.

use std::time::Duration;

use dl0_ingest::custody::{
    Availability, Carrier, Contents, Copies, CopyFacts, CopyProof, Doubt, Evidence, FileIdentity, FirstLook,
    KeepReason, LockFacts, ReleaseOrder, StorageAnswer, StoragePolicy, UnixMillis,
};

use crate::custody_model::Variant;
use crate::custody_model::world::{Answer, Content, Delivery, FirstSeen, Listed, Look, NAMES, RSES, SITES};

/// The hold time of the model, in milliseconds; a look is taken at its end or one millisecond before.
const HOLD: i64 = 10_000;

fn contents(content: Content) -> Contents {
    let (adler32, crc32c) = match content {
        Content::Original => ("0000000a", "0000000c"),
        Content::Other => ("0000001a", "0000001c"),
    };
    Contents { bytes: 10, adler32: adler32.to_owned(), crc32c: crc32c.to_owned(), blake3: String::new(), md5: None }
}

fn at(look: &Look) -> UnixMillis {
    if look.hold_passed { HOLD } else { HOLD - 1 }
}

fn facts(variant: Variant, look: &Look, rse: usize, registered: Content) -> Option<CopyFacts> {
    let seen = &look.seen[rse];
    let trusting = variant == Variant::RuleStateIsProof;
    let availability = match seen.listed {
        _ if trusting => Availability::Available,
        Listed::No => return None,
        Listed::Copying => Availability::Not("COPYING"),
        Listed::Available => Availability::Available,
        Listed::OutOfReach => Availability::OutOfReach,
    };
    let contents = contents(registered);
    let stated = |crc32c: String| StorageAnswer::Stated { bytes: 10, digest: Some(("crc32c", crc32c)) };
    let site = if variant == Variant::AnyTwoRses { NAMES[rse] } else { SITES[rse] };
    Some(CopyFacts {
        rse: NAMES[rse].to_owned(),
        site: Some(site.to_owned()),
        availability,
        // the row carries size and checksum of the DID before any byte has come
        catalogue_bytes: contents.bytes,
        catalogue_adler32: Some(contents.adler32),
        locks: vec![LockFacts {
            rule: "rule".to_owned(),
            ours: true,
            ok: seen.lock_ok,
            expires: false,
            suspended: false,
            carrier: if seen.ends {
                Carrier::Ends { did: "dataset".to_owned(), at: "soon".to_owned() }
            } else {
                Carrier::Stays
            },
        }],
        storage: match seen.answer {
            Answer::NotAsked => StorageAnswer::NotAsked,
            Answer::Silent => StorageAnswer::Silent("down".to_owned()),
            Answer::Missing => StorageAnswer::Missing,
            Answer::Right => stated(contents.crc32c),
            Answer::Wrong => stated("ffffffff".to_owned()),
        },
    })
}

/// What a look saw, judged.
pub(crate) fn evidence(
    variant: Variant,
    look: &Look,
    registered: Content,
    verified: Content,
) -> Result<Evidence, Doubt> {
    let policy = match variant {
        Variant::NoStorageCheck | Variant::RuleStateIsProof => StoragePolicy::Off,
        _ => StoragePolicy::Required,
    };
    let judged = (0..RSES)
        .filter_map(|rse| facts(variant, look, rse, registered))
        .map(|facts| CopyProof::from_facts(&facts, &contents(verified), policy));
    Evidence::assemble(at(look), judged.collect(), Copies::MIN)
}

/// The first look as it is remembered.
pub(crate) fn remembered(evidence: &Evidence) -> FirstSeen {
    let first = evidence.as_first_look();
    let proven = std::array::from_fn(|rse| first.rses.iter().any(|name| name == NAMES[rse]));
    FirstSeen { proven, hold_passed: false }
}

fn recalled(first: FirstSeen) -> FirstLook {
    let rses = (0..RSES).filter(|rse| first.proven[*rse]).map(|rse| NAMES[rse].to_owned()).collect();
    FirstLook { at: 0, rses, copies: Vec::new() }
}

/// Whether a copy that was proven first is not proven now.
pub(crate) fn missing_since(evidence: &Evidence, first: FirstSeen) -> Option<KeepReason> {
    evidence.missing_since(&recalled(first))
}

/// Whether a copy that was proven first is lost.
pub(crate) fn has_lost(doubt: &Doubt, first: FirstSeen) -> bool {
    doubt.has_lost(&recalled(first))
}

/// The hold time has passed between the first look and this one.
pub(crate) fn is_held_long_enough(evidence: &Evidence) -> bool {
    evidence.at() >= HOLD
}

fn identity(delivery: Delivery) -> FileIdentity {
    FileIdentity { bytes: 10, mtime_ns: 1, inode: delivery as u64 }
}

/// The order to release, or why not.
pub(crate) fn order(
    look: &Look,
    evidence: Evidence,
    first: FirstSeen,
    (verified, found): (Delivery, Delivery),
) -> Result<ReleaseOrder, KeepReason> {
    let fresh = i64::try_from(ReleaseOrder::FRESH.as_millis()).unwrap();
    let now = evidence.at() + if look.stale { fresh + 1 } else { 0 };
    let identities = (identity(verified), identity(found));
    let hold = Duration::from_millis(HOLD.unsigned_abs());
    ReleaseOrder::new(recalled(first), evidence, identities, Copies::MIN, hold, now)
}
