//! Runs each Envoy file that users deploy in a real Envoy: while the services behind elastauth are slow, with hosts that the file
//! does not name, and with its TLS to Elasticsearch.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use elastauth_support::authelia::Authelia;
use elastauth_support::certificates::Authority;
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::{Elasticsearch, Faults};
use elastauth_support::envoy::{Envoy, exchange};
use elastauth_support::issuer::{Issuer, SigningKey};
use elastauth_support::proxy::{Mode, Proxy};
use elastauth_support::servers::{Elastauth, Redis, config, headers_config, redis_cache};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const AUTHELIA: &str = "authelia.yaml";
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// One of the files, in front of two replicas that share a Redis.
struct Bench {
    issuer: Issuer,
    elasticsearch: Elasticsearch,
    envoy: Envoy,
    provider: Proxy,
    _replicas: [Elastauth; 2],
    _redis: Redis,
    authelia: Authelia,
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
            // with a short pause between two fetches of keys, every forged token causes one
            let keys = format!("  keys_cooldown: 1ms\n  jwks_uri: \"http://{}/keys\"\n  client_id:", provider.address);
            let tokens = config(&issuer.url, &elasticsearch.url, &redis_cache(&redis.address));
            exchange(tokens, "  client_id:", &keys)
        };
        let replicas = [(); 2].map(|()| Elastauth::start(elastauth!(), &yaml));
        let addresses = [replicas[0].grpc.as_str(), replicas[1].grpc.as_str()];
        let edit = |text: String| {
            let port = authelia.address.rsplit(':').next().unwrap();
            text.replace("CHANGE-ME-elastauth-generate-key", SECRET)
                .replace("port_value: 9091", &format!("port_value: {port}"))
        };
        let envoy = Envoy::start_file(file, &addresses, elasticsearch.address(), edit).await?;
        Some(Self { issuer, elasticsearch, envoy, provider, _replicas: replicas, _redis: redis, authelia })
    }

    /// The status of a request of this user.
    async fn ask(&self, person: &str) -> u16 {
        self.ask_with(person, &[]).await
    }

    /// The same with more headers.
    async fn ask_with(&self, person: &str, headers: &[(&str, &str)]) -> u16 {
        let (name, token) = person.split_once('|').unwrap_or(("", person));
        let mut request = elastauth_support::http().get(format!("{}/_search", self.envoy.url)).bearer_auth(token);
        if !name.is_empty() {
            // the file for Authelia identifies users by their session, the others by the token
            request = request.header("cookie", format!("authelia_session={name}:developers"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Sends these bytes and returns the first part of the answer.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.envoy.url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let length = stream.read(&mut answer).await.unwrap();
        String::from_utf8(answer[..length].to_vec()).unwrap()
    }

    /// How many requests Envoy sent to elastauth and to Authelia.
    async fn questions(&self) -> (Option<u64>, usize) {
        (self.envoy.stat("cluster.elastauth.upstream_rq_total").await, self.authelia.asked().len())
    }

    /// The name and the token of a user, as one text.
    fn person(&self, name: &str) -> String {
        format!("{name}|{}", self.issuer.token(name, &["developers"]))
    }

    /// Asserts that no attempt was given up, and that both replicas still get requests.
    async fn nothing_is_held_against_the_replicas(&self) {
        for name in [
            "upstream_rq_per_try_timeout",
            "upstream_rq_timeout",
            "outlier_detection.ejections_detected_consecutive_local_origin_failure",
        ] {
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
    // the delay applies once to the request and once to the answer
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

async fn other_hosts_are_nobodys_business(file: &str) {
    let Some(bench) = Bench::start(file).await else { return };
    let ann = bench.person("ann");
    let port = bench.envoy.url.rsplit(':').next().unwrap();
    let (named, ports) = match file {
        "compose/envoy.yaml" => ("localhost", vec![format!(":{port}")]),
        _ => ("kibana.example.org", vec![String::new(), ":443".into(), ":10000".into()]),
    };
    let mut others = vec![
        "two-factor.example.org".to_owned(),
        format!("two-factor.{named}"),
        format!("{named}.two-factor.example.org"),
        format!("{named}."),
        format!("{named}.:443"),
        format!("{named}:9200"),
        // a parser of URLs takes another part of these for the host
        format!("{named}:@two-factor.example.org"),
        format!("{named}:443@two-factor.example.org"),
        format!("two-factor.example.org:443,{named}"),
    ];
    if file == AUTHELIA {
        // Authelia's rules for `*.example.org` match lower case only
        others.extend([named.to_uppercase(), named.replace('k', "K")]);
    }
    for host in &others {
        assert_eq!(bench.ask_with(&ann, &[("host", host)]).await, 404, "{host}");
    }
    let whole = format!("GET http://two-factor.example.org/_search HTTP/1.1\r\nhost: {named}{}\r\n\r\n", ports[0]);
    assert!(bench.raw(&whole).await.starts_with("HTTP/1.1 404"), "the host in an absolute URL precedes the header");
    assert_eq!(bench.questions().await, (Some(0), 0), "neither elastauth nor Authelia was asked");

    for port in &ports {
        let host = format!("{named}{port}");
        let forwarded = [("host", host.as_str()), ("x-forwarded-host", "two-factor.example.org")];
        let original = [("x-original-url", "https://two-factor.example.org/"), ("x-forwarded-method", "HEAD")];
        assert_eq!(bench.ask_with(&ann, &[forwarded, original].concat()).await, 200, "{host}");
    }
    let asked = bench.authelia.asked();
    assert_eq!(asked.len(), if file == AUTHELIA { ports.len() } else { 0 });
    for (headers, port) in asked.iter().zip(&ports) {
        assert_eq!(headers["host"], format!("{named}{port}"));
        let believed =
            ["x-forwarded-host", "x-forwarded-method", "x-forwarded-uri", "x-original-url", "x-original-method"];
        assert!(
            believed.iter().all(|name| !headers.contains_key(*name)),
            "Authelia received headers of the client: {headers:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_named_is_404_and_nobody_is_asked_with_the_plain_file() {
    other_hosts_are_nobodys_business("envoy.yaml").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_named_is_404_and_nobody_is_asked_with_the_file_for_authelia() {
    other_hosts_are_nobodys_business(AUTHELIA).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_not_named_is_404_and_nobody_is_asked_with_the_file_for_compose() {
    other_hosts_are_nobodys_business("compose/envoy.yaml").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_go_only_to_the_elasticsearch_that_the_file_names() {
    let (issuer, elasticsearch) = (Issuer::start().await, Elasticsearch::start().await);
    let elastauth = Elastauth::start(elastauth!(), &config(&issuer.url, &elasticsearch.url, "  type: memory"));
    let (ours, other, folder) = (Authority::new("ours"), Authority::new("other"), tempfile::tempdir().unwrap());
    let file = folder.path().join("authorities.pem");
    std::fs::write(&file, &ours.pem).unwrap();
    let token = issuer.token("ann", &["admins"]);
    for (authority, name, reached) in [
        (&ours, "elasticsearch.example.org", 1),
        (&ours, "another.example.org", 0),
        (&other, "elasticsearch.example.org", 0),
    ] {
        let behind = Elasticsearch::start_tls(&authority.sign(&[name]), &[], None).await;
        let edit = |text| exchange(text, "/etc/ssl/certs/ca-certificates.crt", file.to_str().unwrap());
        let Some(envoy) = Envoy::start_edited(&[&elastauth.grpc], &behind.url, edit).await else { return };
        let request = elastauth_support::http().get(format!("{}/_search", envoy.url)).bearer_auth(&token);
        let status = request.send().await.unwrap().status().as_u16();
        // this Elasticsearch is not the one in which elastauth created the user
        assert_eq!((status, behind.requests()), (if reached == 1 { 401 } else { 503 }, reached), "{name}");
    }
}
