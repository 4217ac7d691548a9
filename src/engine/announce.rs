//! Announcing irreversible effects: the audit record is on disk, and the ledger knows it, before anything is done.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::sync::OwnedMutexGuard;

use crate::audit_log::{self, AuditLog, Head};
use crate::custody::FileIdentity;
use crate::ledger::{FileRow, iso, now};
use crate::names::Did;
use crate::telemetry::health::Need;

use super::{Context, StageError, blocking};

/// The end of the on-site rule.
pub(crate) const RELEASE: &str = "release";
/// What justifies giving up a file on site.
pub(crate) const ORDER: &str = "order";

/// What is about to be done to a file, and what justifies it.
pub(crate) struct Effect {
    /// [`RELEASE`], `remove-leftover` or `set-aside`.
    pub(crate) name: &'static str,
    /// The file on disk that it is done to.
    pub(crate) identity: FileIdentity,
    /// Key and value: the order of a release, or the verdict on a bad file.
    pub(crate) because: (&'static str, Value),
}

/// Writes the audit record of an effect. After an error the effect must not happen. After a stop the same effect may be
/// announced again.
pub(crate) async fn announce(context: &Context, row: &FileRow, effect: Effect) -> Result<(), StageError> {
    let release = (effect.name == RELEASE).then_some(row);
    let record = record(context, row, effect).await?;
    write(context, record, release).await
}

/// Writes the record of rules of a dataset that are about to end. `rules`: the first-copy rule and the settled rule,
/// which take over; `files`: each with its own rule, and where these two hold it.
pub(crate) async fn announce_settling(
    context: &Context,
    dataset: &Did,
    (a, s): &(String, Option<String>),
    files: Vec<Value>,
) -> Result<(), StageError> {
    let config = context.config();
    let record = [
        ("effect", json!("settle")),
        ("dataset", json!(dataset.to_string())),
        ("files", json!(files)),
        ("rules", json!({ "a": a, "s": s })),
        ("account", json!(config.rucio.account)),
        ("onsite_rse", json!(config.onsite_rse)),
    ];
    write(context, record.map(|(key, value)| (key.to_owned(), value)).into_iter().collect(), None).await
}

async fn write(context: &Context, record: Map<String, Value>, release: Option<&FileRow>) -> Result<(), StageError> {
    let mut log = lock(context).await;
    let known = known(context).await?;
    let last = known.clone();
    let (log, written) = blocking(move || {
        let written = log.append(last.as_ref(), record);
        (log, written)
    })
    .await;
    say_how_it_stands(context, written.as_ref().err());
    match written {
        Ok(head) => Ok(context.ledger.audited(head.seq, &head.hash, release).await?),
        Err(error @ audit_log::Error::Broken { .. }) => {
            begin_anew(context, log, known, &error).await?;
            Err(error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Looks at the end of the log before the first effect. A log that is not as it was written stops all releases; what is
/// left of it is put away, and a new one begins.
pub async fn check(context: &Context) -> Result<(), StageError> {
    let mut log = lock(context).await;
    let known = known(context).await?;
    let last = known.clone();
    let (log, checked) = blocking(move || {
        let checked = log.check(last.as_ref());
        (log, checked)
    })
    .await;
    say_how_it_stands(context, checked.as_ref().err());
    match checked {
        // written before a stop, and not known yet; or the ledger is a new one
        Ok(head) if head.seq > 0 && known.as_ref() != Some(&head) => {
            Ok(context.ledger.audited(head.seq, &head.hash, None).await?)
        }
        Ok(_) => Ok(()),
        Err(error @ audit_log::Error::Broken { .. }) => begin_anew(context, log, known, &error).await,
        Err(error) => Err(error.into()),
    }
}

/// A record that cannot be written keeps all releases from happening, until one can.
fn say_how_it_stands(context: &Context, error: Option<&audit_log::Error>) {
    let state = match error {
        // put away, and a new one begins: the breaker says the rest
        None | Some(audit_log::Error::Broken { .. }) => Ok(()),
        Some(error) => Err(format!("could not be written at {}: {}", iso(now()), error.in_brief())),
    };
    context.health.set(Need::AuditRecord, state);
}

async fn begin_anew(
    context: &Context,
    mut log: OwnedMutexGuard<AuditLog>,
    known: Option<Head>,
    error: &audit_log::Error,
) -> Result<(), StageError> {
    let why = error.to_string();
    tracing::error!(
        code = "audit-record",
        "{why}; it is put away, a new one begins, and nothing is released until a reset"
    );
    context.ledger.trip("audit-record", &why, None).await?;
    let head = blocking(move || log.restart(known.as_ref(), &why)).await?;
    Ok(context.ledger.audited(head.seq, &head.hash, None).await?)
}

async fn lock(context: &Context) -> OwnedMutexGuard<AuditLog> {
    Arc::clone(&context.audit).lock_owned().await
}

async fn known(context: &Context) -> Result<Option<Head>, StageError> {
    Ok(context.ledger.audit_head().await?.map(|(seq, hash)| Head { seq, hash }))
}

async fn record(context: &Context, row: &FileRow, effect: Effect) -> Result<Map<String, Value>, StageError> {
    let config = context.config();
    let first_copy_rule = context.ledger.first_copy_rule(&row.dataset_did()).await?;
    // what is set aside may be another file than the one that was verified, or was never read to its end
    let contents = if effect.identity == row.identity() { row.contents().ok() } else { None };
    let mut record = Map::new();
    let mut put = |key: &str, value: Value| drop(record.insert(key.to_owned(), value));
    put("effect", json!(effect.name));
    put("lfn", json!(row.lfn));
    put("dataset", json!(row.dataset_did().to_string()));
    put("identity", json!(effect.identity));
    put("contents", json!(contents));
    put(effect.because.0, effect.because.1);
    if effect.because.0 == ORDER {
        put("read_back", read_back(context, row).await?);
    }
    put("rules", json!({ "a": first_copy_rule, "b": row.further_copies_rule, "c": row.on_site_rule }));
    put("account", json!(config.rucio.account));
    put("onsite_rse", json!(config.onsite_rse));
    Ok(record)
}

/// The copies that were read back, if the file is one of the sample.
async fn read_back(context: &Context, row: &FileRow) -> Result<Value, StageError> {
    let Some((at, found)) = context.ledger.read_back(row).await? else { return Ok(Value::Null) };
    let found: Value = serde_json::from_str(&found).unwrap_or(Value::String(found));
    Ok(json!({ "at": at, "found": found }))
}
