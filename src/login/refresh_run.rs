//! One attempt to renew a session's tokens: it carries out the actions of the state machine, and feeds it their outcomes.

use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use tokio::time::Instant;

use super::refresh::{Action, Event, Found, Outcome, State, Swap, step};
use super::renew::{Renew, RenewError, Renewed};
use super::session::{Claim, ClaimId, Session};
use super::session_store::{SessionStore, Stored, WriteError};
use crate::clock::{BootTime, wall_clock};
use crate::credentials::{CacheKey, ReadVersion, Store};
use crate::random::{self, NoRandomness};

/// Between two reads of a session that another replica is refreshing, where the store does not report changes.
const POLL: Duration = Duration::from_millis(25);
/// The same where it does: only a safety net.
const TRACKED_POLL: Duration = Duration::from_millis(500);
/// How long an attempt that the provider has answered goes on trying to reach the store.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two of these.
const RETRY: Duration = Duration::from_millis(200);

/// How an attempt ended, and what the provider or the store said.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) why: String,
}

/// How long the parts of an attempt take at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// One call of [`Renew::renew`].
    pub(crate) renewal: Duration,
    /// One operation of the store.
    pub(crate) store: Duration,
}

/// For differences between the clocks' speeds, and a process that gets its turn late.
const MARGIN: Duration = Duration::from_secs(2);

impl Times {
    /// How long a claim lasts: long enough for the write that makes it, for one request, and for the write after that.
    pub(crate) fn lease(self) -> Duration {
        self.store + self.needed() + MARGIN
    }

    /// What must be left of the lease when the provider is asked.
    fn needed(self) -> Duration {
        self.renewal + self.store
    }
}

/// What the provider gave.
enum Given {
    /// New tokens, and when they were received.
    Tokens(Box<Renewed>, SystemTime),
    /// A new refresh token, and tokens that could not be verified.
    Unverified(SecretString),
}

impl Given {
    fn put_into(&self, session: &Session) -> Session {
        match self {
            Self::Tokens(renewed, received) => session.renewed(renewed, *received),
            Self::Unverified(refresh_token) => session.with_refresh_token(refresh_token),
        }
    }
}

/// One attempt.
pub(crate) struct RefreshRun<'a, S, R> {
    store: &'a SessionStore<S>,
    renew: &'a R,
    times: Times,
    key: &'a CacheKey,
    /// Taken before the session was last read.
    read_version: ReadVersion,
    /// The session as it was last read or written.
    current: Option<Stored>,
    /// A time just before the claim was made.
    claimed: BootTime,
    /// What the provider gave.
    given: Option<Given>,
    why: String,
}

impl<'a, S: Store, R: Renew> RefreshRun<'a, S, R> {
    pub(crate) fn new(store: &'a SessionStore<S>, renew: &'a R, times: Times, key: &'a CacheKey) -> Self {
        let read_version = store.invalidations().read_version(key);
        let claimed = BootTime::now();
        Self { store, renew, times, key, read_version, current: None, claimed, given: None, why: String::new() }
    }

    /// Goes on to the end.
    pub(crate) async fn run(mut self) -> Ended {
        let id = match claim_id() {
            Ok(id) => id,
            Err(error) => return Ended { outcome: Outcome::NotSent, why: error.to_string() },
        };
        let mut patience = Instant::now() + PATIENCE;
        let (mut state, mut action) = step(State::new(id), Event::Start);
        loop {
            if let Action::Finish(outcome) = action {
                return self.ended(outcome);
            }
            let event = match self.perform(action).await {
                Ok(event) => {
                    patience = Instant::now() + PATIENCE;
                    event
                }
                Err(error) => {
                    self.why = error.to_string();
                    if state.owes() {
                        if Instant::now() >= patience {
                            return self.ended(Outcome::StoreFailed);
                        }
                        tokio::time::sleep(RETRY).await;
                    }
                    Event::StoreFailed
                }
            };
            (state, action) = step(state, event);
        }
    }

    /// To those who wait, tokens that could not be verified are none.
    fn ended(self, outcome: Outcome) -> Ended {
        let outcome = match (outcome, self.given) {
            (Outcome::Renewed, Some(Given::Unverified(_))) => Outcome::NotSent,
            (outcome, _) => outcome,
        };
        Ended { outcome, why: self.why }
    }

    async fn perform(&mut self, action: Action) -> Result<Event, WriteError> {
        match action {
            Action::Read => self.read().await,
            Action::Claim(claim) => self.claim(claim).await,
            Action::Redeem => Ok(self.redeem().await),
            Action::Store => {
                let Some(given) = self.given.take() else { return Ok(Event::Waited) };
                let swapped = self.replace(|session| given.put_into(session)).await;
                // it may have to be written once more
                self.given = Some(given);
                swapped
            }
            Action::Release => self.replace(|session| Session { claim: None, ..session.clone() }).await,
            Action::End => {
                let Some(current) = &self.current else { return Ok(Event::Swapped(Swap::Missing)) };
                let removed = self.store.remove(self.key, &current.bytes).await?;
                Ok(Event::Swapped(if removed { Swap::Yes } else { Swap::Changed }))
            }
            Action::Wait => {
                self.store.invalidations().wait(&self.read_version, POLL, TRACKED_POLL).await;
                Ok(Event::Waited)
            }
            Action::Finish(_) => Ok(Event::Waited),
        }
    }

    async fn read(&mut self) -> Result<Event, WriteError> {
        self.read_version = self.store.invalidations().read_version(self.key);
        self.current = self.store.read(self.key, false).await?;
        let Some(Stored { session, remaining, .. }) = &self.current else { return Ok(Event::Missing) };
        let now = wall_clock();
        if now >= session.ends(self.store.lives.lifetime) {
            return Ok(Event::Missing);
        }
        Ok(Event::Found(Found {
            generation: session.generation,
            due: session.renewal_due().is_some_and(|due| due <= now),
            claim: session.claim,
            overdue: session.claim.is_some() && session.age(*remaining) > self.times.lease(),
        }))
    }

    async fn claim(&mut self, claim: Claim) -> Result<Event, WriteError> {
        self.claimed = BootTime::now();
        self.replace(|session| Session { claim: Some(claim), ..session.clone() }).await
    }

    async fn replace(&mut self, new: impl FnOnce(&Session) -> Session) -> Result<Event, WriteError> {
        let Some(current) = &mut self.current else { return Ok(Event::Swapped(Swap::Missing)) };
        let new = new(&current.session);
        Ok(Event::Swapped(self.store.replace(self.key, current, new, wall_clock()).await?))
    }

    /// Asks the provider only if the answer will be stored before the lease ends: after that, another attempt may ask.
    async fn redeem(&mut self) -> Event {
        let Some(Stored { session, .. }) = &self.current else { return Event::LeaseTooShort };
        let Some(refresh_token) = &session.refresh_token else { return Event::Refused };
        if self.times.lease().saturating_sub(self.claimed.elapsed()) < self.times.needed() {
            return Event::LeaseTooShort;
        }
        let owner = &session.identity.owner;
        let limit = self.times.renewal;
        let late = |_| Err(RenewError::Unknown(format!("no answer within {limit:?}")));
        match tokio::time::timeout(limit, self.renew.renew(refresh_token, owner)).await.unwrap_or_else(late) {
            Ok(renewed) if renewed.signed_in.as_ref().is_some_and(|new| new.identity.owner != *owner) => {
                self.why = "the provider gave the tokens of another person".into();
                Event::Refused
            }
            Ok(renewed) => {
                self.given = Some(Given::Tokens(Box::new(renewed), wall_clock()));
                Event::Renewed
            }
            Err(error) => {
                self.why = error.to_string();
                match error {
                    RenewError::Refused(_) => Event::Refused,
                    RenewError::Unknown(_) => Event::Unknown,
                    // the token is as good as before
                    RenewError::NotSent(_) | RenewError::Unverified { refresh_token: None, .. } => Event::NotSent,
                    RenewError::Unverified { refresh_token: Some(token), .. } => {
                        self.given = Some(Given::Unverified(token));
                        Event::Renewed
                    }
                }
            }
        }
    }
}

fn claim_id() -> Result<ClaimId, NoRandomness> {
    random::bytes().map(|bytes| ClaimId(u128::from_be_bytes(bytes)))
}
