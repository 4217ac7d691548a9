//! `verify`: reads files as the daemon would and says whether they are sound. Needs no configuration, changes nothing.

mod paths;
mod read;
mod report;
mod summary;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};

use self::paths::Item;
use self::read::{CROSS_CHECK, NOT_CROSS_CHECKED, Unread};
use self::summary::Summary;
use super::exit::{Exit, Failure, complain};
use crate::fixity::{Depth, Options, Report};
use crate::printable::one_line;

/// How often the progress bar moves.
const TICK: Duration = Duration::from_millis(100);

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // flags are independent of each other
pub(super) struct Arguments {
    /// Files to read, and directories to search for FITS files
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How closely tables are looked at: checksums only, structure (tiles, blocks, arrays), or every block and cell decoded
    #[arg(long, value_name = "DEPTH", default_value_t, value_parser = depth())]
    depth: Depth,
    /// Read so many files at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Reject a file with an HDU that has no CHECKSUM, or a blank one
    #[arg(long)]
    require_checksum: bool,
    /// Accept a file without product metadata, with a warning
    #[arg(long)]
    accept_missing_metadata: bool,
    /// Let CFITSIO read the file too, and tell where the two disagree
    #[arg(long)]
    cross_check: bool,
    /// Leave out the files that are sound, and count all at the end
    #[arg(long)]
    summary: bool,
    /// One JSON object per file and line instead of text; with --summary, all files and a last line that counts
    #[arg(long)]
    json: bool,
}

fn depth() -> impl TypedValueParser<Value = Depth> {
    PossibleValuesParser::new(Depth::ALL.map(Depth::name)).try_map(|name| name.parse::<Depth>())
}

/// What one file gave.
type Outcome = Result<Report, Unread>;

const NO_CFITSIO: &str = "--cross-check needs CFITSIO, which this build was made without; packages have it, and so has what \
                          'cargo build --features cfitsio' makes";

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<Exit, Failure> {
    if arguments.cross_check && !cfg!(feature = "cfitsio-system") {
        return Err(Failure::usage(NO_CFITSIO));
    }
    let started = Instant::now();
    let items = paths::collect(&arguments.paths);
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let jobs = arguments.jobs.map_or(cores, NonZeroUsize::get).min(items.len());
    let (progress, cancel) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let options = Options {
        // files at once use the processors better than one file on two
        parallel_blake3: jobs == 1 && cores > 1,
        md5: false,
        require_checksum: arguments.require_checksum,
        accept_missing_metadata: arguments.accept_missing_metadata,
        depth: arguments.depth,
        decode_threads: NonZeroUsize::new(cores / jobs.max(1)).or(Some(NonZeroUsize::MIN)),
        cancel: Some(Arc::clone(&cancel)),
        progress: Some(Arc::clone(&progress)),
    };
    let bar = bar(&items);
    let mut printer = Printer { arguments, out, bar: &bar, summary: Summary::default() };
    let mut told = Ok(());
    let read = |path: &Path| read::read(path, &options, arguments.cross_check);
    in_order(&items, jobs, &read, |event| match event {
        Event::Tick => bar.set_position(progress.load(Ordering::Relaxed)),
        Event::Outcome(path, outcome) if told.is_ok() => {
            told = printer.tell(path, outcome);
            if told.is_err() {
                cancel.store(true, Ordering::Relaxed);
            }
        }
        Event::Outcome(..) => {}
    });
    bar.finish_and_clear();
    told?;
    let mut summary = printer.summary;
    summary.took(started.elapsed());
    if arguments.summary {
        if arguments.json { summary.line(out)? } else { summary.block(out)? }
    }
    let bad = summary.rejected > 0 || summary.has_warning(CROSS_CHECK);
    let undone = summary.unread > 0 || summary.has_warning(NOT_CROSS_CHECKED);
    Ok(match (bad, undone) {
        (true, _) => Exit::Bad,
        (false, true) => Exit::Environment,
        (false, false) => Exit::Good,
    })
}

/// Whether the second opinion was the same, if there was to be one.
fn agreed(report: &Report) -> bool {
    !report.warnings.iter().any(|warning| [CROSS_CHECK, NOT_CROSS_CHECKED].contains(&warning.code))
}

enum Event<'i> {
    Outcome(&'i Path, &'i Outcome),
    Tick,
}

/// Reads the items on `jobs` threads and hands over what they gave in their order, whoever is ready first.
fn in_order(items: &[Item], jobs: usize, read: &(dyn Fn(&Path) -> Outcome + Sync), mut handle: impl FnMut(Event)) {
    let next = &AtomicUsize::new(0);
    let (send, outcomes) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let send = send.clone();
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let outcome = item.trouble.clone().map_or_else(|| read(&item.path), Err);
                    if send.send((index, outcome)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(send);
        let mut early = BTreeMap::new();
        let mut due = 0;
        loop {
            match outcomes.recv_timeout(TICK) {
                Ok((index, outcome)) => drop(early.insert(index, outcome)),
                Err(RecvTimeoutError::Timeout) => handle(Event::Tick),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while let Some(outcome) = early.remove(&due) {
                handle(Event::Outcome(&items[due].path, &outcome));
                due += 1;
            }
        }
    });
}

/// Tells what each file gave.
struct Printer<'p> {
    arguments: &'p Arguments,
    out: &'p mut dyn Write,
    bar: &'p ProgressBar,
    summary: Summary,
}

impl Printer<'_> {
    fn tell(&mut self, path: &Path, outcome: &Outcome) -> Result<(), Failure> {
        let Self { arguments, out, bar, summary } = self;
        match outcome {
            Ok(report) => summary.add(report),
            Err(_) => summary.add_unread(),
        }
        bar.set_message(format!("{} rejected, {} not read", summary.rejected, summary.unread));
        bar.suspend(|| {
            match outcome {
                Ok(report) if arguments.json => report::line(path, report, out)?,
                Ok(report) if arguments.summary && report.accepted() && agreed(report) => {}
                Ok(report) => report::block(path, report, out)?,
                Err(error) => {
                    complain(&format_args!("{}: {}", one_line(&path.to_string_lossy()), error.message));
                    if arguments.json {
                        report::unread_line(path, error, out)?;
                    }
                }
            }
            Ok(out.flush()?)
        })
    }
}

/// A bar over all bytes, if somebody watches.
fn bar(items: &[Item]) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:30} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left; {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(items.iter().map(|item| item.bytes).sum()).with_style(style)
}
