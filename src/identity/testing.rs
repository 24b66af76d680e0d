//! What the tests of this part share: keys that sign, and a provider that follows a script.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::claims::{self, Case};
use super::{Answer, KeySource, KeySourceError, Question, headers, token};
use crate::authz::Reason;

impl token::Error {
    /// The reason's name, as logs and metrics have it.
    pub(crate) fn reason(&self) -> &'static str {
        Reason::from(self).name()
    }
}

impl headers::Error {
    /// The reason's name, as logs and metrics have it.
    pub(crate) fn reason(&self) -> &'static str {
        Reason::from(self).name()
    }

    /// Whether the client is asked to log in.
    pub(crate) fn is_anonymous(&self) -> bool {
        Reason::from(self).verdict().http == 401
    }
}

/// A key pair of a test provider. RSA is one fixed key, since ring cannot make any.
pub(super) enum Signer {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

pub(super) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    pub(super) fn for_algorithm(algorithm: Algorithm) -> Self {
        let random = SystemRandom::new();
        let ecdsa = |kind| {
            let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
            EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap()
        };
        match algorithm {
            Algorithm::ES256 => Self::P256(ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING)),
            Algorithm::ES384 => Self::P384(ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING)),
            Algorithm::EdDSA => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Self::Ed25519(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
            }
            _ => {
                let text: String = include_str!("testdata/rsa2048.pkcs8.b64").split_whitespace().collect();
                Self::Rsa(Box::new(RsaKeyPair::from_pkcs8(&STANDARD.decode(text).unwrap()).unwrap()))
            }
        }
    }

    pub(super) fn jwk(&self, kid: Option<&str>) -> Value {
        let mut jwk = match self {
            Self::Rsa(pair) => {
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public().into();
                json!({"kty": "RSA", "n": base64url(public.n), "e": base64url(public.e)})
            }
            Self::P256(pair) => ec("P-256", pair),
            Self::P384(pair) => ec("P-384", pair),
            Self::Ed25519(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key())}),
        };
        if let Some(kid) = kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    /// Signs header and payload as they are written.
    pub(super) fn sign(&self, algorithm: Algorithm, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(payload));
        let random = SystemRandom::new();
        let signature = match self {
            Self::Rsa(pair) => {
                let padding: &dyn ring::signature::RsaEncoding = match algorithm {
                    Algorithm::RS256 => &RSA_PKCS1_SHA256,
                    Algorithm::RS384 => &RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &RSA_PKCS1_SHA512,
                    Algorithm::PS256 => &RSA_PSS_SHA256,
                    Algorithm::PS384 => &RSA_PSS_SHA384,
                    Algorithm::PS512 => &RSA_PSS_SHA512,
                    other => panic!("RSA does not sign {other:?}"),
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, message.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::P256(pair) | Self::P384(pair) => pair.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
        };
        format!("{message}.{}", base64url(signature))
    }
}

fn ec(curve: &str, pair: &EcdsaKeyPair) -> Value {
    let (x, y) = pair.public_key().as_ref()[1..].split_at(if curve == "P-256" { 32 } else { 48 });
    json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)})
}

/// The mapping of a configuration that says nothing about claims.
pub(super) fn mapping() -> claims::Settings {
    claims::Settings {
        username: "preferred_username".into(),
        email: "email".into(),
        groups: "groups".into(),
        full_name: "name".into(),
        required: Vec::new(),
        groups_prefix: String::new(),
        username_prefix: String::new(),
        username_case: Case::Keep,
        allow_unverified_email: false,
        kept: Vec::new(),
    }
}

pub(super) fn key_set(keys: &[Value]) -> Vec<u8> {
    serde_json::to_vec(&json!({ "keys": keys })).unwrap()
}

/// Answers by script, the last line of it for ever, and counts how often it is asked.
#[derive(Clone)]
pub(super) struct Provider(Arc<Script>);

struct Script {
    answers: Mutex<VecDeque<Result<Vec<u8>, KeySourceError>>>,
    asked: AtomicUsize,
    /// About tokens, the last one for ever.
    said: Mutex<VecDeque<Result<Answer, KeySourceError>>>,
    /// What was asked about tokens.
    questions: Mutex<Vec<(Question, String)>>,
    /// While held, answers wait for `release`.
    held: Mutex<bool>,
    released: Notify,
}

impl Provider {
    pub(super) fn new(answers: impl IntoIterator<Item = Result<Vec<u8>, KeySourceError>>) -> Self {
        Self(Arc::new(Script {
            answers: Mutex::new(answers.into_iter().collect()),
            asked: AtomicUsize::new(0),
            said: Mutex::default(),
            questions: Mutex::default(),
            held: Mutex::new(false),
            released: Notify::new(),
        }))
    }

    pub(super) fn down() -> Result<Vec<u8>, KeySourceError> {
        Err(KeySourceError("connection refused".into()))
    }

    /// With answers about tokens.
    pub(super) fn saying(self, answers: impl IntoIterator<Item = Result<Answer, KeySourceError>>) -> Self {
        self.0.said.lock().extend(answers);
        self
    }

    /// An answer that holds this.
    #[expect(clippy::unnecessary_wraps, reason = "a line of the script")]
    pub(super) fn says(document: &Value) -> Result<Answer, KeySourceError> {
        Ok(Answer::Document(document.to_string().into_bytes()))
    }

    pub(super) fn questions(&self) -> Vec<(Question, String)> {
        self.0.questions.lock().clone()
    }

    pub(super) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    pub(super) fn hold(&self) {
        *self.0.held.lock() = true;
    }

    pub(super) fn release(&self) {
        *self.0.held.lock() = false;
        self.0.released.notify_waiters();
    }
}

impl Script {
    async fn released(&self) {
        let released = self.released.notified();
        if *self.held.lock() {
            released.await;
        }
    }
}

/// The next line, the last one for ever.
fn next<T: Clone>(lines: &Mutex<VecDeque<T>>) -> T {
    let mut lines = lines.lock();
    if lines.len() > 1 { lines.pop_front().unwrap() } else { lines.front().unwrap().clone() }
}

impl KeySource for Provider {
    async fn fetch(&self) -> Result<Vec<u8>, KeySourceError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.0.released().await;
        next(&self.0.answers)
    }

    async fn ask(&self, question: Question, token: &str) -> Result<Answer, KeySourceError> {
        self.0.questions.lock().push((question, token.to_owned()));
        self.0.released().await;
        next(&self.0.said)
    }
}
