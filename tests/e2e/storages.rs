//! The daemon's client of storages, at real ones.

use crate::testkit::contract::copies_are_examined_at_their_storages;
use crate::testkit::contract::stack::Stack;

#[tokio::test]
async fn copies_are_examined_at_the_real_stack() {
    copies_are_examined_at_their_storages(&Stack::real().await).await;
}
