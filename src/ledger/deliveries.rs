//! What intake records: deliveries, deliveries of files already known, and triggers that cannot be taken.

use sqlx::{FromRow, Sqlite, Transaction};

use crate::clock::now;
use crate::crash;
use crate::custody::{FileIdentity, State, UnixMillis};
use crate::names::Lfn;

use super::error::Error;
use super::rows::FileRow;
use super::statements::{all, first, run, value};
use super::store::{Ledger, after};

/// A sound trigger and the file it announces.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The file.
    pub lfn: Lfn,
    /// As found on disk.
    pub identity: FileIdentity,
    /// Right before the disk was asked. What has been decided since may have removed it.
    pub seen_at: UnixMillis,
}

/// What a delivery turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// A file never seen before.
    New,
    /// Recorded already; nothing to do.
    Known,
    /// Registered or rejected already, and the trigger is being removed. One that is still there afterwards is another.
    Leaving,
    /// The file changed before it was registered; it is verified anew.
    Changed,
    /// A new file in place of one that was rejected.
    Replaced,
    /// The file is registered already; it will be compared with what Rucio has.
    Again,
    /// The file is held; an operator decides.
    Held,
}

/// A second delivery of a registered file, waiting to be compared.
#[derive(Clone, Debug)]
pub struct Redelivery {
    /// The file's row.
    pub row: FileRow,
    /// The file as delivered now.
    pub identity: FileIdentity,
}

/// A trigger that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, FromRow, serde::Serialize)]
pub struct WrongTrigger {
    /// The trigger, relative to the data root.
    pub path: String,
    /// Code of the reason, kebab-case.
    pub reason: String,
    /// The reason and the remedy, in words.
    pub message: String,
    /// Changes when the trigger changes.
    #[serde(skip)]
    pub signature: String,
    /// First seen like this.
    pub since: UnixMillis,
}

impl Ledger {
    /// Records deliveries, all in one transaction; the answers are in the order of the deliveries.
    pub async fn deliver(&self, deliveries: &[Delivery]) -> Result<Vec<Delivered>, Error> {
        let mut tx = self.begin().await?;
        let mut answers = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            answers.push(self.deliver_one(&mut tx, delivery).await?);
        }
        self.commit(tx).await?;
        Ok(answers)
    }

    async fn deliver_one(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        delivery: &Delivery,
    ) -> Result<Delivered, Error> {
        let known: Option<FileRow> =
            first!(self, &mut **tx; "SELECT * FROM files WHERE lfn = $1"; delivery.lfn.as_str()).await?;
        let Some(row) = known else {
            self.insert(tx, delivery).await?;
            return Ok(Delivered::New);
        };
        let same = row.trigger_pending && row.identity() == delivery.identity;
        match row.state {
            State::Held => Ok(Delivered::Held),
            State::Discovered | State::Verified if same => Ok(Delivered::Known),
            _ if same => Ok(Delivered::Leaving),
            State::Discovered | State::Verified => {
                self.step(tx, &row, State::Discovered, "delivered-again", Some("changed before registration")).await?;
                self.new_delivery(tx, row.id, delivery.identity).await?;
                Ok(Delivered::Changed)
            }
            // moved to `invalid/` after it was seen; one that somebody has brought back from there is seen again
            State::Rejected if row.identity() == delivery.identity && delivery.seen_at <= row.state_since => {
                Ok(Delivered::Leaving)
            }
            State::Rejected => {
                self.step(tx, &row, State::Discovered, "delivered-again", Some("in place of a rejected file")).await?;
                self.new_delivery(tx, row.id, delivery.identity).await?;
                Ok(Delivered::Replaced)
            }
            _ => {
                self.record_redelivery(tx, &row, delivery.identity).await?;
                Ok(Delivered::Again)
            }
        }
    }

    async fn insert(&self, tx: &mut Transaction<'static, Sqlite>, delivery: &Delivery) -> Result<(), Error> {
        crash::note("discovered");
        let at = now();
        let id: i64 = value!(self, &mut **tx;
            "INSERT INTO files (lfn, scope, dataset, state, state_since, discovered_at, bytes, mtime_ns, inode, next_attempt)
            VALUES ($1, $2, $3, $4, $5, $5, $6, $7, $8, $5) RETURNING id";
            delivery.lfn.as_str(), delivery.lfn.scope(), delivery.lfn.dataset().name,
            State::Discovered.as_str(), at, delivery.identity.bytes.cast_signed(), delivery.identity.mtime_ns,
            delivery.identity.inode.cast_signed()).await?;
        run!(self, &mut **tx; "INSERT INTO events (file_id, at, kind, to_state) VALUES ($1, $2, 'discovered', $3)";
            id, at, State::Discovered.as_str())
        .await
        .map(|_| ())
    }

    async fn record_redelivery(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        row: &FileRow,
        identity: FileIdentity,
    ) -> Result<(), Error> {
        crash::note("redelivery-recorded");
        run!(self, &mut **tx; "INSERT INTO redeliveries (file_id, bytes, mtime_ns, inode, seen_at, next_attempt)
            VALUES ($1, $2, $3, $4, $5, $5)
            ON CONFLICT (file_id) DO UPDATE SET bytes = excluded.bytes, mtime_ns = excluded.mtime_ns,
                inode = excluded.inode, next_attempt = excluded.next_attempt";
            row.id, identity.bytes.cast_signed(), identity.mtime_ns, identity.inode.cast_signed(), now())
        .await?;
        self.event(tx, row.id, "delivered-again", None, Some("will be compared with what is registered")).await
    }

    /// Second deliveries that are due to be compared.
    pub async fn redeliveries(&self, most: i64) -> Result<Vec<Redelivery>, Error> {
        let due: Vec<(i64, i64, i64, i64)> = all!(self, &self.reader;
            "SELECT file_id, bytes, mtime_ns, inode FROM redeliveries WHERE next_attempt <= $1 ORDER BY seen_at LIMIT $2";
            now(), most).await?;
        let mut found = Vec::with_capacity(due.len());
        for (id, bytes, mtime_ns, inode) in due {
            if let Some(row) = self.by_id(id).await? {
                let identity = FileIdentity { bytes: bytes.cast_unsigned(), mtime_ns, inode: inode.cast_unsigned() };
                found.push(Redelivery { row, identity });
            }
        }
        Ok(found)
    }

    /// Whether a second delivery of this file waits to be compared.
    pub async fn is_redelivered(&self, row: &FileRow) -> Result<bool, Error> {
        value!(self, &self.reader; "SELECT EXISTS (SELECT 1 FROM redeliveries WHERE file_id = $1)"; row.id).await
    }

    /// Looks at a second delivery again in `delay`.
    pub async fn redelivery_later(&self, row: &FileRow, delay: std::time::Duration) -> Result<(), Error> {
        run!(self, &self.writer; "UPDATE redeliveries SET next_attempt = $1 WHERE file_id = $2";
            after(delay), row.id)
        .await
        .map(|_| ())
    }

    /// The second delivery changed while it was compared: compare what is there now.
    pub async fn redelivery_changed(&self, row: &FileRow, found: FileIdentity) -> Result<(), Error> {
        run!(self, &self.writer;
            "UPDATE redeliveries SET bytes = $1, mtime_ns = $2, inode = $3, next_attempt = $4 WHERE file_id = $5";
            found.bytes.cast_signed(), found.mtime_ns, found.inode.cast_signed(), now() + 1000, row.id)
        .await
        .map(|_| ())
    }

    /// The second delivery is the same content: the file on disk is the one delivered now, and its trigger may go.
    /// A released file starts its road again with the copy that came back. `false`: the file has moved on meanwhile, and
    /// the comparison is still to be settled.
    pub async fn redelivery_identical(&self, redelivery: &Redelivery) -> Result<bool, Error> {
        let row = &redelivery.row;
        let mut tx = self.begin().await?;
        let back = row.state == State::Released;
        if back && !self.step(&mut tx, row, State::Verified, "back-in-custody", None).await? {
            return Ok(false);
        }
        // the file may have gone on along its road while it was compared, but not out of our hands; a release that was
        // stopped before the on-site rule ended waits for this
        let done = run!(self, &mut *tx;
            "UPDATE files SET mtime_ns = $1, inode = $2, changed_ns = NULL, trigger_pending = 1, delivery = delivery + 1
            WHERE id = $3 AND delivery = $4 AND (state IN ('verified', 'registered', 'replicated', 'confirmed')
                OR (state = 'releasing' AND release_ordered_at IS NULL))";
            redelivery.identity.mtime_ns, redelivery.identity.inode.cast_signed(), row.id, row.delivery)
        .await?;
        if done == 0 {
            return Ok(false);
        }
        self.event(&mut tx, row.id, "delivered-again-identical", None, None).await?;
        self.drop_redelivery(&mut tx, row.id).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// The second delivery differs (or went away): it is settled as far as the queue is concerned.
    pub async fn redelivery_settled(&self, row: &FileRow, kind: &str, detail: &str) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        self.event(&mut tx, row.id, kind, None, Some(detail)).await?;
        self.drop_redelivery(&mut tx, row.id).await?;
        self.commit(tx).await
    }

    async fn drop_redelivery(&self, tx: &mut Transaction<'static, Sqlite>, id: i64) -> Result<(), Error> {
        run!(self, &mut **tx; "DELETE FROM redeliveries WHERE file_id = $1"; id).await.map(|_| ())
    }

    /// Remembers a wrong trigger. `true` when it is new or has changed, so that it is reported once.
    pub async fn wrong_trigger(&self, trigger: &WrongTrigger) -> Result<bool, Error> {
        let done = run!(self, &self.writer;
            "INSERT INTO wrong_triggers (path, reason, message, signature, since) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (path) DO UPDATE SET reason = excluded.reason, message = excluded.message,
                signature = excluded.signature, since = excluded.since
            WHERE wrong_triggers.signature <> excluded.signature OR wrong_triggers.reason <> excluded.reason";
            &trigger.path, &trigger.reason, &trigger.message, &trigger.signature, trigger.since)
        .await?;
        Ok(done > 0)
    }

    /// Forgets a wrong trigger that was mended or removed. `true` if there was one.
    pub async fn trigger_mended(&self, path: &str) -> Result<bool, Error> {
        Ok(run!(self, &self.writer; "DELETE FROM wrong_triggers WHERE path = $1"; path).await? > 0)
    }
}
