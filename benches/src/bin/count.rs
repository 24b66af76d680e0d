//! Runs checks in one thread and without a network, through tonic's service; `budget` counts its instructions.
//!
//! ```sh
//! count floor|lean|hit CHECKS HEADERS
//! ```

#![expect(clippy::expect_used, reason = "a measurement fails by panicking")]

use bytes::Bytes;
use elastauth_bench::messages::{check, framed};
use elastauth_bench::{call, floor, hit, lean};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |at: usize| arguments[at].parse::<usize>().expect("a number");
    let (checks, message) = (number(2), Bytes::from(framed(&check(&hit::token(), number(3)))));
    match arguments[1].as_str() {
        "floor" => call::many(floor(), &message, checks).await,
        "lean" => call::many(lean(), &message, checks).await,
        "hit" => call::many(hit::service(), &message, checks).await,
        name => panic!("no service {name}"),
    }
}
