use std::time::UNIX_EPOCH;

use jsonwebtoken::Algorithm;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::advance;

use super::queue::{MAX_ASKED, MAX_ASKED_NEW, MAX_CALLERS_NEW, MAX_WAITING, PATIENCE};
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
    answers.about(Question::Userinfo, token, Priority::New, None, now()).await.map_err(|error| error.reason())
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
        assert_eq!((accepted.asked, accepted.until), (Instant::now(), now() + TTL));
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
        let about = || answers.about(Question::Userinfo, "t", Priority::New, ends, now());
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
        let error = answers.about(Question::Userinfo, "t", Priority::New, None, now()).await.unwrap_err();
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
        let error = answers(&provider).about(question, "t", Priority::New, None, now()).await.unwrap_err();
        assert!(error.is_outage(), "{question:?} {}", String::from_utf8_lossy(&document));
    }
    let inactive = provider([Provider::says(&json!({"active": false}))]);
    let error = answers(&inactive).about(Question::Introspection, "t", Priority::New, None, now()).await.unwrap_err();
    assert_eq!(error.reason(), "token_refused");
}

/// Lets other tasks run until this holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..20_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("never: {what}");
}

/// Puts a question in a task of its own, as a request does; the task ends with the reason of a refusal.
fn put(answers: &Arc<Answers<Provider>>, token: &str) -> JoinHandle<Option<&'static str>> {
    put_as(answers, token, Priority::New)
}

fn put_as(answers: &Arc<Answers<Provider>>, token: &str, priority: Priority) -> JoinHandle<Option<&'static str>> {
    let (answers, token) = (Arc::clone(answers), token.to_owned());
    tokio::spawn(async move {
        let outcome = answers.about(Question::Userinfo, &token, priority, None, now()).await;
        outcome.err().map(|error| error.reason())
    })
}

#[tokio::test(start_paused = true)]
async fn made_up_tokens_do_not_turn_this_process_against_the_provider() {
    let provider = provider([Ok(Answer::Refused)]);
    provider.hold();
    let answers = answers(&provider);
    let callers: Vec<_> = (0..200).map(|n| put(&answers, &n.to_string())).collect();
    settle().await;
    assert_eq!(provider.questions().len(), MAX_ASKED_NEW);
    provider.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Some("token_refused"));
    }
    assert_eq!(provider.questions().len(), 200);
    assert_eq!(answers.0.in_flight.len(), 0, "nothing is left behind");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_no_caller_awaits_any_more_is_not_sent() {
    let provider = provider([Provider::says(&json!({"sub": "a"}))]);
    provider.hold();
    let answers = answers(&provider);
    let flood: Vec<_> = (0..500).map(|n| put(&answers, &n.to_string())).collect();
    let twice = [put(&answers, "awaited by two"), put(&answers, "awaited by two")];
    until("all wait", || answers.0.in_flight.len() == 501).await;
    for caller in &flood {
        caller.abort();
    }
    twice[0].abort();
    until("what is not awaited leaves", || answers.0.in_flight.len() == MAX_ASKED_NEW + 1).await;
    assert_eq!(provider.questions().len(), MAX_ASKED_NEW);
    provider.release();
    let [_, stays] = twice;
    assert_eq!(stays.await.unwrap(), None);
    assert_eq!(provider.questions().len(), MAX_ASKED_NEW + 1, "only the one that a caller still awaits");
    assert_eq!(answers.0.in_flight.len(), 0, "nothing is left behind");
    // those that were sent have their answers, which are as good as ever
    assert!(about(&answers, "0").await.is_ok());
    assert_eq!(provider.questions().len(), MAX_ASKED_NEW + 1);
    // and one that was not sent can be put again
    assert!(about(&answers, "499").await.is_ok());
    assert_eq!(provider.questions().len(), MAX_ASKED_NEW + 2);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_new_tokens_waits_up_to_a_bound_and_the_rest_is_told_to_come_back_at_once() {
    let provider = provider([Provider::says(&json!({"sub": "a"}))]);
    provider.hold();
    let answers = answers(&provider);
    let taken = MAX_ASKED_NEW + MAX_WAITING;
    let mut callers: Vec<_> = (0..MAX_ASKED_NEW).map(|n| put(&answers, &n.to_string())).collect();
    until("as many as can be are asked", || provider.questions().len() == MAX_ASKED_NEW).await;
    callers.extend((MAX_ASKED_NEW..taken).map(|n| put(&answers, &n.to_string())));
    until("the others wait", || answers.0.in_flight.len() == taken).await;
    let begun = Instant::now();
    for n in taken..taken + 100 {
        let error = answers.about(Question::Userinfo, &n.to_string(), Priority::New, None, now()).await.unwrap_err();
        assert_eq!((error.reason(), error.is_outage()), ("overloaded", true));
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(provider.questions().len(), MAX_ASKED_NEW, "none of them was asked about");
    provider.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), None);
    }
    assert!(about(&answers, &taken.to_string()).await.is_ok(), "that it was turned away is not remembered");
}

#[tokio::test(start_paused = true)]
async fn callers_with_the_same_made_up_tokens_leave_room_for_others() {
    let provider = provider([Ok(Answer::Refused)]);
    provider.hold();
    let answers = answers(&provider);
    let callers: Vec<_> = (0..MAX_CALLERS_NEW + 100).map(|n| put(&answers, &(n % 10).to_string())).collect();
    until("those over the bound are turned away", || callers.iter().filter(|one| one.is_finished()).count() == 100)
        .await;
    let signed = put_as(&answers, "signed", Priority::Known);
    until("one that is vouched for is asked about", || provider.questions().len() == 11).await;
    provider.release();
    let mut outcomes = [0, 0];
    for caller in callers {
        outcomes[usize::from(caller.await.unwrap() == Some("overloaded"))] += 1;
    }
    assert_eq!(outcomes, [MAX_CALLERS_NEW, 100]);
    assert_eq!(signed.await.unwrap(), Some("token_refused"));
}

#[tokio::test(start_paused = true)]
async fn no_question_waits_longer_than_its_callers_have_patience() {
    let provider = provider([Provider::says(&json!({"sub": "a"}))]);
    provider.hold();
    let answers = answers(&provider);
    let callers: Vec<_> = (0..MAX_ASKED_NEW + 10).map(|n| put(&answers, &n.to_string())).collect();
    settle().await;
    let begun = Instant::now();
    // the provider says nothing; time passes as far as the next thing that waits for it
    for caller in callers.into_iter().skip(MAX_ASKED_NEW) {
        assert_eq!(caller.await.unwrap(), Some("overloaded"));
    }
    assert!((PATIENCE..PATIENCE + SECOND / 10).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(provider.questions().len(), MAX_ASKED_NEW);
    provider.release();
    assert!(about(&answers, &MAX_ASKED_NEW.to_string()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_made_up_tokens_does_not_delay_tokens_that_were_good_before() {
    let provider = provider([Provider::says(&json!({"sub": "a"}))]);
    let answers = answers(&provider);
    let known: Vec<_> = (0..MAX_ASKED - MAX_ASKED_NEW).map(|n| format!("known {n}")).collect();
    for token in &known {
        about(&answers, token).await.unwrap();
    }
    // their answers have had their time
    advance(TTL).await;
    provider.hold();
    let flood: Vec<_> = (0..12_000).map(|n| put(&answers, &n.to_string())).collect();
    until("all but those that wait are turned away", || flood.iter().filter(|one| one.is_finished()).count() > 10_000)
        .await;
    until("as many are asked about as can be", || provider.questions().len() == known.len() + MAX_ASKED_NEW).await;
    let before = provider.questions().len();
    let callers: Vec<_> = known.iter().map(|token| put(&answers, token)).collect();
    settle().await;
    assert_eq!(provider.questions().len(), before + known.len(), "each is asked about at once");
    provider.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_signature_is_right_does_not_wait_for_made_up_ones() {
    let provider = provider([Provider::says(&json!({"sub": "a"}))]);
    provider.hold();
    let answers = answers(&provider);
    let _flood: Vec<_> = (0..500).map(|n| put(&answers, &n.to_string())).collect();
    until("the flood waits", || answers.0.in_flight.len() == 500).await;
    let before = provider.questions().len();
    let signed = put_as(&answers, "signed", Priority::Known);
    settle().await;
    assert_eq!(provider.questions().len(), before + 1);
    provider.release();
    assert_eq!(signed.await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_token_stays_known_through_an_outage_and_not_past_a_no() {
    let down = || Err(crate::identity::KeySourceError("connection refused".into()));
    let good = || Provider::says(&json!({"sub": "a"}));
    for (said, known) in [(down(), true), (Ok(Answer::Refused), false)] {
        let provider = provider([good(), said, good()]);
        let answers = answers(&provider);
        about(&answers, "t").await.unwrap();
        advance(TTL).await;
        about(&answers, "t").await.unwrap_err();
        advance(TTL).await;
        provider.hold();
        let _flood: Vec<_> = (0..100).map(|n| put(&answers, &n.to_string())).collect();
        settle().await;
        let before = provider.questions().len();
        let _caller = put(&answers, "t");
        settle().await;
        assert_eq!(provider.questions().len() - before, usize::from(known));
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_count_no_more_go_without_being_asked_for() {
    let provider = provider([Provider::says(&json!({"sub": "a"})), Ok(Answer::Refused)]);
    let answers = answers(&provider);
    assert!(about(&answers, "t").await.is_ok());
    assert!(about(&answers, "other").await.is_err());
    answers.sweep();
    assert_eq!(answers.0.kept.len(), 2);
    advance(REFUSAL_LIFETIME).await;
    answers.sweep();
    assert_eq!(answers.0.kept.len(), 1);
    advance(TTL).await;
    answers.sweep();
    assert_eq!(answers.0.kept.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_weighs_what_it_takes() {
    let groups: Vec<String> = (0..200).map(|n| format!("a group with a rather long name, number {n}")).collect();
    let provider =
        provider([Provider::says(&json!({"sub": "a"})), Provider::says(&json!({"sub": "a", "groups": groups}))]);
    let answers = answers(&provider);
    assert!(about(&answers, "small").await.is_ok());
    let small = answers.0.kept.weight();
    assert!(about(&answers, "large").await.is_ok());
    let large = answers.0.kept.weight() - small;
    assert!(small == 1024 && large > 16 * 1024, "{small} {large}");
    assert!(about(&answers, "large").await.is_ok());
    assert_eq!(answers.0.kept.weight(), small + large, "weighed once");
}
