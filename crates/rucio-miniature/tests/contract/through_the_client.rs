//! The same Rucio through `rucio-client`: a file's whole road, and the refusals that it tells apart.

use std::sync::Arc;
use std::time::Duration;

use rucio_client::login::{Secret, Userpass};
use rucio_client::{
    Attachment, Child, Client, CollectionKind, Did, Grouping, Kind, LockState, NewCollection, NewRule, ReplicaQuery,
    ReplicaState, Retry, RuleState, Settings,
};
use serde_json::{Map, json};

use crate::stack::{File, ONSITE, SCOPE, Stack, fresh_name};
use crate::storage::crc32c;

const TIMEOUT: Duration = Duration::from_mins(2);

fn client(stack: &Stack, account: &str, password: &str) -> Client {
    let login = Userpass { username: account.to_owned(), password: Secret::new(password) };
    let settings = Settings {
        ca_file: stack.ca_file.clone(),
        timeout: TIMEOUT,
        connect_timeout: TIMEOUT,
        max_in_flight: 4,
        retry: Retry { initial: Duration::from_millis(100), max: Duration::from_secs(1), budget: TIMEOUT },
        ..Settings::new(stack.url.parse().unwrap(), account, login)
    };
    Client::new(settings, Arc::new(())).unwrap()
}

fn ingest(stack: &Stack) -> Client {
    client(stack, "ingest", stack.password("ingest"))
}

fn did(name: &str) -> Did {
    Did::new(SCOPE, name)
}

fn attachment(dataset: &str, file: &File, meta: Map<String, serde_json::Value>) -> Attachment {
    let child = Child { did: did(&file.name), bytes: Some(file.bytes), adler32: file.adler32.parse().ok(), meta };
    Attachment { parent: did(dataset), rse: Some(ONSITE.to_owned()), children: vec![child] }
}

fn rule(name: &str, expression: &str, source: Option<&str>) -> NewRule {
    NewRule {
        dids: vec![did(name)],
        copies: 1,
        rse_expression: expression.to_owned(),
        source_replica_expression: source.map(str::to_owned),
        grouping: Grouping::Dataset,
        lifetime: None,
        activity: None,
        comment: Some("contract".to_owned()),
        meta: Some(serde_json::json!({"contract": "signed"})),
    }
}

pub(crate) async fn a_file_goes_its_whole_road(stack: &Stack) {
    let rucio = ingest(stack);
    rucio.authenticate().await.unwrap();
    assert_eq!(rucio.account_attributes("ingest").await.unwrap()["admin"], true);
    assert_eq!(rucio.list_rses("OFFSITE").await.unwrap().len(), 2);
    assert_eq!(rucio.rse_attributes(ONSITE).await.unwrap()["site"], "LAPALMA");

    let dataset = fresh_name();
    let file = stack.write_file(&dataset, "road.fits");
    let new = [NewCollection { did: did(&dataset), kind: CollectionKind::Dataset }];
    rucio.add_collections(&new).await.unwrap();
    let meta = json!({"obs_id": 7}).as_object().unwrap().clone();
    rucio.attach(&[attachment(&dataset, &file, meta.clone())]).await.unwrap();
    assert_eq!(rucio.content(&did(&dataset)).await.unwrap(), [did(&file.name)]);
    assert_eq!(rucio.did(&did(&file.name)).await.unwrap().adler32, file.adler32.parse().ok());
    assert_eq!(rucio.metadata(&[did(&file.name)]).await.unwrap()[&did(&file.name)], meta);

    let above = fresh_name();
    rucio.add_collections(&[NewCollection { did: did(&above), kind: CollectionKind::Container }]).await.unwrap();
    let child = Child { did: did(&dataset), bytes: None, adler32: None, meta: Map::new() };
    let into_container = [Attachment { parent: did(&above), rse: None, children: vec![child] }];
    rucio.attach(&into_container).await.unwrap();
    rucio.attach(&[attachment(&dataset, &file, meta.clone())]).await.unwrap();
    // servers before 38 refuse a collection that is attached already, with an error of its own that changes nothing
    if let Err(error) = rucio.attach(&into_container).await {
        assert_eq!(error.kind(), Kind::AlreadyExists, "{error}");
    }
    assert_eq!(rucio.content(&did(&above)).await.unwrap(), [did(&dataset)]);

    let keep = rucio.add_rules(&rule(&file.name, ONSITE, None)).await.unwrap().remove(0);
    let first = rucio.add_rules(&rule(&dataset, "STORAGE-3", None)).await.unwrap().remove(0);
    let done = async |id: &str| {
        let rule = rucio.rule(id).await.unwrap();
        (rule.state == RuleState::Ok && rule.locks_ok == 1).then_some(())
    };
    stack.eventually("the first copy", async || done(&first).await).await;
    let second = rule(&file.name, r"OFFSITE\STORAGE-3", Some("STORAGE-3"));
    let second = rucio.add_rules(&second).await.unwrap().remove(0);
    stack.eventually("the second copy", async || done(&second).await).await;
    let locks = rucio.rule_locks(&second).await.unwrap();
    assert_eq!((locks.len(), locks[0].rse.as_str(), locks[0].state), (1, "STORAGE-2", LockState::Ok));
    assert_eq!(rucio.did_rules(&did(&file.name)).await.unwrap().len(), 2);

    let dids = [did(&file.name), did(&fresh_name())];
    let schemes = ["davs", "https", "dav", "http"];
    let query = ReplicaQuery { dids: &dids, rse_expression: Some("OFFSITE"), all_states: true, schemes: &schemes };
    let listing = rucio.replicas(&query).await.unwrap();
    assert_eq!((listing.len(), listing[0].bytes), (1, file.bytes));
    assert_eq!(listing[0].states.values().collect::<Vec<_>>(), [&ReplicaState::Available; 2]);
    for pfns in listing[0].pfns.values() {
        examine(stack, &pfns[0], &file).await;
    }

    rucio.end_rule(&keep, || true).await.unwrap();
    stack.eventually("the on-site file is gone", async || (!file.path.exists()).then_some(())).await;
    assert_eq!(rucio.replicas(&query).await.unwrap()[0].states.len(), 2);
}

async fn examine(stack: &Stack, pfn: &str, file: &File) {
    let storage = stack.storage_at(pfn);
    for (wanted, value) in [("crc32c", crc32c(&file.content)), ("adler32", file.adler32.clone())] {
        let answer = storage.head(wanted).await.expect(200);
        assert_eq!(answer.header("content-length"), file.bytes.to_string());
        assert_eq!(answer.header("digest"), format!("{wanted}={value}"));
    }
    stack.storage_at(&format!("{pfn}.not")).head("crc32c").await.expect(404);
}

pub(crate) async fn refusals_are_told_apart(stack: &Stack) {
    let rucio = ingest(stack);
    let (dataset, [file, other]) = stack.registered().await;
    let mut changed = file.clone();
    changed.bytes += 1;
    let mismatch = rucio.attach(&[attachment(&dataset, &changed, Map::new())]).await.unwrap_err();
    assert_eq!(mismatch.kind(), Kind::ConsistencyMismatch, "{mismatch}");
    let again = [NewCollection { did: did(&dataset), kind: CollectionKind::Dataset }];
    assert_eq!(rucio.add_collections(&again).await.unwrap_err().kind(), Kind::AlreadyExists);
    let nowhere = attachment(&fresh_name(), &other, Map::new());
    assert_eq!(rucio.attach(&[nowhere]).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(rucio.did(&did(&fresh_name())).await.unwrap_err().kind(), Kind::NotFound);
    rucio.add_rules(&rule(&file.name, ONSITE, None)).await.unwrap();
    let twice = rucio.add_rules(&rule(&file.name, ONSITE, None)).await.unwrap_err();
    assert_eq!((twice.kind(), twice.is_transient()), (Kind::DuplicateRule, false));
    let many = NewRule { copies: 9, ..rule(&file.name, "OFFSITE", None) };
    assert_eq!(rucio.add_rules(&many).await.unwrap_err().kind(), Kind::NoTarget);

    let plain = client(stack, "plain", stack.password("plain"));
    let denied = plain.attach(&[attachment(&dataset, &other, Map::new())]).await.unwrap_err();
    assert_eq!((denied.kind(), denied.is_transient()), (Kind::Forbidden, false));
    let stranger = client(stack, "ingest", "wrong").authenticate().await.unwrap_err();
    assert_eq!((stranger.kind(), stranger.is_transient()), (Kind::Login, false));
}
