//! What operators do by hand, each with who and why, beside a running daemon.

use sqlx::{Sqlite, Transaction};

use crate::clock::now;
use crate::custody::brakes::{Target, Trip};
use crate::custody::invariants::release_is_on_record;
use crate::custody::{HeldFile, HoldCode, NoWayBack, State, UnderItsName};

use super::error::Error;
use super::rows::FileRow;
use super::statements::{first_value, run, value};
use super::store::Ledger;

/// Who does something by hand, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Name and number of the user.
    pub who: String,
    /// In their words.
    pub reason: String,
}

/// Files that a hold comes too late for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TooLate {
    /// Their release is ordered.
    pub ordered: u64,
    /// Their release is decided: the request to Rucio may be under way, or a stop came between.
    pub perhaps: u64,
    /// They have left the site. Of a hold on everything, only those that are held besides are counted.
    pub gone: u64,
}

/// What became of a file that was to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It was held, and begins again in this state.
    BackTo(State),
    /// It waited, and is due now.
    Due,
    /// It is just being released, and waits for nothing.
    UnderWay,
    /// It has ended its road.
    Ended(State),
    /// It was held and stays so.
    No(NoWayBack),
    /// The daemon moved it meanwhile.
    Moved,
}

/// Of some files, how many a hold comes too late for.
macro_rules! late {
    ($which:literal) => {
        concat!(
            "SELECT COUNT(*) FILTER (WHERE state IN ('releasing', 'held') AND release_ordered_at IS NOT NULL
                        AND (state = 'releasing' OR replica_gone_at IS NULL)),
                    COUNT(*) FILTER (WHERE state = 'releasing' AND release_ordered_at IS NULL),
                    COUNT(*) FILTER (WHERE state = 'released' OR (state = 'held' AND replica_gone_at IS NOT NULL))
             FROM files WHERE ",
            $which
        )
    };
}

impl Ledger {
    /// Closes the breaker. Returns what had opened it, and what had come up since; `None`: it was not open.
    pub async fn reset_breaker(&self, operator: &Operator) -> Result<Option<(Trip, Vec<Trip>)>, Error> {
        let mut tx = self.begin().await?;
        let trip = self.breaker_in(&mut tx).await?;
        let further = self.further_in(&mut tx).await?;
        if let Some(trip) = &trip {
            run!(self, &mut *tx;
                "UPDATE breaker SET open = NULL, reset_at = $1, reset_by = $2, reset_reason = $3 WHERE open = 1";
                now(), &operator.who, &operator.reason)
            .await?;
            self.act(&mut tx, operator, "breaker-reset", &trip.code).await?;
            self.look_again(&mut tx).await?;
        }
        self.commit(tx).await?;
        Ok(trip.map(|trip| (trip, further)))
    }

    /// Places a hold, or gives the one there a new reason.
    pub async fn place_hold(&self, target: &Target, operator: &Operator) -> Result<TooLate, Error> {
        let mut tx = self.begin().await?;
        let (kind, name) = key(target);
        run!(self, &mut *tx; "INSERT INTO holds (kind, name, placed_at, placed_by, reason) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (kind, name) DO UPDATE SET placed_at = excluded.placed_at, placed_by = excluded.placed_by,
                reason = excluded.reason"; kind, name, now(), &operator.who, &operator.reason)
        .await?;
        self.act(&mut tx, operator, "hold", &target.to_string()).await?;
        self.record_in_history(&mut tx, target, "hold-placed", operator).await?;
        // released files are counted only where an index finds them: there are millions
        let (scope, dataset) = name.split_once(':').unwrap_or_default();
        let counts = match target {
            Target::File(lfn) => sqlx::query_as(late!("lfn = $1")).bind(lfn),
            Target::Dataset(_) => sqlx::query_as(late!("scope = $1 AND dataset = $2")).bind(scope).bind(dataset),
            Target::All => sqlx::query_as(late!("state IN ('releasing', 'held')")),
        };
        let (ordered, perhaps, gone): (i64, i64, i64) =
            counts.fetch_one(&mut *tx).await.map_err(|e| self.database(e))?;
        self.commit(tx).await?;
        let [ordered, perhaps, gone] = [ordered, perhaps, gone].map(i64::cast_unsigned);
        Ok(TooLate { ordered, perhaps, gone })
    }

    /// Lifts a hold. `false`: there is none on exactly that.
    pub async fn lift_hold(&self, target: &Target, operator: &Operator) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let (kind, name) = key(target);
        let done = run!(self, &mut *tx; "DELETE FROM holds WHERE kind = $1 AND name = $2"; kind, name).await?;
        if done == 0 {
            return Ok(false);
        }
        self.act(&mut tx, operator, "release-hold", &target.to_string()).await?;
        self.record_in_history(&mut tx, target, "hold-lifted", operator).await?;
        self.look_again(&mut tx).await?;
        self.commit(tx).await?;
        Ok(true)
    }

    /// Puts a held file back on its road and forgets its evidence; makes a waiting one due at once. A file that had left the
    /// site counts as released again, unless `found`, what lies under its name on site, is another file; `found` matters for
    /// no other file.
    pub async fn retry(&self, row: &FileRow, operator: &Operator, found: UnderItsName) -> Result<Retried, Error> {
        let mut tx = self.begin().await?;
        let retried = match row.state {
            State::Released | State::Rejected => return Ok(Retried::Ended(row.state)),
            State::Held => match held(row, found).back_to() {
                Err(no) => return Ok(Retried::No(no)),
                Ok(back) if self.begin_again(&mut tx, row, back, operator).await? => Retried::BackTo(back),
                Ok(_) => return Ok(Retried::Moved),
            },
            _ => {
                let due = "UPDATE files SET next_attempt = state_since WHERE id = $1 AND being_carried_out = 0";
                let done = run!(self, &mut *tx; due; row.id).await?;
                if done == 0 {
                    return Ok(Retried::UnderWay);
                }
                self.event(&mut tx, row.id, "made-due", None, Some(&signed(operator))).await?;
                Retried::Due
            }
        };
        self.act(&mut tx, operator, "retry", &row.lfn).await?;
        self.commit(tx).await?;
        Ok(retried)
    }

    async fn begin_again(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        row: &FileRow,
        back: State,
        operator: &Operator,
    ) -> Result<bool, Error> {
        if !self.step(tx, row, back, "retried", Some(&signed(operator))).await? {
            return Ok(false);
        }
        let forget = if back == State::Released {
            // the evidence of its release is the record of why it is gone
            "UPDATE files SET reason_code = NULL, reason = NULL, held_from = NULL WHERE id = $1"
        } else {
            "UPDATE files SET first_look = NULL, last_evidence = NULL, release_ordered_at = NULL,
                 on_site_rule_end = NULL, replica_gone_at = NULL, reason_code = NULL, reason = NULL, invalid_path = NULL, held_from = NULL
             WHERE id = $1"
        };
        run!(self, &mut **tx; forget; row.id).await?;
        Ok(true)
    }

    pub(super) async fn act(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        operator: &Operator,
        action: &str,
        target: &str,
    ) -> Result<(), Error> {
        run!(self, &mut **tx;
            "INSERT INTO operator_actions (at, who, action, target, reason) VALUES ($1, $2, $3, $4, $5)";
            now(), &operator.who, action, target, &operator.reason)
        .await
        .map(|_| ())
    }

    /// A hold on a single file is recorded in that file's history.
    async fn record_in_history(
        &self,
        tx: &mut Transaction<'static, Sqlite>,
        target: &Target,
        kind: &str,
        operator: &Operator,
    ) -> Result<(), Error> {
        let Target::File(lfn) = target else { return Ok(()) };
        let id: Option<i64> = first_value!(self, &mut **tx; "SELECT id FROM files WHERE lfn = $1"; lfn).await?;
        match id {
            Some(id) => self.event(tx, id, kind, None, Some(&signed(operator))).await,
            None => Ok(()),
        }
    }

    /// Makes due what a brake may have kept; a release that is being carried out stays with whoever does it. `state_since` is
    /// a time of the daemon's, whose clock this process may not share.
    pub(super) async fn look_again(&self, tx: &mut Transaction<'static, Sqlite>) -> Result<(), Error> {
        run!(self, &mut **tx;
            "UPDATE files SET next_attempt = state_since
            WHERE state IN ('confirmed', 'releasing') AND next_attempt > state_since AND being_carried_out = 0")
        .await
        .map(|_| ())
    }

    /// Whether any file of this dataset (`scope:name`) is on record.
    pub async fn has_dataset(&self, did: &str) -> Result<bool, Error> {
        let Some((scope, name)) = did.split_once(':') else { return Ok(false) };
        value!(self, &self.reader; "SELECT EXISTS (SELECT 1 FROM files WHERE scope = $1 AND dataset = $2)";
            scope, name)
        .await
    }
}

fn key(target: &Target) -> (&'static str, &str) {
    match target {
        Target::File(lfn) => ("file", lfn),
        Target::Dataset(did) => ("dataset", did),
        Target::All => ("all", ""),
    }
}

fn held(row: &FileRow, found: UnderItsName) -> HeldFile {
    HeldFile {
        from: row.held_from.as_deref().and_then(State::parse),
        verified: row.contents().is_ok(),
        // of one that is held as unprotected the rule on record protects nothing
        protected: row.on_site_rule.is_some()
            && row.release_ordered_at.is_none()
            && row.hold_code() != Some(HoldCode::Unprotected),
        replicated: row.further_copies_rule.is_some() && row.first_rse.is_some(),
        released: release_is_on_record(row.last_evidence.as_deref(), row.replica_gone_at.is_some()).is_ok(),
        displaced: row.hold_code() == Some(HoldCode::Changed),
        found,
    }
}

fn signed(operator: &Operator) -> String {
    format!("{}: {}", operator.who, operator.reason)
}
