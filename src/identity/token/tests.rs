use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::identity::{KeySourceError, algorithm};

/// Signs with a fresh ES256 and a fresh Ed25519 key.
struct Signer {
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self { ec, ed: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap() }
    }

    fn jwks(&self) -> Value {
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        let ed = URL_SAFE_NO_PAD.encode(self.ed.public_key());
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "ec", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": ed },
            { "kty": "oct", "kid": "shared", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0" },
            { "kty": "EC", "crv": "P-256", "kid": "broken", "x": "AA" },
        ] })
    }

    fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = if header.contains("EdDSA") {
            self.ed.sign(message.as_bytes()).as_ref().to_vec()
        } else {
            self.ec.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
        };
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

struct Keys(Vec<u8>, AtomicUsize);

impl KeySource for Keys {
    async fn fetch(&self) -> Result<Vec<u8>, KeySourceError> {
        self.1.fetch_add(1, SeqCst);
        Ok(self.0.clone())
    }
}

fn verifier(signer: &Signer) -> Verifier<Keys> {
    algorithm::install();
    let keys = Keys(signer.jwks().to_string().into_bytes(), AtomicUsize::new(0));
    let hour = Duration::from_secs(3600);
    let times = keyring::Settings { refresh: hour, max_stale: hour, cooldown: hour };
    let claims = claims::Settings {
        username: "preferred_username".into(),
        email: "email".into(),
        groups: "groups".into(),
        full_name: "name".into(),
    };
    let settings = Settings {
        issuer: "https://issuer".into(),
        audiences: vec!["elastauth".into(), "other".into()],
        algorithms: algorithm::SUPPORTED.to_vec(),
        leeway: Duration::from_secs(60),
        claims,
    };
    Verifier::new(Keyring::new(keys, times), settings)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({ "iss": "https://issuer", "aud": "elastauth", "sub": "s", "preferred_username": "ann",
            "groups": ["a"], "iat": now(), "exp": now() + 300 })
}

fn changed(name: &str, value: Value) -> String {
    let mut claims = claims();
    let map = claims.as_object_mut().unwrap();
    if value.is_null() {
        map.remove(name)
    } else {
        map.insert(name.into(), value)
    };
    claims.to_string()
}

async fn reason(verifier: &Verifier<Keys>, token: &str) -> &'static str {
    match verifier.verify(token, SystemTime::now()).await {
        Ok(_) => "ok",
        Err(error) => error.reason(),
    }
}

const EC: &str = r#"{"alg":"ES256","kid":"ec"}"#;

#[tokio::test]
async fn a_good_token_gives_an_identity() {
    let signer = Signer::new();
    for header in [EC, r#"{"alg":"EdDSA","kid":"ed"}"#] {
        let token = signer.sign(header, &claims().to_string());
        let identity = verifier(&signer).verify(&token, SystemTime::now()).await.unwrap();
        assert_eq!(identity.username.as_str(), "ann");
        assert_eq!((&*identity.owner.issuer, &*identity.owner.subject), ("https://issuer", "s"));
        assert_eq!(identity.as_of / 1000, claims()["iat"].as_u64().unwrap());
    }
}

#[tokio::test]
async fn every_claim_is_checked() {
    let signer = Signer::new();
    let verifier = verifier(&signer);
    let now = now();
    for (name, value, expected) in [
        ("iss", json!("https://issuer/"), "token_issuer"),
        ("iss", Value::Null, "token_claim"),
        ("aud", json!("elsewhere"), "token_audience"),
        ("aud", json!(["elsewhere", "other"]), "ok"),
        ("aud", Value::Null, "token_claim"),
        ("exp", json!(now - 120), "token_expired"),
        ("exp", json!(now - 30), "ok"),
        ("exp", Value::Null, "token_claim"),
        ("nbf", json!(now + 120), "token_not_yet_valid"),
        ("nbf", json!(now + 30), "ok"),
        ("iat", json!(now + 120), "token_issued_in_future"),
        ("iat", Value::Null, "token_claim"),
        ("iat", json!("yesterday"), "token_claim"),
        ("iat", json!(-5), "token_claim"),
        ("sub", Value::Null, "token_claim"),
        ("sub", json!(""), "token_claim"),
        ("preferred_username", Value::Null, "token_claim"),
        ("preferred_username", json!("a:b"), "username_refused"),
        ("groups", json!({ "a": 1 }), "token_claim"),
        ("groups", Value::Null, "ok"),
    ] {
        let token = signer.sign(EC, &changed(name, value.clone()));
        assert_eq!(reason(&verifier, &token).await, expected, "{name} = {value}");
    }
}

#[tokio::test]
async fn the_token_alone_never_chooses_the_algorithm() {
    let signer = Signer::new();
    let verifier = verifier(&signer);
    for (header, expected) in [
        (r#"{"alg":"none","kid":"ec"}"#, "token_algorithm"),
        (r#"{"alg":"HS256","kid":"shared"}"#, "token_algorithm"),
        (r#"{"alg":"HS256","kid":"ec"}"#, "token_algorithm"),
        (r#"{"alg":"ES384","kid":"ec"}"#, "token_key_unknown"),
        (r#"{"alg":"RS256","kid":"ec"}"#, "token_key_unknown"),
        (r#"{"alg":"ES256","kid":"ed"}"#, "token_key_unknown"),
        (r#"{"alg":"ES256","kid":"broken"}"#, "token_key_unknown"),
        (r#"{"alg":"ES256"}"#, "token_key_id_missing"),
        (r#"{"alg":"ES256","kid":7}"#, "token_malformed"),
        (r#"{"alg":"ES256","kid":"ec","crit":["x"],"x":1}"#, "token_malformed"),
        (r#"{"alg":"ES256","alg":"ES256","kid":"ec"}"#, "token_malformed"),
        (r#"{"kid":"ec"}"#, "token_malformed"),
    ] {
        let token = signer.sign(header, &claims().to_string());
        assert_eq!(reason(&verifier, &token).await, expected, "{header}");
    }
}

#[tokio::test]
async fn a_changed_token_does_not_verify() {
    let signer = Signer::new();
    let verifier = verifier(&signer);
    let token = signer.sign(EC, &claims().to_string());
    let parts: Vec<&str> = token.split('.').collect();
    let admin = URL_SAFE_NO_PAD.encode(changed("groups", json!(["admin"])));
    let swapped = format!("{}.{admin}.{}", parts[0], parts[2]);
    assert_eq!(reason(&verifier, &swapped).await, "token_signature");
    let stranger = Signer::new().sign(EC, &claims().to_string());
    assert_eq!(reason(&verifier, &stranger).await, "token_signature");
    let twice = claims().to_string().replacen('{', r#"{"sub":"other","#, 1);
    assert_eq!(reason(&verifier, &signer.sign(EC, &twice)).await, "token_malformed");
}

#[tokio::test]
async fn broken_shapes_are_refused() {
    let signer = Signer::new();
    let verifier = verifier(&signer);
    let huge = "a".repeat(MAX_TOKEN + 1);
    for token in ["", ".", "..", "a.b", "a.b.c", "a.b.c.d", "e30.e30.", "e30.e30.e30", "!!.e30.e30", &huge] {
        assert_eq!(reason(&verifier, token).await, "token_malformed", "{token:.20}");
    }
    assert_eq!(verifier.keyring_fetches(), 0, "nothing is fetched for nonsense");
}

impl Verifier<Keys> {
    fn keyring_fetches(&self) -> usize {
        self.keyring.source().1.load(SeqCst)
    }
}
