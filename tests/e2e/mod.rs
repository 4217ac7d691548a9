//! The whole road on the real stack: the real binary, Rucio, PostgreSQL, XRootD, third-party copies and ACADA's mock.
//!
//! `tests/testbed` brings the stack up, and `make test` runs this. What happened is judged from outside: from the file
//! systems, from Rucio's REST interface and from the reference implementation, never from the daemon's logs. Each test
//! works in a night of its own, so that nothing of an earlier run is in its way; they run one at a time, because the
//! daemon sees the whole interface directory and because some of them stop services.

mod acada;
mod daemon;
mod outcome;
mod shift;
pub(crate) mod stack;
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
mod storages;
