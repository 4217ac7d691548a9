//! The rules of datasets with released files, which nothing else asks about any more: do they stand, and hold both copies of
//! every released file?
//!
//! Rules are only placed and kept here, none ends, so no brake applies. Rule A is placed as ever, and Rucio may then choose
//! the copies that rule S holds. Rule S is therefore placed where rule A does not hold a copy, and only where that leaves
//! Rucio no choice; in any other case it is told.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::custody::Copies;
use crate::custody::settling::{Held, Unsettled, plan};
use crate::ledger::{Resting, Watched, now};
use crate::names::Did;
use crate::pipeline::offsite::Offsite;
use crate::pipeline::our_rules::{Standing, is_rule_a, is_rule_s};
use crate::pipeline::{Context, StageError, first_copies, mend};
use crate::rucio::{Kind, Rule};

use super::own_rules::{self, OwnRules};
use super::{DatasetRules, Facts, Turn, place};

/// Datasets asked about in one round, with one short question each: 28 800 a day at the usual pace.
const ROUND: i64 = 200;
/// What is told of a released file whose own rule Rucio refuses to take again.
const UNHELD: &str = "no rule can be placed again on the further copies of";
const UNSEEN: &str = "not looked at";
/// Datasets of one round whose locks are listed. The round ends there, and the next one begins there.
const CLOSER: usize = 16;

/// The last dataset that was looked at; the older ones are next. A restart begins with the newest.
#[derive(Debug, Default)]
pub(in crate::pipeline) struct Cursor(Mutex<Option<Watched>>);

impl Cursor {
    fn get(&self) -> Option<Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, last: Option<Watched>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }
}

/// Looks at some datasets.
pub(super) async fn round(context: &Context) -> Result<(), StageError> {
    let datasets = context.ledger.watched_datasets(context.watched.get().as_ref(), ROUND).await?;
    let whole = datasets.len() < usize::try_from(ROUND).unwrap_or(usize::MAX);
    let mut lists = own_rules::Lists::default();
    let mut closer = CLOSER;
    for known in datasets {
        if context.shutdown.is_cancelled() || closer == 0 {
            return Ok(());
        }
        let looked = look(context, &known, &mut lists).await;
        if looked.is_ok() {
            context.troubles.is_over(&known.name, UNSEEN);
        }
        match looked {
            Ok(Looked::Briefly) => {}
            Ok(Looked::Closely) => closer -= 1,
            // a dataset that Rucio does not answer for keeps no other from being looked at
            Err(error) if context.leaves_others(&error) => {
                if context.troubles.is_news(&known.name, UNSEEN) {
                    tracing::warn!(dataset = known.name, "the rules of the dataset are looked at later: {error}");
                }
            }
            Err(error) => return Err(error),
        }
        context.watched.set(Some(known));
    }
    if whole {
        context.watched.set(None);
    }
    Ok(())
}

enum Looked {
    Briefly,
    Closely,
}

/// Whether all rules stand; if not, or if that was so a while ago, what they hold.
async fn look(context: &Context, known: &Watched, lists: &mut own_rules::Lists) -> Result<Looked, StageError> {
    let dataset = known.did();
    let rules = match context.rucio.did_rules(&dataset).await {
        Ok(rules) => rules,
        Err(error) if error.kind() == Kind::NotFound => {
            tell(context, known, Turn::Stays(Unsettled("Rucio does not know the dataset".to_owned()))).await?;
            return Ok(Looked::Briefly);
        }
        Err(error) => return Err(error.into()),
    };
    let a = standing(context, &rules, known.rule_a.as_deref()).await?;
    match &known.rule_a {
        Some(rule) => mend::rule_a(context, &dataset, rule, a).await?,
        None => first_copies::place_rule(context, &dataset).await?,
    }
    let rule_a = context.ledger.rule_a(&dataset).await?;
    let some_own = match own_rules::mend(context, &dataset, rule_a.as_deref(), lists).await? {
        OwnRules::None => false,
        OwnRules::Stand => {
            if known.unsettled.as_ref().is_some_and(|why| why.starts_with(UNHELD)) {
                context.ledger.held_again(&dataset).await?;
            }
            true
        }
        OwnRules::Refused { lfn, error } => {
            tell(context, known, Turn::Stays(Unsettled(format!("{UNHELD} {lfn}: {error}")))).await?;
            return Ok(Looked::Closely);
        }
    };
    let Some(rule_s) = &known.rule_s else {
        return Ok(if some_own { Looked::Closely } else { Looked::Briefly });
    };
    let s = standing(context, &rules, Some(rule_s)).await?;
    let s_is_gone = mend::rule_s(context, &dataset, rule_s, s).await?;
    if a != Standing::Gone && !s_is_gone && known.settled_at.is_some() {
        return Ok(Looked::Briefly);
    }
    let mut end = hold_all(context, &dataset).await?;
    if matches!(end, Turn::Going) {
        end = hold_all(context, &dataset).await?;
    }
    tell(context, known, end).await?;
    Ok(Looked::Closely)
}

/// Of a rule that should be among these. One that is not in the list is asked for by itself: a list may be empty for other
/// reasons.
async fn standing(context: &Context, rules: &[Rule], id: Option<&str>) -> Result<Standing, StageError> {
    let Some(id) = id else { return Ok(Standing::Gone) };
    match rules.iter().find(|rule| rule.id == id) {
        Some(rule) => Ok(Standing::of(&context.config(), Some(rule))),
        None => Standing::ask(context, id).await,
    }
}

async fn tell(context: &Context, known: &Watched, end: Turn) -> Result<(), StageError> {
    let dataset = known.did();
    match end {
        Turn::Settled => {
            context.ledger.settled(&dataset).await?;
            tracing::info!(dataset = known.name, "the rules of the settled dataset hold all copies");
        }
        Turn::Stays(Unsettled(why)) => {
            if known.unsettled.as_ref() != Some(&why) {
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

/// Whether rule A and one rule S hold all copies of the released files without a rule of their own. If not, rule S is placed
/// where they lie.
pub(super) async fn hold_all(context: &Context, dataset: &Did) -> Result<Turn, StageError> {
    let config = context.config();
    let (own, files): (Vec<Resting>, Vec<Resting>) =
        context.ledger.resting(dataset).await?.into_iter().partition(|file| file.rule_b.is_some());
    if files.is_empty() {
        return Ok(if own.is_empty() { Turn::Settled } else { Turn::Moved });
    }
    let at = now();
    let rules = context.rucio.did_rules(dataset).await?;
    let Some(a) = rules.iter().find(|rule| is_rule_a(&config, rule)).cloned() else {
        return Ok(Turn::Stays(Unsettled("it has no permanent rule of ours for the first copies".to_owned())));
    };
    let known = context.ledger.settlement(dataset).await?.rule_s;
    let mut candidates: Vec<Rule> = rules.into_iter().filter(|rule| is_rule_s(&config, rule)).collect();
    candidates.sort_by_key(|rule| known.as_ref() != Some(&rule.id));
    let sites = Offsite::known(context).await?.known_sites();
    for s in candidates {
        let id = s.id.clone();
        let facts = Facts::of(context, dataset, &DatasetRules { a: a.clone(), s: Some(s), at }, &files).await?;
        if all_held(&facts.files, config.offsite.copies, &sites) {
            if known.as_ref() != Some(&id) {
                context.ledger.set_rule_s(dataset, &id).await?;
            }
            return Ok(if own.is_empty() { Turn::Settled } else { Turn::Moved });
        }
    }
    let facts = Facts::of(context, dataset, &DatasetRules { a, s: None, at }, &files).await?;
    match plan(&facts.files, config.offsite.copies) {
        Ok(rule) => place(context, dataset, rule).await,
        Err(why) => Ok(Turn::Stays(why)),
    }
}

/// As settling asks it before a file's own rule ends. `sites`: the site of each RSE that says one.
fn all_held(files: &[Held], copies: Copies, sites: &BTreeMap<String, String>) -> bool {
    files.iter().all(|file| file.own_rule_may_go(copies, sites).is_ok())
}
