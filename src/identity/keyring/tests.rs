use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::identity::KeySourceError;

/// Answers with the key ids it is given, or not at all.
#[derive(Default)]
struct Script {
    ids: Mutex<Option<Vec<&'static str>>>,
    fetches: std::sync::atomic::AtomicUsize,
}

impl KeySource for Script {
    async fn fetch(&self) -> Result<Vec<u8>, KeySourceError> {
        self.fetches.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let ids = self.ids.lock().unwrap().clone().ok_or_else(|| KeySourceError("down".into()))?;
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"; // RFC 8037 appendix A.2
        let keys: Vec<_> = ids.iter().map(|id| json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x })).collect();
        Ok(json!({ "keys": keys }).to_string().into_bytes())
    }
}

impl<K> Keyring<K> {
    pub(in crate::identity) fn source(&self) -> &K {
        &self.0.source
    }
}

fn keyring(ids: Option<Vec<&'static str>>) -> Keyring<Script> {
    let settings = Settings {
        refresh: Duration::from_secs(300),
        max_stale: Duration::from_secs(3600),
        cooldown: Duration::from_secs(10),
    };
    Keyring::new(Script { ids: Mutex::new(ids), ..Script::default() }, settings)
}

impl Keyring<Script> {
    fn now(&self, ids: Option<Vec<&'static str>>) {
        *self.source().ids.lock().unwrap() = ids;
    }

    fn fetches(&self) -> usize {
        self.source().fetches.load(std::sync::atomic::Ordering::SeqCst)
    }

    async fn get(&self, id: &str) -> Result<(), Error> {
        self.key(Some(id), Algorithm::EdDSA).await.map(|_| ())
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_fetches_once_per_cool_down() {
    let ring = keyring(Some(vec!["one"]));
    ring.get("one").await.unwrap();
    ring.now(Some(vec!["two"]));
    assert_eq!(ring.get("two").await, Err(Error::Unknown), "the cool-down after the first fetch");
    tokio::time::advance(Duration::from_secs(10)).await;
    ring.get("two").await.unwrap();
    for _ in 0..100 {
        assert_eq!(ring.get("three").await, Err(Error::Unknown));
    }
    assert_eq!(ring.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_is_down_is_not_asked_for_every_token() {
    let ring = keyring(None);
    for _ in 0..100 {
        assert_eq!(ring.get("one").await, Err(Error::Unavailable("down".into())));
    }
    assert_eq!(ring.fetches(), 1);
    ring.now(Some(vec!["one"]));
    tokio::time::advance(Duration::from_secs(10)).await;
    ring.get("one").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn old_keys_serve_while_the_provider_is_down_up_to_a_limit() {
    let ring = keyring(Some(vec!["one"]));
    ring.get("one").await.unwrap();
    ring.now(None);
    tokio::time::advance(Duration::from_secs(3599)).await;
    ring.get("one").await.unwrap();
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(ring.get("one").await, Err(Error::Unavailable("down".into())));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_first_tokens_share_one_fetch() {
    let ring = keyring(Some(vec!["one"]));
    let all = futures_util::future::join_all((0..100).map(|_| ring.get("one"))).await;
    assert!(all.into_iter().all(|result| result.is_ok()));
    assert_eq!(ring.fetches(), 1);
}

#[tokio::test]
async fn a_token_without_key_id_needs_a_set_of_one() {
    let one = keyring(Some(vec!["one"]));
    assert!(one.key(None, Algorithm::EdDSA).await.is_ok());
    let two = keyring(Some(vec!["one", "two"]));
    assert_eq!(two.key(None, Algorithm::EdDSA).await.map(|_| ()), Err(Error::NoKeyId));
}

#[test]
fn keys_that_must_not_verify_are_never_used() {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let ed = |extra: serde_json::Value| {
        let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x });
        key.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        key
    };
    let short_rsa = json!({ "kty": "RSA", "kid": "k", "n": "AQAB".repeat(40), "e": "AQAB" });
    for key in [
        ed(json!({ "use": "enc" })),
        ed(json!({ "key_ops": ["sign"] })),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        short_rsa,
        json!({ "kty": "EC", "crv": "P-521", "x": x, "y": x }),
        json!({ "kty": "nonsense" }),
    ] {
        assert!(usable(key.clone()).is_err(), "{key}");
    }
    assert!(usable(ed(json!({ "use": "sig", "key_ops": ["verify"] }))).is_ok());
}
