//! A token that was never seen, against nothing but the verification of its signature.

use elastauth_bench::messages;
use elastauth_support::check::Checker;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::load::cpu;
use crate::report::median;
use crate::series::World;
use crate::users::ask;

/// New tokens of a round.
const TOKENS: usize = 5_000;

/// Medians of the rounds.
#[derive(Clone, Copy, Debug)]
pub struct New {
    /// CPU of a Check with a new token, divided by that of the verification.
    pub whole: f64,
    /// The same less the CPU of a hit, which has everything but the token's verification.
    pub beyond_a_hit: f64,
}

/// New tokens of a known user, and the same signatures verified in this process.
pub async fn new_tokens(world: &World, rounds: usize) -> New {
    let elastauth = world.elastauth("  type: \"\"", "");
    let (checker, pid) = (Checker::connect(&elastauth.grpc).await, elastauth.process.id());
    let known = [messages::check(&world.issuer.token("ann", &["admins"]), 20)];
    ask(&checker, &known, 1_000).await;
    let (mut whole, mut beyond) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        eprintln!("new tokens, round {} of {rounds}", round + 1);
        // ECDSA signatures are random: each token is another
        let tokens: Vec<String> = (0..TOKENS).map(|_| world.issuer.token("ann", &["admins"])).collect();
        let new: Vec<Vec<u8>> = tokens.iter().map(|token| messages::check(token, 20)).collect();
        let before = cpu(pid);
        ask(&checker, &known, TOKENS).await;
        let hits = cpu(pid) - before;
        let before = cpu(pid);
        ask(&checker, &new, TOKENS).await;
        let checks = cpu(pid) - before;
        let raw = verify(&tokens, &world.issuer.public_key());
        whole.push(checks / raw);
        beyond.push((checks - hits) / raw);
    }
    New { whole: median(whole.into_iter()), beyond_a_hit: median(beyond.into_iter()) }
}

/// Nanoseconds of CPU for all of them.
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
