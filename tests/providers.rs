//! Real providers of two vendors, through a real Envoy: users log in on the provider's own pages, and their tokens are accepted.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use elastauth_support::browser::{OidcClient, Tokens};
use elastauth_support::elastauth;
use elastauth_support::elasticsearch::Elasticsearch;
use elastauth_support::process::until;
use elastauth_support::providers::{Keycloak, OidcProvider, PASSWORD};
use elastauth_support::servers::{Elastauth, Envoy, config};
use serde_json::Value;

struct Bench {
    elasticsearch: Elasticsearch,
    elastauth: Elastauth,
    envoy: Envoy,
}

impl Bench {
    async fn start(client: &OidcClient) -> Option<Self> {
        let elasticsearch = Elasticsearch::start().await;
        // a short pause between two fetches of keys, because the test changes keys more often than a provider does
        let yaml = config(&client.issuer, &elasticsearch.url, "  type: memory")
            .replace("  client_id:", "  keys_cooldown: 50ms\n  client_id:");
        let elastauth = Elastauth::start(elastauth!(), &yaml);
        let envoy = Envoy::start(&elastauth.grpc, elasticsearch.address(), true).await?;
        Some(Self { elasticsearch, elastauth, envoy })
    }

    /// The status, and the user that reached Elasticsearch.
    async fn ask(&self, token: &str) -> (u16, Option<String>) {
        ask(&self.envoy.url, token).await
    }
}

async fn ask(url: &str, token: &str) -> (u16, Option<String>) {
    let answer = elastauth_support::http().get(format!("{url}/_search")).bearer_auth(token).send().await.unwrap();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap_or_default();
    (status, body["username"].as_str().map(str::to_owned))
}

/// Decodes a part of a token, to examine what the provider really sends.
fn part(token: &str, at: usize) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(at).unwrap()).unwrap()).unwrap()
}

/// A user's access token and ID token each lead to the same Elasticsearch user; without its signature neither does.
async fn both_tokens_count(bench: &Bench, user: &str, tokens: &Tokens, roles: &[&str]) {
    for token in [&tokens.access, &tokens.id] {
        assert_eq!(bench.ask(token).await, (200, Some(user.to_owned())), "{}", part(token, 1));
        let unsigned = format!("{}.", token.rsplit_once('.').unwrap().0);
        assert_eq!(bench.ask(&unsigned).await.0, 401);
    }
    let made = bench.elasticsearch.user(user).unwrap();
    assert_eq!(made.roles, roles, "{}", part(&tokens.access, 1));
    assert_eq!(made.email, format!("{user}@example.org"));
    assert_eq!(made.metadata["elastauth"]["subject"], part(&tokens.access, 1)["sub"]);
    let writes = bench.elasticsearch.history().iter().filter(|write| write.user == user).count();
    assert_eq!(writes, 1, "{user} is created once, whichever token is used");
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_the_certified_provider_reach_elasticsearch_and_no_request_is_lost_while_keys_change() {
    let Some(provider) = OidcProvider::start() else { return };
    let Some(bench) = Bench::start(&provider.client).await else { return };
    let ann = provider.client.log_in("ann", "any").await;
    assert_eq!((part(&ann.access, 0)["typ"].as_str(), part(&ann.id, 0)["typ"].as_str()), (Some("at+jwt"), None));
    both_tokens_count(&bench, "ann", &ann, &["kibana_admin", "monitoring_user"]).await;

    // three users work, and their clients renew tokens in time, while the provider changes its key four times
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut people = Vec::new();
    for user in ["bob", "cid", "dot"] {
        let (client, url) = (provider.client.clone(), bench.envoy.url.clone());
        let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
        let mut tokens = client.log_in(user, "any").await;
        let (key_of, key) = tokio::sync::watch::channel(part(&tokens.access, 0)["kid"].clone());
        let work = tokio::spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                for token in [&tokens.access, &tokens.id, &tokens.access] {
                    assert_eq!(ask(&url, token).await, (200, Some(user.to_owned())), "{}", part(token, 0));
                    answered.fetch_add(1, Ordering::SeqCst);
                }
                tokens = client.refresh(&tokens.refresh).await;
                key_of.send_replace(part(&tokens.access, 0)["kid"].clone());
            }
        });
        people.push((work, key));
    }
    for _change in 0..4 {
        let key = Value::from(provider.new_key().await);
        let before = answered.load(Ordering::SeqCst);
        until("every client to use tokens of the new key", || async {
            let all = people.iter().all(|(work, current)| work.is_finished() || *current.borrow() == key);
            all && answered.load(Ordering::SeqCst) >= before + 150 || people.iter().any(|(work, _)| work.is_finished())
        })
        .await;
        provider.drop_old_keys().await;
    }
    stop.store(true, Ordering::SeqCst);
    for (work, _) in people {
        work.await.unwrap();
    }
    println!("{} requests were answered while keys changed", answered.load(Ordering::SeqCst));
    // its key is not published any more
    until("the old token to end", || async { bench.ask(&ann.access).await.0 == 401 }).await;
    bench.elastauth.process.wait_for_line(0, &["token_key_unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn people_of_keycloak_reach_elasticsearch_also_after_its_key_changed() {
    let Some(keycloak) = Keycloak::start().await else { return };
    let Some(bench) = Bench::start(&keycloak.client).await else { return };
    let ann = keycloak.client.log_in("ann", PASSWORD).await;
    both_tokens_count(&bench, "ann", &ann, &["kibana_admin", "monitoring_user"]).await;
    assert_eq!(bench.ask(&ann.refresh).await.0, 401, "a refresh token is not accepted");

    keycloak.new_key().await;
    let bob = keycloak.client.log_in("bob", PASSWORD).await;
    assert_ne!(part(&bob.access, 0)["kid"], part(&ann.access, 0)["kid"]);
    both_tokens_count(&bench, "bob", &bob, &["dev", "kibana_user"]).await;
    assert_eq!(bench.ask(&ann.access).await.0, 200, "the former key is still published");
}
