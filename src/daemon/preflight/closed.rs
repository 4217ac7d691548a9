//! What single RSEs do not let Rucio do, or have no way for.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, StorageCheck};
use crate::rules::Offsite;
use crate::storage;
use rucio_client::{Client, Error, RseSettings};

/// By RSE.
pub(super) async fn look(
    rucio: &Client,
    config: &Config,
    offsite: &Offsite,
) -> Result<BTreeMap<String, Vec<String>>, Error> {
    let mut closed = BTreeMap::new();
    let mut add = |rse: &str, problems: Vec<String>| {
        if !problems.is_empty() {
            closed.insert(rse.to_owned(), problems);
        }
    };
    add(&config.onsite_rse, on_site(&rucio.rse_settings(&config.onsite_rse).await?));
    let mut open_sites = BTreeSet::new();
    for rse in offsite.rses() {
        let settings = rucio.rse_settings(rse).await?;
        if settings.availability_write {
            open_sites.extend(offsite.site(rse));
        }
        add(rse, off_site(&settings, config.offsite.storage_check_of(rse)));
    }
    let (open, needed) = (open_sites.len(), config.offsite.copies.get() as usize);
    if open < needed && offsite.distinct_sites() >= needed {
        let words = format!("{open} site(s) take files now, {needed} are needed: files wait on site until more do");
        closed.entry("off-site RSEs".to_owned()).or_insert_with(Vec::new).push(words);
    }
    Ok(closed)
}

fn on_site(settings: &RseSettings) -> Vec<String> {
    let said = [
        (
            settings.protocols.is_empty(),
            "it has no protocol in Rucio: nothing can be copied from it; add one (rucio rse protocol add)",
        ),
        (!settings.availability_read, "it is closed for reading in Rucio: nothing is copied from it"),
        (
            !settings.availability_delete,
            "it is closed for deletion in Rucio: what is released stays, and the buffer fills",
        ),
    ];
    of(&said)
}

fn off_site(settings: &RseSettings, check: StorageCheck) -> Vec<String> {
    let can_be_asked = settings.protocols.iter().any(|protocol| storage::can_be_asked(&protocol.scheme));
    let nobody_to_ask = check != StorageCheck::Off && !settings.protocols.is_empty() && !can_be_asked;
    let said = [
        (
            settings.protocols.is_empty(),
            "it has no protocol in Rucio: nothing can be copied to it; add one (rucio rse protocol add)",
        ),
        (!settings.availability_write, "it is closed for writing in Rucio: copies that are to go there wait"),
        (!settings.availability_read, "it is closed for reading in Rucio: no further copy is fed from it"),
        (nobody_to_ask, "it has no protocol davs, https, dav or http, by which its copies could be asked for"),
    ];
    of(&said)
}

fn of(said: &[(bool, &str)]) -> Vec<String> {
    said.iter().filter(|(is_so, _)| *is_so).map(|(_, words)| (*words).to_owned()).collect()
}
