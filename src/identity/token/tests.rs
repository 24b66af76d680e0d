use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::*;
use crate::identity::keyring;
use crate::identity::testing::{Provider, Signer, base64url, key_set, mapping};

mod forgery;
mod kinds;
mod properties;
mod rfc;
mod verification_limit;
mod wycheproof;

const ISSUER: &str = "https://id.example.com/realms/main";
const NOW: u64 = 1_800_000_000;

fn verifier(keys: &[Value]) -> Verifier<Provider> {
    verifier_over(Provider::new([Ok(key_set(keys))]), &algorithm::ALL)
}

fn verifier_over(provider: Provider, algorithms: &[Algorithm]) -> Verifier<Provider> {
    let minute = Duration::from_secs(60);
    let times = keyring::Settings { refresh: minute, max_stale: minute, cooldown: minute };
    let settings = Settings {
        issuer: ISSUER.into(),
        audiences: vec!["elastauth".into(), "kibana".into()],
        authorized_parties: Vec::new(),
        algorithms: algorithms.to_vec(),
        leeway: minute,
        claims: claims::Settings { groups: "realm_access.roles".into(), ..mapping() },
    };
    Verifier::new(Keyring::new(provider, times, algorithms), settings)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "sub": "4711", "aud": "elastauth", "iat": NOW - 10, "exp": NOW + 300,
        "preferred_username": "jane.doe", "email": "jane@example.com", "name": "Jäne Doe",
        "realm_access": {"roles": ["admins", "a,b"]},
    })
}

fn header(algorithm: Algorithm) -> String {
    json!({"alg": algorithm, "kid": "k", "typ": "JWT"}).to_string()
}

/// A provider with one ES256 key, for everything that does not turn on the algorithm.
struct Bench {
    signer: Signer,
    verifier: Verifier<Provider>,
}

impl Bench {
    fn new() -> Self {
        let signer = Signer::for_algorithm(Algorithm::ES256);
        let verifier = verifier(&[signer.jwk(Some("k"))]);
        Self { signer, verifier }
    }

    fn sign(&self, payload: &str) -> String {
        self.signer.sign(Algorithm::ES256, &header(Algorithm::ES256), payload)
    }

    async fn verify(&self, token: &str) -> Result<Identity, &'static str> {
        self.verifier.verify(token, now()).await.map(|verified| verified.identity).map_err(|error| error.reason())
    }

    /// The outcome for a good token with one claim set, or taken away.
    async fn with(&self, claim: &str, value: Option<Value>) -> Result<Identity, &'static str> {
        let mut claims = claims();
        match value {
            Some(value) => claims[claim] = value,
            None => drop(claims.as_object_mut().unwrap().remove(claim)),
        }
        self.verify(&self.sign(&claims.to_string())).await
    }
}

#[tokio::test]
async fn each_algorithm_is_accepted_with_its_key() {
    for algorithm in algorithm::ALL {
        let signer = Signer::for_algorithm(algorithm);
        let token = signer.sign(algorithm, &header(algorithm), &claims().to_string());
        let identity = verifier(&[signer.jwk(Some("k"))]).verify(&token, now()).await.unwrap().identity;
        let expected = Identity {
            username: crate::identity::Username::parse("jane.doe").unwrap(),
            owner: Owner { issuer: ISSUER.into(), subject: "4711".into() },
            email: Some("jane@example.com".into()),
            full_name: Some("Jäne Doe".into()),
            groups: vec!["admins".into(), "a,b".into()],
            claims: Vec::new(),
            as_of: AsOf::At((NOW - 10) * 1000),
            expires: now() + Duration::from_secs(300),
        };
        assert_eq!(identity, expected, "{algorithm:?}");
    }
}

#[tokio::test]
async fn ed25519_is_another_name_of_eddsa_wherever_the_key_is_of_that_curve() {
    let (ed, ec) = (Signer::for_algorithm(Algorithm::EdDSA), Signer::for_algorithm(Algorithm::ES256));
    let outcome = async |header: Value, keys: &[Value], allowed: &[Algorithm]| {
        let token = ed.sign(Algorithm::EdDSA, &header.to_string(), &claims().to_string());
        let verifier = verifier_over(Provider::new([Ok(key_set(keys))]), allowed);
        verifier.verify(&token, now()).await.err().map(|error| error.reason())
    };
    let jwk = |alg: Option<&str>| {
        let mut jwk = ed.jwk(Some("k"));
        if let Some(alg) = alg {
            jwk["alg"] = json!(alg);
        }
        [jwk]
    };
    for alg in ["EdDSA", "Ed25519"] {
        let header = json!({"alg": alg, "kid": "k"});
        for key in [jwk(None), jwk(Some("EdDSA")), jwk(Some("Ed25519"))] {
            assert_eq!(outcome(header.clone(), &key, &algorithm::ALL).await, None, "{alg} {key:?}");
        }
        assert_eq!(outcome(header.clone(), &jwk(Some("Ed448")), &algorithm::ALL).await, Some("token_key_unknown"));
        assert_eq!(outcome(header.clone(), &jwk(None), &[Algorithm::ES256]).await, Some("token_algorithm"));
        assert_eq!(outcome(header, &[ec.jwk(Some("k"))], &algorithm::ALL).await, Some("token_algorithm"), "{alg}");
    }
    for alg in ["Ed448", "ed25519", "ED25519"] {
        let header = json!({"alg": alg, "kid": "k"});
        assert_eq!(outcome(header, &jwk(None), &algorithm::ALL).await, Some("token_algorithm"), "{alg}");
    }
}

#[tokio::test]
async fn a_token_must_name_its_key_among_several() {
    let (a, b) = (Signer::for_algorithm(Algorithm::ES256), Signer::for_algorithm(Algorithm::ES256));
    let token = a.sign(Algorithm::ES256, r#"{"alg":"ES256"}"#, &claims().to_string());
    assert!(verifier(&[a.jwk(Some("a"))]).verify(&token, now()).await.is_ok());
    let error = verifier(&[a.jwk(Some("a")), b.jwk(Some("b"))]).verify(&token, now()).await.unwrap_err();
    assert_eq!((error.reason(), error.is_outage()), ("token_key_id_missing", false));
    let token = a.sign(Algorithm::ES256, &header(Algorithm::ES256), &claims().to_string());
    let error = verifier(&[a.jwk(Some("a"))]).verify(&token, now()).await.unwrap_err();
    assert_eq!((error.reason(), error.is_outage()), ("token_key_unknown", false));
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_an_outage_but_a_bad_token_stays_the_tokens_fault() {
    let verifier = verifier_over(Provider::new([Provider::down()]), &algorithm::ALL);
    let token = Bench::new().sign(&claims().to_string());
    let error = verifier.verify(&token, now()).await.unwrap_err();
    assert_eq!((error.reason(), error.is_outage()), ("keys_unavailable", true));
    assert_eq!(verifier.verify("a.b.c", now()).await.unwrap_err().reason(), "token_malformed");
}

#[tokio::test]
async fn claims_must_be_there_of_their_type_and_right() {
    let bench = Bench::new();
    let cases = [
        ("iss", None, "token_claim_missing"),
        ("iss", Some(json!("https://evil.example")), "token_issuer"),
        ("iss", Some(json!(format!("{ISSUER}/"))), "token_issuer"),
        ("iss", Some(json!([ISSUER])), "token_claim_type"),
        ("iss", Some(json!(["https://evil.example"])), "token_claim_type"),
        ("aud", None, "token_claim_missing"),
        ("aud", Some(json!("other")), "token_audience"),
        ("aud", Some(json!(["other", "more"])), "token_audience"),
        ("aud", Some(json!([])), "token_audience"),
        ("aud", Some(json!("elastauth ")), "token_audience"),
        ("aud", Some(json!(5)), "token_claim_type"),
        ("aud", Some(json!(["elastauth", 5])), "token_claim_type"),
        ("aud", Some(json!(null)), "token_claim_type"),
        ("exp", None, "token_claim_missing"),
        ("exp", Some(json!(null)), "token_claim_type"),
        ("exp", Some(json!("1900000000")), "token_claim_type"),
        ("exp", Some(json!(-1)), "token_claim_type"),
        ("exp", Some(json!(1e300)), "token_claim_type"),
        ("exp", Some(json!(u64::MAX)), "token_claim_type"),
        ("nbf", Some(json!("soon")), "token_claim_type"),
        ("iat", None, "token_claim_missing"),
        ("iat", Some(json!({})), "token_claim_type"),
        ("sub", None, "token_claim_missing"),
        ("sub", Some(json!("")), "token_claim_missing"),
        ("sub", Some(json!(5)), "token_claim_type"),
        ("preferred_username", None, "token_claim_missing"),
        ("preferred_username", Some(json!("_root")), "username_refused"),
        ("realm_access", Some(json!({"roles": [1]})), "token_claim_type"),
    ];
    for (claim, value, reason) in cases {
        assert_eq!(bench.with(claim, value.clone()).await, Err(reason), "{claim} {value:?}");
    }
    assert!(bench.with("aud", Some(json!(["elastauth", "kibana"]))).await.is_ok(), "all of them are ours");
}

#[tokio::test]
async fn times_hold_within_the_leeway_to_the_second() {
    let bench = Bench::new();
    let cases = [
        ("exp", json!(NOW - 59), None),
        ("exp", json!(NOW - 60), Some("token_expired")),
        ("exp", json!(0), Some("token_expired")),
        ("nbf", json!(NOW + 60), None),
        ("nbf", json!(NOW + 61), Some("token_not_yet_valid")),
        ("iat", json!(NOW + 60), None),
        ("iat", json!(NOW + 61), Some("token_issued_in_future")),
        ("iat", json!(0), None),
    ];
    for (claim, value, reason) in cases {
        assert_eq!(bench.with(claim, Some(value.clone())).await.err(), reason, "{claim} {value}");
    }
    #[expect(clippy::cast_precision_loss, reason = "NOW is small")]
    let fraction = NOW as f64 - 10.25;
    assert_eq!(bench.with("iat", Some(json!(fraction))).await.unwrap().as_of, AsOf::At((NOW - 11) * 1000));
}

#[tokio::test]
async fn repeated_claims_are_refused_although_signed() {
    let bench = Bench::new();
    let text = claims().to_string();
    for extra in [r#""sub":"0","#, r#""\u0073ub":"0","#, r#""x":{"a":1,"a":2},"#] {
        let payload = text.replacen('{', &format!("{{{extra}"), 1);
        assert_eq!(bench.verify(&bench.sign(&payload)).await, Err("token_malformed"), "{extra}");
    }
    for payload in ["[]", "\"x\"", "{", "", "null"] {
        assert_eq!(bench.verify(&bench.sign(payload)).await, Err("token_malformed"), "{payload}");
    }
}

#[tokio::test]
async fn a_huge_token_is_refused_before_anything_is_asked() {
    let provider = Provider::new([Provider::down()]);
    let verifier = verifier_over(provider.clone(), &algorithm::ALL);
    let header = json!({"alg": "ES256", "kid": "k".repeat(16 * 1024)}).to_string();
    assert_eq!(verifier.verify(&format!("{}.e30.AA", base64url(header)), now()).await.unwrap_err(), Error::TooLong);
    assert_eq!(verifier.verify(&"a".repeat(16 * 1024 + 1), now()).await.unwrap_err(), Error::TooLong);
    assert_eq!(provider.asked(), 0);
}

#[tokio::test]
async fn errors_tell_nothing_of_the_token() {
    let bench = Bench::new();
    for (claim, value) in [("iss", json!("SECRET")), ("preferred_username", json!("SECRET!")), ("exp", json!("SECRET"))]
    {
        let mut claims = claims();
        claims[claim] = value;
        let error = bench.verifier.verify(&bench.sign(&claims.to_string()), now()).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
    }
}

#[tokio::test]
async fn a_verification_holds_until_the_token_expires_or_its_key_leaves_the_set() {
    let signer = Signer::for_algorithm(Algorithm::ES256);
    let answers = [Ok(key_set(&[signer.jwk(Some("k"))])), Ok(key_set(&[]))];
    let verifier = verifier_over(Provider::new(answers), &algorithm::ALL);
    let token = signer.sign(Algorithm::ES256, &header(Algorithm::ES256), &claims().to_string());
    let verified = verifier.verify(&token, now()).await.unwrap();
    let end = now() + Duration::from_secs(300 + 60);
    assert!(verified.validity.holds(now()) && verified.validity.holds(end - Duration::from_millis(1)));
    assert!(!verified.validity.holds(end), "as the token itself, which is not accepted on its exp and the leeway");
    // asking for a key that is not there fetches the set once more
    assert!(verifier.keyring().key(Some("other"), Algorithm::ES256).await.is_err());
    assert!(!verified.validity.holds(now()));
}
