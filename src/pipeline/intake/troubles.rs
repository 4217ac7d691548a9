//! What goes wrong at the moment, so that each trouble is said once.

use std::collections::HashSet;

/// The troubles said since all was well.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    said: HashSet<String>,
    quiet: bool,
}

impl Troubles {
    /// Says a trouble, unless it was said since all was well: two that take turns are two lines, not a line each scan.
    pub(super) fn say(&mut self, trouble: &str) {
        if self.is_news(trouble) {
            tracing::error!(stage = "intake", "{trouble}");
        }
    }

    /// A scan begins, which meets every trouble again that still lasts.
    pub(super) fn listen(&mut self) {
        self.quiet = true;
    }

    /// A scan has ended. Only one without any trouble ends those said before.
    pub(super) fn scanned(&mut self) {
        if self.are_over() {
            tracing::info!(stage = "intake", "works again");
        }
    }

    fn is_news(&mut self, trouble: &str) -> bool {
        self.quiet = false;
        !self.said.contains(trouble) && self.said.insert(trouble.to_owned())
    }

    fn are_over(&mut self) -> bool {
        let over = self.quiet && !self.said.is_empty();
        if over {
            self.said.clear();
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_news_once_until_a_scan_without_any() {
        let mut troubles = Troubles::default();
        troubles.listen();
        assert!(!troubles.are_over());
        for round in 0..3 {
            troubles.listen();
            // these take turns
            let trouble = if round % 2 == 0 { "a cannot be read" } else { "b cannot be read" };
            assert_eq!(troubles.is_news(trouble), round < 2);
            assert!(!troubles.are_over());
        }
        troubles.listen();
        assert!(troubles.are_over());
        assert!(!troubles.are_over());
        assert!(troubles.is_news("a cannot be read"));
    }
}
