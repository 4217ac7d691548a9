//! The data centres as Rucio knows them now.

use std::collections::BTreeMap;

use crate::config::Config;
use crate::rucio;

use super::Context;

/// The RSEs of the off-site expression, without the on-site one, and the site of each.
#[derive(Clone, Debug)]
pub struct Offsite {
    sites: BTreeMap<String, Option<String>>,
    /// Whether the expression also matches the on-site RSE: the rule for the first copy could then be satisfied by
    /// the file that is to go.
    pub matches_on_site: bool,
    expression: String,
    distinct_by: String,
}

impl Offsite {
    /// Asks Rucio, every time: an expression that matches other RSEs than yesterday must be noticed.
    pub async fn ask(rucio: &rucio::Client, config: &Config) -> Result<Self, rucio::Error> {
        let (mut sites, mut matches_on_site) = (BTreeMap::new(), false);
        for rse in rucio.list_rses(&config.offsite.expression).await? {
            if rse == config.onsite_rse {
                matches_on_site = true;
            } else {
                let attributes = rucio.rse_attributes(&rse).await?;
                let site = attributes.get(&config.offsite.distinct_by).map(|value| match value {
                    serde_json::Value::String(text) => text.clone(),
                    other => other.to_string(),
                });
                sites.insert(rse, site);
            }
        }
        let (expression, distinct_by) = (config.offsite.expression.clone(), config.offsite.distinct_by.clone());
        Ok(Self { sites, matches_on_site, expression, distinct_by })
    }

    pub(super) async fn now(context: &Context) -> Result<Self, rucio::Error> {
        Self::ask(&context.rucio, &context.config()).await
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
    pub(super) fn known_sites(&self) -> BTreeMap<String, String> {
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
        let sites: std::collections::BTreeSet<&str> = self.sites.values().flatten().map(String::as_str).collect();
        sites.len()
    }

    /// Where the copies after the first may go: anywhere off site but at the first one's RSE and site.
    pub fn elsewhere_than(&self, first: &str) -> String {
        let base = format!("({})\\{first}", self.expression);
        match self.site(first) {
            Some(site) => format!("{base}\\({}={site})", self.distinct_by),
            None => base,
        }
    }
}
