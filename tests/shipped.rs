//! Each Envoy file that users deploy, before a real Envoy, while what elastauth has to ask is slow.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::time::Duration;

use elastauth_support::authelia::Authelia;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::envoy::{Envoy, exchange};
use elastauth_support::issuer::{Issuer, SigningKey};
use elastauth_support::proxy::{Mode, Proxy};
use elastauth_support::servers::{Elastauth, Redis, config, headers_config, redis_cache};

const AUTHELIA: &str = "authelia.yaml";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// One of the files before two replicas, which share a Redis.
struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    envoy: Envoy,
    provider: Proxy,
    _replicas: [Elastauth; 2],
    _redis: Redis,
    _authelia: Authelia,
}

impl Bench {
    async fn start(file: &str) -> Option<Self> {
        let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
        let (authelia, redis) = (Authelia::start().await, Redis::start(&[])?);
        let provider = Proxy::start(issuer.url.trim_start_matches("http://")).await;
        let yaml = if file == AUTHELIA {
            let memory = headers_config(&elasticsearch.url, &format!("  shared_secret: \"{SECRET}\""));
            exchange(memory, "  type: memory", &redis_cache(&redis.address))
        } else {
            // a key that is not known may be asked for as soon as one was, so that every made-up token asks
            let keys = format!("  keys_cooldown: 1ms\n  jwks_uri: \"http://{}/keys\"\n  client_id:", provider.address);
            let tokens = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
            exchange(tokens, "  client_id:", &keys)
        };
        let replicas = [(); 2].map(|()| Elastauth::start(Path::new(env!("CARGO_BIN_EXE_elastauth")), &yaml));
        let addresses = [replicas[0].grpc.as_str(), replicas[1].grpc.as_str()];
        let edit = |text: String| {
            let port = authelia.address.rsplit(':').next().unwrap();
            text.replace("CHANGE-ME-elastauth-generate-key", SECRET)
                .replace("port_value: 9091", &format!("port_value: {port}"))
        };
        let envoy = Envoy::start_file(file, &addresses, elasticsearch.address(), edit).await?;
        Some(Self { issuer, elasticsearch, envoy, provider, _replicas: replicas, _redis: redis, _authelia: authelia })
    }

    /// The status of a request with this token.
    async fn ask(&self, token: &str) -> u16 {
        // Authelia knows the person by a session, the other files by the token
        let session = format!("authelia_session={}:developers", token.split('|').next().unwrap());
        let request = elastauth_support::http().get(format!("{}/_search", self.envoy.url));
        let request = request.header("cookie", session).bearer_auth(token.split('|').next_back().unwrap());
        request.send().await.unwrap().status().as_u16()
    }

    /// Name and token of a person.
    fn person(&self, name: &str) -> String {
        format!("{name}|{}", self.issuer.token(name, &["developers"]))
    }

    /// No try was given up, and both replicas still get requests.
    async fn nothing_is_held_against_the_replicas(&self) {
        for name in ["upstream_rq_per_try_timeout", "upstream_rq_timeout", "outlier_detection.ejections_enforced_total"]
        {
            assert_eq!(self.envoy.stat(&format!("cluster.elastauth.{name}")).await, Some(0), "{name}");
        }
        assert_eq!(self.envoy.healthy().await, Some(2));
    }
}

async fn a_new_user_is_served(file: &str) {
    let Some(bench) = Bench::start(file).await else { return };
    for (name, delay) in [("ann", 1000), ("bob", 2500)] {
        bench.elasticsearch.fail(Faults { delay: Duration::from_millis(delay), ..Faults::default() });
        assert_eq!(bench.ask(&bench.person(name)).await, 200, "{name}, while a write takes {delay} ms");
        bench.nothing_is_held_against_the_replicas().await;
    }
    assert_eq!(bench.elasticsearch.history().len(), 2, "and each user is written once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_is_served_while_elasticsearch_is_slow_behind_the_plain_file() {
    a_new_user_is_served("envoy.yaml").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_is_served_while_elasticsearch_is_slow_behind_the_file_for_authelia() {
    a_new_user_is_served(AUTHELIA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_user_is_served_while_elasticsearch_is_slow_behind_the_file_for_compose() {
    a_new_user_is_served("compose/envoy.yaml").await;
}

async fn made_up_keys_eject_nobody(file: &str) {
    let Some(bench) = Bench::start(file).await else { return };
    let known = bench.person("ann");
    assert_eq!(bench.ask(&known).await, 200);
    // the question and the answer wait once each
    bench.provider.set(Mode::Slow(Duration::from_millis(125)));
    for n in 0..6 {
        let claims = bench.issuer.claims("eve", &["admins"], 0);
        assert_eq!(bench.ask(&SigningKey::new(&format!("made-up-{n}")).sign(&claims)).await, 401);
        assert_eq!(bench.ask(&known).await, 200);
    }
    bench.nothing_is_held_against_the_replicas().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_with_made_up_keys_eject_no_replica_behind_the_plain_file() {
    made_up_keys_eject_nobody("envoy.yaml").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_with_made_up_keys_eject_no_replica_behind_the_file_for_compose() {
    made_up_keys_eject_nobody("compose/envoy.yaml").await;
}
