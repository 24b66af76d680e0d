use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use serde_json::{Value, json};
use tokio::time::advance;

use super::*;
use crate::identity::testing::{Provider, Signer, key_set};

const REFRESH: Duration = Duration::from_secs(5 * 60);
const MAX_STALE: Duration = Duration::from_secs(24 * 3600);
const COOLDOWN: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

fn ring_of(provider: &Provider) -> Arc<Keyring<Provider>> {
    ring_with(provider, COOLDOWN)
}

fn ring_with(provider: &Provider, cooldown: Duration) -> Arc<Keyring<Provider>> {
    let settings = Settings { refresh: REFRESH, max_stale: MAX_STALE, cooldown };
    Arc::new(Keyring::new(provider.clone(), settings, &[Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]))
}

fn set(ids: &[&str]) -> Vec<u8> {
    let keys: Vec<Value> = ids.iter().map(|id| Signer::for_algorithm(Algorithm::ES256).jwk(Some(id))).collect();
    key_set(&keys)
}

async fn ask(ring: &Keyring<Provider>, kid: &str) -> Result<(), KeyError> {
    ring.key(Some(kid), Algorithm::ES256).await.map(|key| assert_eq!(key.id(), Some(kid)))
}

/// Lets background tasks run to where they wait.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_use_fetches_and_later_ones_do_not() {
    let provider = Provider::new([Ok(set(&["a"]))]);
    let ring = ring_of(&provider);
    assert!(!ring.known());
    assert_eq!(provider.asked(), 0);
    for _ in 0..3 {
        ask(&ring, "a").await.unwrap();
    }
    assert!(ring.known());
    assert_eq!(provider.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn concurrent_first_uses_share_one_fetch_even_when_the_first_caller_leaves() {
    let provider = Provider::new([Ok(set(&["a"]))]);
    provider.hold();
    let ring = ring_of(&provider);
    {
        let mut leaver = pin!(ask(&ring, "a"));
        poll_fn(|cx| {
            assert!(leaver.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
    }
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let ring = ring.clone();
            tokio::spawn(async move { ask(&ring, "a").await })
        })
        .collect();
    settle().await;
    provider.release();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(provider.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_set_serves_while_one_fetch_renews_it() {
    let provider = Provider::new([Ok(set(&["a"])), Ok(set(&["b"]))]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    advance(REFRESH).await;
    provider.hold();
    for _ in 0..5 {
        ask(&ring, "a").await.unwrap();
        settle().await;
    }
    assert_eq!(provider.asked(), 2);
    provider.release();
    settle().await;
    ask(&ring, "b").await.unwrap();
    advance(SECOND).await;
    assert_eq!(ask(&ring, "a").await, Err(KeyError::UnknownKey), "a key that left the set is not used");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_asks_once_per_cool_down() {
    let provider = Provider::new([Ok(set(&["a"]))]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    for kid in ["x", "y", "x"] {
        advance(SECOND).await;
        assert_eq!(ask(&ring, kid).await, Err(KeyError::UnknownKey));
    }
    assert_eq!(provider.asked(), 2);
    advance(COOLDOWN).await;
    assert_eq!(ask(&ring, "x").await, Err(KeyError::UnknownKey));
    assert_eq!(provider.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_fetch_begins_within_the_cool_down_of_one_for_an_unknown_key() {
    let provider = Provider::new([Ok(set(&["a"])), Ok(set(&["a"])), Ok(set(&["a", "b"]))]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    advance(REFRESH / 10 * 9).await;
    assert_eq!(ask(&ring, "x").await, Err(KeyError::UnknownKey));
    advance(COOLDOWN / 10 * 9).await;
    // one that failed now would put the next one off
    ring.renew().await;
    assert_eq!(ask(&ring, "b").await, Err(KeyError::UnknownKey));
    assert_eq!(provider.asked(), 2);
    advance(SECOND).await;
    ask(&ring, "b").await.unwrap();
    assert_eq!(provider.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn made_up_key_ids_delay_a_new_key_by_one_cool_down_at_most_also_through_an_outage() {
    let mut answers = vec![Ok(set(&["a"])), Ok(set(&["a"])), Provider::down(), Ok(set(&["a"]))];
    let published = answers.len();
    answers.push(Ok(set(&["a", "b"])));
    let provider = Provider::new(answers);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    for second in 1..=60 {
        advance(SECOND).await;
        for kid in ["x", "y"] {
            assert!(ask(&ring, kid).await.is_err());
        }
        ask(&ring, "a").await.unwrap();
        let fetches = 2 + (second - 1) / COOLDOWN.as_secs();
        assert_eq!(provider.asked() as u64, fetches, "{second}");
        assert_eq!(ask(&ring, "b").await.is_ok(), provider.asked() > published, "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_made_up_key_ids_does_not_wait_without_bound_and_known_keys_do_not_wait_at_all() {
    let provider = Provider::new([Ok(set(&["a"])), Ok(set(&["a", "b"]))]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    advance(SECOND).await;
    provider.hold();
    let waiting: Vec<_> = (0..MAX_UNKNOWN)
        .map(|n| {
            let ring = ring.clone();
            tokio::spawn(async move { ask(&ring, if n == 0 { "b".into() } else { n.to_string() }.as_str()).await })
        })
        .collect();
    settle().await;
    let over = tokio::time::timeout(SECOND, ask(&ring, "c")).await.expect("it does not wait").unwrap_err();
    assert!(matches!(over, KeyError::Unavailable(_)), "whether it is unknown cannot be told: {over}");
    ask(&ring, "a").await.unwrap();
    provider.release();
    let mut outcomes = Vec::new();
    for one in waiting {
        outcomes.push(one.await.unwrap());
    }
    assert!(outcomes[0].is_ok(), "a new key is among them");
    assert!(outcomes[1..].iter().all(|outcome| *outcome == Err(KeyError::UnknownKey)));
    assert_eq!(ask(&ring, "c").await, Err(KeyError::UnknownKey), "places are free again");
    assert_eq!(provider.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_found_right_after_a_regular_fetch() {
    let provider = Provider::new([Ok(set(&["a"])), Ok(set(&["a", "b"]))]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    advance(SECOND).await;
    ask(&ring, "b").await.unwrap();
    assert_eq!(provider.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_begun_before_the_question_is_not_its_answer() {
    let provider = Provider::new([Ok(set(&["a"])), Ok(set(&["a"])), Ok(set(&["a", "b"]))]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    advance(REFRESH).await;
    provider.hold();
    ask(&ring, "a").await.unwrap();
    settle().await;
    advance(SECOND).await;
    let asking = tokio::spawn({
        let ring = ring.clone();
        async move { ask(&ring, "b").await }
    });
    settle().await;
    assert_eq!(provider.asked(), 2, "it joins the running fetch first");
    provider.release();
    asking.await.unwrap().unwrap();
    assert_eq!(provider.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_keys_a_provider_that_is_down_is_asked_once_per_cool_down() {
    let provider = Provider::new([Provider::down(), Ok(set(&["a"]))]);
    let ring = ring_of(&provider);
    for _ in 0..3 {
        assert_eq!(ask(&ring, "a").await, Err(KeyError::Unavailable("connection refused".into())));
        assert!(ring.ready().await.is_err());
    }
    assert_eq!(provider.asked(), 1);
    advance(COOLDOWN).await;
    assert!(ring.ready().await.is_ok());
    ask(&ring, "a").await.unwrap();
    assert_eq!(provider.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_provider_is_down_old_keys_serve_up_to_max_stale() {
    let provider = Provider::new([Ok(set(&["a"])), Provider::down()]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    advance(REFRESH).await;
    for _ in 0..3 {
        ask(&ring, "a").await.unwrap();
        settle().await;
    }
    assert_eq!(provider.asked(), 2, "the cool-down covers failures");
    assert!(matches!(ask(&ring, "new").await, Err(KeyError::Unavailable(_))), "whether it is unknown cannot be told");
    assert_eq!(provider.asked(), 2);

    advance(Duration::from_secs(24 * 3600 - 5 * 60 - 1)).await;
    ask(&ring, "a").await.unwrap();
    settle().await;
    advance(SECOND).await;
    assert!(!ring.known());
    assert!(matches!(ask(&ring, "a").await, Err(KeyError::Unavailable(_))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_key_set_is_a_failure() {
    let provider = Provider::new([Ok(set(&["a"])), Ok(b"<html>".to_vec())]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    advance(REFRESH).await;
    ask(&ring, "a").await.unwrap();
    settle().await;
    assert_eq!(provider.asked(), 2);
    ask(&ring, "a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_cool_down_a_failure_still_ends_the_call() {
    let provider = Provider::new([Provider::down()]);
    let ring = ring_with(&provider, Duration::ZERO);
    assert!(matches!(ask(&ring, "a").await, Err(KeyError::Unavailable(_))));
    assert_eq!(provider.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_key_id_is_needed_only_among_several_usable_keys() {
    let ec = Signer::for_algorithm(Algorithm::ES256);
    let mut encryption = Signer::for_algorithm(Algorithm::RS256).jwk(Some("e"));
    encryption["use"] = json!("enc");
    let one = ring_of(&Provider::new([Ok(key_set(&[encryption, ec.jwk(None)]))]));
    assert!(one.key(None, Algorithm::ES256).await.is_ok());
    assert_eq!(one.key(None, Algorithm::RS256).await.unwrap_err(), KeyError::Algorithm);

    let several = ring_of(&Provider::new([Ok(set(&["a", "b"]))]));
    assert_eq!(several.key(None, Algorithm::ES256).await.unwrap_err(), KeyError::MissingKid);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_chosen_by_id_and_must_fit_the_algorithm() {
    let rsa = Signer::for_algorithm(Algorithm::RS256).jwk(Some("same"));
    let ec = Signer::for_algorithm(Algorithm::ES256).jwk(Some("same"));
    let ring = ring_of(&Provider::new([Ok(key_set(&[rsa, ec]))]));
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        assert!(ring.key(Some("same"), algorithm).await.unwrap().verifies(algorithm));
    }
    assert_eq!(ring.key(Some("same"), Algorithm::EdDSA).await.unwrap_err(), KeyError::Algorithm);
    assert_eq!(ring.key(Some("same"), Algorithm::HS256).await.unwrap_err(), KeyError::Algorithm);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_withdraws_all_keys_is_believed() {
    let provider = Provider::new([Ok(set(&["a"])), Ok(set(&[]))]);
    let ring = ring_of(&provider);
    ask(&ring, "a").await.unwrap();
    advance(REFRESH).await;
    ask(&ring, "a").await.unwrap();
    settle().await;
    assert!(!ring.known());
    assert_eq!(ask(&ring, "a").await, Err(KeyError::UnknownKey));
}

#[tokio::test(start_paused = true)]
async fn the_watch_fetches_before_anybody_asks_and_ahead_of_the_age_at_which_a_request_would() {
    let provider = Provider::new([Ok(set(&["a"]))]);
    let ring = ring_of(&provider);
    let watch = tokio::spawn(ring.watch());
    settle().await;
    assert!(ring.known());
    assert_eq!(provider.asked(), 1);
    for round in 2..6 {
        advance(REFRESH.mul_f64(0.79)).await;
        settle().await;
        assert_eq!(provider.asked(), round - 1, "not before its time");
        advance(REFRESH.mul_f64(0.2)).await;
        settle().await;
        assert_eq!(provider.asked(), round);
    }
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn the_watch_tries_a_provider_that_is_down_once_per_cool_down() {
    let provider = Provider::new([Provider::down(), Provider::down(), Ok(set(&["a"]))]);
    let ring = ring_of(&provider);
    let watch = tokio::spawn(ring.watch());
    for asked in 1..4 {
        settle().await;
        // a request meanwhile does not ask once more
        assert_eq!(ask(&ring, "a").await.is_ok(), asked == 3);
        assert_eq!(provider.asked(), asked);
        advance(COOLDOWN + SECOND).await;
    }
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn the_watch_is_ahead_of_that_age_also_when_a_cool_down_kept_it_from_asking() {
    let provider = Provider::new([Ok(set(&["a"]))]);
    // long enough for the watch's next round to fall into it
    let ring = ring_with(&provider, REFRESH / 2);
    let watch = tokio::spawn(ring.watch());
    settle().await;
    advance(REFRESH / 2).await;
    assert_eq!(ask(&ring, "x").await, Err(KeyError::UnknownKey));
    assert_eq!(provider.asked(), 2);
    for _ in 0..96 {
        advance(REFRESH / 100).await;
        settle().await;
    }
    assert_eq!(provider.asked(), 3);
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn a_key_that_stays_is_the_same_and_one_that_leaves_is_withdrawn() {
    let (a, b) = (Signer::for_algorithm(Algorithm::ES256), Signer::for_algorithm(Algorithm::ES256));
    let rsa = Signer::for_algorithm(Algorithm::RS256);
    let both = key_set(&[a.jwk(Some("a")), b.jwk(Some("b")), rsa.jwk(Some("r"))]);
    // the same id, but another key: what the old one verified must end
    let swapped = key_set(&[b.jwk(Some("a")), b.jwk(Some("b")), rsa.jwk(Some("r"))]);
    let provider = Provider::new([Ok(both.clone()), Provider::down(), Ok(both), Ok(swapped)]);
    let ring = ring_of(&provider);
    let take =
        async |kid| ring.key(Some(kid), if kid == "r" { Algorithm::RS256 } else { Algorithm::ES256 }).await.unwrap();
    let (first, kept, also_kept) = (take("a").await, take("b").await, take("r").await);
    for round in ["down", "the same set"] {
        advance(REFRESH).await;
        ring.renew().await;
        assert!(Arc::ptr_eq(&first, &take("a").await) && !first.is_withdrawn(), "{round}");
    }
    advance(REFRESH).await;
    ring.renew().await;
    assert_eq!(provider.asked(), 4);
    assert!(first.is_withdrawn());
    assert!(!Arc::ptr_eq(&first, &take("a").await));
    for (kept, kid) in [(kept, "b"), (also_kept, "r")] {
        assert!(!kept.is_withdrawn() && Arc::ptr_eq(&kept, &take(kid).await));
    }
}
