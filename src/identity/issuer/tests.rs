use std::time::UNIX_EPOCH;

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use super::*;
use crate::identity::testing::{Provider, Signer, key_set, mapping};
use crate::identity::{Answer, KeySourceError, algorithm, claims};

const ISSUER: &str = "https://id.example.com";
const NOW: u64 = 1_800_000_000;
const OPAQUE: &str = "2YotnFZFEjr1zCsicMWpAA";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// A provider with one key and something to say.
struct Bench {
    signer: Signer,
    provider: Provider,
    issuer: Issuer<Provider>,
}

impl Bench {
    fn new(validation: Validation, said: impl IntoIterator<Item = Result<Answer, KeySourceError>>) -> Self {
        let signer = Signer::for_algorithm(Algorithm::ES256);
        let provider = Provider::new([Ok(key_set(&[signer.jwk(Some("k"))]))]).saying(said);
        let hour = Duration::from_secs(3600);
        let settings = Settings {
            validation,
            introspection_ttl: Duration::from_secs(30),
            token: token::Settings {
                issuer: ISSUER.into(),
                audiences: vec!["elastauth".into()],
                authorized_parties: Vec::new(),
                algorithms: algorithm::ALL.to_vec(),
                leeway: Duration::from_secs(60),
                claims: claims::Settings { groups: "realm_access.roles".into(), ..mapping() },
            },
            keyring: keyring::Settings { refresh: hour, max_stale: hour, cooldown: hour },
        };
        Self { issuer: Issuer::new(provider.clone(), settings), signer, provider }
    }

    fn sign(&self, claims: &Value) -> String {
        self.signer.sign(Algorithm::ES256, r#"{"alg":"ES256","kid":"k"}"#, &claims.to_string())
    }

    async fn verify(&self, token: &str) -> Result<Verified, &'static str> {
        self.issuer.verify(token, now()).await.map_err(|error| error.reason())
    }
}

/// Of an access token that says little about its user.
fn thin() -> Value {
    json!({"iss": ISSUER, "aud": "elastauth", "sub": "4711", "iat": NOW - 10, "exp": NOW + 300})
}

/// With these claims on top.
fn and(mut claims: Value, more: Value) -> Value {
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

/// Time is paused, so that the answers' lives are exact.
fn answered() -> AsOf {
    AsOf::Answered(tokio::time::Instant::now())
}

fn userinfo() -> Value {
    json!({"sub": "4711", "preferred_username": "jane", "email": "jane@example.com", "realm_access": {"roles": ["admins"]}})
}

#[tokio::test(start_paused = true)]
async fn by_signature_alone_nobody_is_asked_and_opaque_tokens_are_refused() {
    let bench = Bench::new(Validation::Jwks, [Provider::says(&userinfo())]);
    assert_eq!(bench.verify(OPAQUE).await.unwrap_err(), "token_malformed");
    assert_eq!(bench.verify(&bench.sign(&thin())).await.unwrap_err(), "token_claim_missing");
    assert_eq!(bench.provider.questions(), []);
}

#[tokio::test(start_paused = true)]
async fn both_lets_userinfo_add_what_decides_and_the_token_has_the_last_word() {
    let bench = Bench::new(Validation::Both, [Provider::says(&and(userinfo(), json!({"iss": "x", "name": "Jane"})))]);
    let verified = bench.verify(&bench.sign(&and(thin(), json!({"email": "own@example.com"})))).await.unwrap();
    let identity = &verified.identity;
    assert_eq!((identity.username.as_str(), identity.groups.as_slice()), ("jane", &["admins".to_owned()][..]));
    assert_eq!((identity.email.as_deref(), identity.full_name.as_deref()), (Some("own@example.com"), Some("Jane")));
    assert_eq!((&*identity.owner.issuer, &*identity.owner.subject), (ISSUER, "4711"));
    assert_eq!(identity.as_of, answered(), "the groups are as old as the answer");
    assert!(
        verified.validity.holds(now() + Duration::from_secs(29))
            && !verified.validity.holds(now() + Duration::from_secs(30))
    );

    let own_groups = and(thin(), json!({"realm_access": {"roles": ["own"]}}));
    let identity = bench.verify(&bench.sign(&own_groups)).await.unwrap().identity;
    assert_eq!((identity.groups, identity.as_of), (vec!["own".to_owned()], AsOf::At((NOW - 10) * 1000)));
}

#[tokio::test(start_paused = true)]
async fn both_asks_nobody_where_the_token_says_enough() {
    let bench = Bench::new(Validation::Both, [Err(KeySourceError("down".into()))]);
    let full = and(thin(), json!({"preferred_username": "jane", "realm_access": {"roles": []}}));
    let verified = bench.verify(&bench.sign(&full)).await.unwrap();
    assert!(verified.validity.holds(now() + Duration::from_secs(359)), "the answer's time to live does not matter");
    assert_eq!(bench.provider.questions(), []);
}

#[tokio::test(start_paused = true)]
async fn both_never_asks_about_a_signed_token_that_does_not_verify() {
    let bench = Bench::new(Validation::Both, [Provider::says(&userinfo())]);
    let good = bench.sign(&thin());
    let stranger = Signer::for_algorithm(Algorithm::ES256);
    let forged = stranger.sign(Algorithm::ES256, r#"{"alg":"ES256","kid":"k"}"#, &thin().to_string());
    for (token, reason) in [
        (bench.sign(&and(thin(), json!({"aud": "other"}))), "token_audience"),
        (bench.sign(&and(thin(), json!({"exp": NOW - 60}))), "token_expired"),
        (bench.sign(&and(thin(), json!({"iss": "https://other"}))), "token_issuer"),
        (forged, "token_signature"),
        (good.replacen('.', "=.", 1), "token_malformed"),
        (format!("{good}."), "token_malformed"),
    ] {
        assert_eq!(bench.verify(&token).await.unwrap_err(), reason);
    }
    assert_eq!(bench.provider.questions(), []);
}

#[tokio::test(start_paused = true)]
async fn both_takes_nothing_from_userinfo_about_somebody_else() {
    for (document, reason) in [
        (and(userinfo(), json!({"sub": "4712"})), "token_other_subject"),
        (json!({"preferred_username": "jane"}), "token_claim_missing"),
    ] {
        let bench = Bench::new(Validation::Both, [Provider::says(&document)]);
        assert_eq!(bench.verify(&bench.sign(&thin())).await.unwrap_err(), reason);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_provider_is_never_the_tokens_fault() {
    for validation in [Validation::Both, Validation::Userinfo, Validation::Introspection] {
        let bench = Bench::new(validation, [Err(KeySourceError("down".into()))]);
        for token in [OPAQUE.to_owned(), bench.sign(&thin())] {
            let error = bench.issuer.verify(&token, now()).await.unwrap_err();
            assert_eq!((error.reason(), error.is_outage()), ("provider_unavailable", true), "{validation:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_opaque_token_is_whom_userinfo_says_as_of_the_answer() {
    for validation in [Validation::Both, Validation::Userinfo] {
        let bench = Bench::new(validation, [Provider::says(&userinfo())]);
        let verified = bench.verify(OPAQUE).await.unwrap();
        let identity = &verified.identity;
        assert_eq!((identity.username.as_str(), identity.as_of), ("jane", answered()));
        assert_eq!((&*identity.owner.issuer, &*identity.owner.subject), (ISSUER, "4711"));
        assert!(verified.validity.holds(now()) && !verified.validity.holds(now() + Duration::from_secs(30)));
        assert_eq!(bench.provider.questions(), [(Question::Userinfo, OPAQUE.to_owned())]);
    }
    let bench = Bench::new(Validation::Userinfo, [Ok(Answer::Refused)]);
    assert_eq!(bench.verify(OPAQUE).await.unwrap_err(), "token_refused");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_userinfo_accepts_is_still_taken_at_its_own_word() {
    let outcome = async |claims: Value| {
        let bench = Bench::new(Validation::Userinfo, [Provider::says(&userinfo())]);
        let token = bench.sign(&claims);
        bench.verify(&token).await.err()
    };
    assert_eq!(outcome(thin()).await, None);
    assert_eq!(outcome(json!({})).await, None, "it says nothing");
    for (claims, reason) in [
        (json!({"aud": "other"}), "token_audience"),
        (json!({"aud": ["elastauth", "other"], "azp": "other"}), "token_authorized_party"),
        (json!({"iss": "https://other"}), "token_issuer"),
        (json!({"exp": NOW - 60}), "token_expired"),
        (json!({"nbf": NOW + 61}), "token_not_yet_valid"),
        (json!({"cnf": {"jkt": "x"}}), "token_bound"),
        (json!({"events": {}}), "token_kind"),
    ] {
        assert_eq!(outcome(and(thin(), claims.clone())).await, Some(reason), "{claims}");
    }
}

#[tokio::test(start_paused = true)]
async fn introspection_tells_for_whom_and_how_long_a_token_is_good() {
    let active = and(userinfo(), json!({"active": true}));
    let outcome = async |claims: Value| {
        let bench = Bench::new(Validation::Introspection, [Provider::says(&and(active.clone(), claims))]);
        let outcome = bench.verify(OPAQUE).await.err();
        assert_eq!(bench.provider.questions(), [(Question::Introspection, OPAQUE.to_owned())]);
        outcome
    };
    assert_eq!(outcome(json!({"client_id": "elastauth"})).await, None);
    assert_eq!(outcome(json!({"aud": "elastauth", "client_id": "proxy", "iss": ISSUER, "exp": NOW + 5})).await, None);
    for (claims, reason) in [
        (json!({}), "token_audience"),
        (json!({"client_id": "other"}), "token_audience"),
        (json!({"client_id": "elastauth", "aud": "other"}), "token_audience"),
        (json!({"client_id": "other", "aud": ["elastauth", "x"]}), "token_authorized_party"),
        (json!({"client_id": "elastauth", "iss": "https://other"}), "token_issuer"),
        (json!({"client_id": "elastauth", "exp": NOW - 60}), "token_expired"),
        (json!({"client_id": "elastauth", "cnf": {"x5t#S256": "x"}}), "token_bound"),
        (json!({"client_id": "elastauth", "typ": "Refresh"}), "token_kind"),
        (json!({"client_id": "elastauth", "sub": null}), "token_claim_type"),
        (json!({"active": false}), "token_refused"),
    ] {
        assert_eq!(outcome(claims.clone()).await, Some(reason), "{claims}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_is_refused_by_whatever_name_the_provider_tells_its_kind() {
    let outcome = async |validation, name: &str, kind: &str| {
        let answer = and(userinfo(), json!({"active": true, "client_id": "elastauth", name: kind}));
        Bench::new(validation, [Provider::says(&answer)]).verify(OPAQUE).await.err()
    };
    for (name, kind, reason) in [
        // Keycloak
        ("typ", "Refresh", Some("token_kind")),
        ("typ", "Offline", Some("token_kind")),
        ("typ", "Bearer", None),
        // Ory Hydra
        ("token_use", "refresh_token", Some("token_kind")),
        ("token_use", "access_token", None),
        // Amazon Cognito
        ("token_use", "access", None),
        ("token_use", "id", None),
        // OpenIddict, ForgeRock
        ("token_usage", "refresh_token", Some("token_kind")),
        ("token_usage", "access_token", None),
        ("tokenName", "refresh_token", Some("token_kind")),
        ("tokenName", "access_token", None),
        // RFC 7662 §2.2, as servers fill it in
        ("token_type", "refresh_token", Some("token_kind")),
        ("token_type", "Refresh", Some("token_kind")),
        ("token_type", "urn:ietf:params:oauth:token-type:refresh_token", Some("token_kind")),
        ("token_type", "urn:ietf:params:oauth:token-type:access_token", None),
        ("token_type", "Bearer", None),
        ("token_type", "bearer", None),
        ("token_type", "access_token", None),
        // what is not the name of a kind
        ("scope", "openid offline_access", None),
    ] {
        assert_eq!(outcome(Validation::Introspection, name, kind).await, reason, "{name}: {kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_huge_token_is_not_sent_to_the_provider() {
    let bench = Bench::new(Validation::Introspection, [Ok(Answer::Refused)]);
    assert_eq!(bench.verify(&"a".repeat(16 * 1024 + 1)).await.unwrap_err(), "token_too_long");
    assert_eq!(bench.provider.questions(), []);
}
