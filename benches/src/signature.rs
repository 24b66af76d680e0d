//! Measures a token that was never seen before, against the bare verification of its signature.

use bytes::Bytes;
use elastauth_bench::{call, hit, messages};
use elastauth_support::check::Checker;
use elastauth_support::issuer::SigningKey;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::load::cpu;
use crate::report::median;
use crate::series::World;
use crate::users::ask;

/// The number of new tokens in a round.
const TOKENS: usize = 5_000;

/// The number of checks on their way at once.
const AT_ONCE: usize = 32;

/// The cost of a new token: medians of the rounds.
#[derive(Clone, Copy, Debug)]
pub struct New {
    /// The CPU of a Check with a new token, without a network, divided by that of the verification.
    pub local: f64,
    /// The same over a connection.
    pub whole: f64,
    /// The same less the CPU of a hit, which does everything but the verification of the token.
    pub beyond_a_hit: f64,
}

/// Measures new tokens of a known user, and the verification of the same signatures in this process.
pub async fn new_tokens(world: &World, rounds: usize) -> New {
    let elastauth = world.elastauth("  type: \"\"", "");
    let (checker, pid) = (Checker::connect(&elastauth.grpc).await, elastauth.process.id());
    let known = [messages::check(&world.issuer.token("ann", &["admins"]), 20)];
    ask(&checker, &known, 1_000, AT_ONCE).await;
    let (mut whole, mut beyond) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        eprintln!("new tokens, round {} of {rounds}", round + 1);
        // ECDSA signatures are random, so that each token differs
        let tokens: Vec<String> = (0..TOKENS).map(|_| world.issuer.token("ann", &["admins"])).collect();
        let new: Vec<Vec<u8>> = tokens.iter().map(|token| messages::check(token, 20)).collect();
        let before = cpu(pid);
        ask(&checker, &known, TOKENS, AT_ONCE).await;
        let hits = cpu(pid) - before;
        let before = cpu(pid);
        ask(&checker, &new, TOKENS, AT_ONCE).await;
        let checks = cpu(pid) - before;
        let raw = verify(&tokens, &world.issuer.public_key());
        whole.push(checks / raw);
        beyond.push((checks - hits) / raw);
    }
    New {
        local: without_network(rounds).await,
        whole: median(whole.into_iter()),
        beyond_a_hit: median(beyond.into_iter()),
    }
}

/// The CPU of the same Check in this thread, divided by that of the verification: the part of elastauth and tonic, without the
/// system calls of a connection.
async fn without_network(rounds: usize) -> f64 {
    let (key, claims) = (SigningKey::new("k"), hit::claims());
    let mut service = hit::service_for(&key);
    let message = |token: &str| Bytes::from(messages::framed(&messages::check(token, 20)));
    let known = message(&key.sign(&claims));
    call::many(&mut service, &known, 2).await;
    let reply = call::one(&mut service, &known).await;
    assert!(reply.windows(6).any(|word| word == b"Basic "), "let through");
    let mut ratios = Vec::new();
    for round in 0..rounds {
        eprintln!("new tokens without a network, round {} of {rounds}", round + 1);
        let tokens: Vec<String> = (0..TOKENS).map(|_| key.sign(&claims)).collect();
        let new: Vec<Bytes> = tokens.iter().map(|token| message(token)).collect();
        let before = cpu(std::process::id());
        for message in &new {
            assert_eq!(call::one(&mut service, message).await, reply);
        }
        let checks = cpu(std::process::id()) - before;
        ratios.push(checks / verify(&tokens, key.public_key()));
    }
    median(ratios.into_iter())
}

/// The nanoseconds of CPU for all of them.
fn verify(tokens: &[String], key: &[u8]) -> f64 {
    let decoded = tokens.iter().map(|token| {
        let (message, signature) = token.rsplit_once('.').expect("three parts");
        (message, URL_SAFE_NO_PAD.decode(signature).expect("base64url"))
    });
    let decoded: Vec<_> = decoded.collect();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key);
    let before = cpu(std::process::id());
    for (message, signature) in &decoded {
        key.verify(message.as_bytes(), signature).expect("a good signature");
    }
    cpu(std::process::id()) - before
}
