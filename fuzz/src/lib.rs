//! The fuzz targets: each takes any bytes and asserts what must hold. `tests/corpus.rs` runs them with every file of the corpus.
//!
//! ```sh
//! cargo install cargo-fuzz
//! cargo +nightly fuzz run -O check    # or token, or claims; from the repository's root
//! RUSTC_BOOTSTRAP=1 cargo fuzz run -O check    # the same with a stable compiler
//! ```

pub mod check;

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use elastauth::identity::claims::{self, Case};
use elastauth::identity::keyring::{self, Keyring};
use elastauth::identity::token::{self, Error, Verifier};
use elastauth::identity::{Answer, KeySource, KeySourceError, Question, Verified, algorithm};
use elastauth::login::{Endpoints, Grant, RedeemError, TokenEndpoint, Tokens, Unavailable};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

/// The `iss` of all tokens here.
pub const ISSUER: &str = "https://id.example.com";

/// A provider that publishes one key and answers no question about opaque tokens.
pub struct OneKey(Vec<u8>);

impl OneKey {
    /// A provider that publishes this JSON Web Key.
    #[must_use]
    pub fn new(key: &serde_json::Value) -> Self {
        Self(json!({ "keys": [key] }).to_string().into_bytes())
    }
}

impl KeySource for OneKey {
    async fn fetch(&self) -> Result<Vec<u8>, KeySourceError> {
        Ok(self.0.clone())
    }

    async fn ask(&self, _: Question, _: &str) -> Result<Answer, KeySourceError> {
        Ok(Answer::Refused)
    }
}

/// Nobody logs in here.
impl TokenEndpoint for OneKey {
    async fn endpoints(&self) -> Result<Endpoints, Unavailable> {
        Err(Unavailable("there is no login".into()))
    }

    async fn redeem(&self, _: Grant<'_>) -> Result<Tokens, RedeemError> {
        Err(RedeemError::NotSent("there is no login".into()))
    }
}

/// The time is constant, so that every run has the same result.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

struct Bench {
    key: Ed25519KeyPair,
    verifier: Verifier<OneKey>,
    runtime: tokio::runtime::Runtime,
}

fn source() -> OneKey {
    let x = URL_SAFE_NO_PAD.encode(signing_key().public_key());
    OneKey::new(&json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}))
}

fn times() -> keyring::Settings {
    let hour = Duration::from_secs(3600);
    keyring::Settings { refresh: hour, max_stale: 24 * hour, cooldown: hour }
}

fn rules() -> token::Settings {
    token::Settings {
        issuer: ISSUER.into(),
        audiences: vec!["elastauth".into()],
        authorized_parties: Vec::new(),
        algorithms: algorithm::ALL.to_vec(),
        leeway: Duration::from_secs(60),
        claims: claims::Settings {
            username: "preferred_username".into(),
            email: "email".into(),
            groups: "realm_access.roles".into(),
            full_name: "name".into(),
            required: vec![("tid".into(), Vec::new())],
            groups_prefix: "/".into(),
            username_prefix: "ext-".into(),
            username_case: Case::Lower,
            allow_unverified_email: false,
            kept: Vec::new(),
        },
    }
}

fn signing_key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let keyring = Keyring::new(source(), times(), &algorithm::ALL);
        Self { key: signing_key(), verifier: Verifier::new(keyring, rules()), runtime }
    }

    fn verify(&self, token: &str) -> Result<Verified, Error> {
        self.runtime.block_on(self.verifier.verify(token, now()))
    }
}

fn bench() -> &'static Bench {
    static BENCH: OnceLock<Bench> = OnceLock::new();
    BENCH.get_or_init(Bench::new)
}

/// Takes any text as a token. It is not signed by the issuer's key, so that it must be refused.
pub fn token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        assert!(bench().verify(text).is_err());
    }
}

/// Takes any bytes as the claims of a signed token. If the token is accepted, the identity must be the one in the claims. Returns
/// whether it was accepted.
pub fn claims(data: &[u8]) -> bool {
    let bench = bench();
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","kid":"k"}"#), URL_SAFE_NO_PAD.encode(data));
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(bench.key.sign(message.as_bytes())));
    let verified = match bench.verify(&token) {
        Ok(verified) => verified,
        Err(error) => {
            assert!(error != Error::Signature && !error.is_outage());
            return false;
        }
    };
    let identity = &verified.identity;
    let signed: serde_json::Value = serde_json::from_slice(data).unwrap();
    assert_eq!((&signed["iss"], &signed["sub"]), (&json!(ISSUER), &json!(*identity.owner.subject)));
    assert!(verified.validity.holds(now()));
    assert!(identity.username.as_str().starts_with("ext-"));
    true
}
