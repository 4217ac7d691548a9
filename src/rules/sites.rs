//! The data centres as Rucio knows them now.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::custody::{Copies, folded, look_alike};
use crate::engine::memory::{DataCentres, Pair};
use crate::engine::{Context, StageError};
use crate::ledger::now;

/// The RSEs of the off-site expression that are not on the mountain, and the site of each.
#[derive(Clone, Debug)]
pub struct Offsite {
    sites: BTreeMap<String, Option<String>>,
    /// The sites as Rucio has them, where each may be written in several ways.
    written: BTreeMap<String, String>,
    /// The site of the on-site RSE, if it says one.
    pub on_site: Option<String>,
    /// RSEs of the expression at that site: nothing there is a copy off the mountain.
    pub on_the_mountain: BTreeSet<String>,
    /// Whether the expression also matches the on-site RSE: the rule for the first copy could then be satisfied by
    /// the file that is to go.
    pub matches_on_site: bool,
    on_site_rse: String,
    expression: String,
    distinct_by: String,
}

impl Offsite {
    /// Asks Rucio.
    pub async fn ask(rucio: &rucio_client::Client, config: &Config) -> Result<Self, rucio_client::Error> {
        Ok(Self::of(asked(rucio, config).await?, config))
    }

    fn of(said: DataCentres, config: &Config) -> Self {
        // by what is compared, the way of writing that was met first
        let mut spellings: BTreeMap<String, String> = BTreeMap::new();
        let mut spelling = |site: String| spellings.entry(folded(&site)).or_insert(site).clone();
        let on_site = said.on_site.map(&mut spelling);
        let (mut sites, mut written) = (BTreeMap::new(), BTreeMap::new());
        let (mut on_the_mountain, mut matches_on_site) = (BTreeSet::new(), false);
        for (rse, site) in said.rses {
            if rse == config.onsite_rse {
                matches_on_site = true;
                continue;
            }
            if let Some(site) = &site {
                written.insert(rse.clone(), site.clone());
            }
            match site.map(&mut spelling) {
                Some(site) if Some(&site) == on_site.as_ref() => drop(on_the_mountain.insert(rse)),
                site => drop(sites.insert(rse, site)),
            }
        }
        let (expression, distinct_by) = (config.offsite.expression.clone(), config.offsite.distinct_by.clone());
        let on_site_rse = config.onsite_rse.clone();
        Self { sites, written, on_site, on_the_mountain, matches_on_site, on_site_rse, expression, distinct_by }
    }

    /// For what rests on copies being off the mountain: that is known only if the on-site RSE says where it is. Asks Rucio,
    /// every time: an expression that matches other RSEs than a moment ago must be noticed.
    pub(crate) async fn known(context: &Context) -> Result<Self, StageError> {
        let config = context.config();
        // whatever goes wrong from here on, what was said before is not used any more
        context.memory.data_centres_lately.forget();
        let at = now();
        let said = asked(&context.rucio, &config).await?;
        let offsite = Self::of(said.clone(), &config);
        let shrunk = context.memory.data_centres.lacks_some(&offsite.names());
        if shrunk && Self::ask(&context.rucio, &config).await?.names() != offsite.names() {
            let why = format!(
                "two equal answers from Rucio about the RSEs of '{}' and their sites: the first lacked some that it has",
                config.offsite.expression
            );
            return Err(StageError::Wait(why));
        }
        context.memory.data_centres.remember(offsite.names());
        if offsite.on_site.is_none() {
            return Err(StageError::Setting(no_site(&config)));
        }
        if !shrunk && !offsite.matches_on_site {
            context.memory.data_centres_lately.remember(&config, at, said);
        }
        Ok(offsite.counting_each_storage_once(&context.memory.doors.same()))
    }

    /// Two doors to one storage are one place, wherever Rucio says that they are.
    fn counting_each_storage_once(mut self, same: &BTreeMap<Pair, String>) -> Self {
        for (one, other) in same.keys() {
            for (this, that) in [(one, other), (other, one)] {
                if *this == self.on_site_rse && self.sites.remove(that).is_some() {
                    self.on_the_mountain.insert(that.clone());
                }
            }
            let both = (self.site(one).map(str::to_owned), self.site(other).map(str::to_owned));
            if let (Some(kept), Some(given_up)) = both {
                // all that were at that place go with it, as they may be one with it as well
                self.sites
                    .values_mut()
                    .flatten()
                    .filter(|site| **site == given_up)
                    .for_each(|site| site.clone_from(&kept));
            }
        }
        self
    }

    /// As Rucio said within the last minute, if it did and nothing speaks against using it: for looks whose outcome gives
    /// nothing up, and holds nothing that is not looked at afresh.
    pub(crate) fn lately(context: &Context) -> Option<Self> {
        let config = context.config();
        context
            .memory
            .data_centres_lately
            .said(&config)
            .map(|said| Self::of(said, &config).counting_each_storage_once(&context.memory.doors.same()))
    }

    /// The RSEs, and each with its site.
    fn names(&self) -> BTreeSet<String> {
        let with_site = |(rse, site): (&String, &Option<String>)| Some(format!("{rse} at {}", site.as_ref()?));
        self.rses().map(str::to_owned).chain(self.sites.iter().filter_map(with_site)).collect()
    }

    /// The same, for files whose on-site copy is still to be given up: the on-site RSE must be none of the off-site ones.
    pub(crate) async fn now(context: &Context) -> Result<Self, StageError> {
        let offsite = Self::known(context).await?;
        if offsite.matches_on_site { Err(StageError::Setting(on_site_matched(&context.config()))) } else { Ok(offsite) }
    }

    /// Whether an RSE is one of them.
    pub fn contains(&self, rse: &str) -> bool {
        self.sites.contains_key(rse)
    }

    /// The site of an RSE, if it says one.
    pub fn site(&self, rse: &str) -> Option<&str> {
        self.sites.get(rse)?.as_deref()
    }

    /// The site of each RSE that says one.
    pub(crate) fn known_sites(&self) -> BTreeMap<String, String> {
        self.sites.iter().filter_map(|(rse, site)| Some((rse.clone(), site.clone()?))).collect()
    }

    /// RSEs that do not say their site.
    pub fn without_site(&self) -> Vec<&str> {
        self.sites.iter().filter(|(_, site)| site.is_none()).map(|(rse, _)| rse.as_str()).collect()
    }

    /// The RSEs.
    pub fn rses(&self) -> impl Iterator<Item = &str> {
        self.sites.keys().map(String::as_str)
    }

    /// How many sites there are.
    pub fn distinct_sites(&self) -> usize {
        let sites: BTreeSet<&str> = self.sites.values().flatten().map(String::as_str).collect();
        sites.len()
    }

    /// Whether there is any RSE where the copies after the first may go.
    pub(crate) fn is_elsewhere(&self, first: &str) -> bool {
        let near = self.site(first);
        self.sites.iter().any(|(rse, site)| rse != first && (near.is_none() || site.as_deref() != near))
    }

    /// How many copies are needed beside the first, which counts unless its RSE is no data centre any more.
    pub(crate) fn further_copies(&self, first: &str, required: Copies) -> u32 {
        required.get() - u32::from(self.site(first).is_some())
    }

    /// Where so many further copies go, each to a site of its own and none to the first one's. Those that are there, at
    /// `have`, are kept; without any, Rucio has a choice. Of a site with several RSEs `turn` says which one, since Rucio knows
    /// nothing of sites. `named`: by the names of RSEs in any case, in place of a rule that asks for anywhere else. An error
    /// says how many sites there are.
    pub(crate) fn further(
        &self,
        first: &str,
        have: &BTreeSet<String>,
        named: bool,
        copies: u32,
        turn: usize,
    ) -> Result<String, usize> {
        if copies == 1 && !named {
            return if self.is_elsewhere(first) { Ok(self.elsewhere_than(first)) } else { Err(self.distinct_sites()) };
        }
        let mut taken: BTreeSet<&str> = have.iter().filter_map(|rse| self.site(rse)).collect();
        taken.extend(self.site(first));
        let mut free: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (rse, site) in self.sites.iter().filter(|(rse, _)| *rse != first) {
            if let Some(site) = site.as_deref().filter(|site| !taken.contains(site)) {
                free.entry(site).or_default().push(rse);
            }
        }
        let missing = (copies as usize).saturating_sub(have.len());
        if free.len() < missing {
            return Err(self.distinct_sites());
        }
        let begin = if free.is_empty() { 0 } else { turn % free.len() };
        let choice = if have.is_empty() { free.len() } else { missing };
        let rses =
            free.values().cycle().skip(begin).take(choice).filter_map(|rses| rses.get(turn % rses.len()).copied());
        let chosen: BTreeSet<&str> = have.iter().map(String::as_str).chain(rses).collect();
        Ok(chosen.into_iter().collect::<Vec<_>>().join("|"))
    }

    /// Where the copies after the first may go: anywhere off site but at the first one's RSE and site.
    pub fn elsewhere_than(&self, first: &str) -> String {
        let mut base = format!("({})\\{first}", self.expression);
        if self.matches_on_site {
            base = format!("{base}\\{}", self.on_site_rse);
        }
        // an attribute's value with other letters cannot stand in an expression; the names of RSEs always can
        let written = self.written.get(first).filter(|site| site.chars().all(may_be_asked_for));
        if let Some(site) = written {
            base = format!("{base}\\({}={site})", self.distinct_by);
        }
        for (rse, site) in self.sites.iter().filter(|(rse, _)| *rse != first) {
            if site.is_some() && site.as_deref() == self.site(first) && self.written.get(rse) != written {
                base = format!("{base}\\{rse}");
            }
        }
        base
    }

    /// What an operator should know of the sites, and what keeps nothing from working.
    pub(crate) fn oddities(&self) -> Vec<String> {
        let attribute = &self.distinct_by;
        let siteless = self.without_site().into_iter().map(|rse| {
            format!(
                "the off-site RSE {rse} has no attribute '{attribute}', so its site is unknown, and no copy there counts; set \
                 it, or choose another offsite.distinct_by"
            )
        });
        let known: BTreeSet<&str> = self.sites.values().flatten().chain(&self.on_site).map(String::as_str).collect();
        let pairs = known.iter().flat_map(|one| known.range(*one..).skip(1).map(move |other| (one, other)));
        let alike = pairs.filter(|(one, other)| look_alike(one, other)).map(|(one, other)| {
            format!(
                "the sites '{one}' and '{other}' count as two: if they are one, copies at both count as one too many; \
                 give their RSEs the same '{attribute}'"
            )
        });
        siteless.chain(alike).collect()
    }
}

/// Letters of an attribute's value that Rucio's grammar of RSE expressions knows.
fn may_be_asked_for(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

/// An RSE expression for the off-site RSEs and the one on site.
pub fn with_on_site(config: &Config) -> String {
    format!("{}|({})", config.onsite_rse, config.offsite.expression)
}

/// A rule for copies off site waits while the file that is to go could satisfy it.
pub(crate) async fn leaves_out_the_site(context: &Context) -> Result<(), StageError> {
    let config = context.config();
    let matched = context.rucio.list_rses(&config.offsite.expression).await?.contains(&config.onsite_rse);
    if matched { Err(StageError::Setting(on_site_matched(&config))) } else { Ok(()) }
}

/// What is wrong when the on-site RSE does not say its site.
pub fn no_site(config: &Config) -> String {
    let (rse, attribute) = (&config.onsite_rse, &config.offsite.distinct_by);
    format!(
        "the on-site RSE {rse} has no attribute '{attribute}': a copy elsewhere cannot be told from one on the mountain; \
         set it (rucio rse attribute add)"
    )
}

/// What is wrong when the off-site expression matches the on-site RSE.
pub fn on_site_matched(config: &Config) -> String {
    let (rse, expression) = (&config.onsite_rse, &config.offsite.expression);
    let whole = if expression.contains(['|', '&', '\\']) { format!("({expression})") } else { expression.clone() };
    format!(
        "offsite.expression '{expression}' also matches the on-site RSE {rse}: the first-copy rule could be satisfied on site, without a \
         copy elsewhere; exclude it, e.g. '{whole}\\{rse}'"
    )
}

/// What Rucio says of the data centres and of the on-site RSE.
async fn asked(rucio: &rucio_client::Client, config: &Config) -> Result<DataCentres, rucio_client::Error> {
    let on_site = site_of(rucio, config, &config.onsite_rse).await?;
    let mut rses = Vec::new();
    for rse in rucio.list_rses(&config.offsite.expression).await? {
        let site = if rse == config.onsite_rse { on_site.clone() } else { site_of(rucio, config, &rse).await? };
        rses.push((rse, site));
    }
    Ok(DataCentres { rses, on_site })
}

async fn site_of(
    rucio: &rucio_client::Client,
    config: &Config,
    rse: &str,
) -> Result<Option<String>, rucio_client::Error> {
    let attributes = rucio.rse_attributes(rse).await?;
    let site = attributes.get(&config.offsite.distinct_by).filter(|value| !value.is_null()).map(|value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    Ok(site.filter(|site| !site.trim().is_empty()))
}
