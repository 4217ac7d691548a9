//! What single RSEs do not let Rucio do, or have no way for.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Config, StorageCheck};
use crate::rules::Offsite;
use crate::storage;
use rucio_client::RseSettings;

/// By RSE. `settings`: of the on-site RSE and of all data centres.
pub(super) fn look(
    config: &Config,
    offsite: &Offsite,
    settings: &BTreeMap<String, RseSettings>,
) -> BTreeMap<String, Vec<String>> {
    let mut closed = BTreeMap::new();
    let mut open_sites = BTreeSet::new();
    for (rse, settings) in settings {
        let problems = if *rse == config.onsite_rse {
            on_site(settings)
        } else {
            off_site(settings, config.offsite.storage_check_of(rse))
        };
        if settings.availability_write {
            open_sites.extend(offsite.site(rse));
        }
        if !problems.is_empty() {
            closed.insert(rse.clone(), problems);
        }
    }
    let (open, needed) = (open_sites.len(), config.offsite.copies.get() as usize);
    if open < needed && offsite.distinct_sites() >= needed {
        let words = format!("{open} site(s) take files now, {needed} are needed: files wait on site until more do");
        closed.entry("off-site RSEs".to_owned()).or_insert_with(Vec::new).push(words);
    }
    closed
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
