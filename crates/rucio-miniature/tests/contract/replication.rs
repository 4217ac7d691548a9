//! Copies: rules that are followed by transfers.

use std::fs;

use serde_json::json;

use crate::stack::{ONSITE, Stack, new_rule};

/// Our first-copy and further-copies rules: the dataset anywhere off site, then each file at another site, fed from the first copy.
pub(crate) async fn the_second_copy_follows_the_first_to_another_site(stack: &Stack) {
    let (dataset, [a, b]) = stack.registered().await;
    let keep = stack.rule(&[&a.name, &b.name], ONSITE).await;
    let first_rule = stack.rule(&[&dataset], "OFFSITE").await.remove(0);
    let row = stack.rule_is(&first_rule, "OK").await;
    assert_eq!((&row["locks_ok_cnt"], &row["did_type"]), (&json!(2), &json!("DATASET")));
    let first = stack.off_site(&a.name).await.remove(0);
    assert_eq!(stack.off_site(&b.name).await, std::slice::from_ref(&first), "a dataset stays together");

    let site = if first == "STORAGE-2" { "PIC" } else { "CSCS" };
    let mut rule = new_rule(&[&a.name, &b.name], &format!(r"(OFFSITE\{first})\site={site}"));
    rule["source_replica_expression"] = first.clone().into();
    let ids = stack.ingest.post("/rules/", &rule).await.expect(201).json();
    for id in ids.as_array().unwrap() {
        let row = stack.rule_is(id.as_str().unwrap(), "OK").await;
        assert_eq!(row["source_replica_expression"], first);
    }
    for file in [&a, &b] {
        let copies = stack.off_site(&file.name).await;
        assert_eq!(copies, ["STORAGE-2", "STORAGE-3"]);
        for rse in copies {
            assert_eq!(fs::read(stack.path(&rse, &file.name)).unwrap(), file.content);
        }
        assert!(file.path.exists());
    }
    assert_eq!(stack.rule_row(&keep[0]).await["state"], "OK");
}

/// State OK proves nothing: right after an attachment it is that of the smaller dataset.
pub(crate) async fn a_rule_on_a_growing_dataset_says_ok_too_early_and_then_follows(stack: &Stack) {
    let (dataset, [_]) = stack.registered().await;
    let id = stack.rule(&[&dataset], "OFFSITE").await.remove(0);
    stack.rule_is(&id, "OK").await;
    let mut files = 1;
    // the judge may look between our two calls; it does not do so ten times running
    let lied = loop {
        let late = stack.write_file(&dataset, &format!("late{files}.fits"));
        stack.register(&dataset, &[&late]).await;
        let row = stack.rule_row(&id).await;
        let lied = row["state"] == "OK" && row["locks_ok_cnt"] == files;
        files += 1;
        let followed = stack
            .eventually("the late file has its copy", async || {
                let row = stack.rule_row(&id).await;
                (row["state"] == "OK" && row["locks_ok_cnt"] == files).then_some(late.clone())
            })
            .await;
        assert_eq!(stack.off_site(&followed.name).await.len(), 1);
        if lied || files > 10 {
            break lied;
        }
    };
    assert!(lied, "a rule told the truth right after each of ten attachments");
}

/// So the first copies can be ordered before the first file is there, when it costs nothing.
pub(crate) async fn a_rule_on_an_empty_dataset_takes_up_what_is_attached_later(stack: &Stack) {
    let dataset = stack.dataset().await;
    let id = stack.rule(&[&dataset], "OFFSITE").await.remove(0);
    let row = stack.rule_row(&id).await;
    let locks = ["locks_ok_cnt", "locks_replicating_cnt", "locks_stuck_cnt"].map(|count| row[count].as_i64());
    assert_eq!((row["state"].as_str(), locks), (Some("OK"), [Some(0); 3]));
    let files = ["one.fits", "two.fits"].map(|name| stack.write_file(&dataset, name));
    stack.register(&dataset, &[&files[0], &files[1]]).await;
    let copies = stack
        .eventually("both files have their copies", async || {
            let copies = [stack.off_site(&files[0].name).await, stack.off_site(&files[1].name).await];
            copies.iter().all(|copies| !copies.is_empty()).then_some(copies)
        })
        .await;
    assert_eq!(copies[0], copies[1], "the dataset stays together");
    assert_eq!(copies[0].len(), 1);
}

/// Why the second copy has a rule of its own, placed when the first one is there.
pub(crate) async fn two_copies_fed_from_where_none_is_yet_are_stuck(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    let mut rule = new_rule(&[&dataset], "OFFSITE");
    rule["copies"] = 2.into();
    rule["source_replica_expression"] = "OFFSITE".into();
    let ids = stack.ingest.post("/rules/", &rule).await.expect(201).json();
    let row = stack.rule_row(ids[0].as_str().unwrap()).await;
    assert_eq!((&row["state"], &row["error"]), (&json!("STUCK"), &json!("MissingSourceReplica")));
    assert_eq!(row["locks_stuck_cnt"], 2);
    let states = stack.states(&file.name).await;
    assert_eq!((&states["STORAGE-2"], &states["STORAGE-3"]), (&json!("UNAVAILABLE"), &json!("UNAVAILABLE")));
}

pub(crate) async fn a_source_with_other_bytes_never_arrives_until_it_is_mended_and_boosted(stack: &Stack) {
    let (_, [file]) = stack.registered().await;
    let mut wrong = file.content.clone();
    wrong[7] ^= 1;
    fs::write(&file.path, wrong).unwrap();
    let id = stack.rule(&[&file.name], "STORAGE-2").await.remove(0);
    let row = stack.rule_is(&id, "STUCK").await;
    assert_eq!((&row["locks_stuck_cnt"], &row["locks_ok_cnt"]), (&json!(1), &json!(0)));
    assert!(row["error"].as_str().is_some_and(|error| !error.is_empty()), "{row}");
    let locks = stack.ingest.get(&format!("/rules/{id}/locks")).await.expect(200).lines();
    assert_eq!(locks[0]["state"], "STUCK");
    assert_eq!(stack.states(&file.name).await["STORAGE-2"], "UNAVAILABLE");
    let analysis = stack.ingest.get(&format!("/rules/{id}/analysis")).await.expect(200).json();
    assert_eq!(analysis["rule_error"], row["error"]);
    let transfer = &analysis["transfers"][0];
    assert_eq!((&transfer["name"], &transfer["rse"]), (&json!(file.name), &json!("STORAGE-2")));
    assert!(transfer["attempts"].as_u64().is_some_and(|attempts| attempts > 0), "{analysis}");

    fs::write(&file.path, &file.content).unwrap();
    stack.ingest.put(&format!("/rules/{id}"), &json!({"options": {"boost_rule": true}})).await.expect(200);
    let row = stack.rule_is(&id, "OK").await;
    assert_eq!((&row["error"], &row["locks_ok_cnt"]), (&json!(null), &json!(1)));
    assert_eq!(fs::read(stack.path("STORAGE-2", &file.name)).unwrap(), file.content);
    let analysis = stack.ingest.get(&format!("/rules/{id}/analysis")).await.expect(200).json();
    assert_eq!(analysis["transfers"], json!([]));
}
