//! The daemon's client of storages on a miniature Rucio and, with the feature `testbed`, on the real stack that `TESTBED`
//! names. How Rucio itself behaves is `crates/rucio-miniature/tests/contract`'s matter.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../../crates/rucio-miniature/tests/contract/client.rs"]
#[allow(dead_code)]
mod client;
#[path = "../../crates/rucio-miniature/tests/contract/stack.rs"]
#[allow(dead_code)]
mod stack;

use std::time::Duration;

use dl0_ingest::storage::{Algorithm, Client, Settings};

use stack::{File, Stack};

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

async fn copies_are_examined_at_their_storages(stack: &Stack) {
    let (dataset, [file]) = stack.registered().await;
    stack.rule(&[&dataset], "STORAGE-3").await;
    stack.rule(&[&file.name], "STORAGE-2").await;
    let both = async || (stack.off_site(&file.name).await == ["STORAGE-2", "STORAGE-3"]).then_some(());
    stack.eventually("both copies", both).await;
    for rse in ["STORAGE-2", "STORAGE-3"] {
        examine(stack, &stack.pfn(rse, &file.name).await, &file).await;
    }
}

#[tokio::test]
async fn copies_are_examined_at_the_miniature() {
    copies_are_examined_at_their_storages(&Stack::miniature().await).await;
}

#[cfg(feature = "testbed")]
#[tokio::test]
async fn copies_are_examined_at_the_real_stack() {
    copies_are_examined_at_their_storages(&Stack::real().await).await;
}
