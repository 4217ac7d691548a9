//! The daemon's client of storages, at those of the Rucio in miniature.

use crate::testkit::contract::copies_are_examined_at_their_storages;
use crate::testkit::contract::stack::Stack;

#[tokio::test]
async fn copies_are_examined_at_the_miniature() {
    copies_are_examined_at_their_storages(&Stack::miniature().await).await;
}
