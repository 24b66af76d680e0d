//! Logout tokens, through [`Issuers::logout_token`].

use std::time::UNIX_EPOCH;

use jsonwebtoken::Algorithm;
use serde_json::json;

use super::*;
use crate::identity::issuer::{Issuer, Settings, Validation};
use crate::identity::issuers::Issuers;
use crate::identity::testing::{Provider, Signer, key_set, mapping};
use crate::identity::{Expected, SignInTokens, algorithm, keyring, token};

const ISSUER: &str = "https://id.example.com";
const NOW: u64 = 1_800_000_000;
const CLIENT: &str = "browser-login";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

/// A provider with one key.
struct Bench {
    signer: Signer,
    issuers: Issuers<Provider>,
}

impl Bench {
    fn new() -> Self {
        let signer = Signer::for_algorithm(Algorithm::ES256);
        let keys = Ok(key_set(&[signer.jwk(Some("k"))]));
        Self::over(signer, Provider::new([keys]))
    }

    fn over(signer: Signer, provider: Provider) -> Self {
        let hour = Duration::from_secs(3600);
        let settings = Settings {
            validation: Validation::Introspection,
            introspection_ttl: Duration::from_secs(30),
            token: token::Settings {
                issuer: ISSUER.into(),
                audiences: vec!["api".into()],
                authorized_parties: Vec::new(),
                algorithms: algorithm::ALL.to_vec(),
                leeway: Duration::from_secs(60),
                claims: mapping(),
            },
            keyring: keyring::Settings { refresh: hour, max_stale: hour, cooldown: hour },
        };
        Self { signer, issuers: Issuers::new(vec![Issuer::new(provider, settings)]) }
    }

    fn sign(&self, typ: Option<&str>, claims: &Value) -> String {
        let mut header = json!({"alg": "ES256", "kid": "k"});
        if let Some(typ) = typ {
            header["typ"] = json!(typ);
        }
        self.signer.sign(Algorithm::ES256, &header.to_string(), &claims.to_string())
    }

    async fn read(&self, token: &str) -> Result<LogoutNotice, String> {
        let read = self.issuers.logout_token(0, CLIENT, token, now()).await;
        read.map_err(|error| {
            assert_eq!(error.reason(), "logout_token_invalid", "{error}");
            error.to_string().strip_prefix("the logout token is not valid: ").unwrap().to_owned()
        })
    }

    async fn with(&self, more: Value) -> Result<LogoutNotice, String> {
        self.read(&self.sign(Some("logout+jwt"), &and(claims(), more))).await
    }
}

/// As the specification has it (§2.4).
fn claims() -> Value {
    json!({"iss": ISSUER, "aud": CLIENT, "sub": "4711", "sid": "08a5019c", "iat": NOW - 2, "exp": NOW + 118, "jti": "bWJq",
           "events": {EVENT: {}}})
}

/// With these claims on top; `null` takes one away.
fn and(mut claims: Value, more: Value) -> Value {
    let members = claims.as_object_mut().unwrap();
    for (name, value) in more.as_object().unwrap() {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    claims
}

#[tokio::test]
async fn a_logout_token_says_which_session_or_whose_sessions_have_ended() {
    let bench = Bench::new();
    let (sid, subject) = (Some("08a5019c".to_owned()), Some("4711".to_owned()));
    for (more, sid, subject) in [
        (json!({}), &sid, &subject),
        (json!({"sid": null}), &None, &subject),
        (json!({"sub": null}), &sid, &None),
        // as Keycloak sends it: of a type of its own, and before version 26 without an end
        (json!({"typ": "Logout", "exp": null, "jti": null}), &sid, &subject),
        (json!({"aud": [CLIENT, "other"]}), &sid, &subject),
        (json!({"events": {EVENT: {}, "https://schemas.openid.net/secevent/other": {}}}), &sid, &subject),
        // what a later version of the specification may put into the event
        (json!({"events": {EVENT: {"more": 1}}}), &sid, &subject),
    ] {
        let notice = bench.with(more.clone()).await.unwrap();
        let expected = LogoutNotice {
            issuer: ISSUER.into(),
            sid: sid.clone(),
            subject: subject.clone(),
            issued: (NOW - 2) * 1000,
        };
        assert_eq!(notice, expected, "{more}");
    }
    for typ in [None, Some("JWT"), Some("application/logout+jwt")] {
        assert!(bench.read(&bench.sign(typ, &claims())).await.is_ok(), "{typ:?}");
    }
}

#[tokio::test]
async fn a_logout_token_that_is_forged_old_or_for_others_ends_nothing() {
    let bench = Bench::new();
    for (more, why) in [
        (json!({"iss": "https://other"}), "the token is from another issuer"),
        (json!({"iss": null}), "the token has no claim iss"),
        (json!({"aud": "other"}), "the token is for another audience"),
        (json!({"aud": "api"}), "the token is for another audience"),
        (json!({"aud": null}), "the token has no claim aud"),
        (json!({"exp": NOW - 60}), "the token has expired"),
        (json!({"exp": "soon"}), "the token's claim exp has the wrong type"),
        (json!({"iat": null}), "the token has no claim iat"),
        (json!({"iat": NOW + 61}), "the token was issued in the future"),
        (json!({"iat": NOW - 361}), "it is older than five minutes"),
        (json!({"iat": 0}), "it is older than five minutes"),
        (json!({"sub": null, "sid": null}), "it names neither a session nor a subject"),
        (json!({"sid": 7}), "the token's claim sid has the wrong type"),
        (json!({"sid": ""}), "the token's claim sid has the wrong type"),
        (json!({"sub": ["4711"]}), "the token's claim sub has the wrong type"),
    ] {
        assert_eq!(bench.with(more.clone()).await.unwrap_err(), why, "{more}");
    }
    assert!(bench.with(json!({"iat": NOW - 360, "exp": NOW - 59})).await.is_ok(), "within the leeway");
    let stranger = Bench::new();
    let forged = stranger.sign(Some("logout+jwt"), &claims());
    assert_eq!(bench.read(&forged).await.unwrap_err(), "the token's signature is wrong");
    let good = bench.sign(Some("logout+jwt"), &claims());
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    assert_eq!(bench.read(&unsigned).await.unwrap_err(), "the token is malformed: it is not signed");
    for token in ["", "2YotnFZFEjr1zCsicMWpAA", "a.b.c", &"a".repeat(16 * 1024 + 1)] {
        bench.read(token).await.unwrap_err();
    }
}

#[tokio::test]
async fn no_other_token_passes_for_a_logout_token_and_a_logout_token_for_no_other() {
    let bench = Bench::new();
    let (none, nonce) = ("it has no event of a logout", "it has a nonce, as ID tokens have");
    for (more, why) in [
        (json!({"events": null}), none),
        (json!({"events": {}}), none),
        (json!({"events": [EVENT]}), none),
        (json!({"events": {EVENT: true}}), none),
        (json!({"events": {EVENT: []}}), none),
        (json!({"events": EVENT}), none),
        (json!({"events": {"https://schemas.openid.net/secevent/other": {}}}), none),
        (json!({"nonce": "n"}), nonce),
        (json!({"nonce": ""}), nonce),
        (json!({"typ": "ID"}), "it says that it is of another kind"),
        (json!({"typ": "Bearer"}), "it says that it is of another kind"),
        (json!({"token_use": "access"}), "it says that it is of another kind"),
    ] {
        assert_eq!(bench.with(more.clone()).await.unwrap_err(), why, "{more}");
    }
    for typ in ["at+jwt", "secevent+jwt", "dpop+jwt"] {
        let why = bench.read(&bench.sign(Some(typ), &claims())).await.unwrap_err();
        assert_eq!(why, "its header says that it is of another kind", "{typ}");
    }
    // the reverse, with whatever else an ID token needs
    let full = and(claims(), json!({"nonce": "n", "preferred_username": "jane", "groups": []}));
    for typ in [None, Some("JWT"), Some("logout+jwt")] {
        for claims in [full.clone(), and(full.clone(), json!({"typ": "Logout"}))] {
            let token = bench.sign(typ, &claims);
            let tokens = SignInTokens { id_token: &token, access_token: "a" };
            let expected = Expected { nonce: Some("n"), client_id: CLIENT };
            let error = bench.issuers.sign_in(0, tokens, expected, now()).await.unwrap_err();
            assert_eq!(error.reason(), "token_kind", "{typ:?}");
        }
    }
}

#[tokio::test]
async fn an_outage_of_the_keys_is_not_the_logout_tokens_fault() {
    let signer = Signer::for_algorithm(Algorithm::ES256);
    let bench = Bench::over(signer, Provider::new([Provider::down()]));
    let error = bench.issuers.logout_token(0, CLIENT, &bench.sign(None, &claims()), now()).await.unwrap_err();
    assert_eq!((error.reason(), error.is_outage()), ("keys_unavailable", true));
}
