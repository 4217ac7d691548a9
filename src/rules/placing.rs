//! Placing rules, and finding those that were placed before a stop and never remembered.

use futures_util::stream::{self, StreamExt};

use crate::config::Config;
use crate::engine::{Context, StageError};
use crate::names::Did;
use rucio_client::{Grouping, Kind, NewRule, Rule, RuleId};

use super::signature::{OwnLedgers, signature};

/// Questions under way at once.
const QUESTIONS: usize = 8;

/// What became of the wish to have a rule.
#[derive(Debug)]
pub(super) enum Placed {
    /// It was placed now.
    New(RuleId),
    /// It was there.
    Found(Rule),
    /// It was there and is about to end; until it has, Rucio takes no other.
    Ending(Rule),
    /// One like it is there, and another ledger's.
    Others(Rule),
}

impl Placed {
    /// The rule that holds from now on; `None` while an earlier one ends, or if it is not ours.
    pub(super) fn standing(self) -> Option<RuleId> {
        match self {
            Self::New(id) => Some(id),
            Self::Found(rule) => Some(rule.id),
            Self::Ending(_) | Self::Others(_) => None,
        }
    }
}

/// A rule of ours as it is placed: without an end, for our activity. Its DIDs are those it is wanted on.
pub(super) fn permanent(
    config: &Config,
    comment: &str,
    copies: u32,
    rse_expression: String,
    grouping: Grouping,
) -> NewRule {
    NewRule {
        dids: Vec::new(),
        copies,
        rse_expression,
        source_replica_expression: None,
        grouping,
        lifetime: None,
        activity: config.rucio.rule_activity.clone(),
        comment: Some(comment.to_owned()),
        // signed when it is placed
        meta: None,
    }
}

/// A rule that is wanted on each of several files or datasets.
pub(super) struct RuleWanted<'w, T> {
    /// As it is placed; its DIDs are filled in.
    pub(super) rule: NewRule,
    /// What it is placed on.
    pub(super) did: fn(&T) -> Did,
    /// Whether a rule that Rucio has on it is the one that is wanted.
    pub(super) is_it: &'w (dyn Fn(&Rule) -> bool + Sync),
    /// Whether the ledger has this rule on record for it.
    pub(super) on_record: &'w (dyn Fn(&T, &str) -> bool + Sync),
    /// Whether that one is about to end.
    pub(super) ends: &'w (dyn Fn(&T, &Rule) -> bool + Sync),
}

/// Places the rule on all of them in one call. Rucio refuses that whole if it has such a rule on one of them
/// (`DuplicateRule`); then each is asked for, and only what is missing is placed.
///
/// What is left out of the answer is to be tried again: something was found or placed, and then Rucio answered badly. An
/// error means that nothing was.
pub(super) async fn place<T: Send>(
    context: &Context,
    wish: &RuleWanted<'_, T>,
    wanted: Vec<T>,
) -> Result<Vec<(T, Placed)>, StageError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let ledger = context.ledger.id().await?;
    match add(context, wish, &ledger, &wanted).await {
        Ok(ids) => return Ok(wanted.into_iter().zip(ids.into_iter().map(Placed::New)).collect()),
        Err(error) if error.kind() == Kind::DuplicateRule => {}
        Err(error) => return Err(error.into()),
    }
    let ours = OwnLedgers::of(&context.ledger).await?;
    let (mut placed, mut missing, mut trouble) = (Vec::new(), Vec::new(), None);
    let asked = wanted.into_iter().map(|one| {
        let did = (wish.did)(&one);
        async move { (context.rucio.did_rules(&did).await, one) }
    });
    let mut asked = stream::iter(asked).buffered(QUESTIONS);
    while let Some((rules, one)) = asked.next().await {
        let rules = match rules {
            Ok(rules) => rules,
            Err(error) => {
                trouble = Some(error);
                break;
            }
        };
        match rules.into_iter().find(|rule| (wish.is_it)(rule)) {
            Some(rule) if !(ours.have_placed(&rule) || (wish.on_record)(&one, &rule.id)) => {
                placed.push((one, Placed::Others(rule)));
            }
            Some(rule) if (wish.ends)(&one, &rule) => placed.push((one, Placed::Ending(rule))),
            Some(rule) => placed.push((one, Placed::Found(rule))),
            None => missing.push(one),
        }
    }
    if !missing.is_empty() {
        match add(context, wish, &ledger, &missing).await {
            Ok(ids) => placed.extend(missing.into_iter().zip(ids.into_iter().map(Placed::New))),
            Err(error) => trouble = Some(error),
        }
    }
    // what was found is remembered, or a large batch would never pass while some answers go wrong
    match trouble {
        Some(error) if placed.is_empty() => Err(error.into()),
        _ => Ok(placed),
    }
}

async fn add<T>(
    context: &Context,
    wish: &RuleWanted<'_, T>,
    ledger: &str,
    wanted: &[T],
) -> Result<Vec<RuleId>, rucio_client::Error> {
    let dids = wanted.iter().map(wish.did).collect();
    let rule = NewRule { dids, meta: Some(signature(ledger)), ..wish.rule.clone() };
    context.rucio.add_rules(&rule).await
}
