//! Datasets that are settled, watched, or not known any more.

use super::*;
use crate::custody::settling::Unsettled;

#[tokio::test]
async fn datasets_are_watched_page_by_page_newest_first_and_none_twice() {
    let (_directory, ledger) = ledger().await;
    for n in 0..7 {
        let dataset = Did::new("acada", format!("/ctao/acada/dl0/{n}"));
        ledger.set_settled_rule(&dataset, "f00d").await.unwrap();
        // pairs that are known since the same moment
        sqlx::query("UPDATE collections SET known_at = $1 WHERE name = $2")
            .bind(n / 2)
            .bind(&dataset.name)
            .execute(&ledger.writer)
            .await
            .unwrap();
    }
    ledger
        .unsettled(&Did::new("acada", "/ctao/acada/dl0/without"), &Unsettled::other("no settled rule"), Duration::ZERO)
        .await
        .unwrap();
    let (mut names, mut last) = (Vec::new(), None);
    loop {
        let page = ledger.watched_datasets(last.as_ref(), 3).await.unwrap();
        names.extend(page.iter().map(|known| known.name.clone()));
        last = page.last().cloned();
        if page.len() < 3 {
            break;
        }
    }
    let newest_first: Vec<String> = (0..7).rev().map(|n| format!("/ctao/acada/dl0/{n}")).collect();
    assert_eq!(names, newest_first);
}

#[tokio::test]
async fn a_dataset_that_rucio_may_not_have_any_more_is_made_again_and_watched_as_before() {
    let (_directory, ledger) = ledger().await;
    let dataset = Did::new("acada", "/ctao/acada/dl0/a");
    let (one, made) = (BTreeSet::from([dataset.clone()]), [dataset.clone()]);
    ledger.collections_known(&made).await.unwrap();
    ledger.set_first_copy_rule(&dataset, "a").await.unwrap();
    ledger.set_settled_rule(&dataset, "5").await.unwrap();
    ledger.unheld(&dataset, &Unsettled::other("it is gone")).await.unwrap();
    assert_eq!(ledger.unknown_collections(&one).await.unwrap(), []);
    ledger.collections_unknown(&one).await.unwrap();
    assert_eq!(ledger.unknown_collections(&one).await.unwrap(), made);
    ledger.collections_known(&made).await.unwrap();
    assert_eq!(ledger.unknown_collections(&one).await.unwrap(), []);
    let watched = ledger.watched_datasets(None, 9).await.unwrap().remove(0);
    assert_eq!((watched.did(), &watched.first_copy_rule, watched.settled_rule.as_deref()), (dataset, &None, Some("5")));
    assert_eq!(watched.unsettled.as_deref(), Some("it is gone"));
    assert!(watched.known_at > 0);
}

#[tokio::test]
async fn datasets_that_cannot_be_settled_keep_no_other_waiting() {
    let (_directory, ledger) = ledger().await;
    for name in ["a", "b", "c"] {
        ledger.set_settled_rule(&Did::new("acada", format!("/ctao/acada/dl0/{name}")), "5").await.unwrap();
    }
    let next = async || ledger.quiet_datasets(now(), 1).await.unwrap().remove(0);
    for name in ["a", "b", "c"] {
        let dataset = next().await;
        assert!(dataset.name.ends_with(name), "{dataset}");
        ledger.unsettled(&dataset, &Unsettled::other("it stays"), Duration::ZERO).await.unwrap();
    }
}
