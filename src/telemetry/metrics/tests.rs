//! What a scrape gets to see.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;

/// The sample lines of a page, without its comments.
fn samples(metrics: &Metrics) -> Vec<String> {
    let page = metrics.encode().unwrap();
    page.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

fn value(metrics: &Metrics, series: &str) -> Option<f64> {
    let found = samples(metrics).into_iter().find_map(|line| Some(line.strip_prefix(series)?.trim().to_owned()))?;
    Some(found.parse().unwrap())
}

#[test]
fn every_line_is_a_number_under_our_prefix_or_the_customary_one() {
    let metrics = Metrics::new();
    metrics.rucio_request("POST /dids/attachments", "ok", 0.1);
    for line in samples(&metrics) {
        let (series, number) = line.rsplit_once(' ').unwrap();
        assert!(series.starts_with("dl0_ingest_") || series.starts_with("process_"), "{line}");
        assert!(number.parse::<f64>().is_ok(), "{line}");
    }
}

#[test]
fn no_metric_is_declared_twice_and_every_one_has_help() {
    let page = Metrics::new().encode().unwrap();
    let declared = |kind: &str| -> Vec<String> {
        let name = |line: &str| Some(line.strip_prefix(kind)?.split(' ').next()?.to_owned());
        page.lines().filter_map(name).collect()
    };
    let types = declared("# TYPE ");
    assert_eq!(types, declared("# HELP "));
    assert_eq!(types.len(), types.iter().collect::<BTreeSet<_>>().len());
    assert!(types.contains(&"process_resident_memory_bytes".to_owned()));
}

#[test]
fn what_is_taken_and_not_put_down_is_in_progress() {
    let metrics = Metrics::new();
    metrics.taken("register", 250);
    metrics.finished("register", DONE, 240, 0.3);
    metrics.finished("register", "retry", 4, 0.3);
    assert_eq!(value(&metrics, "dl0_ingest_stage_in_progress_files{stage=\"register\"}"), Some(6.0));
    assert_eq!(value(&metrics, "dl0_ingest_stage_taken_files_total{stage=\"register\"}"), Some(250.0));
    assert_eq!(value(&metrics, "dl0_ingest_stage_duration_seconds_count{stage=\"register\"}"), Some(2.0));
    assert!(value(&metrics, "dl0_ingest_stage_last_success_timestamp_seconds{stage=\"register\"}").unwrap() > 1e9);
    assert_eq!(value(&metrics, "dl0_ingest_stage_last_success_timestamp_seconds{stage=\"verify\"}"), None);
}

#[test]
fn a_state_without_files_has_no_oldest_one() {
    let metrics = Metrics::new();
    metrics.backlog("held", 1, 10, Some(1.7e9));
    assert_eq!(value(&metrics, "dl0_ingest_backlog_oldest_timestamp_seconds{state=\"held\"}"), Some(1.7e9));
    metrics.backlog("held", 0, 0, None);
    assert_eq!(value(&metrics, "dl0_ingest_backlog_oldest_timestamp_seconds{state=\"held\"}"), None);
    assert_eq!(value(&metrics, "dl0_ingest_backlog_files{state=\"held\"}"), Some(0.0));
}

#[test]
fn a_token_that_nobody_has_yet_does_not_expire() {
    let metrics = Metrics::new();
    let expiry = "dl0_ingest_rucio_token_expiry_timestamp_seconds";
    assert!(!metrics.encode().unwrap().contains(expiry));
    metrics.token_expiry(1.7e9);
    assert_eq!(value(&metrics, expiry), Some(1.7e9));
}

#[test]
fn a_promise_never_broken_is_a_zero() {
    let metrics = Metrics::new();
    let of = |metrics: &Metrics| value(metrics, "dl0_ingest_invariant_violations_total{invariant=\"I2\"}");
    assert_eq!(of(&metrics), Some(0.0));
    metrics.invariant_violation("I2");
    assert_eq!(of(&metrics), Some(1.0));
}

#[test]
fn one_mode_of_deletion_is_on_at_a_time() {
    let metrics = Metrics::new();
    metrics.deletion_mode("dry-run");
    metrics.deletion_mode("on");
    let of = |mode: &str| value(&metrics, &format!("dl0_ingest_deletion_mode{{mode=\"{mode}\"}}"));
    assert_eq!((of("off"), of("dry-run"), of("on")), (Some(0.0), Some(0.0), Some(1.0)));
}

#[test]
fn each_need_and_each_storage_is_a_series_of_its_own() {
    let (metrics, health) = (Metrics::new(), Health::new(&[Need::Ledger]));
    health.storage("PIC", Ok(()));
    health.storage("CSCS", Err("timed out".to_owned()));
    metrics.health(&health);
    assert_eq!(value(&metrics, "dl0_ingest_ready{need=\"ledger\"}"), Some(0.0));
    assert_eq!(value(&metrics, "dl0_ingest_ready{need=\"rucio\"}"), Some(1.0));
    assert_eq!(value(&metrics, "dl0_ingest_storage_up{rse=\"PIC\"}"), Some(1.0));
    assert_eq!(value(&metrics, "dl0_ingest_storage_up{rse=\"CSCS\"}"), Some(0.0));
    health.data_centres(&BTreeSet::from(["PIC"]));
    metrics.health(&health);
    assert_eq!(value(&metrics, "dl0_ingest_storage_up{rse=\"CSCS\"}"), None);
}
