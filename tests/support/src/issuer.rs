//! A small OpenID issuer: discovery, a key set, and tokens on demand.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::secrets;

/// The name and the secret with which a client authenticates at the issuer's introspection endpoint.
pub const CLIENT: (&str, &str) = ("elastauth", "hush-of-elastauth");

/// An ES256 key and its id.
pub struct SigningKey {
    id: String,
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// Generates a new key with this id.
    #[must_use]
    pub fn new(id: &str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        Self { id: id.to_owned(), pair }
    }

    /// The public part as a JSON Web Key.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let (x, y) = self.public_key()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.id,
                "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
    }

    /// The public part, as an uncompressed point.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    /// A token with these claims, signed by this key.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_raw(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.id }).to_string(), &claims.to_string())
    }

    /// A signed token with any header and payload, valid or not.
    #[must_use]
    pub fn sign_raw(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        secrets::keep_token(&token);
        token
    }
}

struct Shared {
    url: String,
    key: Mutex<SigningKey>,
    /// Opaque tokens and the claims that each of them stands for.
    opaque: Mutex<HashMap<String, Value>>,
    down: AtomicBool,
    /// The delay before each answer about an opaque token.
    delay: Mutex<Duration>,
    requests: AtomicUsize,
}

/// A running issuer; dropping it ends it.
pub struct Issuer {
    /// The address of the issuer, which is the `iss` claim of its tokens.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Seconds since the Unix epoch.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

impl Issuer {
    /// Starts an issuer on a free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            key: Mutex::new(SigningKey::new("key-1")),
            opaque: Mutex::default(),
            down: AtomicBool::new(false),
            delay: Mutex::default(),
            requests: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/userinfo", get(userinfo))
            .route("/introspect", post(introspect))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, task }
    }

    /// The claims of a valid token for elastauth, issued `age` seconds ago.
    #[must_use]
    pub fn claims(&self, user: &str, groups: &[&str], age: u64) -> Value {
        json!({ "iss": self.url, "aud": "elastauth", "sub": format!("id-of-{user}"), "preferred_username": user,
                "email": format!("{user}@example.com"), "name": user, "groups": groups,
                "iat": now() - age, "exp": now() + 300 })
    }

    /// A valid token, issued now.
    #[must_use]
    pub fn token(&self, user: &str, groups: &[&str]) -> String {
        self.sign(&self.claims(user, groups, 0))
    }

    /// The current key's public part, as an uncompressed point.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.shared.key.lock().unwrap().public_key().to_vec()
    }

    /// Any claims, signed with the current key.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.shared.key.lock().unwrap().sign(claims)
    }

    /// The same claims under the same key id, signed by another key.
    #[must_use]
    pub fn forge(&self, claims: &Value) -> String {
        SigningKey::new(&self.shared.key.lock().unwrap().id).sign(claims)
    }

    /// From now on the opaque token stands for these claims, until it is revoked.
    pub fn grant(&self, token: &str, claims: Value) {
        secrets::keep_token(token);
        self.shared.opaque.lock().unwrap().insert(token.to_owned(), claims);
    }

    /// From now on the opaque token is not valid.
    pub fn revoke(&self, token: &str) {
        self.shared.opaque.lock().unwrap().remove(token);
    }

    /// Replaces the signing key; the old one is not published any more.
    pub fn rotate(&self, id: &str) {
        *self.shared.key.lock().unwrap() = SigningKey::new(id);
    }

    /// From now on answers 503, or works again.
    pub fn set_down(&self, down: bool) {
        self.shared.down.store(down, Ordering::SeqCst);
    }

    /// From now on delays each answer about an opaque token by this much.
    pub fn set_delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// The number of requests that passed the check of their credential, to any endpoint.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }
}

async fn think(shared: &Shared) {
    let delay = *shared.delay.lock().unwrap();
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

fn reply(shared: &Shared, body: Value) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    if shared.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    axum::Json(body).into_response()
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    reply(
        &shared,
        json!({ "issuer": shared.url, "jwks_uri": format!("{}/keys", shared.url),
                           "userinfo_endpoint": format!("{}/userinfo", shared.url),
                           "introspection_endpoint": format!("{}/introspect", shared.url) }),
    )
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    let jwk = shared.key.lock().unwrap().jwk();
    reply(&shared, json!({ "keys": [jwk] }))
}

async fn userinfo(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    think(&shared).await;
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let claims =
        authorization.strip_prefix("Bearer ").and_then(|token| shared.opaque.lock().unwrap().get(token).cloned());
    match claims {
        None if !shared.down.load(Ordering::SeqCst) => StatusCode::UNAUTHORIZED.into_response(),
        claims => reply(&shared, claims.unwrap_or_default()),
    }
}

/// Token introspection (RFC 7662), for the client [`CLIENT`] only.
async fn introspect(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: String) -> Response {
    think(&shared).await;
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let (id, secret) = CLIENT;
    if authorization != Some(&format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let token = body.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap_or_default();
    let mut answer = shared.opaque.lock().unwrap().get(token).cloned().unwrap_or_else(|| json!({}));
    answer["active"] = (answer != json!({})).into();
    reply(&shared, answer)
}
