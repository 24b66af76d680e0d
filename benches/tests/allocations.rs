//! Compares the allocations of a hit with those of a server that answers the same messages with a constant.

use allocation_counter::measure;
use bytes::Bytes;
use elastauth_bench::messages::{check, framed};
use elastauth_bench::{Grpc, call, hit, lean};
use futures_util::FutureExt as _;

/// The allocations of one call, after ten others so that caches and tables are filled.
async fn allocations(mut service: impl Grpc, headers: usize) -> u64 {
    let message = Bytes::from(framed(&check(&hit::token(), headers)));
    call::many(&mut service, &message, 10).await;
    let mut one = || call::one(&mut service, &message).now_or_never().map(drop);
    let mut answered = None;
    let info = measure(|| answered = one());
    assert!(answered.is_some(), "a hit waits for nothing");
    info.count_total
}

/// The generated server puts the future of a method into a box, and that into another; the lean twin has neither.
const BOXES: u64 = 2;

#[tokio::test]
async fn a_hit_allocates_nothing_beyond_what_tonic_does_and_nothing_for_each_header() {
    for headers in [20, 60] {
        let (lean, hit) = (allocations(lean(), headers).await, allocations(hit::service(), headers).await);
        assert_eq!(hit, lean + BOXES, "with {headers} headers");
    }
}
