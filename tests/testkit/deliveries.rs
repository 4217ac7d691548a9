//! Deliveries as ACADA makes them, what each must come to, and waiting for that.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use dl0_ingest::custody::State;
use dl0_ingest::ledger::Ledger;
use dl0_ingest::names::Did;

use super::site::{Site, lfn};

/// How a delivery must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// As two copies off site, and gone on site.
    Released,
    /// In `invalid/`.
    Rejected,
    /// On site, untouched, until an operator has decided.
    Kept,
}

/// A file as it was delivered, perhaps several times.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    /// Relative to the data root.
    pub(crate) path: PathBuf,
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) fate: Fate,
    /// Rucio leaves it on disk.
    pub(crate) leftover: bool,
    /// The file on disk, at each delivery.
    pub(crate) inodes: Vec<u64>,
}

impl Delivery {
    pub(crate) fn lfn(&self) -> String {
        format!("/{}", self.path.display())
    }

    pub(crate) fn did(&self) -> Did {
        Did::new("acada", self.lfn())
    }

    pub(crate) fn dataset(&self) -> Did {
        Did::new("acada", format!("/{}", self.path.parent().unwrap().display()))
    }
}

impl Site {
    /// Writes a file of the usual directory and its trigger, as ACADA does. Returns its LFN.
    pub(crate) fn deliver(&self, name: &str, content: &[u8]) -> String {
        fs::write(self.path(name), content).unwrap();
        self.pull_trigger(name);
        lfn(name)
    }

    /// Makes the trigger of a file of the usual directory.
    pub(crate) fn pull_trigger(&self, name: &str) {
        symlink(name, self.path(&format!("{name}.trigger"))).unwrap();
    }

    /// Whether a file of the usual directory has its trigger.
    pub(crate) fn has_trigger(&self, name: &str) -> bool {
        self.path(&format!("{name}.trigger")).symlink_metadata().is_ok()
    }

    /// Everything delivered so far.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().values().cloned().collect()
    }

    /// Delivers a file as ACADA does, the data first, then its trigger, that must come to this end. Its path is below the data
    /// root.
    pub(crate) fn deliver_for(&self, path: &str, content: Vec<u8>, fate: Fate) -> Delivery {
        let delivery =
            Delivery { path: path.into(), content: Arc::new(content), fate, leftover: false, inodes: Vec::new() };
        self.write(delivery)
    }

    /// Delivers a good file that Rucio will leave on disk.
    pub(crate) fn deliver_leftover(&self, path: &str, content: Vec<u8>) -> Delivery {
        let content = Arc::new(content);
        let delivery =
            Delivery { path: path.into(), content, fate: Fate::Released, leftover: true, inodes: Vec::new() };
        self.rucio.faults().leave_file(&delivery.did());
        self.write(delivery)
    }

    /// Delivers a file once more that has left the site.
    pub(crate) fn deliver_again(&self, delivery: &Delivery) {
        self.write(delivery.clone());
    }

    fn write(&self, mut delivery: Delivery) -> Delivery {
        let path = self.storage(1).join(&delivery.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // on the same file system, and nowhere where the daemon looks
        let arriving = self.storage(1).join("arriving");
        fs::write(&arriving, &*delivery.content).unwrap();
        delivery.inodes.push(fs::metadata(&arriving).unwrap().ino());
        // known to the watcher from the moment it is there, not before
        let mut deliveries = self.deliveries.lock().unwrap();
        fs::rename(&arriving, &path).unwrap();
        deliveries.insert(delivery.path.clone(), delivery.clone());
        drop(deliveries);
        self.trigger(&delivery);
        delivery
    }

    /// What was delivered has become something else, or must end otherwise.
    pub(crate) fn expect(&self, delivery: &Delivery) {
        self.deliveries.lock().unwrap().insert(delivery.path.clone(), delivery.clone());
    }

    /// Whether this is still the delivery that is expected under its name. Whoever exchanges the file and the expectation
    /// holds the lock from before the one to after the other.
    pub(super) fn is_expected(&self, delivery: &Delivery) -> bool {
        let deliveries = self.deliveries.lock().unwrap();
        deliveries.get(&delivery.path).is_some_and(|now| {
            Arc::ptr_eq(&now.content, &delivery.content) && now.fate == delivery.fate && now.inodes == delivery.inodes
        })
    }

    pub(crate) fn trigger(&self, delivery: &Delivery) {
        symlink(delivery.path.file_name().unwrap(), self.trigger_path(delivery)).unwrap();
    }

    pub(crate) fn trigger_path(&self, delivery: &Delivery) -> PathBuf {
        self.storage(1).join(format!("{}.trigger", delivery.path.display()))
    }

    /// Waits until the daemon has removed a trigger.
    pub(crate) async fn until_trigger_gone(&self, delivery: &Delivery) {
        let path = self.trigger_path(delivery);
        let what = format!("the trigger of {}", delivery.lfn());
        self.until(&what, || std::future::ready(path.symlink_metadata().is_err())).await;
    }

    /// The datasets in which nothing is left to be done: none of their files is kept on site, or unknown to the ledger.
    pub(crate) fn quiet_datasets(&self) -> BTreeSet<Did> {
        let deliveries = self.deliveries();
        let of = |fate| deliveries.iter().filter(move |delivery| delivery.fate == fate).map(Delivery::dataset);
        let forgotten = deliveries.iter().filter(|delivery| self.is_forgotten(delivery)).map(Delivery::dataset);
        let open: BTreeSet<Did> = of(Fate::Kept).chain(forgotten).collect();
        of(Fate::Released).filter(|dataset| !open.contains(dataset)).collect()
    }

    /// Another file comes in the place of this one; from now on that is what is expected there.
    pub(crate) fn replace(&self, delivery: &Delivery, content: Vec<u8>) {
        fs::write(self.storage(1).join(&delivery.path), &content).unwrap();
        self.expect(&Delivery { content: Arc::new(content), ..delivery.clone() });
    }

    /// Waits until the ledger has no file on its road any more, and every quiet dataset is settled.
    pub(crate) async fn until_settled(&self) {
        let path = self.ledger_file();
        self.until_step_by_step("the end of all files' roads", || async {
            let Ok(ledger) = Ledger::open_read_only(&path).await else { return Err(String::new()) };
            let summary = ledger.summary().await.unwrap_or_default();
            let mut expected = self.deliveries();
            expected.retain(|delivery| !self.is_forgotten(delivery));
            let (mut settled, mut own_rules) = (true, 0);
            for dataset in self.quiet_datasets() {
                settled &= ledger.settlement(&dataset).await.is_ok_and(|known| known.settled_at.is_some());
                let resting = ledger.resting(&dataset).await;
                settled &= resting.is_ok();
                own_rules += resting.iter().flatten().filter(|row| row.further_copies_rule.is_some()).count();
            }
            ledger.close().await;
            let ends =
                [(Fate::Released, State::Released), (Fate::Rejected, State::Rejected), (Fate::Kept, State::Held)];
            let ended = |(fate, state)| {
                let files = summary.iter().find(|row| row.state == state).map_or(0, |row| row.files);
                usize::try_from(files) == Ok(expected.iter().filter(|delivery| delivery.fate == fate).count())
            };
            // the trigger of a file that is held stays, as a sign to whoever delivered it
            let open = |delivery: &Delivery| {
                delivery.fate != Fate::Kept && self.trigger_path(delivery).symlink_metadata().is_ok()
            };
            let at_the_end = settled && own_rules == 0 && ends.into_iter().all(ended) && !expected.iter().any(open);
            if at_the_end { Ok(()) } else { Err(format!("{summary:?}, {own_rules} rules of files")) }
        })
        .await;
    }

    /// Files and datasets that are not where they should be in the end, and what is known of them.
    pub(super) async fn open_ends(&self) -> Vec<String> {
        let mut open = Vec::new();
        for delivery in self.deliveries() {
            let row = self.row(&delivery).await;
            let state = row.as_ref().map(|row| row.state);
            let end = match delivery.fate {
                Fate::Released => State::Released,
                Fate::Rejected => State::Rejected,
                Fate::Kept => State::Held,
            };
            let trigger = self.trigger_path(&delivery).symlink_metadata().is_ok();
            if state != Some(end) || (trigger && delivery.fate != Fate::Kept) {
                let there = self.storage(1).join(&delivery.path).exists();
                let said = row.map(|row| (row.waits_for, row.reason, row.trigger_pending, row.delivery));
                open.push(format!("{}: {state:?}, on site {there}, trigger {trigger}, {said:?}", delivery.lfn()));
            }
        }
        if let Ok(ledger) = Ledger::open_read_only(&self.ledger_file()).await {
            for dataset in self.quiet_datasets() {
                match ledger.settlement(&dataset).await {
                    Ok(known) if known.settled_at.is_some() => {}
                    other => open.push(format!("{dataset}: {other:?}")),
                }
            }
            ledger.close().await;
        }
        open.truncate(30);
        open
    }
}
