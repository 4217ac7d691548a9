//! Which rules were boosted lately.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::lock;

/// Rucio's repairer leaves a rule alone that was touched in the last half hour, and every attachment touches the first-copy
/// rule. More often than this nothing is gained: a transfer that fails takes its four attempts.
const BOOST_AGAIN: Duration = Duration::from_mins(10);
/// Rules boosted within one such time. Those of single files are tried again by Rucio itself; hurrying thousands would
/// only keep it from its work.
const BOOSTS: usize = 200;

/// When each rule was boosted.
#[derive(Debug, Default)]
pub(crate) struct Boosts(Mutex<HashMap<String, Instant>>);

impl Boosts {
    /// Whether the rule may be boosted now; counts as done.
    pub(crate) fn is_due(&self, rule: &str) -> bool {
        let now = Instant::now();
        let mut boosted = lock(&self.0);
        boosted.retain(|_, at| now.duration_since(*at) < BOOST_AGAIN);
        boosted.len() < BOOSTS && !boosted.contains_key(rule) && boosted.insert(rule.to_owned(), now).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rule_is_boosted_once_in_a_while_and_not_too_many_at_once() {
        let boosts = Boosts::default();
        assert!(boosts.is_due("r"));
        assert!(!boosts.is_due("r"));
        let boosted = (0..2 * BOOSTS).filter(|n| boosts.is_due(&n.to_string())).count();
        assert_eq!(boosted, BOOSTS - 1);
        tokio::time::advance(BOOST_AGAIN).await;
        assert!(boosts.is_due("r"));
    }
}
