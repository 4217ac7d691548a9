//! Watches the rules of datasets with released files, which nothing else asks about any more. Do they stand? Have they a lock
//! for every copy? If not, which copies do they hold?
//!
//! Rules are placed and kept here, and none ends, so no brake applies. A first-copy rule that is gone is placed again, and
//! Rucio chooses its RSE: it may choose the copies that the settled rule holds. The settled rule is therefore placed where the
//! first-copy rule holds nothing, and only where Rucio has no choice. Whatever cannot be placed so is reported.

use std::collections::BTreeMap;

use crate::custody::settling::{Cause, FileInRucio, Unsettled, plan};
use crate::custody::{Copies, RuleStanding};
use crate::engine::{Context, StageError};
use crate::ledger::{Resting, Watched};
use crate::names::Did;
use crate::rules::{self, Offsite, first_copy, settled, standing_of};
use rucio_client::{Kind, Rule};

use super::facts::{self, DatasetRules, Facts};
use super::own_rules::{self, OwnRules};
use super::turn::{Turn, place};

/// Datasets asked about in one round, with two short questions each: 28 800 datasets a day at the usual pace.
const ROUND: i64 = 200;
const UNSEEN: &str = "not looked at";
const DOUBTFUL: &str = "not all held";
/// Datasets of one round whose locks are listed. The round ends there, and the next one begins there.
const CLOSER: usize = 16;

/// Looks at some datasets.
pub(super) async fn round(context: &Context) -> Result<(), StageError> {
    let datasets = context.ledger.watched_datasets(context.memory.watched.get().as_ref(), ROUND).await?;
    let whole = datasets.len() < usize::try_from(ROUND).unwrap_or(usize::MAX);
    let mut lists = own_rules::Lists::default();
    let mut closer = CLOSER;
    for known in datasets {
        if context.shutdown.is_cancelled() || closer == 0 {
            return Ok(());
        }
        let looked = look_at(context, &known, &mut lists).await;
        if looked.is_ok() {
            context.memory.reported.is_over(&known.name, UNSEEN);
        }
        match looked {
            Ok(Looked::Briefly) => {}
            Ok(Looked::Closely) => closer -= 1,
            // a dataset that Rucio does not answer for keeps no other from being looked at
            Err(error) if context.leaves_others(&error) => {
                if context.memory.reported.is_news(&known.name, UNSEEN) {
                    tracing::warn!(dataset = known.name, "the rules of the dataset are looked at later: {error}");
                }
            }
            Err(error) => return Err(error),
        }
        context.memory.watched.set(Some(known));
    }
    if whole {
        context.memory.watched.set(None);
    }
    Ok(())
}

enum Looked {
    Briefly,
    Closely,
}

/// Whether the dataset stays and all its rules stand, with a lock for each copy; if not, what they hold.
async fn look_at(context: &Context, known: &Watched, lists: &mut own_rules::Lists) -> Result<Looked, StageError> {
    let dataset = known.did();
    let stays = facts::stays(context, &dataset).await?;
    let rules = match context.rucio.did_rules(&dataset).await {
        Ok(rules) => rules,
        Err(error) if error.kind() == Kind::NotFound => {
            report(context, known, Turn::Stays(Unsettled::unknown_to_rucio())).await?;
            return Ok(Looked::Briefly);
        }
        Err(error) => return Err(error.into()),
    };
    let first = standing(context, &rules, known.first_copy_rule.as_deref()).await?;
    match &known.first_copy_rule {
        Some(rule) => first_copy::mend(context, &dataset, rule, first).await?,
        None => first_copy::order(context, &dataset).await?,
    }
    let own = own_files(context, &dataset, lists).await;
    let looked = match &known.settled_rule {
        Some(settled_rule) => further(context, known, &rules, first, settled_rule).await?,
        None => None,
    };
    // a file whose rule is refused does not keep the dataset's own rules from being mended; of two findings it is the one reported
    let (some_own, refused) = own?;
    let trouble = stays.err().or(refused);
    let was_reported = known.unsettled_cause.is_some_and(Cause::is_found_by_each_look);
    let closely = looked.is_some() || some_own || trouble.is_some();
    if trouble.is_none() && was_reported {
        context.ledger.held_again(&dataset).await?;
    }
    match trouble.map(Turn::Stays).or(looked) {
        Some(end) => report(context, known, end).await?,
        None => context.memory.reported.is_over(&known.name, DOUBTFUL),
    }
    Ok(if closely { Looked::Closely } else { Looked::Briefly })
}

/// Whether files of the dataset have rules of their own, and whether one of these cannot be placed again.
async fn own_files(
    context: &Context,
    dataset: &Did,
    lists: &mut own_rules::Lists,
) -> Result<(bool, Option<Unsettled>), StageError> {
    let first_copy_rule = context.ledger.first_copy_rule(dataset).await?;
    Ok(match own_rules::mend(context, dataset, first_copy_rule.as_deref(), lists).await? {
        OwnRules::None => (false, None),
        OwnRules::Stand => (true, None),
        OwnRules::Refused { lfn, error } => {
            let words = format!("no rule can be placed again on the further copies of {lfn}: {error}");
            (true, Some(Unsettled { cause: Cause::RuleRefused, words }))
        }
    })
}

/// The settled rule, and what it and the first-copy rule hold if there is reason to ask; `None`: all is as it was.
async fn further(
    context: &Context,
    known: &Watched,
    rules: &[Rule],
    first: RuleStanding,
    settled_rule: &str,
) -> Result<Option<Turn>, StageError> {
    let dataset = known.did();
    let found = standing(context, rules, Some(settled_rule)).await?;
    let s_is_gone = settled::is_gone(context, &dataset, settled_rule, found).await?;
    let stand = first != RuleStanding::Gone && !s_is_gone && known.settled_at.is_some();
    if stand && have_all_locks(context, known, rules).await? {
        return Ok(None);
    }
    let mut end = hold_all(context, &dataset).await?;
    if matches!(end, Turn::Going) {
        end = hold_all(context, &dataset).await?;
    }
    Ok(Some(end))
}

/// Whether both rules count as many locks as they must have. A file that was detached from its dataset has none any more, and
/// the rules look as before.
async fn have_all_locks(context: &Context, known: &Watched, rules: &[Rule]) -> Result<bool, StageError> {
    let files = context.ledger.held_by_dataset(&known.did()).await?;
    let is_short = |rule: &Rule| {
        rule.locks_ok + rule.locks_replicating + rule.locks_stuck < files.saturating_mul(u64::from(rule.copies))
    };
    let ids = [&known.first_copy_rule, &known.settled_rule];
    Ok(!rules.iter().any(|rule| ids.contains(&&Some(rule.id.clone())) && is_short(rule)))
}

/// Of a rule that should be among these. One that is not in the list is asked for by itself: a list may be empty for other
/// reasons.
async fn standing(context: &Context, rules: &[Rule], id: Option<&str>) -> Result<RuleStanding, StageError> {
    let Some(id) = id else { return Ok(RuleStanding::Gone) };
    match rules.iter().find(|rule| rule.id == id) {
        Some(rule) => Ok(standing_of(&context.config(), Some(rule))),
        None => rules::standing(context, id).await,
    }
}

async fn report(context: &Context, known: &Watched, end: Turn) -> Result<(), StageError> {
    let dataset = known.did();
    match end {
        Turn::Settled => {
            context.memory.reported.is_over(&known.name, DOUBTFUL);
            context.ledger.settled(&dataset).await?;
            tracing::info!(dataset = known.name, "the rules of the settled dataset hold all copies");
        }
        Turn::Stays(why) => {
            // settling may have found the same before, and said less of it
            let is_news = context.memory.reported.is_news(&known.name, DOUBTFUL);
            if is_news || known.unsettled.as_ref() != Some(&why.words) {
                context.metrics.rule_trouble("unheld");
                tracing::error!(
                    dataset = known.name,
                    scope = known.scope,
                    "the rules of a dataset do not hold all copies of its files, which Rucio may delete: {why}"
                );
            }
            context.ledger.unheld(&dataset, &why).await?;
        }
        Turn::Going | Turn::Moved | Turn::Braked(_) => {}
    }
    Ok(())
}

/// Whether the first-copy rule and one settled rule hold all copies of the released files without a rule of their own. If not,
/// a settled rule is placed where they lie.
pub(super) async fn hold_all(context: &Context, dataset: &Did) -> Result<Turn, StageError> {
    let config = context.config();
    let (own, files): (Vec<Resting>, Vec<Resting>) =
        context.ledger.resting(dataset).await?.into_iter().partition(|file| file.further_copies_rule.is_some());
    if files.is_empty() {
        return Ok(if own.is_empty() { Turn::Settled } else { Turn::Moved });
    }
    let copies = config.offsite.copies;
    let known = context.ledger.settlement(dataset).await?.settled_rule;
    let rules = match DatasetRules::ask(context, dataset, known.as_deref()).await? {
        Ok(rules) => rules,
        Err(why) => return Ok(Turn::Stays(why)),
    };
    let sites = Offsite::known(context).await?.known_sites();
    let mut held = Vec::new();
    for rule in &rules.settled {
        let facts = Facts::of(context, dataset, &rules, Some(rule), &files).await?;
        if all_held(&facts.files, copies, &sites) {
            if known.as_ref() != Some(&rule.id) {
                context.ledger.set_settled_rule(dataset, &rule.id).await?;
            }
            return Ok(if own.is_empty() { Turn::Settled } else { Turn::Moved });
        }
        held.push(facts.files);
    }
    let facts = Facts::of(context, dataset, &rules, None, &files).await?;
    let why = match plan(&facts.files, copies) {
        Ok(rule) => return place(context, dataset, &rule).await,
        Err(why) => why,
    };
    // what is wrong with some files keeps the others from nothing
    let sound: Vec<FileInRucio> = facts.files.into_iter().filter(|file| file.can_be_planned_for(copies)).collect();
    let is_sound = |file: &&FileInRucio| sound.iter().any(|sound| sound.lfn == file.lfn);
    let some_rule_holds_them = held.iter().any(|files| {
        let files: Vec<FileInRucio> = files.iter().filter(is_sound).cloned().collect();
        all_held(&files, copies, &sites)
    });
    if !some_rule_holds_them && let Ok(rule) = plan(&sound, copies) {
        place(context, dataset, &rule).await?;
    }
    Ok(Turn::Stays(why))
}

/// As settling asks it before a file's own rule ends. `sites`: the site of each RSE that says one.
fn all_held(files: &[FileInRucio], copies: Copies, sites: &BTreeMap<String, String>) -> bool {
    files.iter().all(|file| file.own_rule_may_go(copies, sites).is_ok())
}
