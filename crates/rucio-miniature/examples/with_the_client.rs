//! Starts a miniature Rucio, registers a file with `rucio-client`, has it copied, and looks at the copy.

use std::error::Error;
use std::sync::Arc;

use rucio_client::login::{Secret, Userpass};
use rucio_client::{Attachment, Child, Client, CollectionKind, Did, Grouping, NewCollection, NewRule, Settings};
use rucio_miniature::{Event, Miniature, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let miniature = Miniature::start(Options::new(directory.path())).await?;
    println!("Rucio at {}", miniature.url());

    let login = Userpass { username: "ingest".to_owned(), password: Secret::new("ingestpw") };
    let rucio = Client::new(Settings::new(miniature.url().clone(), "ingest", login), Arc::new(()))?;

    let (dataset, file) = (Did::new("test", "/ctao/test/d"), Did::new("test", "/ctao/test/d/hello"));
    let path = miniature.path(&file, "STORAGE-1").ok_or("no such RSE")?;
    std::fs::create_dir_all(path.parent().ok_or("no directory")?)?;
    std::fs::write(path, "hello\n")?;
    rucio.add_collections(&[NewCollection { did: dataset.clone(), kind: CollectionKind::Dataset }]).await?;
    let child =
        Child { did: file.clone(), bytes: Some(6), adler32: Some(0x084b_021f.into()), meta: serde_json::Map::new() };
    rucio.attach(&[Attachment { parent: dataset, rse: Some("STORAGE-1".to_owned()), children: vec![child] }]).await?;

    let rule = NewRule {
        dids: vec![file.clone()],
        copies: 1,
        rse_expression: "OFFSITE".to_owned(),
        source_replica_expression: None,
        grouping: Grouping::Dataset,
        lifetime: None,
        activity: None,
        comment: None,
        meta: None,
    };
    let id = rucio.add_rules(&rule).await?.remove(0);
    let is_there = |event: &Event| matches!(event, Event::Available { did, .. } if *did == file);
    miniature.until(|history| history.iter().any(|entry| is_there(&entry.event))).await;
    for lock in rucio.rule_locks(&id).await? {
        let copy = miniature.path(&lock.did, &lock.rse).ok_or("no such RSE")?;
        println!("{} at {}: {:?}, {:?}", lock.did, lock.rse, lock.state, std::fs::read_to_string(copy)?);
    }
    miniature.shutdown().await;
    Ok(())
}
