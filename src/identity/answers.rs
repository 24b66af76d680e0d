//! What the provider answers about tokens, from userinfo or introspection, kept for a short while.
//!
//! One question per token at a time, in a task of its own, so that a caller that goes away does not end it for the others. A
//! question that no caller awaits any more is not sent; one that was sent is waited for, and its answer kept. The token itself
//! is not kept, only its digest.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quick_cache::sync::Cache;
use ring::digest::{Context, SHA256};
use serde_json::Value;
use tokio::time::Instant;

use super::claims::Claims;
use super::error::Error;
use super::keyring::Keyring;
use super::strict_object::StrictObject;
use super::token_cache::REFUSAL_LIFETIME;
use super::{Answer, KeySource, Question};
use crate::bounded_cache::{self, BoundedCache, Size};
use in_flight::{Digest, Found, InFlight, PendingQuestion};
use queue::{Queue, QueueSlot};

mod in_flight;
mod queue;

pub(super) use queue::Priority;

/// Answers kept per issuer, and a KiB for each: about what userinfo of ten claims takes.
const MAX_KEPT: usize = 50_000;
const BYTES_EACH: usize = 1024;

/// Tokens per issuer that are remembered as good ones, some 100 bytes each. No made-up token comes among them.
const MAX_GOOD: usize = 50_000;

/// How long a failure is remembered, for one token; others are asked about all the same, since one token at which the provider fails
/// must not keep all others out.
const FAILED: Duration = Duration::from_secs(1);

/// What the provider claims about a token that it accepts.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) claims: Claims,
    /// When it was asked: what it says was true then, or became true after.
    pub(super) asked: Instant,
    /// Until when that is taken for granted: the time to live, or the token's `exp` if that comes first.
    pub(super) until: SystemTime,
}

/// The answers of one provider.
pub(super) struct Answers<K>(Arc<Shared<K>>);

struct Shared<K> {
    keyring: Keyring<K>,
    ttl: Duration,
    kept: BoundedCache<Digest, Arc<End>>,
    /// The tokens that the provider accepted when it was last asked.
    good: Cache<Digest, ()>,
    in_flight: InFlight<Outcome>,
    queue: Queue,
}

/// An error is that the question was not asked.
type Outcome = Result<Arc<End>, Error>;

/// A question to the provider.
struct Ask {
    question: Question,
    token: String,
    digest: Digest,
    /// The token's own `exp` where it can be read.
    ends: Option<SystemTime>,
    /// When the question was put, by both clocks.
    now: SystemTime,
    at: Instant,
}

struct End {
    result: Result<Arc<Accepted>, Error>,
    at: Instant,
    until: Instant,
    /// What the answer takes in the cache, in bytes.
    size: usize,
}

impl End {
    fn is_current(&self) -> bool {
        self.until > Instant::now()
    }
}

impl Size for Arc<End> {
    fn size(&self) -> usize {
        self.size
    }
}

impl<K: KeySource> Answers<K> {
    /// Asks the source of the keys; keeps what it says for `ttl` at most.
    pub(super) fn new(keyring: Keyring<K>, ttl: Duration) -> Self {
        let (kept, good) = (bounded_cache::bounded(MAX_KEPT, BYTES_EACH), Cache::new(MAX_GOOD));
        Self(Arc::new(Shared { keyring, ttl, kept, good, in_flight: InFlight::new(), queue: Queue::new() }))
    }

    /// What the provider says about the token: kept, on its way, or asked for now. `ends` is the token's own `exp` where it can
    /// be read; `now` is the wall clock. A token of which the provider has said nothing good waits among those of its
    /// `priority`.
    pub(super) async fn about(
        &self,
        question: Question,
        token: &str,
        priority: Priority,
        ends: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<Arc<Accepted>, Error> {
        let (called, digest) = (Instant::now(), digest(question, token));
        let priority = if self.0.good.get(&digest).is_some() { Priority::Known } else { priority };
        let kept = || self.0.kept.get(&digest).filter(|end| end.is_current());
        if let Some(end) = kept() {
            return end.result.clone();
        }
        let _waits = self.0.queue.admit(priority)?;
        loop {
            let mut awaited = match self.0.in_flight.join(digest, || kept().map(Ok)) {
                Found::Answer(answer) => return answer?.result.clone(),
                Found::Asked(awaited) => awaited,
                Found::Unasked(pending, awaited) => {
                    match self.0.queue.enter(priority) {
                        Ok(slot) => {
                            let token = token.to_owned();
                            let ask = Ask { question, token, digest, ends, now, at: Instant::now() };
                            tokio::spawn(ask_in_turn(Arc::clone(&self.0), ask, pending, slot));
                        }
                        Err(error) => pending.finish(Err(error)),
                    }
                    awaited
                }
            };
            let outcome = awaited.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
            let abandoned = || Err(Error::Unanswered("the question was abandoned".into()));
            let end = outcome.unwrap_or_else(abandoned)?;
            // an answer to a question after the call is as good as any, however short its life
            if end.at >= called || end.is_current() {
                return end.result.clone();
            }
        }
    }

    /// Drops the answers that do not stand any more.
    pub(super) fn sweep(&self) {
        self.0.kept.retain(|_, end| end.is_current());
    }
}

/// Waits for a permit, asks the question, and keeps the answer.
async fn ask_in_turn<K: KeySource>(
    shared: Arc<Shared<K>>,
    ask: Ask,
    pending: PendingQuestion<Outcome>,
    slot: QueueSlot,
) {
    let permit = match pending.while_awaited(slot.permit()).await {
        Some(Ok(permit)) => permit,
        Some(Err(error)) => return pending.finish(Err(error)),
        None => return,
    };
    let end = shared.ask(&ask).await;
    drop(permit);
    let end = Arc::new(end);
    match &end.result {
        Ok(_) => shared.good.insert(ask.digest, ()),
        Err(error) if error.is_outage() => {}
        Err(_) => drop(shared.good.remove(&ask.digest)),
    }
    shared.kept.insert(ask.digest, Arc::clone(&end));
    pending.finish(Ok(end));
}

impl<K: KeySource> Shared<K> {
    async fn ask(&self, ask: &Ask) -> End {
        let Ask { question, token, ends, now, at, .. } = ask;
        let answer = self.keyring.source().ask(*question, token).await;
        let size = size(&answer);
        let answer = answer.map_err(|error| Error::Unanswered(error.to_string().into()));
        let result = answer.and_then(|answer| accept(*question, answer, *ends, (*at, *now), self.ttl));
        let life = match &result {
            Ok(accepted) => accepted.until.duration_since(*now).unwrap_or_default(),
            Err(error) if error.is_outage() => FAILED,
            Err(_) => REFUSAL_LIFETIME.min(self.ttl),
        };
        // failures count from their end, so that a silent provider is not asked without a pause
        let from = if matches!(&result, Err(error) if error.is_outage()) { Instant::now() } else { *at };
        End { result: result.map(Arc::new), at: *at, until: from + life, size }
    }
}

/// What an answer takes, once it is read: each value of a document takes about as much again as its text.
fn size<E>(answer: &Result<Answer, E>) -> usize {
    match answer {
        Ok(Answer::Document(document)) => BYTES_EACH / 2 + 2 * document.len(),
        Ok(Answer::Refused) | Err(_) => 0,
    }
}

fn accept(
    question: Question,
    answer: Answer,
    ends: Option<SystemTime>,
    (asked, now): (Instant, SystemTime),
    ttl: Duration,
) -> Result<Accepted, Error> {
    let document = match answer {
        Answer::Document(document) => document,
        Answer::Refused => return Err(Error::Refused),
    };
    let nonsense = |why: &str| Error::Unanswered(why.into());
    let object: StrictObject = serde_json::from_slice(&document)
        .map_err(|_| nonsense("the answer is not a JSON object without repeated names"))?;
    if question == Question::Introspection {
        // RFC 7662 §2.2: the one member that is required
        match object.members().get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err(Error::Refused),
            _ => return Err(nonsense("the answer does not say whether the token is active")),
        }
    }
    let claims = Claims::verified(object);
    let kept = now.checked_add(ttl).unwrap_or(now);
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
