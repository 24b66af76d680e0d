//! No request is lost when replicas come and go: three of them behind a real Envoy with the shipped configuration, under load.

use std::time::Instant;

use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::issuer::Issuer;
use elastauth_support::load::Load;
use elastauth_support::process::{free_port, until};
use elastauth_support::servers::{Elastauth, Envoy, Redis, config, redis_cache};

const CLIENTS: usize = 32;

struct Fleet {
    yaml: String,
    replicas: Vec<Elastauth>,
    envoy: Envoy,
    elasticsearch: Elasticsearch,
    issuer: Issuer,
    _redis: Redis,
}

impl Fleet {
    async fn start() -> Option<Self> {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let redis = Redis::start(&[])?;
        let yaml = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
        let yaml = yaml.replace("log_level: debug", "log_level: info");
        let replicas: Vec<_> = (0..3).map(|_| start(&yaml, &format!("127.0.0.1:{}", free_port()))).collect();
        let addresses: Vec<_> = replicas.iter().map(|replica| replica.grpc.as_str()).collect();
        let envoy = Envoy::start_edited(&addresses, elasticsearch.address(), |text| text).await?;
        Some(Self { yaml, replicas, envoy, elasticsearch, issuer, _redis: redis })
    }

    /// Half of the clients have users of their own, the others share one.
    async fn load(&self) -> Load {
        let names = (0..CLIENTS).map(|n| if n % 2 == 0 { "all".to_owned() } else { format!("user-{n}") });
        let tokens: Vec<_> = names.map(|name| self.issuer.token(&name, &["developers"])).collect();
        let load = Load::start(&format!("{}/_search", self.envoy.url), &tokens);
        load.more(500).await;
        load
    }

    /// The refusals in the logs of the replicas that run now.
    fn refused(&self) -> Vec<String> {
        let lines = self.replicas.iter().flat_map(|replica| replica.process.lines());
        lines.filter(|line| line.contains("Request denied")).take(20).collect()
    }

    async fn all_healthy(&self) {
        until("three healthy replicas", || async { self.envoy.healthy().await == Some(3) }).await;
    }
}

fn start(yaml: &str, listen: &str) -> Elastauth {
    Elastauth::start_at(elastauth!(), yaml, listen, "")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_three_replicas_under_load_loses_no_request() {
    let Some(mut fleet) = Fleet::start().await else { return };
    let (load, began) = (fleet.load().await, Instant::now());
    for at in 0..fleet.replicas.len() {
        let listen = fleet.replicas[at].grpc.clone();
        fleet.replicas[at].process.terminate();
        assert!(fleet.replicas[at].process.wait().success());
        fleet.replicas[at] = start(&fleet.yaml, &listen);
        fleet.all_healthy().await;
        load.more(200).await;
    }
    let tally = load.finish().await;
    println!("rolling restart: {} requests in {:.0?}, {} not 200", tally.answers, began.elapsed(), tally.failures());
    assert_eq!(tally.failures(), 0, "{tally:?}: {:#?}", fleet.refused());
    let writes = fleet.elasticsearch.history().len();
    assert_eq!(writes, CLIENTS / 2 + 1, "and no user is written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_takes_no_more_requests_with_it_than_it_had_in_hand() {
    let Some(mut fleet) = Fleet::start().await else { return };
    let load = fleet.load().await;
    fleet.replicas[1].process.kill();
    // long enough for Envoy's health check to notice
    until("Envoy counts two", || async { fleet.envoy.healthy().await == Some(2) }).await;
    load.more(500).await;
    let listen = fleet.replicas[1].grpc.clone();
    fleet.replicas[1] = start(&fleet.yaml, &listen);
    fleet.all_healthy().await;
    load.more(200).await;
    let tally = load.finish().await;
    println!(
        "kill -9: {} requests, {CLIENTS} in flight, {} not 200: {:?}",
        tally.answers,
        tally.failures(),
        tally.others
    );
    assert!(tally.failures() <= CLIENTS, "{tally:?}: {:#?}", fleet.refused());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_replica_that_hangs_had_in_hand_is_asked_elsewhere_in_time() {
    let Some(fleet) = Fleet::start().await else { return };
    let load = fleet.load().await;
    fleet.replicas[1].process.stall();
    until("Envoy counts two", || async { fleet.envoy.healthy().await == Some(2) }).await;
    load.more(500).await;
    fleet.replicas[1].process.resume();
    fleet.all_healthy().await;
    load.more(200).await;
    let tally = load.finish().await;
    let stat = async |name: &str| fleet.envoy.stat(name).await.unwrap();
    // the requests that Envoy itself gave up; those that elastauth refused, because a busy machine made Redis slow, are not
    // counted
    let given_up = stat("http.main.ext_authz.error").await;
    let elsewhere = stat("cluster.elastauth.upstream_rq_retry_success").await;
    println!("a replica hangs: {} requests, {elsewhere} asked elsewhere, {given_up} given up", tally.answers);
    assert!(elsewhere > 0 && given_up <= u64::try_from(CLIENTS / 4).unwrap(), "{tally:?}: {:#?}", fleet.refused());
}
