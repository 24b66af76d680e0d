//! ID tokens of a login, through [`Issuers::sign_in`].

use std::time::UNIX_EPOCH;

use serde_json::{Value, json};

use super::*;
use crate::identity::issuer::{Issuer, Settings, Validation};
use crate::identity::issuers::Issuers;
use crate::identity::testing::{Provider, Signer, key_set, mapping};
use crate::identity::{Answer, AsOf, KeySourceError, Question, algorithm, claims, keyring, token};

const ISSUER: &str = "https://id.example.com";
const NOW: u64 = 1_800_000_000;
const CLIENT: &str = "browser-login";
const ACCESS: &str = "2YotnFZFEjr1zCsicMWpAA";
const NONCE: &str = "n-0S6_WzA2Mj";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn settings(issuer: &str, validation: Validation) -> Settings {
    let hour = Duration::from_secs(3600);
    Settings {
        validation,
        introspection_ttl: Duration::from_secs(30),
        token: token::Settings {
            issuer: issuer.into(),
            // of tokens that callers bring: a login's ID token is for the client alone
            audiences: vec!["api".into()],
            authorized_parties: vec!["login-proxy".into()],
            algorithms: algorithm::ALL.to_vec(),
            leeway: Duration::from_secs(60),
            claims: claims::Settings { required: vec![("department".into(), vec!["it".into()])], ..mapping() },
        },
        keyring: keyring::Settings { refresh: hour, max_stale: hour, cooldown: hour },
    }
}

/// A provider with one key, second in a list of issuers.
struct Bench {
    signer: Signer,
    provider: Provider,
    issuers: Issuers<Provider>,
    algorithm: Algorithm,
}

impl Bench {
    fn new(validation: Validation) -> Self {
        Self::with(validation, Algorithm::ES256, [Ok(Answer::Refused)])
    }

    fn with(
        validation: Validation,
        algorithm: Algorithm,
        said: impl IntoIterator<Item = Result<Answer, KeySourceError>>,
    ) -> Self {
        let signer = Signer::for_algorithm(algorithm);
        let provider = Provider::new([Ok(key_set(&[signer.jwk(Some("k"))]))]).saying(said);
        let first = Issuer::new(Provider::new([Provider::down()]), settings("https://first", Validation::Jwks));
        let issuers = Issuers::new(vec![first, Issuer::new(provider.clone(), settings(ISSUER, validation))]);
        Self { signer, provider, issuers, algorithm }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm, "kid": "k"}).to_string();
        self.signer.sign(self.algorithm, &header, &claims.to_string())
    }

    async fn sign_in(&self, id_token: &str, nonce: Option<&str>) -> Result<SignedIn, &'static str> {
        let tokens = SignInTokens { id_token, access_token: ACCESS };
        let signed_in = self.issuers.sign_in(1, tokens, Expected { nonce, client_id: CLIENT }, now()).await;
        signed_in.map_err(|error| error.reason())
    }

    /// Why an ID token with these claims on top of good ones is refused at a login.
    async fn refuses(&self, more: Value) -> Option<&'static str> {
        self.sign_in(&self.sign(&and(claims(), more)), Some(NONCE)).await.err()
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": CLIENT, "sub": "4711", "iat": NOW - 10, "exp": NOW + 290, "nonce": NONCE, "sid": "08a5019c",
           "preferred_username": "jane", "groups": ["admins"], "department": "it"})
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

#[tokio::test(start_paused = true)]
async fn an_id_token_names_a_person_by_the_rules_of_every_token_however_callers_tokens_are_validated() {
    for validation in [Validation::Jwks, Validation::Both, Validation::Userinfo, Validation::Introspection] {
        let bench = Bench::new(validation);
        let signed_in = bench.sign_in(&bench.sign(&claims()), Some(NONCE)).await.unwrap();
        let identity = &signed_in.identity;
        assert_eq!((identity.username.as_str(), &identity.groups[..]), ("jane", &["admins".to_owned()][..]));
        assert_eq!((&*identity.owner.issuer, &*identity.owner.subject), (ISSUER, "4711"));
        assert_eq!((identity.as_of, signed_in.issued), (AsOf::At((NOW - 10) * 1000), (NOW - 10) * 1000));
        assert_eq!((signed_in.sid.as_deref(), signed_in.lifetime), (Some("08a5019c"), Duration::from_secs(300)));
        assert_eq!(identity.expires, now() + Duration::from_secs(290));
        assert_eq!(bench.provider.questions(), [], "the ID token says enough");
    }
}

#[tokio::test(start_paused = true)]
async fn an_id_token_that_is_not_of_this_login_at_this_client_is_refused() {
    let bench = Bench::new(Validation::Jwks);
    for (more, reason) in [
        // another login's, or none's
        (json!({"nonce": "other"}), "login_nonce"),
        (json!({"nonce": null}), "login_nonce"),
        (json!({"nonce": ""}), "login_nonce"),
        (json!({"nonce": [NONCE]}), "login_nonce"),
        (json!({"nonce": format!("{NONCE} ")}), "login_nonce"),
        // for others: oidc.audience and oidc.authorized_parties are about tokens of callers
        (json!({"aud": "other"}), "token_audience"),
        (json!({"aud": "api"}), "token_audience"),
        (json!({"aud": ["api", "other"]}), "token_audience"),
        (json!({"aud": null}), "token_claim_missing"),
        (json!({"aud": [CLIENT, "api"]}), "token_authorized_party"),
        (json!({"aud": [CLIENT, "api"], "azp": "login-proxy"}), "token_authorized_party"),
        (json!({"azp": "login-proxy"}), "token_authorized_party"),
        (json!({"azp": [CLIENT]}), "token_authorized_party"),
        // of others, and of other times
        (json!({"iss": "https://first"}), "token_issuer"),
        (json!({"iss": format!("{ISSUER}/")}), "token_issuer"),
        (json!({"exp": NOW - 60}), "token_expired"),
        (json!({"exp": null}), "token_claim_missing"),
        (json!({"iat": NOW + 61}), "token_issued_in_future"),
        (json!({"iat": null}), "token_claim_missing"),
        (json!({"nbf": NOW + 61}), "token_not_yet_valid"),
        // of other kinds
        (json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}), "token_kind"),
        (json!({"typ": "Logout"}), "token_kind"),
        (json!({"typ": "Refresh"}), "token_kind"),
        (json!({"cnf": {"jkt": "x"}}), "token_bound"),
        // of people who may not come in
        (json!({"department": "sales"}), "token_claim_value"),
        (json!({"sub": null}), "token_claim_missing"),
        (json!({"preferred_username": "_root"}), "username_refused"),
        (json!({"preferred_username": "jane@example.com", "email_verified": false}), "email_unverified"),
    ] {
        assert_eq!(bench.refuses(more.clone()).await, Some(reason), "{more}");
    }
    for more in [
        json!({"azp": CLIENT}),
        json!({"aud": [CLIENT]}),
        json!({"aud": [CLIENT, "api"], "azp": CLIENT}),
        json!({"sid": null}),
        json!({"exp": NOW - 59}),
        json!({"typ": "ID"}),
    ] {
        assert_eq!(bench.refuses(more.clone()).await, None, "{more}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_forged_id_token_or_one_of_another_kind_is_refused() {
    let bench = Bench::new(Validation::Userinfo);
    let sign = |signer: &Signer, header: &str| signer.sign(Algorithm::ES256, header, &claims().to_string());
    let stranger = Signer::for_algorithm(Algorithm::ES256);
    let unsigned = format!("{}.", sign(&stranger, r#"{"alg":"none"}"#).rsplit_once('.').unwrap().0);
    for (token, reason) in [
        (sign(&stranger, r#"{"alg":"ES256","kid":"k"}"#), "token_signature"),
        (sign(&stranger, r#"{"alg":"HS256","kid":"k"}"#), "token_algorithm"),
        (sign(&bench.signer, r#"{"alg":"ES256","kid":"other"}"#), "token_key_unknown"),
        (sign(&bench.signer, r#"{"alg":"ES256","kid":"k","typ":"at+jwt"}"#), "token_kind"),
        (sign(&bench.signer, r#"{"alg":"ES256","kid":"k","typ":"logout+jwt"}"#), "token_kind"),
        (unsigned, "token_malformed"),
        (ACCESS.to_owned(), "token_malformed"),
        (String::new(), "token_malformed"),
        ("a".repeat(16 * 1024 + 1), "token_too_long"),
    ] {
        assert_eq!(bench.sign_in(&token, Some(NONCE)).await.err(), Some(reason), "{token:.40}");
    }
    let issuers = &bench.issuers;
    let (tokens, expected) = (bench.sign(&claims()), Expected { nonce: Some(NONCE), client_id: CLIENT });
    let tokens = SignInTokens { id_token: &tokens, access_token: ACCESS };
    assert!(issuers.sign_in(0, tokens, expected, now()).await.unwrap_err().is_outage(), "another issuer's keys");
    assert_eq!(issuers.sign_in(2, tokens, expected, now()).await.err(), Some(Error::Issuer));
    assert_eq!([0, 1, 2].map(|at| issuers.name_at(at)), [Some("https://first"), Some(ISSUER), None]);
}

/// `OpenID` Connect Core §12.2: such a token should have none, and some providers repeat the first one's.
#[tokio::test(start_paused = true)]
async fn after_a_refresh_the_nonce_is_not_looked_at() {
    let bench = Bench::new(Validation::Jwks);
    for nonce in [json!(null), json!(NONCE), json!("other"), json!(7)] {
        assert!(bench.sign_in(&bench.sign(&and(claims(), json!({"nonce": nonce}))), None).await.is_ok(), "{nonce}");
    }
    let other = bench.sign(&and(claims(), json!({"nonce": null, "aud": "other"})));
    assert_eq!(bench.sign_in(&other, None).await.err(), Some("token_audience"), "everything else is");
}

#[tokio::test(start_paused = true)]
async fn the_hash_of_the_access_token_is_that_of_each_algorithms_family() {
    for algorithm in algorithm::ALL {
        let bench = Bench::with(Validation::Jwks, algorithm, [Ok(Answer::Refused)]);
        let hash = access_token_hash(algorithm, ACCESS);
        assert_eq!(bench.refuses(json!({"at_hash": hash})).await, None, "{algorithm:?}");
        for wrong in [
            json!(access_token_hash(algorithm, "another")),
            json!(hash[1..]),
            json!(""),
            json!(format!("{hash}=")),
            json!([hash]),
            json!(7),
        ] {
            let reason = bench.refuses(json!({"at_hash": wrong})).await;
            assert_eq!(reason, Some("login_access_token_hash"), "{algorithm:?} {wrong}");
        }
    }
    // the example of OpenID Connect Core, appendix A.3
    let example = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
    assert_eq!(access_token_hash(Algorithm::RS256, example), "77QmUPtjPfzWtF2AnpK9RQ");
    assert_eq!(access_token_hash(Algorithm::ES384, example).len(), 32);
    assert_eq!(access_token_hash(Algorithm::EdDSA, example).len(), 43);
}

#[tokio::test(start_paused = true)]
async fn userinfo_adds_what_decides_and_the_id_token_lacks_where_it_is_asked_about_tokens() {
    let thin = and(claims(), json!({"groups": null, "department": null}));
    let more =
        json!({"sub": "4711", "groups": ["ops"], "department": "it", "preferred_username": "root", "sid": "other"});
    for (validation, groups) in [
        (Validation::Both, Some("ops")),
        (Validation::Userinfo, Some("ops")),
        (Validation::Jwks, None),
        (Validation::Introspection, None),
    ] {
        let bench = Bench::with(validation, Algorithm::ES256, [Provider::says(&more)]);
        let outcome = bench.sign_in(&bench.sign(&thin), Some(NONCE)).await;
        let Some(groups) = groups else {
            assert_eq!(outcome.err(), Some("token_claim_missing"), "{validation:?}");
            continue;
        };
        let signed_in = outcome.unwrap();
        assert_eq!((signed_in.identity.username.as_str(), &signed_in.identity.groups[0][..]), ("jane", groups));
        assert_eq!(
            (signed_in.identity.as_of, signed_in.sid.as_deref()),
            (AsOf::At((NOW - 10) * 1000), Some("08a5019c"))
        );
        let asked = [(Question::Userinfo, ACCESS.to_owned())];
        assert_eq!(bench.provider.questions(), asked, "the ID token is shown to nobody");
    }
    for (said, reason) in [
        (Provider::says(&and(more.clone(), json!({"sub": "4712"}))), "token_other_subject"),
        (Provider::says(&json!({"groups": ["ops"]})), "token_claim_missing"),
        (Ok(Answer::Refused), "token_refused"),
        (Err(KeySourceError("down".into())), "provider_unavailable"),
    ] {
        let bench = Bench::with(Validation::Both, Algorithm::ES256, [said]);
        assert_eq!(bench.sign_in(&bench.sign(&thin), Some(NONCE)).await.err(), Some(reason));
        let forged = bench.sign(&and(thin.clone(), json!({"nonce": "other"})));
        let asked = bench.provider.questions().len();
        assert_eq!(bench.sign_in(&forged, Some(NONCE)).await.err(), Some("login_nonce"));
        assert_eq!(bench.provider.questions().len(), asked, "nothing is asked about a token that is refused");
    }
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_the_issuer_that_people_log_in_at_are_kept_fresh_although_callers_tokens_need_none() {
    for (login, fetches) in [(None, 0), (Some(1), 1)] {
        let bench = Bench::new(Validation::Introspection);
        let issuers = login.into_iter().fold(bench.issuers, Issuers::with_login_at);
        let watch = tokio::spawn(issuers.verifying_at_once(1).watch());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(bench.provider.asked(), fetches, "{login:?}");
        watch.abort();
    }
}
