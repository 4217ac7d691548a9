//! What is decided by stands in columns of its own, also in ledgers that were written before there were any.

use super::*;
use crate::custody::settling::{Cause, Unsettled};

/// A ledger as it was before the columns that decisions rest on.
async fn written_before(path: &std::path::Path, rows: &str) {
    let ledger = Ledger::open(path).await.unwrap();
    for change in [
        "ALTER TABLE files DROP COLUMN being_carried_out",
        "ALTER TABLE files DROP COLUMN on_site_rule_end",
        "ALTER TABLE files DROP COLUMN copies_unreadable",
        "ALTER TABLE collections DROP COLUMN unsettled_cause",
        "ALTER TABLE files DROP COLUMN changed_ns",
        "ALTER TABLE files DROP COLUMN earlier_further_copies_rule",
        "DROP TABLE identity",
        "DROP TABLE ledgers_taken_over",
        "DROP TABLE storages_told_apart",
        "DELETE FROM _sqlx_migrations WHERE version >= 10",
    ] {
        sqlx::query(change).execute(&ledger.writer).await.unwrap();
    }
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&ledger.writer).await.unwrap();
    ledger.close().await;
}

#[tokio::test]
async fn a_ledger_of_an_older_version_decides_as_it_did() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.db");
    let in_an_hour = now() + HOUR;
    let file = |id: i64, state: &str, rest: &str| {
        format!(
            "INSERT INTO files (id, lfn, scope, dataset, state, state_since, discovered_at, bytes, mtime_ns, inode,
                 next_attempt, release_ordered_at, waits_for)
             VALUES ({id}, '/{id}', 's', '/d', '{state}', 1, 1, 1, 1, 1, {in_an_hour}, {rest});"
        )
    };
    let event = |file: i64, detail: &str| {
        format!("INSERT INTO events (file_id, at, kind, detail) VALUES ({file}, 1, 'release-ordered', {detail});")
    };
    let dataset = |name: &str, why: &str| {
        format!("INSERT INTO collections (scope, name, known_at, unsettled) VALUES ('s', '{name}', 1, {why});")
    };
    let rows = [
        file(1, "releasing", "NULL, NULL"),
        file(2, "releasing", "NULL, 'a brake'"),
        file(3, "confirmed", "NULL, NULL"),
        file(4, "releasing", "5, NULL"),
        event(4, "'its rule was found ended'"),
        event(4, "NULL"),
        file(5, "releasing", "5, 'Rucio'"),
        event(5, "NULL"),
        event(5, "'its rule was found ended'"),
        file(6, "releasing", "5, NULL"),
        file(7, "replicated", "NULL, 'the copy at A cannot be read back: no answer'"),
        file(8, "replicated", "NULL, 'its turn to have its copies read back'"),
        dataset("a", "'Rucio does not know the dataset'"),
        dataset("b", "'Rucio removes the dataset and its rules at its end, today'"),
        dataset("c", "'no rule can be placed again on the further copies of /f: refused'"),
        dataset("d", "'the rule of the first copies holds no OK lock on /f'"),
        dataset("e", "NULL"),
    ];
    written_before(&path, &rows.concat()).await;
    let ledger = Ledger::open(&path).await.unwrap();
    let row = async |id: i64| ledger.by_id(id).await.unwrap().unwrap();
    // the one that was being carried out by a daemon that is gone is due, the others keep their time
    let mut due = Vec::new();
    for id in 1..=8 {
        due.push(row(id).await.next_attempt < in_an_hour);
    }
    assert_eq!(due, [true, false, false, false, false, false, false, false]);
    let ends = [row(3).await, row(4).await, row(5).await, row(6).await].map(|row| row.on_site_rule_end);
    assert_eq!(ends, [None, Some(EndOfRule::Answered), Some(EndOfRule::Found), Some(EndOfRule::Found)]);
    assert!(row(7).await.copies_unreadable && !row(8).await.copies_unreadable);
    let causes: Vec<Option<Cause>> = sqlx::query_scalar("SELECT unsettled_cause FROM collections ORDER BY name")
        .fetch_all(&ledger.reader)
        .await
        .unwrap();
    let known = [Cause::UnknownToRucio, Cause::EndsInRucio, Cause::RuleRefused, Cause::Other].map(Some);
    assert_eq!(causes, [&known[..], &[None]].concat());
}

/// What makes files due leaves a release alone while it is being carried out, and not once it was given back.
#[tokio::test]
async fn a_release_is_left_to_whoever_carries_it_out_until_it_is_given_back() {
    let (_directory, ledger) = ledger().await;
    let row = confirm(&ledger).await;
    let begin = async || {
        sqlx::query("UPDATE files SET state = 'confirmed', release_ordered_at = NULL")
            .execute(&ledger.writer)
            .await
            .unwrap();
        let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
        let intent = ledger.releasing(&row, "{}", now() + HOUR, Limits::NONE).await.unwrap();
        assert_eq!(intent, IntentOutcome::Written);
        ledger.by_lfn(FILE).await.unwrap().unwrap()
    };
    let later = || Postpone { id: row.id, delay: Duration::from_hours(1), waits_for: "Rucio".to_owned(), failed: true };
    // claimed, as after the time that is left to whoever wrote the intent
    let claim = async || {
        sqlx::query("UPDATE files SET next_attempt = 0").execute(&ledger.writer).await.unwrap();
        let claim = ledger.claim(State::Releasing, 1).await.unwrap();
        assert_eq!(claim.rows.len(), 1);
        claim
    };
    for given_back in ["not", "postponed", "failed", "as it was"] {
        let releasing = begin().await;
        match given_back {
            "postponed" => ledger.postpone(&[later()]).await.unwrap(),
            "failed" => {
                let claim = claim().await;
                ledger.failed(&claim, &[(row.id, Duration::from_hours(1))], "Rucio is away", false).await.unwrap();
            }
            "as it was" => drop(ledger.give_back(&claim().await, Duration::from_hours(1)).await.unwrap()),
            _ => {}
        }
        let free = given_back != "not";
        assert_eq!(ledger.hasten_interrupted(&releasing).await.unwrap(), free, "{given_back}");
        sqlx::query("UPDATE files SET next_attempt = $1").bind(now() + HOUR).execute(&ledger.writer).await.unwrap();
        assert_eq!(ledger.hasten(State::Releasing).await.unwrap(), u64::from(free), "{given_back}");
    }
    // once it is ordered it waits for Rucio, and is hastened like any other
    let releasing = begin().await;
    ledger.release_ordered(&releasing, EndOfRule::Answered).await.unwrap();
    sqlx::query("UPDATE files SET next_attempt = $1").bind(now() + HOUR).execute(&ledger.writer).await.unwrap();
    assert!(!ledger.hasten_interrupted(&releasing).await.unwrap());
    assert_eq!(ledger.hasten(State::Releasing).await.unwrap(), 1);
}

#[tokio::test]
async fn copies_count_as_unreadable_until_the_file_waits_for_something_else() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    let unreadable = async || ledger.by_lfn(FILE).await.unwrap().unwrap().copies_unreadable;
    let wait = || Postpone { id: row.id, delay: Duration::ZERO, waits_for: "A".to_owned(), failed: false };
    ledger.postpone_unreadable(wait()).await.unwrap();
    assert!(unreadable().await);
    ledger.postpone(&[wait()]).await.unwrap();
    assert!(!unreadable().await);
    ledger.postpone_unreadable(wait()).await.unwrap();
    ledger.looked(&row, "{}", now()).await.unwrap();
    assert!(!unreadable().await);
    ledger.postpone_unreadable(wait()).await.unwrap();
    ledger.replicated(&[(row.clone(), "A".to_owned(), "b".to_owned())]).await.unwrap();
    assert!(!unreadable().await);
}

#[tokio::test]
async fn the_kind_of_reason_stands_beside_its_words_and_goes_with_them() {
    let (_directory, ledger) = ledger().await;
    let dataset = Did::new("acada", "/ctao/acada/dl0/a");
    ledger.set_settled_rule(&dataset, "5").await.unwrap();
    let cause = async || ledger.watched_datasets(None, 1).await.unwrap().remove(0).unsettled_cause;
    assert_eq!(cause().await, None);
    ledger.unheld(&dataset, &Unsettled::unknown_to_rucio()).await.unwrap();
    assert_eq!(cause().await, Some(Cause::UnknownToRucio));
    ledger.held_again(&dataset).await.unwrap();
    assert_eq!(cause().await, None);
    ledger.unsettled(&dataset, &Unsettled::other("a brake"), Duration::ZERO).await.unwrap();
    assert_eq!(cause().await, Some(Cause::Other));
    ledger.settled(&dataset).await.unwrap();
    assert_eq!(cause().await, None);
}
