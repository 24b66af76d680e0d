//! Signatures are checked in limit.

use futures_util::FutureExt as _;

use super::*;

#[tokio::test]
async fn no_more_signatures_are_checked_at_once_than_there_are_turns() {
    let bench = Bench::new();
    let token = bench.sign(&claims().to_string());
    let limit = VerificationLimit::new(2);
    let verifier = bench.verifier.limited(limit.clone());
    verifier.verify(&token, now()).await.unwrap();
    let (one, other) = (limit.take().await, limit.take().await);
    let mut waiting = Box::pin(verifier.verify(&token, now()));
    assert!(waiting.as_mut().now_or_never().is_none(), "both turns are taken");
    drop(one);
    waiting.await.unwrap();
    drop(other);
}

#[tokio::test]
async fn no_turn_is_taken_by_who_waits_for_keys_nor_needed_to_refuse_what_no_key_fits() {
    let signer = Signer::for_algorithm(Algorithm::ES256);
    let provider = Provider::new([Ok(key_set(&[signer.jwk(Some("k"))]))]);
    let limit = VerificationLimit::new(1);
    let verifier = verifier_over(provider.clone(), &algorithm::ALL).limited(limit.clone());
    let token = signer.sign(Algorithm::ES256, &header(Algorithm::ES256), &claims().to_string());
    provider.hold();
    let mut waiting = Box::pin(verifier.verify(&token, now()));
    assert!(waiting.as_mut().now_or_never().is_none(), "the provider does not answer yet");
    let turn = limit.take().now_or_never();
    assert!(turn.is_some(), "a check that waits for keys takes no place of the limit");
    provider.release();
    let stranger = signer.sign(Algorithm::ES256, r#"{"alg":"ES256","kid":"other"}"#, &claims().to_string());
    for bad in ["a.b.c", &stranger] {
        verifier.verify(bad, now()).await.unwrap_err();
    }
    assert!(waiting.as_mut().now_or_never().is_none(), "now it waits for its turn");
    drop(turn);
    waiting.await.unwrap();
}
