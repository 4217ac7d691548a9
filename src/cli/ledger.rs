//! What the commands that open the ledger share: opening it, finding a file in it, and telling times.

use std::future::Future;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::Config;
use crate::custody::UnixMillis;
use crate::ledger::{Error, Ledger};
use crate::names::{INVALID_DIRECTORY, Lfn, NameError, TRIGGER_SUFFIX};
use crate::printable::one_line;
use crate::telemetry::human;

use super::exit::Failure;

/// What the commands about one file are given.
#[derive(Debug, Args)]
pub(super) struct OneFile {
    /// LFN, or path of the file or of its trigger
    #[arg(value_name = "LFN|PATH")]
    pub(super) file: String,
    /// One JSON object instead of text
    #[arg(long)]
    pub(super) json: bool,
}

/// An open ledger, with the configuration that led to it.
pub(super) struct Reader {
    pub(super) config: Config,
    pub(super) ledger: Ledger,
}

/// Opens the ledger for reading, beside a running daemon or without one, and asks.
pub(super) fn read<T, F, A>(config: &Path, ask: A) -> Result<T, Failure>
where
    A: FnOnce(Reader) -> F,
    F: Future<Output = Result<T, Failure>>,
{
    open(config, async |path| Ledger::open_read_only(path).await, ask)
}

/// Opens the ledger in some way and does something with it.
pub(super) fn open<T, F, A, O>(config: &Path, how: O, act: A) -> Result<T, Failure>
where
    O: AsyncFnOnce(&Path) -> Result<Ledger, Error>,
    A: FnOnce(Reader) -> F,
    F: Future<Output = Result<T, Failure>>,
{
    let config = Config::load(config).map_err(Failure::usage)?.config;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::environment)?;
    runtime.block_on(async {
        let ledger = how(&config.ledger_path()).await.map_err(Failure::environment)?;
        let done = act(Reader { config, ledger: ledger.clone() }).await;
        ledger.close().await;
        done
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::environment(error)
    }
}

/// The LFN an operator means: an LFN as such, or the path of a file, of its trigger, or of the file in `invalid/`.
pub(super) fn lfn_of(config: &Config, given: &str) -> Result<Lfn, Failure> {
    let path = Path::new(given);
    let relative = below(&config.data_path, path).unwrap_or_else(|| match path.strip_prefix("/") {
        Ok(relative) => relative.to_owned(),
        Err(_) => path.to_owned(),
    });
    let refusal = |error: NameError| {
        let given = one_line(given);
        Failure::usage(format!("'{given}' is neither an LFN nor a file below {}: {error}", config.data_path.display()))
    };
    Lfn::from_relative(&delivered(&relative)).map_err(refusal)
}

/// The path relative to the data root, if it lies below; a relative one counts from the working directory.
fn below(root: &Path, path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    if let Ok(relative) = absolute.strip_prefix(root) {
        return Some(relative.to_owned());
    }
    // a symlink may lead to the root; the file itself need not exist any more, its directory should
    let directory = absolute.parent()?.canonicalize().ok()?;
    let relative = directory.strip_prefix(root.canonicalize().ok()?).ok()?;
    Some(relative.join(absolute.file_name()?))
}

/// The file as it was delivered: without `invalid/` as third component, without `.trigger` at the end.
fn delivered(relative: &Path) -> PathBuf {
    let mut path: PathBuf = relative
        .iter()
        .enumerate()
        .filter(|(at, part)| *at != 2 || *part != INVALID_DIRECTORY)
        .map(|(_, part)| part)
        .collect();
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    if let Some(stem) =
        name.as_deref().and_then(|name| name.strip_suffix(TRIGGER_SUFFIX)).filter(|stem| !stem.is_empty())
    {
        path.set_file_name(stem);
    }
    path
}

/// `2026-01-01 20:00:05 UTC`
pub(super) fn moment(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at)
        .map_or_else(|_| at.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// RFC 3339 in UTC, for programs.
pub(super) fn iso(at: UnixMillis) -> String {
    jiff::Timestamp::from_millisecond(at).map_or_else(|_| at.to_string(), |time| format!("{time:.3}"))
}

/// How long it is since then.
pub(super) fn age(now: UnixMillis, then: UnixMillis) -> String {
    human::age(u64::try_from((now - then) / 1000).unwrap_or(0))
}

/// A size from the ledger.
pub(super) fn size(bytes: i64) -> String {
    human::size(u64::try_from(bytes).unwrap_or(0))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(data_path: &Path) -> Config {
        let text = format!(
            "data_path: {}\nonsite_rse: S\noffsite: {{expression: O}}\nrucio: {{url: 'https://r', account: a}}\n",
            data_path.display()
        );
        Config::parse(&text, Path::new("c.yaml")).unwrap().config
    }

    #[test]
    fn an_operator_may_name_a_file_in_any_way_that_is_at_hand() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("onsite");
        std::fs::create_dir_all(root.join("ctao/acada/dl0")).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&root, &link).unwrap();
        let config = config(&root);
        let below = |root: &Path, rest: &str| root.join(rest).display().to_string();
        for given in [
            "/ctao/acada/dl0/a.fits".to_owned(),
            "ctao/acada/dl0/a.fits".to_owned(),
            below(&root, "ctao/acada/dl0/a.fits"),
            below(&root, "ctao/acada/dl0/a.fits.trigger"),
            below(&root, "ctao/acada/invalid/dl0/a.fits"),
            below(&link, "ctao/acada/dl0/a.fits"),
        ] {
            assert_eq!(lfn_of(&config, &given).unwrap().as_str(), "/ctao/acada/dl0/a.fits", "{given}");
        }
        assert!(lfn_of(&config, "/ctao/a b").is_err());
    }
}
