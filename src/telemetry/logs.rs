//! Where log events go: to journald with their fields, as JSON lines, or as text.
//!
//! Field names are the same in all three: `lfn`, `scope`, `rse`, `rule_id`, `stage`, `attempt`, `error`.

use std::fmt;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::printable::Printable;

/// Name under which `journalctl -t` finds the daemon.
pub const IDENTIFIER: &str = "dl0-ingest";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Journald when standard output is the journal, text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object per line on standard output.
    Json,
    /// Natively to journald, fields and all.
    Journald,
    /// Text on standard output.
    Text,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How log lines look.
    pub format: Format,
    /// A level, or a list of `target=level` as in `RUST_LOG`.
    pub level: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { format: Format::Auto, level: "info".to_owned() }
    }
}

/// Why logging cannot begin or change.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level means nothing.
    #[error("'{level}' is not a log level: {reason}; write error, warn, info, debug, trace or a list of target=level")]
    Level {
        /// What was asked for.
        level: String,
        /// Why it is not one.
        reason: String,
    },
    /// Journald was asked for by name and does not answer.
    #[error("journald does not answer: {0}; set log.format to auto, json or text")]
    Journald(io::Error),
    /// The log file cannot be made.
    #[error("cannot make the log file {}: {source}", path.display())]
    File {
        /// As asked for.
        path: PathBuf,
        /// From the system.
        source: io::Error,
    },
    /// Logging has begun before, or has ended.
    #[error("the log of this process is already set up or gone: {0}")]
    Unavailable(String),
}

/// The log of this process; keeps the handle by which a reload changes the level.
#[derive(Debug)]
pub struct Logs {
    level: reload::Handle<EnvFilter, Registry>,
}

/// Where the lines go once [`Format::Auto`] is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Journald,
    Json,
    /// `prefixed`: standard output is the journal, which takes the priority from `<N>` in front of a line.
    Text {
        prefixed: bool,
    },
}

/// Whether a level can be used, and if not, why.
pub fn check_level(level: &str) -> Result<(), String> {
    filter(level).map(drop).map_err(|error| match error {
        LogError::Level { reason, .. } => reason,
        other => other.to_string(),
    })
}

/// Begins logging, once per process.
pub fn init(settings: &Settings) -> Result<Logs, LogError> {
    let sink = sink(settings.format, stdout_is_journal(), io::stdout().is_terminal());
    let lines = match (sink, settings.format) {
        (Sink::Journald, wanted) => match journald() {
            Ok(layer) => layer,
            Err(error) if wanted == Format::Journald => return Err(LogError::Journald(error)),
            // a container may have the journal as its output and still not reach journald's socket
            Err(_) => text(true),
        },
        (Sink::Json, _) => json(),
        (Sink::Text { prefixed }, _) => text(prefixed),
    };
    begin(&settings.level, lines)
}

/// Begins logging as text into a new file, once per process.
pub fn init_file(path: &Path, level: &str) -> Result<Logs, LogError> {
    let failed = |source| LogError::File { path: path.to_owned(), source };
    let file = File::options().create_new(true).append(true).open(path).map_err(failed)?;
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(Arc::new(file));
    begin(level, lines.boxed())
}

fn begin(level: &str, lines: Lines) -> Result<Logs, LogError> {
    let (filter, level) = reload::Layer::new(filter(level)?);
    let registry = tracing_subscriber::registry().with(filter).with(lines);
    registry.try_init().map_err(|error| LogError::Unavailable(error.to_string()))?;
    Ok(Logs { level })
}

impl Logs {
    /// Changes the level of the running process.
    pub fn set_level(&self, level: &str) -> Result<(), LogError> {
        self.level.reload(filter(level)?).map_err(|error| LogError::Unavailable(error.to_string()))
    }
}

fn filter(level: &str) -> Result<EnvFilter, LogError> {
    let refusal = |reason: String| LogError::Level { level: level.to_owned(), reason };
    // a lone word is a level to us; EnvFilter would take a misspelt one for the name of a target
    let lone = level.trim();
    if !lone.contains(['=', ',', '[']) {
        lone.parse::<tracing::level_filters::LevelFilter>()
            .map_err(|_| refusal("there is no such level".to_owned()))?;
    }
    // each statement of the ledger would hide what the daemon itself says
    let level = if lone.eq_ignore_ascii_case("debug") { "debug,sqlx=info" } else { level };
    EnvFilter::try_new(level).map_err(|error| refusal(error.to_string()))
}

fn sink(format: Format, stdout_is_journal: bool, stdout_is_terminal: bool) -> Sink {
    match format {
        Format::Journald => Sink::Journald,
        Format::Text => Sink::Text { prefixed: stdout_is_journal },
        Format::Auto if stdout_is_journal => Sink::Journald,
        Format::Auto if stdout_is_terminal => Sink::Text { prefixed: false },
        Format::Auto | Format::Json => Sink::Json,
    }
}

/// Whether standard output is the stream that systemd names in `JOURNAL_STREAM` (`<device>:<inode>`). The variable
/// alone says little: children inherit it while their output goes elsewhere.
fn stdout_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(io::stdout()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

type Lines =
    Box<dyn Layer<tracing_subscriber::layer::Layered<reload::Layer<EnvFilter, Registry>, Registry>> + Send + Sync>;

fn journald() -> io::Result<Lines> {
    let layer = tracing_journald::layer()?
        .with_syslog_identifier(IDENTIFIER.to_owned())
        .with_field_prefix(None)
        .with_priority_mappings(PriorityMappings {
            info: Priority::Informational,
            debug: Priority::Debug,
            trace: Priority::Debug,
            ..PriorityMappings::new()
        });
    Ok(layer.boxed())
}

fn stdout() -> Printable<io::Stdout> {
    Printable(io::stdout())
}

fn json() -> Lines {
    tracing_subscriber::fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(stdout).boxed()
}

fn text(prefixed: bool) -> Lines {
    if prefixed {
        return tracing_subscriber::fmt::layer().with_ansi(false).event_format(Prefixed).with_writer(stdout).boxed();
    }
    tracing_subscriber::fmt::layer().with_ansi(false).with_target(false).with_writer(stdout).boxed()
}

/// `<4>message field=value`, as sd-daemon(3) wants it; the journal adds the time itself.
struct Prefixed;

impl<S, N> FormatEvent<S, N> for Prefixed
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn auto_is_the_journal_under_systemd_text_on_a_terminal_and_json_in_a_pipe() {
        assert_eq!(sink(Format::Auto, true, false), Sink::Journald);
        assert_eq!(sink(Format::Auto, false, true), Sink::Text { prefixed: false });
        assert_eq!(sink(Format::Auto, false, false), Sink::Json);
        assert_eq!(sink(Format::Text, true, false), Sink::Text { prefixed: true });
    }

    #[test]
    fn a_misspelt_level_is_refused_and_a_list_is_not() {
        assert!(check_level("info").is_ok());
        assert!(check_level("warn,dl0_ingest::rucio=debug").is_ok());
        assert!(check_level("inof").is_err());
        assert!(check_level("dl0_ingest=loud").is_err());
    }

    #[test]
    fn debug_says_what_the_daemon_does_and_not_each_statement() {
        assert_eq!(filter("debug").unwrap().to_string(), filter("sqlx=info,debug").unwrap().to_string());
        assert_eq!(filter("trace").unwrap().to_string(), "trace");
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn text_for_the_journal_carries_its_priority_in_front() {
        let buffer = Buffer::default();
        let sink = buffer.clone();
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(false).with_writer(move || sink.clone()).event_format(Prefixed);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::error!(lfn = "/ctao/acada/x", "file rejected");
            tracing::info!("started");
        });
        let written = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written, "<3>file rejected lfn=\"/ctao/acada/x\"\n<6>started\n");
    }
}
