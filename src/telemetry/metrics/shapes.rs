//! Labels, buckets, and the kinds of metric that the library does not have.

use std::fmt;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Requests to a server: milliseconds to a minute.
pub(super) const REQUEST_SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];
/// From a trigger on disk to the ledger: the promise is 100 ms, the scan takes seconds.
pub(super) const LATENCY_SECONDS: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 120.0];
/// Scans of the tree.
pub(super) const SCAN_SECONDS: [f64; 8] = [0.001, 0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0];

/// Each stage with the buckets that fit one turn of its work, in seconds.
pub(super) const STAGES: [(&str, &[f64]); 6] = [
    ("verify", &[0.005, 0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0]),
    ("register", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
    ("replicate", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
    ("confirm", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
    ("release", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
    ("departure", &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0]),
];

pub(super) type Number = Gauge<f64, AtomicU64>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Stage {
    pub(super) stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct StageOutcome {
    pub(super) stage: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct State {
    pub(super) state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Verdict {
    pub(super) verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    pub(super) endpoint: &'static str,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Endpoint {
    pub(super) endpoint: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Outcome {
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Directories {
    pub(super) directories: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Mode {
    pub(super) mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Invariant {
    pub(super) invariant: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Trouble {
    pub(super) trouble: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Needed {
    pub(super) need: &'static str,
}

/// One of the off-site RSEs, which are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Rse {
    pub(super) rse: String,
}

/// One histogram per stage, each with buckets of its own, under one name.
#[derive(Clone, Debug)]
pub(super) struct StageSeconds(Vec<(Stage, Histogram)>);

impl StageSeconds {
    pub(super) fn new() -> Self {
        let of = |(stage, buckets): &(&'static str, &[f64])| (Stage { stage }, Histogram::new(buckets.iter().copied()));
        Self(STAGES.iter().map(of).collect())
    }

    pub(super) fn observe(&self, stage: &'static str, seconds: f64) {
        let found = self.0.iter().find(|(label, _)| label.stage == stage);
        debug_assert!(found.is_some(), "the stage {stage} has no buckets");
        if let Some((_, histogram)) = found {
            histogram.observe(seconds);
        }
    }
}

impl EncodeMetric for StageSeconds {
    fn encode(&self, mut encoder: MetricEncoder) -> fmt::Result {
        self.0.iter().try_for_each(|(label, histogram)| histogram.encode(encoder.encode_family(label)?))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// A moment in Unix time; not shown before it is known, so that no alert takes 1970 for an expiry.
#[derive(Clone, Debug, Default)]
pub(super) struct Moment(pub(super) Number);

impl EncodeMetric for Moment {
    fn encode(&self, encoder: MetricEncoder) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }

    fn is_empty(&self) -> bool {
        self.0.get() == 0.0
    }
}

pub(super) type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;
