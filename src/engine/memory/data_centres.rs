//! What Rucio said of the data centres a moment ago, for looks that decide no release.

use std::sync::{Arc, Mutex};

use super::lock;
use crate::clock::{last_set, now};
use crate::config::Config;
use crate::custody::UnixMillis;

/// For so long, in milliseconds.
const LATELY: i64 = 60_000;

/// The RSEs of the off-site expression, each with its site, and the site of the on-site RSE, as Rucio gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DataCentres {
    pub(crate) rses: Vec<(String, Option<String>)>,
    pub(crate) on_site: Option<String>,
}

/// The last answer, if it may still be used.
#[derive(Debug, Default)]
pub(crate) struct Lately(Mutex<Option<Answer>>);

#[derive(Debug)]
struct Answer {
    said: DataCentres,
    /// When it was asked for.
    at: UnixMillis,
    /// By these settings. Whoever reads the configuration again makes new ones.
    config: Arc<Config>,
}

impl Answer {
    fn holds(&self, config: &Arc<Config>, now: UnixMillis) -> bool {
        Arc::ptr_eq(&self.config, config) && (0..LATELY).contains(&(now - self.at)) && self.at > last_set()
    }
}

impl Lately {
    /// What Rucio said lately, by these settings.
    pub(crate) fn said(&self, config: &Arc<Config>) -> Option<DataCentres> {
        lock(&self.0).as_ref().filter(|answer| answer.holds(config, now())).map(|answer| answer.said.clone())
    }

    /// An answer, and when it was asked for.
    pub(crate) fn remember(&self, config: &Arc<Config>, at: UnixMillis, said: DataCentres) {
        *lock(&self.0) = Some(Answer { said, at, config: Arc::clone(config) });
    }

    /// Rucio is asked again, and may answer badly or otherwise.
    pub(crate) fn forget(&self) {
        *lock(&self.0) = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn an_answer_holds_for_a_minute_and_by_the_settings_it_was_asked_by() {
        let text = "data_path: /tmp\nonsite_rse: S\noffsite: {expression: O}\nrucio: {url: 'https://r', account: a}\n";
        let config = Arc::new(Config::parse(text, Path::new("c.yaml")).unwrap().config);
        let said = DataCentres { rses: vec![("A".to_owned(), Some("PIC".to_owned()))], on_site: None };
        let lately = Lately::default();
        assert_eq!(lately.said(&config), None);
        lately.remember(&config, now(), said.clone());
        assert_eq!(lately.said(&config), Some(said.clone()));
        assert_eq!(lately.said(&Arc::new((*config).clone())), None, "read again");
        lately.forget();
        assert_eq!(lately.said(&config), None);
        for (age, holds) in [(0, true), (LATELY - 1000, true), (LATELY + 1, false), (-1000, false)] {
            let at = 1_000_000;
            let answer = Answer { said: said.clone(), at, config: Arc::clone(&config) };
            assert_eq!(answer.holds(&config, at + age), holds, "{age}");
        }
    }
}
