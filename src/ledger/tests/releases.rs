//! The release of a file: its intent, what stops it, and what a restart makes of it.

use super::*;

#[tokio::test]
async fn a_move_that_the_road_does_not_have_is_refused() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    assert!(matches!(ledger.releasing(&row, "{}", 0, Limits::NONE).await, Err(Error::Illegal(_))));
    assert!(matches!(ledger.released(&row).await, Err(Error::Illegal(_))));
    assert_eq!(ledger.by_lfn(FILE).await.unwrap().unwrap().state, State::Registered);
}

#[tokio::test]
async fn a_release_that_was_stopped_before_its_effect_and_an_identical_delivery_do_not_wait_for_each_other() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    ledger.replicated(&[(row, "STORAGE-2".to_owned(), "b".to_owned())]).await.unwrap();
    let row = claim_one(&ledger, State::Replicated).await;
    ledger.confirmed(&row, "{}").await.unwrap();
    let row = claim_one(&ledger, State::Confirmed).await;
    ledger.releasing(&row, "{}", now(), Limits::NONE).await.unwrap();
    assert_eq!(deliver(&ledger, FILE, 2).await, Delivered::Again);
    let redelivery = ledger.redeliveries(1).await.unwrap().remove(0);
    assert!(ledger.redelivery_identical(&redelivery).await.unwrap());
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert_eq!((row.state, row.identity().inode), (State::Releasing, 2));
    // once the on-site rule has ended, the old copy goes first
    ledger.release_ordered(&row, EndOfRule::Answered).await.unwrap();
    deliver(&ledger, FILE, 3).await;
    let redelivery = ledger.redeliveries(1).await.unwrap().remove(0);
    assert!(!ledger.redelivery_identical(&redelivery).await.unwrap());
}

#[tokio::test]
async fn a_release_that_is_being_carried_out_is_hastened_by_a_restart_alone() {
    let (directory, first) = ledger().await;
    let row = confirm(&first).await;
    let intent = first.releasing(&row, "{}", now() + 600_000, Limits::NONE).await.unwrap();
    assert_eq!(intent, IntentOutcome::Written);
    assert_eq!(first.hasten(State::Releasing).await.unwrap(), 0);
    assert!(first.claim(State::Releasing, 1).await.unwrap().rows.is_empty());
    // nor by an operator who lifts a brake, or is impatient
    let releasing = first.by_lfn(FILE).await.unwrap().unwrap();
    first.trip("evidence", "of another file", None).await.unwrap();
    first.reset_breaker(&operator()).await.unwrap();
    first.place_hold(&Target::All, &operator()).await.unwrap();
    assert!(first.lift_hold(&Target::All, &operator()).await.unwrap());
    assert_eq!(first.retry(&releasing, &operator(), UnderItsName::Nothing).await.unwrap(), Retried::UnderWay);
    assert!(first.claim(State::Releasing, 1).await.unwrap().rows.is_empty());
    // whoever carried it out has given up for now
    let wait = Postpone { id: row.id, delay: Duration::from_hours(1), waits_for: "Rucio".to_owned(), failed: false };
    first.postpone(&[wait]).await.unwrap();
    assert_eq!(first.hasten(State::Releasing).await.unwrap(), 1);
    assert_eq!(first.claim(State::Releasing, 1).await.unwrap().rows.len(), 1);
    let due = sqlx::query("UPDATE files SET being_carried_out = 1, next_attempt = $1").bind(now() + 600_000);
    due.execute(&first.writer).await.unwrap();
    first.close().await;
    drop(first);
    let again = Ledger::open(&directory.path().join("ledger.db")).await.unwrap();
    assert_eq!(again.claim(State::Releasing, 1).await.unwrap().rows.len(), 1);
    // reported twice, it counts once
    for _ in 0..2 {
        again.release_ordered(&row, EndOfRule::Answered).await.unwrap();
    }
    assert_eq!(again.brakes(None, false).await.unwrap().spent.files, 1);
}

#[tokio::test]
async fn a_rule_that_is_replaced_is_told_only_of_the_delivery_that_it_was_placed_for() {
    let (_directory, ledger) = ledger().await;
    let row = register(&ledger).await;
    let old = FileRow { delivery: row.delivery - 1, ..row.clone() };
    ledger.set_further_copies_rule(&old, "new-b", "STORAGE-2").await.unwrap();
    ledger.set_on_site_rule(&old, "new-c").await.unwrap();
    let now = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert_eq!((&now.further_copies_rule, &now.on_site_rule), (&row.further_copies_rule, &row.on_site_rule));
    let replaced = async || {
        let events = ledger.events(&row).await.unwrap();
        events.iter().filter(|event| event.kind.ends_with("-replaced")).count()
    };
    assert_eq!(replaced().await, 0);
    ledger.set_further_copies_rule(&now, "new-b", "STORAGE-2").await.unwrap();
    ledger.set_on_site_rule(&now, "new-c").await.unwrap();
    assert_eq!(replaced().await, 2);
}

#[tokio::test]
async fn an_order_that_is_void_leaves_a_release_that_is_decided_and_not_announced() {
    let (_directory, ledger) = ledger().await;
    let row = confirm(&ledger).await;
    assert_eq!(ledger.releasing(&row, "{}", now(), Limits::NONE).await.unwrap(), IntentOutcome::Written);
    let row = ledger.by_lfn(FILE).await.unwrap().unwrap();
    assert!(!ledger.release_order_void(&row, None, "not ordered").await.unwrap());
    for (end, rule) in [(EndOfRule::Found, None), (EndOfRule::Answered, Some("another"))] {
        ledger.audited(1, "hash", Some(&row)).await.unwrap();
        ledger.release_ordered(&row, end).await.unwrap();
        let before = ledger.by_lfn(FILE).await.unwrap().unwrap();
        assert_eq!(before.on_site_rule_end, Some(end));
        assert!(ledger.release_order_void(&row, rule, "nobody deletes it").await.unwrap());
        let after = ledger.by_lfn(FILE).await.unwrap().unwrap();
        assert_eq!((after.state, after.release_ordered_at, after.release_announced_at), (State::Releasing, None, None));
        assert_eq!(after.on_site_rule, rule.map(str::to_owned).or(before.on_site_rule));
        assert_eq!(after.waits_for.as_deref(), Some("nobody deletes it"));
    }
}

#[tokio::test]
async fn an_intent_sees_every_brake_that_an_operator_or_a_contradiction_has_put_on() {
    let (directory, ledger) = ledger().await;
    let row = confirm(&ledger).await;
    let intent = async |limits| ledger.releasing(&row, "{}", 0, limits).await.unwrap();
    let beside = Ledger::open_for_operator(&directory.path().join("ledger.db")).await.unwrap();
    let dataset = Target::Dataset(row.dataset_did().to_string());
    for target in [Target::All, dataset, Target::File(FILE.to_owned())] {
        beside.place_hold(&target, &operator()).await.unwrap();
        assert!(matches!(intent(Limits::NONE).await, IntentOutcome::Braked(Brake::Hold { .. })), "{target}");
        assert!(beside.lift_hold(&target, &operator()).await.unwrap());
    }
    beside.place_hold(&Target::File("/ctao/acada/dl0/other".to_owned()), &operator()).await.unwrap();
    ledger.trip("evidence", "first", Some(FILE)).await.unwrap();
    for reason in ["second", "the same once more"] {
        ledger.trip("evidence", reason, None).await.unwrap();
        ledger.trip("evidence", reason, Some(FILE)).await.unwrap();
    }
    assert_eq!(intent(Limits::NONE).await, IntentOutcome::Braked(Brake::Breaker("first".to_owned())));
    let further = |trips: Vec<Trip>| trips.into_iter().map(|trip| (trip.reason, trip.lfn)).collect::<Vec<_>>();
    let second = [("second".to_owned(), None)];
    assert_eq!(further(beside.further_contradictions().await.unwrap()), second);
    let (trip, since) = beside.reset_breaker(&operator()).await.unwrap().unwrap();
    assert_eq!((trip.reason.as_str(), further(since).as_slice()), ("first", second.as_slice()));
    assert_eq!(beside.reset_breaker(&operator()).await.unwrap(), None);
    assert_eq!(beside.further_contradictions().await.unwrap(), []);
    assert!(matches!(intent(Limits { files: 0, ..Limits::NONE }).await, IntentOutcome::Braked(Brake::Spent { .. })));
    assert_eq!(ledger.by_lfn(FILE).await.unwrap().unwrap().state, State::Confirmed);
    assert_eq!(intent(Limits::NONE).await, IntentOutcome::Written);
    assert_eq!(intent(Limits::NONE).await, IntentOutcome::Moved);
    // a hold that comes now may be too late, and later certainly is
    let hold = async || beside.place_hold(&Target::All, &operator()).await.unwrap();
    assert_eq!(hold().await, TooLate { perhaps: 1, ..TooLate::default() });
    // decided counts before it is carried out, and once when it is
    assert_eq!(ledger.brakes(None, true).await.unwrap().spent.files, 1);
    assert_eq!(ledger.brakes(None, false).await.unwrap().spent.files, 0);
    ledger.release_ordered(&row, EndOfRule::Answered).await.unwrap();
    assert_eq!(hold().await, TooLate { ordered: 1, ..TooLate::default() });
    for intents in [true, false] {
        let spent = ledger.brakes(None, intents).await.unwrap().spent;
        assert_eq!((spent.files, spent.bytes), (1, 10));
    }
    // an hour counts whole minutes, none too few
    for (minutes, files) in [(60, 1), (62, 0)] {
        let minute = (now() / MINUTE - minutes) * MINUTE;
        sqlx::query("UPDATE releases SET minute = $1").bind(minute).execute(&ledger.writer).await.unwrap();
        assert_eq!(ledger.brakes(None, false).await.unwrap().spent.files, files, "{minutes} minutes ago");
    }
}

#[tokio::test]
async fn releases_of_a_clock_that_was_ahead_count_for_one_hour() {
    let (_directory, ledger) = ledger().await;
    let this_minute = now() / MINUTE * MINUTE;
    for (minutes, files) in [(-1, 1), (0, 2), (60, 4), (1440, 8)] {
        sqlx::query("INSERT INTO releases (minute, files, bytes) VALUES ($1, $2, 10)")
            .bind(this_minute + minutes * MINUTE)
            .bind(files)
            .execute(&ledger.writer)
            .await
            .unwrap();
    }
    let latest =
        || async { sqlx::query_scalar::<_, i64>("SELECT MAX(minute) FROM releases").fetch_one(&ledger.writer).await };
    // the same clock as in the last run: nothing is known to be wrong
    ledger.take_over_clock().await.unwrap();
    assert_eq!(latest().await.unwrap(), this_minute + 1440 * MINUTE);
    sqlx::query("UPDATE clock SET booted_at = booted_at + 86400000").execute(&ledger.writer).await.unwrap();
    ledger.take_over_clock().await.unwrap();
    assert!(latest().await.unwrap() <= now() / MINUTE * MINUTE);
    let spent = ledger.brakes(None, false).await.unwrap().spent;
    assert_eq!((spent.files, spent.bytes), (15, 40));
}

#[tokio::test]
async fn a_contradiction_trips_the_breaker_and_another_reason_to_hold_does_not() {
    for (code, trips) in [(HoldCode::Evidence, true), (HoldCode::UnknownToRucio, true), (HoldCode::OtherContent, false)]
    {
        let (_directory, ledger) = ledger().await;
        let row = confirm(&ledger).await;
        assert!(ledger.hold(&row, code, "because").await.unwrap());
        assert_eq!(ledger.breaker().await.unwrap().is_some(), trips, "{code}");
    }
}
