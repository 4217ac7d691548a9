//! Intake: sees triggers, judges them, and records deliveries in the ledger.
//!
//! inotify is a hint that makes it fast; the periodic scan is the authority. Both end in the same judgement, and a
//! delivery exists once the ledger says so.

mod hints;
pub mod judge;
mod scanner;

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::custody::State;
use crate::datadir;
use crate::engine::Context;
use crate::ledger::{Delivered, Delivery, WrongTrigger, now};
use crate::names::is_invalid;
use crate::printable::one_line;
use crate::telemetry::health::Need;

use self::hints::{AFTER_LOSS, Hints};
use self::judge::{Mistake, Verdict, announced, is_trigger, judge};
use self::scanner::{Counts, Scanner, Visitor};

/// Its name in logs and metrics.
const STAGE: &str = "intake";
/// Deliveries recorded in one transaction.
const BATCH: usize = 500;
/// Every directory is read this often, whatever the time stamps say.
const FULL_SCAN: Duration = Duration::from_hours(1);

/// Runs until shutdown. Blocking: give it a thread of its own.
pub fn run(context: &Context) {
    let hints = Hints::new(context.config().intake.inotify);
    let interrupt = hints.interrupter();
    let shutdown = context.shutdown.clone();
    context.runtime.spawn(async move {
        shutdown.cancelled().await;
        interrupt();
    });
    Intake::new(context, hints).run();
}

/// A sound trigger on its way into the ledger.
struct Sound {
    trigger: PathBuf,
    delivery: Delivery,
    signature: String,
    /// When inotify told of it; the scan does not know.
    seen: Option<Instant>,
}

/// As what a trigger was reported.
#[derive(PartialEq, Eq)]
struct WrongAs {
    code: String,
    signature: String,
}

impl WrongAs {
    fn new(code: &str, signature: &str) -> Self {
        Self { code: code.to_owned(), signature: signature.to_owned() }
    }
}

/// Stands for the signature of a trigger whose data has not come.
const NO_DATA: &str = "no data file";

struct Intake<'c> {
    context: &'c Context,
    hints: Hints,
    scanner: Scanner,
    /// Per directory, the triggers that are settled and what that rests on.
    settled: HashMap<PathBuf, HashMap<OsString, String>>,
    /// Triggers whose data has not come, since when.
    early: HashMap<PathBuf, Instant>,
    /// Triggers that were being removed when they were seen: perhaps others that came in the same instant.
    leaving: HashSet<PathBuf>,
    /// Triggers reported as wrong, and as what.
    wrong: HashMap<PathBuf, WrongAs>,
    /// Deliveries not yet recorded.
    sound: Vec<Sound>,
    /// No trouble was met since the scan began.
    quiet: bool,
    /// Directories that could not be read since the scan began.
    unreadable: usize,
}

impl<'c> Intake<'c> {
    fn new(context: &'c Context, hints: Hints) -> Self {
        Self {
            context,
            hints,
            scanner: Scanner::default(),
            settled: HashMap::new(),
            early: HashMap::new(),
            leaving: HashSet::new(),
            wrong: HashMap::new(),
            sound: Vec::new(),
            quiet: false,
            unreadable: 0,
        }
    }

    /// Reports a trouble, unless that was done since all was well: two that take turns are two lines, not a line each scan.
    fn report_trouble(&mut self, trouble: &str) {
        self.quiet = false;
        if self.context.memory.reported.is_news(STAGE, trouble) {
            tracing::error!(stage = STAGE, "{trouble}");
        }
    }

    /// A scan has ended, which met every trouble again that still lasts. Only one without any trouble ends those reported
    /// before.
    fn scanned(&self) {
        if self.quiet {
            self.context.memory.reported.job_works(STAGE);
        }
    }

    fn run(mut self) {
        match self.context.runtime.block_on(self.context.ledger.wrong_triggers()) {
            Ok(known) => {
                let reported = |wrong: &WrongTrigger| WrongAs::new(&wrong.reason, &wrong.signature);
                self.wrong = known.iter().map(|wrong| (PathBuf::from(&wrong.path), reported(wrong))).collect();
            }
            Err(error) => self.report_trouble(&error.to_string()),
        }
        let mut last_full = Instant::now();
        let mut next_scan = Instant::now();
        while !self.context.shutdown.is_cancelled() {
            self.context.health.heartbeat("intake");
            if self.hints.take_lost() {
                self.scanner.forget_all();
                next_scan = next_scan.min(Instant::now() + AFTER_LOSS);
            }
            if Instant::now() >= next_scan {
                if last_full.elapsed() >= FULL_SCAN {
                    last_full = Instant::now();
                    self.scanner.forget_all();
                    self.settled.clear();
                }
                self.scan();
                next_scan = Instant::now() + self.context.config().intake.scan_interval;
            }
            for hint in self.hints.wait(next_scan) {
                self.follow(&hint);
            }
            self.record();
        }
    }

    fn scan(&mut self) {
        let started = Instant::now();
        self.quiet = true;
        self.unreadable = 0;
        let top = self.context.data.top().to_owned();
        match self.scan_below(&top) {
            Ok(counts) => {
                self.context.metrics.scan(started.elapsed().as_secs_f64(), counts.read, counts.skipped);
                let unreadable = match self.unreadable {
                    0 => Ok(()),
                    some => Err(format!(
                        "{} in it cannot be read, see the log",
                        if some == 1 { "a directory".to_owned() } else { format!("{some} directories") }
                    )),
                };
                self.context.health.set(Need::DataDirectory, unreadable);
            }
            Err(error) => {
                self.context.health.set(Need::DataDirectory, Err("cannot be read, see the log".to_owned()));
                self.report_trouble(&error.to_string());
            }
        }
        self.look_again();
        self.record();
        if !self.context.shutdown.is_cancelled() {
            self.scanned();
        }
    }

    fn scan_below(&mut self, start: &Path) -> Result<Counts, datadir::Error> {
        let mut scanner = std::mem::take(&mut self.scanner);
        let counts = scanner.scan(&self.context.data, start, self);
        self.scanner = scanner;
        counts
    }

    /// Follows one hint: a trigger is judged, a new directory is scanned, a data file may be awaited.
    fn follow(&mut self, hint: &hints::Hint) {
        let Ok(path) = hint.path.strip_prefix(self.context.data.root()).map(Path::to_owned) else { return };
        if is_invalid(&path) {
            return;
        }
        if path.file_name().is_some_and(is_trigger) {
            self.take(&path, Some(hint.at));
            return;
        }
        if hint.removed && self.scanner.knows(&path) {
            // should it be there again already, it is another one, with triggers of its own
            let mut scanner = std::mem::take(&mut self.scanner);
            scanner.drop_tree(&path, self);
            self.scanner = scanner;
        }
        let mut trigger = path.clone().into_os_string();
        trigger.push(crate::names::TRIGGER_SUFFIX);
        let trigger = PathBuf::from(trigger);
        if self.early.contains_key(&trigger) {
            self.take(&trigger, Some(hint.at));
        } else if !self.scanner.knows(&path)
            && self.context.data.absolute(&path).is_dir()
            && let Err(error) = self.scan_below(&path)
        {
            self.report_trouble(&error.to_string());
        }
    }

    /// Triggers whose data may have come, those that should be gone by now, and wrong ones that may have been mended.
    fn look_again(&mut self) {
        let overdue = self.context.config().intake.early_after;
        let waiting: Vec<(PathBuf, Instant)> = self.early.iter().map(|(path, since)| (path.clone(), *since)).collect();
        for (trigger, since) in waiting {
            self.take(&trigger, None);
            if self.early.contains_key(&trigger) && since.elapsed() >= overdue {
                let expected =
                    announced(&trigger).and_then(|file| Some(file.file_name()?.to_string_lossy().into_owned()));
                let mistake = Mistake::Dangling { expected: expected.unwrap_or_default() };
                self.report(&trigger, &mistake, NO_DATA);
            }
        }
        for trigger in std::mem::take(&mut self.leaving) {
            self.take(&trigger, None);
        }
        let wrong: Vec<PathBuf> = self.wrong.keys().cloned().collect();
        for trigger in wrong {
            self.take(&trigger, None);
        }
    }

    fn take(&mut self, trigger: &Path, seen: Option<Instant>) {
        self.context.health.heartbeat("intake");
        let judged = match judge(&self.context.data, trigger) {
            Ok(judged) => judged,
            Err(error) => {
                self.report_trouble(&error.to_string());
                self.scanner.forget(trigger.parent().unwrap_or(Path::new("")));
                return;
            }
        };
        if !matches!(judged.verdict, Verdict::Early) {
            self.early.remove(trigger);
        }
        match judged.verdict {
            Verdict::Sound(delivery) => {
                self.mended(trigger);
                if self.settled_as(trigger) != Some(&judged.signature) {
                    let signature = judged.signature;
                    self.sound.push(Sound { trigger: trigger.to_owned(), delivery, signature, seen });
                    if self.sound.len() >= BATCH {
                        self.record();
                    }
                }
            }
            Verdict::Early => {
                self.early.entry(trigger.to_owned()).or_insert_with(Instant::now);
            }
            Verdict::Gone => self.mended(trigger),
            Verdict::Wrong(mistake) => {
                self.unsettle(trigger);
                self.report(trigger, &mistake, &judged.signature);
            }
        }
    }

    /// Reports a wrong trigger once as what it is; the ledger knows whether it was said before.
    fn report(&mut self, trigger: &Path, mistake: &Mistake, signature: &str) {
        let reported = WrongAs::new(mistake.code(), signature);
        if self.wrong.get(trigger) == Some(&reported) {
            return;
        }
        let wrong = WrongTrigger {
            path: trigger.to_string_lossy().into_owned(),
            reason: mistake.code().to_owned(),
            message: one_line(&mistake.to_string()),
            signature: signature.to_owned(),
            since: now(),
        };
        match self.context.runtime.block_on(self.context.ledger.wrong_trigger(&wrong)) {
            Ok(new) => {
                self.wrong.insert(trigger.to_owned(), reported);
                if new {
                    self.context.metrics.trigger_judged(mistake.code());
                    let name = one_line(&wrong.path);
                    tracing::warn!(trigger = name, reason = wrong.reason, "wrong trigger: {}", wrong.message);
                }
            }
            Err(error) => {
                self.report_trouble(&error.to_string());
                self.scanner.forget(trigger.parent().unwrap_or(Path::new("")));
            }
        }
    }

    fn mended(&mut self, trigger: &Path) {
        if self.wrong.contains_key(trigger) {
            let path = trigger.to_string_lossy().into_owned();
            match self.context.runtime.block_on(self.context.ledger.trigger_mended(&path)) {
                Ok(known) => {
                    self.wrong.remove(trigger);
                    if known {
                        tracing::info!(trigger = one_line(&path), "wrong trigger was mended or removed");
                    }
                }
                // the next scan looks at all wrong ones again
                Err(error) => self.report_trouble(&error.to_string()),
            }
        }
    }

    /// Commits the sound triggers gathered so far. What cannot be recorded is found again by the next scan.
    fn record(&mut self) {
        if self.sound.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.sound);
        let deliveries: Vec<Delivery> = batch.iter().map(|sound| sound.delivery.clone()).collect();
        let answers = match self.context.runtime.block_on(self.context.ledger.deliver(&deliveries)) {
            Ok(answers) => answers,
            Err(error) => {
                self.report_trouble(&error.to_string());
                for Sound { trigger, .. } in &batch {
                    self.scanner.forget(trigger.parent().unwrap_or(Path::new("")));
                }
                return;
            }
        };
        for (Sound { trigger, delivery, signature, seen }, answer) in batch.into_iter().zip(answers) {
            if let (Some(seen), Delivered::New) = (seen, answer) {
                self.context.metrics.intake_latency(seen.elapsed().as_secs_f64());
            }
            tell(&delivery, answer, self.context);
            if answer == Delivered::Leaving {
                self.leaving.insert(trigger);
            } else {
                self.settle(&trigger, signature);
            }
        }
        self.context.wake(State::Discovered);
    }

    fn settled_as(&self, trigger: &Path) -> Option<&String> {
        self.settled.get(trigger.parent()?)?.get(trigger.file_name()?)
    }

    fn unsettle(&mut self, trigger: &Path) {
        if let (Some(directory), Some(name)) = (trigger.parent(), trigger.file_name())
            && let Some(settled) = self.settled.get_mut(directory)
        {
            settled.remove(name);
        }
    }

    fn settle(&mut self, trigger: &Path, signature: String) {
        if let (Some(directory), Some(name)) = (trigger.parent(), trigger.file_name()) {
            self.settled.entry(directory.to_owned()).or_default().insert(name.to_owned(), signature);
        }
    }
}

fn tell(delivery: &Delivery, answer: Delivered, context: &Context) {
    let verdict = match answer {
        Delivered::New => {
            tracing::info!(lfn = %delivery.lfn, bytes = delivery.identity.bytes, "file discovered");
            "new"
        }
        Delivered::Known | Delivered::Leaving => "known",
        Delivered::Changed => {
            tracing::warn!(lfn = %delivery.lfn, "file changed before it was registered, verifying it anew");
            "changed"
        }
        Delivered::Replaced => {
            tracing::info!(lfn = %delivery.lfn, "a new file came in place of a rejected one");
            "replaced"
        }
        Delivered::Again => {
            tracing::info!(lfn = %delivery.lfn, "file was delivered again, comparing it with what is registered");
            "again"
        }
        Delivered::Held => "held",
    };
    context.metrics.trigger_judged(verdict);
}

impl Visitor for Intake<'_> {
    fn entering(&mut self, directory: &Path) {
        let absolute = self.context.data.absolute(directory);
        self.hints.watch(&absolute);
    }

    fn triggers(&mut self, directory: &Path, names: Vec<OsString>) {
        // what is not there any more is forgotten, so that it is looked at afresh when it comes back
        if let Some(settled) = self.settled.get_mut(directory) {
            let present: HashSet<&OsString> = names.iter().collect();
            settled.retain(|name, _| present.contains(name));
        }
        for name in names {
            self.take(&directory.join(name), None);
        }
    }

    fn unreadable(&mut self, directory: &Path, error: &datadir::Error) {
        self.unreadable += 1;
        self.report_trouble(&format!("{error}; triggers in {} are not seen until this is mended", directory.display()));
    }

    fn gone(&mut self, directory: &Path) {
        self.settled.remove(directory);
        let absolute = self.context.data.absolute(directory);
        self.hints.unwatch(&absolute);
    }

    fn stop(&self) -> bool {
        // a scan of a great tree, or of a slow disk, may take longer than a stage may be silent
        self.context.health.heartbeat("intake");
        self.context.shutdown.is_cancelled()
    }
}
