//! What happens at a site while the daemon is killed: between them the scenarios pass every effect that can be had.

use std::fs;
use std::sync::Arc;

use dl0_ingest::custody::State;
use dl0_ingest::embedded::{Answer, Daemon as RucioDaemon, Endpoint, Outage};

use crate::daemon_support::site::{Delivery, Fate, Site, fixture};

const LST: &str = "ctao/acada/dl0/LST/events/2026/01/01";
const NEXT: &str = "ctao/acada/dl0/LST/events/2026/01/02";
const MST: &str = "ctao/acada/dl0/MST/events/2026/01/01";
/// More answers than are ever asked for before a fault is ended.
const MANY: usize = 100_000;

/// What others do while the daemon works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Good files in two datasets, one delivered twice, one that Rucio leaves on disk, and a bad one.
    Everyday,
    /// Files that change, come back, are refused, or are in Rucio before they are delivered; operators hold them and have
    /// them tried again.
    Again,
    /// Rules that somebody else ends or gives an end, and one that is stuck; copies are read back.
    Meddled,
}

impl Scenario {
    pub(crate) const ALL: [Self; 3] = [Self::Everyday, Self::Again, Self::Meddled];

    /// A site for it.
    pub(crate) async fn site(self) -> Arc<Site> {
        let site = Site::new().await;
        if self == Self::Meddled {
            site.change("confirm: {", "confirm: {read_back: 1, ");
        }
        Arc::new(site)
    }

    /// Plays it, with this environment for the commands of operators. Tells whether one of them was killed.
    pub(crate) async fn play(self, site: Arc<Site>, environment: Vec<(String, String)>) -> bool {
        match self {
            Self::Everyday => everyday(&site).await,
            Self::Again => return again(&site, &environment).await,
            Self::Meddled => meddled(&site).await,
        }
        false
    }
}

async fn everyday(site: &Site) {
    // nothing leaves the site before the second delivery was compared
    site.rucio.faults().pause(RucioDaemon::Conveyor);
    let good = [
        site.deliver(&format!("{LST}/cal.fits.fz"), fixture("CAL"), Fate::Released),
        site.deliver(&format!("{LST}/muon.fits.fz"), fixture("MUON"), Fate::Released),
        site.deliver_leftover(&format!("{MST}/left.fits.fz"), fixture("SUBARRAY")),
    ];
    let bad = fixture("SUBARRAY");
    site.deliver(&format!("{MST}/bad.fits.fz"), bad[..bad.len() - 2880].to_vec(), Fate::Rejected);
    for delivery in &good {
        site.until_trigger_gone(delivery).await;
    }
    site.trigger(&good[0]);
    site.until_trigger_gone(&good[0]).await;
    site.rucio.faults().resume(RucioDaemon::Conveyor);
}

async fn again(site: &Site, environment: &[(String, String)]) -> bool {
    let faults = site.rucio.faults();
    faults.pause(RucioDaemon::Conveyor);
    // Rucio knows the datasets from now on
    let first = [LST, NEXT].map(|night| {
        let path = format!("{night}/first.fits.fz");
        site.deliver(&path, fixture("CAL"), Fate::Released)
    });
    for first in &first {
        site.until_trigger_gone(first).await;
    }
    let (name, content) = (format!("{NEXT}/known.fits.fz"), fixture("SHOWER"));
    site.register_by_hand(&first[1].dataset(), &format!("/{name}"), &content).await;
    let back = changed_before_registration(site).await;
    other_content(site).await;
    let mut killed = refused_once(site, environment).await;
    // held, looked at at an operator's word, and let go
    for command in ["hold", "retry", "release-hold"] {
        killed |= site.operate(environment, &[command, &back.lfn()]).await;
    }
    faults.resume(RucioDaemon::Conveyor);
    site.until_state(&back, State::Released).await;
    site.deliver_again(&back);
    // a dataset with a file that was never delivered stays as it is; in Rucio it lacks what describes it
    site.until_unsettled(&first[1].dataset()).await;
    site.deliver(&name, content, Fate::Released);
    killed
}

/// A file whose content changes after it was verified. When it is to be attached, Rucio does not know its dataset.
async fn changed_before_registration(site: &Site) -> Delivery {
    let faults = site.rucio.faults();
    faults.rucio_down(Outage::Unavailable);
    let early = site.deliver(&format!("{LST}/back.fits.fz"), fixture("CAL"), Fate::Released);
    site.until_state(&early, State::Verified).await;
    // seen once more, its trigger would tell of the change before the registration does
    fs::remove_file(site.trigger_path(&early)).unwrap();
    let back = site.exchange(&early, fixture("MUON"));
    let message = "Data identifier not found";
    let unknown = Answer::Refuse { status: 404, class: "DataIdentifierNotFound", message };
    faults.answer(Endpoint::Attach, 1, &unknown);
    faults.rucio_up();
    site.until_state(&back, State::Registered).await;
    back
}

/// Another content is delivered under the name of a registered file.
async fn other_content(site: &Site) {
    let first = site.deliver(&format!("{MST}/other.fits.fz"), fixture("SUBARRAY"), Fate::Released);
    site.until_trigger_gone(&first).await;
    let kept = site.exchange(&Delivery { fate: Fate::Kept, ..first }, fixture("CAL"));
    site.trigger(&kept);
    site.until_state(&kept, State::Held).await;
}

/// A file that Rucio refuses until it is held, and takes when an operator has it tried again.
async fn refused_once(site: &Site, environment: &[(String, String)]) -> bool {
    let faults = site.rucio.faults();
    let refusal = Answer::Refuse { status: 400, class: "InvalidObject", message: "Provided object is not valid" };
    faults.answer(Endpoint::Attach, MANY, &refusal);
    let refused = site.deliver(&format!("{LST}/refused.fits.fz"), fixture("SUBARRAY"), Fate::Released);
    site.until_state(&refused, State::Held).await;
    faults.clear();
    faults.pause(RucioDaemon::Conveyor);
    let killed = site.operate(environment, &["retry", &refused.lfn()]).await;
    site.until_trigger_gone(&refused).await;
    killed
}

async fn meddled(site: &Site) {
    let faults = site.rucio.faults();
    faults.pause(RucioDaemon::Conveyor);
    let one = site.deliver(&format!("{LST}/one.fits.fz"), fixture("CAL"), Fate::Released);
    let other = site.deliver(&format!("{LST}/other.fits.fz"), fixture("MUON"), Fate::Released);
    for delivery in [&one, &other] {
        site.until_trigger_gone(delivery).await;
    }
    let on_site_rule = site.until_state(&one, State::Registered).await.on_site_rule.unwrap();
    site.end_rule(&on_site_rule).await;
    site.until_row(&one, "another on-site rule", |row| {
        row.on_site_rule.as_ref().is_some_and(|rule| *rule != on_site_rule)
    })
    .await;
    let on_site_rule = site.until_state(&other, State::Registered).await.on_site_rule.unwrap();
    site.rucio.delete_rule(&on_site_rule);
    site.until("the end of the rule to be taken away", || async {
        site.rule(&on_site_rule).await["expires_at"].is_null()
    })
    .await;
    // the first copies arrive, the others cannot
    let away = if site.first_copies(&one.dataset()).await == "STORAGE-2" { "STORAGE-3" } else { "STORAGE-2" };
    faults.storage_down(away, Outage::Refuse);
    faults.resume(RucioDaemon::Conveyor);
    site.until_state(&one, State::Replicated).await;
    let further_copies_rule = site.until_state(&other, State::Replicated).await.further_copies_rule.unwrap();
    // a storage that is away would also keep Rucio from taking back what it has begun there
    faults.fail_transfers(u32::MAX);
    faults.storage_up(away);
    site.end_rule(&further_copies_rule).await;
    site.until_row(&other, "another further-copies rule", |row| {
        row.further_copies_rule.as_ref().is_some_and(|rule| *rule != further_copies_rule)
    })
    .await;
    let said = || fs::read_to_string(site.log()).unwrap().contains("is STUCK");
    site.until("a rule to be told as stuck", || std::future::ready(said())).await;
    faults.fail_transfers(0);
}
