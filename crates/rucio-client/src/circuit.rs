//! Turns "Rucio is down" into one log line, a metric and waiting.
//!
//! A few failures in a row only raise the suspicion; a probe decides, unless somebody was answered well meanwhile. So
//! neither a poisonous request nor bad answers here and there shut out the others, and an outage is noticed within a
//! moment rather than after everybody's patience. While the circuit is open, calls fail at once and a single probe asks
//! until Rucio is back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::errors::{Error, Kind, Outlook};
use crate::observer::Observer;

/// Failures in a row, over all callers, that raise the suspicion of an outage.
const SUSPICIOUS: u32 = 3;

#[derive(Clone, Debug)]
enum State {
    Closed,
    Open { since: SystemTime, begun: Instant, kind: Kind, reason: String },
}

/// Whether Rucio is worth calling.
pub struct Circuit {
    rucio: String,
    observer: Arc<dyn Observer>,
    /// A suspicion becomes an outage no sooner: a probe alone may fail by chance.
    moment: Duration,
    state: watch::Sender<State>,
    /// Since the last good answer, over all callers.
    failures: AtomicU32,
    /// Good answers, over all callers.
    answers: AtomicU32,
    watched: AtomicBool,
}

impl Circuit {
    pub(crate) fn new(rucio: String, observer: Arc<dyn Observer>, moment: Duration) -> Self {
        Self {
            rucio,
            observer,
            moment,
            state: watch::Sender::new(State::Closed),
            failures: AtomicU32::new(0),
            answers: AtomicU32::new(0),
            watched: AtomicBool::new(false),
        }
    }

    /// Whether calls fail at once because Rucio is known to be down.
    pub fn is_open(&self) -> bool {
        matches!(*self.state.borrow(), State::Open { .. })
    }

    /// Since when Rucio is known to be down.
    pub fn since(&self) -> Option<SystemTime> {
        match *self.state.borrow() {
            State::Closed => None,
            State::Open { since, .. } => Some(since),
        }
    }

    /// What keeps the circuit open, in words.
    pub fn reason(&self) -> Option<String> {
        match &*self.state.borrow() {
            State::Closed => None,
            State::Open { reason, .. } => Some(reason.clone()),
        }
    }

    /// Waits until calls make sense; at once while the circuit is closed.
    pub async fn closed(&self) {
        // the sender lives in self, so waiting cannot fail
        let _ = self.state.subscribe().wait_for(|state| matches!(state, State::Closed)).await;
    }

    /// The error for a call that is not even tried, while the circuit is open.
    pub(crate) fn refusal(&self) -> Option<Error> {
        let State::Open { since, ref reason, .. } = *self.state.borrow() else { return None };
        let message = format!("Rucio at {} has been out of reach since {}: {reason}", self.rucio, moment(since));
        Some(Error::new(Kind::Unreachable, Outlook::Later, message).never_sent())
    }

    /// Counts the outcome of an attempt. A returned [`Watch`] asks its one receiver to probe and report.
    pub(crate) fn note(self: &Arc<Self>, failure: Option<&Error>) -> Option<Watch> {
        if !failure.is_some_and(speaks_of_an_outage) {
            self.failures.store(0, Ordering::Relaxed);
            self.answers.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let wanted = failures >= SUSPICIOUS && !self.watched.swap(true, Ordering::AcqRel);
        wanted.then(|| Watch {
            circuit: Arc::clone(self),
            begun: Instant::now(),
            answers: self.answers.load(Ordering::Relaxed),
        })
    }
}

/// `2026-01-01 20:00:05 UTC`
fn moment(time: SystemTime) -> String {
    jiff::Timestamp::try_from(time)
        .map_or_else(|_| "long ago".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// Whether `error` may mean that nobody's calls get through.
fn speaks_of_an_outage(error: &Error) -> bool {
    match error.kind() {
        Kind::Unreachable | Kind::Login | Kind::Tls | Kind::Protocol => true,
        Kind::Transient => error.outlook() == Outlook::Soon,
        _ => false,
    }
}

/// The right to probe Rucio and to open and close the circuit; there is at most one at a time. The circuit does not
/// outlast it open.
pub(crate) struct Watch {
    circuit: Arc<Circuit>,
    begun: Instant,
    /// Good answers until it began.
    answers: u32,
}

impl Watch {
    /// Takes what a probe found; true when the watch is over because Rucio answers.
    pub(crate) fn report(&self, failure: Option<&Error>) -> bool {
        let Some(error) = failure.filter(|error| speaks_of_an_outage(error)) else {
            self.close();
            return true;
        };
        if !self.circuit.is_open() {
            if self.circuit.answers.load(Ordering::Relaxed) != self.answers {
                return true;
            }
            if self.begun.elapsed() < self.circuit.moment {
                return false;
            }
        }
        self.open(error);
        false
    }

    fn open(&self, error: &Error) {
        let circuit = &self.circuit;
        let (kind, reason) = (error.kind(), error.to_string());
        let outage = match &*circuit.state.borrow() {
            State::Open { kind: known, .. } if *known == kind => return,
            State::Open { since, begun, .. } => Some((*since, *begun)),
            State::Closed => None,
        };
        let (since, begun) = outage.unwrap_or_else(|| (SystemTime::now(), Instant::now()));
        if outage.is_none() {
            tracing::warn!(
                rucio = circuit.rucio,
                kind = kind.as_str(),
                reason,
                "Rucio is out of reach; everything that needs it waits"
            );
        } else if matches!(kind, Kind::Login | Kind::Tls) {
            // what began as an outage has become one that ends by somebody's hand only
            tracing::warn!(rucio = circuit.rucio, kind = kind.as_str(), reason, "Rucio is back but cannot be used");
        }
        circuit.state.send_replace(State::Open { since, begun, kind, reason });
        if outage.is_none() {
            circuit.observer.circuit(true);
        }
    }

    fn close(&self) {
        let circuit = &self.circuit;
        circuit.failures.store(0, Ordering::Relaxed);
        if let State::Open { begun, .. } = circuit.state.send_replace(State::Closed) {
            tracing::info!(
                rucio = circuit.rucio,
                outage_seconds = begun.elapsed().as_secs_f64(),
                "Rucio answers again; work goes on"
            );
            circuit.observer.circuit(false);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // with nobody left to probe, the next calls must find out for themselves
        self.circuit.state.send_if_modified(|state| {
            let open = matches!(state, State::Open { .. });
            *state = State::Closed;
            open
        });
        self.circuit.watched.store(false, Ordering::Release);
    }
}
