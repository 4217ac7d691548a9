//! How fast the road is: the real binary on the real stack that `$TESTBED/endpoints.json` describes.
//!
//! `cargo bench --bench road -- [PART…]` measures all parts or the named ones and prints one table;
//! it asserts nothing about time. The daemon runs with `deletion: dry-run`, so each run leaves its files behind, in
//! directories of its own; `make testbed-wipe` removes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc)]

mod copies;
mod daemon;
mod latency;
mod registration;
mod rucio;
mod scan;
mod stack;

use std::fmt::Display;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::stack::Stack;

/// What to measure, and on how much.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Only these parts.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Files of the backlog that is registered.
    #[arg(long, default_value_t = 5000)]
    files: usize,
    /// Datasets over which the backlog is spread.
    #[arg(long, default_value_t = 10)]
    datasets: usize,
    /// `register.batch`, if not the default.
    #[arg(long)]
    batch: Option<usize>,
    /// `register.parallel`, if not the default.
    #[arg(long)]
    parallel: Option<usize>,
    /// Lets the later stages work while the backlog is registered; they are not counted otherwise.
    #[arg(long)]
    whole_road: bool,
    /// Lets Rucio's daemons work meanwhile. They rest otherwise: in production they have machines of their own.
    #[arg(long)]
    rucio_daemons: bool,
    /// Files delivered one at a time to an idle daemon.
    #[arg(long, default_value_t = 50)]
    deliveries: usize,
    /// Files that arrive one a second and are followed to their second copy.
    #[arg(long, default_value_t = 60)]
    arrivals: usize,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Idle scans of 1,000 old directories with 100,000 files.
    Scan,
    /// From a trigger to the ledger.
    Latency,
    /// From the first off-site copy to the second, while files keep arriving.
    Copies,
    /// A backlog of small files. Last, because its transfers keep the stack busy for a while.
    Registration,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let stack = Stack::find();
    rustls::crypto::ring::default_provider().install_default().expect("nobody else installs one");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    row("machine", "cores, load averages before", format!("{cores}, {}", load.trim()));
    row("", "Rucio", &stack.rucio_version);
    for part in Part::value_variants() {
        if arguments.parts.is_empty() || arguments.parts.contains(part) {
            match part {
                Part::Scan => scan::measure(&stack).await,
                Part::Latency => latency::measure(&stack, &arguments).await,
                Part::Copies => copies::measure(&stack, &arguments).await,
                Part::Registration => registration::measure(&stack, &arguments).await,
            }
        }
    }
}

/// One line of the table.
fn row(part: &str, what: &str, figure: impl Display) {
    println!("{part:<14}{what:<66}{figure}");
}

/// Median, smallest and largest.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let Some((first, last)) = times.first().zip(times.last()) else { return "none".to_owned() };
    let text = |time: &Duration| match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{:.1} ms", 1e3 * seconds),
        seconds => format!("{seconds:.1} s"),
    };
    format!("median {}, range {} to {}", text(&times[times.len() / 2]), text(first), text(last))
}
