//! How closely files are looked at is the operator's choice.

use std::io::Write as _;

use dl0_ingest::custody::State;
use dl0_ingest::fixity::{Depth, Options, examine};

use crate::testkit::fixture;
use crate::testkit::site::Site;

const NO_RELEASE: &str = "confirm: {hold: 200ms, poll: 50ms, poll_max: 200ms}\n";

/// Two neighbouring words of a payload change places, so that CHECKSUM and DATASUM stay right and only decompressing
/// the block tells.
fn spoilt() -> Vec<u8> {
    let original = fixture("SUBARRAY");
    let accepted = |bytes: &[u8], depth| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        examine(&file, &Options { depth, ..Options::default() }).unwrap().accepted()
    };
    let swapped = (0..original.len() - 8).step_by(4).map(|at| {
        let mut bytes = original.clone();
        bytes[at..at + 8].rotate_left(4);
        bytes
    });
    let mut found = swapped.filter(|bytes| accepted(bytes, Depth::Structure) && !accepted(bytes, Depth::Decode));
    found.next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_decoding_sees_is_rejected_where_the_operator_wants_it_decoded() {
    for (depth, end) in [("structure", State::Confirmed), ("decode", State::Rejected)] {
        let site = Site::new(&format!("verify: {{depth: {depth}}}\n{NO_RELEASE}")).await;
        let daemon = site.start();
        let lfn = site.deliver("a.fits.fz", &spoilt());
        let row = site.until_state(&lfn, end).await;
        assert_eq!(row.reason_code.as_deref(), (end == State::Rejected).then_some("zfits-decode"));
        daemon.stop().await;
    }
}
