//! The strictest evidence, for a sample: the copies read back whole and compared by BLAKE3.
//!
//! A storage's digest may come from a cache or from the software that damaged the file; its bytes cannot.

use std::time::Instant;

use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::custody::{CopyProof, Doubt, Evidence};
use crate::engine::{Context, StageError};
use crate::ledger::FileRow;
use crate::rules::{Offsite, with_on_site};
use crate::storage::{Error, ReadBack, Source, best_url, door, doors};
use rucio_client::ReplicaQuery;

use super::SCHEMES;

const UNREADABLE: &str = "cannot be read back";

/// Whether the file is one of the sample.
pub(crate) fn is_wanted(context: &Context, row: &FileRow) -> Result<bool, StageError> {
    Ok(is_sampled(&row.contents()?.blake3, context.config().confirm.read_back))
}

/// Why the copies of a file are not proven by their bytes.
pub(crate) struct Unread {
    /// What is doubted.
    pub(crate) doubt: Doubt,
    /// A copy of the file's own could not be read back; else it waits for others.
    pub(crate) own: bool,
    /// The storage gave no answer in time, and would give none for other files.
    pub(crate) silent: bool,
}

impl From<Doubt> for Unread {
    fn from(doubt: Doubt) -> Self {
        Self { doubt, own: false, silent: false }
    }
}

/// Reads the proven copies back. Returns what was read, as the record has it: RSEs, size and BLAKE3.
pub(crate) async fn read(
    context: &Context,
    row: &FileRow,
    evidence: &Evidence,
) -> Result<Result<Value, Unread>, StageError> {
    let contents = row.contents()?;
    let (did, started) = (row.did(), Instant::now());
    let offsite = Offsite::now(context).await?;
    let expression = with_on_site(&context.config());
    let query = ReplicaQuery {
        dids: std::slice::from_ref(&did),
        rse_expression: Some(&expression),
        all_states: false,
        schemes: &SCHEMES,
    };
    let listings = context.rucio.replicas(&query).await?;
    let pfns = |rse: &str| listings.iter().find_map(|listing| listing.pfns.get(rse)).map_or(&[][..], Vec::as_slice);
    let rses: Vec<&str> = evidence.copies().iter().map(CopyProof::rse).collect();
    let (contents, pfns) = (&contents, &pfns);
    let copies = try_join_all(evidence.copies().iter().map(|copy| async move {
        let rse = copy.rse();
        let pfn = best_url(pfns(rse))
            .ok_or_else(|| Doubt::Unknown(format!("the copy at {rse} {UNREADABLE}: Rucio names no URL of it")))
            .map_err(|doubt| Unread { doubt, own: true, silent: false })?;
        let answer = context.storage.read_back(pfn, contents.bytes).await;
        let silent = answer.as_ref().is_err_and(Error::is_transient);
        let led_to = answer.as_ref().ok().and_then(|read| read.led_to.clone());
        compare(rse, answer, contents.bytes, &contents.blake3).map_err(|doubt| Unread { doubt, own: true, silent })?;
        Ok::<_, Unread>(Source { rse: rse.to_owned(), site: Some(copy.site().to_owned()), door: door(pfn), led_to })
    }));
    let read = tokio::select! {
        read = copies => read,
        () = context.shutdown.cancelled() => Err(Doubt::Unknown("its copies being read back".to_owned()).into()),
    };
    let doors = listings.iter().flat_map(|listing| doors(&listing.pfns, |rse| offsite.site(rse).map(str::to_owned)));
    if let Err(unread) = read.and_then(|sources| from_their_own_servers(doors.collect(), &sources)) {
        return Ok(Err(unread));
    }
    let detail = json!({"rses": rses, "bytes": contents.bytes, "blake3": contents.blake3});
    let seconds = started.elapsed().as_secs_f64();
    tracing::info!(lfn = row.lfn, copies = rses.len(), seconds, "off-site copies read back whole, identical");
    Ok(Ok(detail))
}

/// What one server delivers proves one copy, whichever storages lead to it. `doors`: all that Rucio names for the file.
fn from_their_own_servers(mut doors: Vec<Source>, read: &[Source]) -> Result<(), Unread> {
    doors.extend_from_slice(read);
    let borrowed = read.iter().find_map(|source| Some((source, source.borrows_from(&doors)?)));
    let Some((source, other)) = borrowed else { return Ok(()) };
    let (rse, server) = (&source.rse, source.led_to.as_deref().unwrap_or_default());
    let why = format!("the copy at {rse} {UNREADABLE}: its storage led to {server}, where {other} has its copy");
    Err(Unread { doubt: Doubt::Unknown(why), own: true, silent: false })
}

/// One of `every` files, the same at every look: chosen by the content's own digest, which is as good as chance.
fn is_sampled(blake3: &str, every: u32) -> bool {
    let number = blake3.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    every > 0 && number.is_none_or(|number| number.is_multiple_of(u64::from(every)))
}

fn compare(rse: &str, answer: Result<ReadBack, Error>, bytes: u64, blake3: &str) -> Result<(), Doubt> {
    match answer {
        Ok(read) if read.bytes == bytes && read.blake3 == blake3 => Ok(()),
        // a connection that ends early is an error of its own, so these are the bytes the storage has
        Ok(read) if read.bytes == bytes => Err(Doubt::Contradiction(format!(
            "read back from {rse}, the copy has BLAKE3 {}, the file on site {blake3}",
            read.blake3
        ))),
        Ok(read) => Err(Doubt::Contradiction(format!(
            "read back from {rse}, the copy has {} bytes{}, the file on site {bytes}",
            read.bytes.min(bytes),
            if read.bytes > bytes { " and more" } else { "" },
        ))),
        Err(Error::NotFound { url }) => {
            Err(Doubt::Contradiction(format!("the copy at {rse} {UNREADABLE}: {url} does not exist")))
        }
        Err(error) => Err(Doubt::Unknown(format!("the copy at {rse} {UNREADABLE}: {error}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_is_as_large_as_asked_for() {
        let digest = |n: u32| blake3::hash(&n.to_le_bytes()).to_hex().to_string();
        let sampled = |every| (0..20_000).filter(|&n| is_sampled(&digest(n), every)).count();
        assert_eq!((sampled(0), sampled(1)), (0, 20_000));
        assert!((150..250).contains(&sampled(100)), "{}", sampled(100));
    }

    #[test]
    fn only_the_same_bytes_are_a_proof() {
        let read = |bytes, blake3: &str| Ok(ReadBack { bytes, blake3: blake3.to_owned(), led_to: None });
        assert_eq!(compare("A", read(10, "aa"), 10, "aa"), Ok(()));
        for (answer, told) in
            [(read(10, "bb"), "BLAKE3 bb"), (read(9, "aa"), "9 bytes,"), (read(11, "aa"), "10 bytes and more")]
        {
            let doubt = compare("A", answer, 10, "aa").unwrap_err();
            assert!(matches!(&doubt, Doubt::Contradiction(reason) if reason.contains(told)), "{doubt:?}");
        }
        let down = Err(Error::Transient { url: "u".to_owned(), status: None, reason: "down".to_owned() });
        assert!(matches!(compare("A", down, 10, "aa"), Err(Doubt::Unknown(_))));
    }

    #[test]
    fn bytes_from_the_server_of_another_copy_prove_none() {
        let source = |rse: &str, led_to: Option<&str>| Source {
            rse: rse.to_owned(),
            site: Some(format!("site of {rse}")),
            door: Some(format!("{rse}:1")),
            led_to: led_to.map(str::to_owned),
        };
        let read = |server| {
            from_their_own_servers(vec![source("HERE", None)], &[source("A", Some(server)), source("B", None)])
        };
        assert!(read("pool:1").is_ok());
        for (server, owner) in [("B:1", "B"), ("HERE:1", "HERE")] {
            let unread = read(server).err().unwrap();
            let told =
                format!("the copy at A cannot be read back: its storage led to {server}, where {owner} has its copy");
            assert_eq!((unread.doubt, unread.own, unread.silent), (Doubt::Unknown(told), true, false));
        }
    }
}
