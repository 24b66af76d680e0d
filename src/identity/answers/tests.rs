use std::time::UNIX_EPOCH;

use jsonwebtoken::Algorithm;
use serde_json::json;
use tokio::time::advance;

use super::*;
use crate::identity::keyring;
use crate::identity::testing::{Provider, key_set};

const TTL: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);
const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn answers(provider: &Provider) -> Arc<Answers<Provider>> {
    let times = keyring::Settings { refresh: TTL, max_stale: TTL, cooldown: TTL };
    Arc::new(Answers::new(Keyring::new(provider.clone(), times, &[Algorithm::ES256]), TTL))
}

fn provider(said: impl IntoIterator<Item = Result<Answer, crate::identity::KeySourceError>>) -> Provider {
    Provider::new([Ok(key_set(&[]))]).saying(said)
}

async fn about(answers: &Answers<Provider>, token: &str) -> Result<Arc<Accepted>, &'static str> {
    answers.about(Question::Userinfo, token, None, now()).await.map_err(|error| error.reason())
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn callers_share_one_question_per_token_even_when_the_first_one_leaves() {
    let provider = provider([Provider::says(&json!({"sub": "a"}))]);
    provider.hold();
    let answers = answers(&provider);
    let ask = |token: &'static str| {
        let answers = Arc::clone(&answers);
        tokio::spawn(async move { about(&answers, token).await.map(|accepted| accepted.claims.subject() == Ok("a")) })
    };
    let leaver = ask("t");
    settle().await;
    leaver.abort();
    let callers: Vec<_> = (0..100).map(|_| ask("t")).chain([ask("other")]).collect();
    settle().await;
    provider.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Ok(true));
    }
    let asked = [(Question::Userinfo, "t".to_owned()), (Question::Userinfo, "other".to_owned())];
    assert_eq!(provider.questions(), asked);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_time_to_live_and_no_longer() {
    let provider = provider([Provider::says(&json!({"sub": "a"})), Ok(Answer::Refused)]);
    let answers = answers(&provider);
    for _ in 0..3 {
        let accepted = about(&answers, "t").await.unwrap();
        assert_eq!((accepted.asked, accepted.until), (now(), now() + TTL));
    }
    advance(TTL.checked_sub(Duration::from_millis(1)).unwrap()).await;
    assert!(about(&answers, "t").await.is_ok());
    advance(Duration::from_millis(1)).await;
    assert_eq!(about(&answers, "t").await.unwrap_err(), "token_refused");
    assert_eq!(provider.questions().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_never_kept_past_the_life_of_the_token() {
    let soon = Some(now() + 7 * SECOND);
    for (ends, document) in [
        (soon, json!({"sub": "a"})),
        (None, json!({"sub": "a", "exp": NOW + 7})),
        (soon, json!({"sub": "a", "exp": NOW + 9})),
        (Some(now() + 9 * SECOND), json!({"sub": "a", "exp": NOW + 7})),
    ] {
        let provider = provider([Provider::says(&document)]);
        let answers = answers(&provider);
        let about = || answers.about(Question::Userinfo, "t", ends, now());
        assert_eq!(about().await.unwrap().until, now() + 7 * SECOND, "{document}");
        advance(6 * SECOND).await;
        about().await.unwrap();
        assert_eq!(provider.questions().len(), 1, "{document}");
        advance(SECOND).await;
        about().await.unwrap();
        assert_eq!(provider.questions().len(), 2, "{document}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_ended_gets_its_answer_and_nothing_is_kept() {
    let provider = provider([Provider::says(&json!({"sub": "a", "exp": NOW - 5}))]);
    let answers = answers(&provider);
    for asked in 1..4 {
        assert_eq!(about(&answers, "t").await.unwrap().until, now() - 5 * SECOND);
        assert_eq!(provider.questions().len(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_is_kept_for_five_seconds() {
    let provider = provider([Ok(Answer::Refused), Provider::says(&json!({"sub": "a"}))]);
    let answers = answers(&provider);
    for _ in 0..3 {
        assert_eq!(about(&answers, "t").await.unwrap_err(), "token_refused");
        advance(SECOND).await;
    }
    assert_eq!(provider.questions().len(), 1);
    advance(2 * SECOND).await;
    assert!(about(&answers, "t").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_an_outage_of_a_second_for_that_token_alone() {
    let down = Err(crate::identity::KeySourceError("connection refused".into()));
    let provider = provider([down, Provider::says(&json!({"sub": "a"}))]);
    let answers = answers(&provider);
    for _ in 0..3 {
        let error = answers.about(Question::Userinfo, "t", None, now()).await.unwrap_err();
        assert_eq!((error.reason(), error.is_outage()), ("provider_unavailable", true));
    }
    assert_eq!(provider.questions().len(), 1);
    assert!(about(&answers, "other").await.is_ok(), "another token is asked about at once");
    advance(SECOND).await;
    assert!(about(&answers, "t").await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_an_outage_and_not_the_tokens_fault() {
    let userinfo = [b"".to_vec(), b"[]".to_vec(), b"<html>".to_vec(), br#"{"sub":"a","sub":"b"}"#.to_vec()];
    let introspection = [br#"{"sub":"a"}"#.to_vec(), br#"{"active":"true"}"#.to_vec(), br#"{"active":1}"#.to_vec()];
    let userinfo = userinfo.into_iter().map(|document| (Question::Userinfo, document));
    let introspection = introspection.into_iter().map(|document| (Question::Introspection, document));
    for (question, document) in userinfo.chain(introspection) {
        let provider = provider([Ok(Answer::Document(document.clone()))]);
        let error = answers(&provider).about(question, "t", None, now()).await.unwrap_err();
        assert!(error.is_outage(), "{question:?} {}", String::from_utf8_lossy(&document));
    }
    let inactive = provider([Provider::says(&json!({"active": false}))]);
    let error = answers(&inactive).about(Question::Introspection, "t", None, now()).await.unwrap_err();
    assert_eq!(error.reason(), "token_refused");
}

#[tokio::test(start_paused = true)]
async fn made_up_tokens_do_not_turn_this_process_against_the_provider() {
    let provider = provider([Ok(Answer::Refused)]);
    provider.hold();
    let answers = answers(&provider);
    let callers: Vec<_> = (0..200)
        .map(|n| {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move { about(&answers, &n.to_string()).await.err() })
        })
        .collect();
    settle().await;
    assert_eq!(provider.questions().len(), MAX_ASKING);
    provider.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Some("token_refused"));
    }
    assert_eq!(provider.questions().len(), 200);
}
