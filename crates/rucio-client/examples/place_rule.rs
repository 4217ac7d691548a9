//! Places a rule and looks how it stands: `place_rule SCOPE:NAME COPIES RSE-EXPRESSION`.
//!
//! Reads `RUCIO_URL`, `RUCIO_ACCOUNT`, `RUCIO_PASSWORD` and, if it is set, `RUCIO_CA_FILE`.

use std::env;
use std::error::Error;
use std::sync::Arc;

use rucio_client::login::{Secret, Userpass};
use rucio_client::{Client, Did, Grouping, Kind, NewRule, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [did, copies, expression] = arguments.as_slice() else {
        return Err("name a DID, a number of copies and an RSE expression".into());
    };
    let (scope, name) = did.split_once(':').ok_or("a DID is SCOPE:NAME")?;

    let account = env::var("RUCIO_ACCOUNT")?;
    let login = Userpass { username: account.clone(), password: Secret::new(env::var("RUCIO_PASSWORD")?) };
    let mut settings = Settings::new(env::var("RUCIO_URL")?.parse()?, account, login);
    settings.ca_file = env::var_os("RUCIO_CA_FILE").map(Into::into);
    let rucio = Client::new(settings, Arc::new(()))?;

    let rule = NewRule {
        dids: vec![Did::new(scope, name)],
        copies: copies.parse()?,
        rse_expression: expression.clone(),
        source_replica_expression: None,
        grouping: Grouping::Dataset,
        lifetime: None,
        activity: None,
        comment: Some("placed by an example of rucio-client".to_owned()),
        meta: None,
    };
    let ids = match rucio.add_rules(&rule).await {
        Ok(ids) => ids,
        // the same rule as before is as good as a new one
        Err(error) if error.kind() == Kind::DuplicateRule => {
            println!("there is such a rule already");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    for id in ids {
        let rule = rucio.rule(&id).await?;
        println!("rule {id}: {:?}", rule.state);
        for lock in rucio.rule_locks(&id).await? {
            println!("  {} at {}: {:?}", lock.did, lock.rse, lock.state);
        }
    }
    Ok(())
}
