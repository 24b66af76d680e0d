//! A process that is told to end while something is under way that no request waits for any more.

use std::time::{Duration, Instant};

use elastauth_support::check::{Answer, Checker, bearer};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::issuer::Issuer;
use elastauth_support::process::until;
use elastauth_support::servers::{Elastauth, Redis, config, redis_cache};
use tonic::Request;

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_outlived_its_request_is_finished_before_the_end_and_another_replica_serves_at_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
    let (mut ending, other) = (Elastauth::start(elastauth!(), &yaml), Elastauth::start(elastauth!(), &yaml));
    let (at_ending, at_other) = (Checker::connect(&ending.grpc).await, Checker::connect(&other.grpc).await);
    // longer than the process serves on (`drain`, 3 s), and shorter than a write may take (`elasticsearch.write_timeout`, 5 s)
    elasticsearch.fail(Faults { delay: Duration::from_secs(4), ..Faults::default() });
    let token = issuer.token("ann", &["admins"]);
    let mut request = Request::new(bearer(&token));
    request.set_timeout(Duration::from_millis(500));
    // on a busy machine the client's own time-out may come first
    if let Ok(reply) = at_ending.call("/envoy.service.auth.v3.Authorization/Check", request).await {
        assert_eq!(Answer::read(&reply), Answer::Denied(503));
    }
    until("the write", async || elasticsearch.puts().len() == 1).await;
    ending.process.terminate();
    ending.process.wait_for_line(0, &["Stopping"]);
    assert!(ending.process.wait().success());
    assert_eq!(elasticsearch.open_puts(), 0);

    let began = Instant::now();
    let answer = at_other.ask(&token).await;
    assert_eq!(answer.password(), Some(elasticsearch.user("ann").unwrap().password.as_str()), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(2), "it waited for no lease: {:?}", began.elapsed());
    assert_eq!(elasticsearch.puts().len(), 1);
    ending.process.wait_for_line(0, &["Waiting for users", "\"tasks\":1"]);
    assert!(!ending.process.lines().iter().any(|line| line.contains("Ending with")), "it ends with the write");
}
