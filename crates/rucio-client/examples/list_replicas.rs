//! Where a DID's replicas are: `list_replicas SCOPE:NAME [RSE-EXPRESSION]`.
//!
//! Reads `RUCIO_URL`, `RUCIO_ACCOUNT`, `RUCIO_PASSWORD` and, if it is set, `RUCIO_CA_FILE`.

use std::env;
use std::error::Error;
use std::sync::Arc;

use rucio_client::login::{Secret, Userpass};
use rucio_client::{Client, Did, ReplicaQuery, Settings};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let did = arguments.next().ok_or("name a DID: SCOPE:NAME")?;
    let (scope, name) = did.split_once(':').ok_or("a DID is SCOPE:NAME")?;
    let expression = arguments.next();

    let account = env::var("RUCIO_ACCOUNT")?;
    let login = Userpass { username: account.clone(), password: Secret::new(env::var("RUCIO_PASSWORD")?) };
    let mut settings = Settings::new(env::var("RUCIO_URL")?.parse()?, account, login);
    settings.ca_file = env::var_os("RUCIO_CA_FILE").map(Into::into);
    let rucio = Client::new(settings, Arc::new(()))?;

    let dids = [Did::new(scope, name)];
    let query = ReplicaQuery {
        dids: &dids,
        rse_expression: expression.as_deref(),
        all_states: true,
        schemes: &["davs", "https"],
    };
    for file in rucio.replicas(&query).await? {
        let adler32 = file.adler32.map_or_else(|| "unknown".to_owned(), |adler32| adler32.to_string());
        println!("{}  {} bytes  adler32 {adler32}", file.did, file.bytes);
        for (rse, state) in &file.states {
            println!("  {rse}  {state:?}");
            for pfn in file.pfns.get(rse).into_iter().flatten() {
                println!("    {pfn}");
            }
        }
    }
    Ok(())
}
