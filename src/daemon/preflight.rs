//! Start-up checks: is Rucio as the daemon needs it?
//!
//! What waiting may mend (Rucio is down) is waited for; what only a person can mend ends the daemon with plain words.

mod closed;
mod doors;
mod scopes;
mod tools;

use std::collections::BTreeMap;
use std::time::Duration;

use self::doors::Doors;
use crate::config::Config;
use crate::engine::Context;
use crate::rules::{Offsite, no_site, no_tombstone_delay, on_site_matched};
use crate::telemetry::health::Need;
use rucio_client::Kind;

/// Something a person must mend, in words: what, where, and the remedy.
pub type Problem = String;

/// What the checks have found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Without their mending the daemon cannot do its work.
    pub problems: Vec<Problem>,
    /// What should be mended, and keeps nothing from working.
    pub warnings: Vec<Problem>,
    /// What is closed or out of reach at single RSEs, by name: usually for a while, and files wait for it.
    pub closed: BTreeMap<String, Vec<Problem>>,
    /// Where the doors of RSEs lead.
    pub(crate) doors: Doors,
}

impl Found {
    /// Everything but the problems, in words.
    pub fn all_warnings(&self) -> impl Iterator<Item = String> {
        let closed = self.closed.iter().flat_map(|(rse, all)| all.iter().map(move |what| format!("{rse}: {what}")));
        self.warnings.iter().cloned().chain(closed)
    }
}

/// Between two attempts while Rucio does not answer.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two attempts while Rucio does not know us: each may count as an attack.
const LOGIN_AGAIN: Duration = Duration::from_secs(30);

/// Checks until Rucio answers, and knows us. Meanwhile files are taken in and verified.
pub async fn until_passed(context: &Context) -> Result<Found, Vec<Problem>> {
    let mut said = None;
    loop {
        // a login that is refused is waited for like a Rucio that is away: the night is taken in either way
        let found = match context.rucio.authenticate().await {
            Ok(()) => ask(&context.rucio, &context.config()).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => {
                for warning in found.all_warnings() {
                    tracing::warn!("{warning}");
                }
                context.health.set(Need::Rucio, Ok(()));
                if found.problems.is_empty() {
                    context.metrics.rucio_up(true);
                    return Ok(found);
                }
                context.health.set(Need::RucioSettings, Err(found.problems.join("; ")));
                return Err(found.problems);
            }
            Err(error) => {
                context.health.set(Need::Rucio, Err(error.to_string()));
                context.metrics.rucio_up(false);
                let lasts = !error.is_transient();
                if said.replace(lasts) != Some(lasts) {
                    if lasts {
                        tracing::error!(
                            "{error}; files are taken in and verified, and nothing is registered until it is mended"
                        );
                    } else {
                        tracing::warn!("{error}; files are taken in and verified meanwhile");
                    }
                }
                tokio::time::sleep(if lasts { LOGIN_AGAIN } else { AGAIN }).await;
            }
        }
    }
}

/// All that is found, or the error that kept us from looking.
pub async fn check(rucio: &rucio_client::Client, config: &Config) -> Result<Found, rucio_client::Error> {
    let problems = lasting(rucio.authenticate().await.map(|()| Vec::new()))?;
    // without a login there is nothing more to ask
    if problems.is_empty() { ask(rucio, config).await } else { Ok(Found { problems, ..Found::default() }) }
}

/// What there is to ask once Rucio knows us.
pub(super) async fn ask(rucio: &rucio_client::Client, config: &Config) -> Result<Found, rucio_client::Error> {
    let mut found = Found::default();
    let of_the_site = lasting(on_site(rucio, config, &mut found.warnings).await)?;
    found.problems.extend(of_the_site);
    found.problems.extend(lasting(rights(rucio, config).await)?);
    let of_data_centres = lasting(off_site(rucio, config, &mut found).await)?;
    found.problems.extend(of_data_centres);
    found.warnings.extend(lasting(scopes::missing(rucio, config).await)?);
    Ok(found)
}

/// An error that waiting does not mend is a problem found.
fn lasting(found: Result<Vec<Problem>, rucio_client::Error>) -> Result<Vec<Problem>, rucio_client::Error> {
    match found {
        Err(error) if !error.is_transient() => Ok(vec![error.to_string()]),
        found => found,
    }
}

async fn on_site(
    rucio: &rucio_client::Client,
    config: &Config,
    warnings: &mut Vec<Problem>,
) -> Result<Vec<Problem>, rucio_client::Error> {
    let rse = &config.onsite_rse;
    let attributes = match rucio.rse_attributes(rse).await {
        Err(error) if error.kind() == Kind::NotFound => {
            return Ok(vec![format!("the on-site RSE '{rse}' does not exist in Rucio; check onsite_rse")]);
        }
        answer => answer?,
    };
    warnings.extend(tools::invited(rse, &attributes));
    Ok(no_tombstone_delay(rse, &attributes).err().into_iter().collect())
}

async fn rights(rucio: &rucio_client::Client, config: &Config) -> Result<Vec<Problem>, rucio_client::Error> {
    let account = &config.rucio.account;
    let admin = rucio.account_attributes(account).await?.get("admin").is_some_and(|value| match value {
        serde_json::Value::Bool(admin) => *admin,
        serde_json::Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    });
    if admin || account == "root" {
        return Ok(Vec::new());
    }
    Ok(vec![format!(
        "the Rucio account '{account}' lacks the attribute admin=True: without it Rucio refuses to end the rules that \
         protect on-site copies; have it set (rucio account attribute add)"
    )])
}

async fn off_site(
    rucio: &rucio_client::Client,
    config: &Config,
    found: &mut Found,
) -> Result<Vec<Problem>, rucio_client::Error> {
    let (expression, copies) = (&config.offsite.expression, config.offsite.copies.get());
    let offsite = match Offsite::ask(rucio, config).await {
        Ok(offsite) => offsite,
        // in operation RSEs may come back; at the start it is a slip of the pen that waiting does not mend
        Err(error) if error.is_transient() && error.kind() != Kind::NoTarget => return Err(error),
        Err(error) => return Ok(vec![format!("offsite.expression '{expression}': {error}")]),
    };
    found.warnings.extend(offsite.oddities());
    let mut settings = BTreeMap::new();
    for rse in offsite.rses().chain([config.onsite_rse.as_str()]) {
        settings.insert(rse.to_owned(), rucio.rse_settings(rse).await?);
    }
    found.closed = closed::look(config, &offsite, &settings);
    found.doors = Doors::of(&settings).await;
    found.warnings.extend(found.doors.same.iter().map(|((one, other), why)| {
        format!("the RSEs {one} and {other} lead to one storage ({why}): copies at both count as one")
    }));
    let mut problems = Vec::new();
    if offsite.matches_on_site {
        problems.push(on_site_matched(config));
    }
    let attribute = &config.offsite.distinct_by;
    match &offsite.on_site {
        None => problems.push(no_site(config)),
        Some(site) => {
            for rse in &offsite.on_the_mountain {
                problems.push(format!(
                    "offsite.expression '{expression}' also matches {rse}, which is at the site of the on-site RSE {} \
                     ({attribute}={site}): a copy there is none off the mountain; exclude it",
                    config.onsite_rse
                ));
            }
        }
    }
    let sites = offsite.distinct_sites();
    if sites < copies as usize {
        let rses: Vec<&str> = offsite.rses().collect();
        problems.push(format!(
            "offsite.expression '{expression}' matches {sites} site(s) besides the on-site RSE ({}), {copies} are needed \
             before an on-site copy may go; mend the expression or the RSEs' attributes",
            if rses.is_empty() { "no RSE".to_owned() } else { rses.join(", ") }
        ));
    }
    Ok(problems)
}
