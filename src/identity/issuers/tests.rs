use std::time::{Duration, UNIX_EPOCH};

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::identity::issuer::{Settings, Validation};
use crate::identity::testing::{Provider, Signer, key_set, mapping};
use crate::identity::{Answer, algorithm, claims, token};

const NOW: u64 = 1_800_000_000;
const STAFF: &str = "https://staff.example.com";
const PARTNERS: &str = "https://partners.example.com/";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn settings(name: &str, validation: Validation, username_prefix: &str) -> Settings {
    let hour = Duration::from_secs(3600);
    Settings {
        validation,
        introspection_ttl: Duration::from_secs(30),
        token: token::Settings {
            issuer: name.into(),
            audiences: vec![format!("elastauth-at-{name}")],
            authorized_parties: Vec::new(),
            algorithms: algorithm::ALL.to_vec(),
            leeway: Duration::from_secs(60),
            claims: claims::Settings { username_prefix: username_prefix.into(), ..mapping() },
        },
        keyring: crate::identity::keyring::Settings { refresh: hour, max_stale: hour, cooldown: hour },
    }
}

/// Two issuers with keys of their own under the same id; the second takes opaque tokens.
struct Bench {
    keys: [Signer; 2],
    providers: [Provider; 2],
    issuers: Issuers<Provider>,
}

impl Bench {
    fn new() -> Self {
        let keys = [(); 2].map(|()| Signer::for_algorithm(Algorithm::ES256));
        let publish = |key: &Signer| Provider::new([Ok(key_set(&[key.jwk(Some("k"))]))]).saying([Ok(Answer::Refused)]);
        Self::over([publish(&keys[0]), publish(&keys[1])], keys)
    }

    fn over(providers: [Provider; 2], keys: [Signer; 2]) -> Self {
        let staff = Issuer::new(providers[0].clone(), settings(STAFF, Validation::Jwks, ""));
        let partners = Issuer::new(providers[1].clone(), settings(PARTNERS, Validation::Both, "partner-"));
        Self { keys, providers, issuers: Issuers::new(vec![staff, partners]) }
    }

    fn sign(&self, key: usize, claims: &Value) -> String {
        self.keys[key].sign(Algorithm::ES256, r#"{"alg":"ES256","kid":"k"}"#, &claims.to_string())
    }

    async fn name(&self, token: &str) -> Result<String, &'static str> {
        let verified = self.issuers.verify(token, now()).await.map_err(|error| error.reason())?;
        Ok(format!("{} of {}", verified.identity.username, verified.identity.owner.issuer))
    }
}

fn claims(issuer: &str) -> Value {
    json!({"iss": issuer, "aud": format!("elastauth-at-{issuer}"), "sub": "1", "iat": NOW, "exp": NOW + 300,
           "preferred_username": "jane", "groups": []})
}

#[tokio::test(start_paused = true)]
async fn each_issuer_judges_its_own_tokens_by_its_own_keys_audience_and_prefix() {
    let bench = Bench::new();
    assert_eq!(bench.name(&bench.sign(0, &claims(STAFF))).await.unwrap(), format!("jane of {STAFF}"));
    assert_eq!(bench.name(&bench.sign(1, &claims(PARTNERS))).await.unwrap(), format!("partner-jane of {PARTNERS}"));
    // the other's key under the same id, the other's audience
    assert_eq!(bench.name(&bench.sign(1, &claims(STAFF))).await.unwrap_err(), "token_signature");
    let mut other = claims(STAFF);
    other["aud"] = claims(PARTNERS)["aud"].clone();
    assert_eq!(bench.name(&bench.sign(0, &other)).await.unwrap_err(), "token_audience");
}

#[tokio::test(start_paused = true)]
async fn what_a_token_says_of_its_issuer_only_selects() {
    let bench = Bench::new();
    for (issuer, reason) in [
        (json!("https://evil.example.com"), "token_issuer"),
        (json!("https://staff.example.com/"), "token_issuer"),
        (json!([STAFF]), "token_claim_type"),
        (json!(null), "token_claim_type"),
    ] {
        let mut claims = claims(STAFF);
        claims["iss"] = issuer.clone();
        assert_eq!(bench.name(&bench.sign(0, &claims)).await.unwrap_err(), reason, "{issuer}");
    }
    let mut claims = claims(STAFF);
    claims.as_object_mut().unwrap().remove("iss");
    assert_eq!(bench.name(&bench.sign(0, &claims)).await.unwrap_err(), "token_claim_missing");
    let twice = claims.to_string().replacen('{', &format!(r#"{{"iss":"{STAFF}","iss":"{PARTNERS}","#), 1);
    let token = bench.keys[0].sign(Algorithm::ES256, r#"{"alg":"ES256","kid":"k"}"#, &twice);
    assert_eq!(bench.name(&token).await.unwrap_err(), "token_malformed");
    assert!(
        bench.providers.iter().all(|provider| provider.asked() == 0),
        "no provider is asked about another one's tokens"
    );
}

#[tokio::test(start_paused = true)]
async fn opaque_tokens_are_shown_only_to_the_issuer_that_is_asked_about_them() {
    let bench = Bench::new();
    assert_eq!(bench.name("2YotnFZFEjr1zCsicMWpAA").await.unwrap_err(), "token_refused");
    assert_eq!(bench.providers.each_ref().map(|provider| provider.questions().len()), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn the_outage_of_one_issuer_does_not_touch_the_others_tokens() {
    let keys = [(); 2].map(|()| Signer::for_algorithm(Algorithm::ES256));
    let up = Provider::new([Ok(key_set(&[keys[1].jwk(Some("k"))]))]).saying([Ok(Answer::Refused)]);
    let down = Provider::new([Provider::down()]);
    let bench = Bench::over([down.clone(), up.clone()], keys);
    assert_eq!(bench.name(&bench.sign(0, &claims(STAFF))).await.unwrap_err(), "keys_unavailable");
    assert!(bench.name(&bench.sign(1, &claims(PARTNERS))).await.is_ok());
    for (providers, ready) in [([&down, &up], true), ([&up, &down], true), ([&down, &down], false)] {
        let keys = [(); 2].map(|()| Signer::for_algorithm(Algorithm::ES256));
        assert_eq!(
            Bench::over(providers.map(Provider::clone), keys).issuers.ready().await.is_ok(),
            ready,
            "one of them is enough to serve"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_watch_renews_the_keys_of_every_issuer_that_needs_them() {
    let bench = Bench::new();
    let watch = tokio::spawn(bench.issuers.watch());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.providers.each_ref().map(Provider::asked), [1, 1]);
    watch.abort();
    let provider = Provider::new([Ok(key_set(&[]))]).saying([Ok(Answer::Refused)]);
    let opaque = Issuer::new(provider.clone(), settings(STAFF, Validation::Introspection, ""));
    let issuers = Issuers::new(vec![opaque]);
    issuers.watch().await;
    assert!(issuers.ready().await.is_ok());
    assert_eq!(provider.asked(), 0, "answers need no keys");
}
