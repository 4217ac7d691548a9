//! The stack of the contract tests of `crates/rucio-miniature`, for the one client that is the daemon's own: that of storages.

#[path = "../../crates/rucio-miniature/tests/contract/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../../crates/rucio-miniature/tests/contract/stack.rs"]
#[allow(dead_code)]
pub(crate) mod stack;

use std::time::Duration;

use dl0_ingest::storage::{Algorithm, Client, Settings};

use self::stack::{File, Stack};

const TIMEOUT: Duration = Duration::from_mins(2);

async fn examine(stack: &Stack, pfn: &str, file: &File) {
    let settings = Settings { ca_file: stack.ca_file.clone(), timeout: TIMEOUT, connect_timeout: TIMEOUT };
    let client = Client::new(&settings).unwrap();
    let crc = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, &file.content);
    let found = client.examine(pfn, &[Algorithm::Crc32c]).await.unwrap();
    assert_eq!((found.bytes, found.digest), (file.bytes, Some((Algorithm::Crc32c, format!("{crc:08x}")))));
    let found = client.examine(pfn, &[Algorithm::Adler32]).await.unwrap();
    assert_eq!(found.digest, Some((Algorithm::Adler32, file.adler32.clone())));
    let missing = client.examine(&format!("{pfn}.not"), &[Algorithm::Crc32c]).await.unwrap_err();
    assert!(!missing.is_transient(), "{missing}");
}

pub(crate) async fn copies_are_examined_at_their_storages(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    stack.rule(&[&dataset], "STORAGE-3").await;
    stack.rule(&[&file.name], "STORAGE-2").await;
    let both = async || (stack.off_site(&file.name).await == ["STORAGE-2", "STORAGE-3"]).then_some(());
    stack.eventually("both copies", both).await;
    for rse in ["STORAGE-2", "STORAGE-3"] {
        examine(stack, &stack.pfn(rse, &file.name).await, &file).await;
    }
}
