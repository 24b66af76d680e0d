//! What a provider says about tokens, kept for a short while.
//!
//! One question per token at a time, in a task of its own, so that a caller who goes away does not end it for the others. The
//! token itself is not kept, only its digest.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use quick_cache::sync::Cache;
use ring::digest::{Context, SHA256};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::claims::Claims;
use super::keyring::Keyring;
use super::known::REFUSED;
use super::object::Object;
use super::token::Error;
use super::{Answer, KeySource, Question};

/// Answers kept per issuer, about 2 KiB each.
const MAX_KEPT: usize = 50_000;

/// Questions to one provider at once: whoever sends made-up tokens must not turn this process against it.
const MAX_ASKING: usize = 64;

/// How long a failure stands, for one token; others are asked about all the same, since one token at which the provider fails
/// must not keep everybody out.
const FAILED: Duration = Duration::from_secs(1);

/// What the provider claims about a token that it accepts.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) claims: Claims,
    /// When it was asked: what it says was true then, or became true after.
    pub(super) asked: SystemTime,
    /// Until when that is taken for granted: the time to live, or the token's `exp` if that comes first.
    pub(super) until: SystemTime,
}

/// The answers of one provider.
pub(super) struct Answers<K> {
    keyring: Keyring<K>,
    ttl: Duration,
    kept: Cache<Digest, Asked>,
    /// Held while a question is put down, so that there is one for each token.
    starting: Mutex<()>,
    asking: Arc<Semaphore>,
}

type Digest = [u8; 32];

/// A question, on its way or answered.
#[derive(Clone)]
struct Asked {
    at: Instant,
    end: Shared<BoxFuture<'static, Arc<End>>>,
}

struct End {
    result: Result<Arc<Accepted>, Error>,
    until: Instant,
}

impl Asked {
    fn stands(&self) -> bool {
        self.end.peek().is_none_or(|end| end.until > Instant::now())
    }
}

impl<K: KeySource> Answers<K> {
    /// Asks the source of the keys; keeps what it says for `ttl` at most.
    pub(super) fn new(keyring: Keyring<K>, ttl: Duration) -> Self {
        let asking = Arc::new(Semaphore::new(MAX_ASKING));
        Self { keyring, ttl, kept: Cache::new(MAX_KEPT), starting: Mutex::default(), asking }
    }

    /// What the provider says about the token: kept, on its way, or asked for now. `ends` is the token's own `exp` where it can
    /// be read; `now` is the wall clock.
    pub(super) async fn about(
        &self,
        question: Question,
        token: &str,
        ends: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<Arc<Accepted>, Error> {
        let called = Instant::now();
        let digest = digest(question, token);
        loop {
            let asked = self.asked(digest, || self.ask(question, token.to_owned(), ends, now));
            let end = asked.end.await;
            // an answer to a question after the call is as good as any, however short its life
            if asked.at >= called || end.until > Instant::now() {
                return end.result.clone();
            }
        }
    }

    fn asked(&self, digest: Digest, ask: impl FnOnce() -> Asked) -> Asked {
        let standing = || self.kept.get(&digest).filter(Asked::stands);
        if let Some(asked) = standing() {
            return asked;
        }
        let _one_at_a_time = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        standing().unwrap_or_else(|| {
            let asked = ask();
            self.kept.insert(digest, asked.clone());
            asked
        })
    }

    fn ask(&self, question: Question, token: String, ends: Option<SystemTime>, now: SystemTime) -> Asked {
        let (keyring, asking, ttl, at) = (self.keyring.clone(), Arc::clone(&self.asking), self.ttl, Instant::now());
        let task = tokio::spawn(async move {
            // never closed
            let _turn = asking.acquire().await;
            let answer = keyring.source().ask(question, &token).await;
            let answer = answer.map_err(|error| Error::Unanswered(error.to_string().into()));
            let result = answer.and_then(|answer| accept(question, answer, ends, now, ttl));
            let life = match &result {
                Ok(accepted) => accepted.until.duration_since(now).unwrap_or_default(),
                Err(error) if error.is_outage() => FAILED,
                Err(_) => REFUSED.min(ttl),
            };
            // failures count from their end, so that a silent provider is not asked without a pause
            let from = if matches!(&result, Err(error) if error.is_outage()) { Instant::now() } else { at };
            Arc::new(End { result: result.map(Arc::new), until: from + life })
        });
        let abandoned = move |_| {
            Arc::new(End { result: Err(Error::Unanswered("the question was abandoned".into())), until: at + FAILED })
        };
        Asked { at, end: task.map(move |end| end.unwrap_or_else(abandoned)).boxed().shared() }
    }
}

fn accept(
    question: Question,
    answer: Answer,
    ends: Option<SystemTime>,
    asked: SystemTime,
    ttl: Duration,
) -> Result<Accepted, Error> {
    let document = match answer {
        Answer::Document(document) => document,
        Answer::Refused => return Err(Error::Refused),
    };
    let nonsense = |why: &str| Error::Unanswered(why.into());
    let object: Object = serde_json::from_slice(&document)
        .map_err(|_| nonsense("the answer is not a JSON object without repeated names"))?;
    if question == Question::Introspection {
        // RFC 7662 §2.2: the one member that is required
        match object.members().get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err(Error::Refused),
            _ => return Err(nonsense("the answer does not say whether the token is active")),
        }
    }
    let claims = Claims::vouched(object);
    let kept = asked.checked_add(ttl).unwrap_or(asked);
    let ends = [ends, claims.time("exp")?.map(|(ends, _)| ends)];
    let until = ends.into_iter().flatten().fold(kept, SystemTime::min);
    Ok(Accepted { claims, asked, until })
}

fn digest(question: Question, token: &str) -> Digest {
    let mut context = Context::new(&SHA256);
    context.update(match question {
        Question::Userinfo => b"userinfo\0",
        Question::Introspection => b"introspection\0",
    });
    context.update(token.as_bytes());
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests;
