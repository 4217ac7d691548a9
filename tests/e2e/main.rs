//! The whole road on the real stack: the real binary, Rucio, PostgreSQL, XRootD, third-party copies and ACADA's mock.
//!
//! `tests/testbed` brings the stack up, and `make test` runs this. What happened is judged from outside: from the file
//! systems, from Rucio's REST interface and from the reference implementation, never from the daemon's logs. Each test
//! works in a night of its own, so that nothing of an earlier run is in its way; they run one at a time, because the
//! daemon sees the whole interface directory and because some of them stop services.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

mod acada;
#[path = "../onsite_faults/change.rs"]
mod change;
#[path = "../onsite_faults/clock.rs"]
mod clock;
mod daemon;
#[path = "../fault_proxy/proxy.rs"]
mod fault_proxy;
#[allow(dead_code, reason = "some of them are for other tests")]
#[path = "../onsite_faults/mounts.rs"]
mod mounts;
mod outcome;
mod rucio;
mod shift;
mod stack;
mod watch;

mod backlog;
mod bad_deliveries;
mod copies;
mod crash;
mod database;
mod interruptions;
mod night;
mod on_site;
mod outages;
mod reaper;
mod redelivery;
mod rucio_misbehaves;
mod rules;

/// How long, or how many, unless the environment says otherwise.
fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}
