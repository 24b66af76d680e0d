//! How any number of replicas redeem a session's refresh token once, as a pure state machine: the driver does what an
//! [`Action`] says, and answers with an [`Event`].
//!
//! A provider may rotate refresh tokens: each is good for one redemption, and a second one ends the session for everybody. So
//! the order is: claim the session's record in the store by compare-and-set; ask the provider; put the new tokens in by
//! compare-and-set. Whoever finds a claim waits until the record changes.
//!
//! - A claim is a lease, by the store's clock. It lasts longer than a request to the provider and the write after it; its holder
//!   asks the provider only if the rest of the lease is long enough for both. So no two attempts ask at the same time, however
//!   long a process stood still.
//! - An overdue claim is taken over, by compare-and-set and so by one attempt: its holder has crashed, or got no answer. The
//!   provider may have redeemed the token then, and refuse it the second time, which ends the session: a login is the price of a
//!   crash at that moment. Without an answer the takeovers go on, one at a time and a lease apart, for as long as somebody uses the
//!   session: a provider that hangs for a minute costs nobody the session.
//! - The end of a session deletes its record. Every write of an attempt is a compare-and-set, which then finds nothing: the new
//!   tokens are dropped, and the session stays ended.
//! - A store that gives no answer to a write may have done it. An attempt then reads before it does anything else: before it asks
//!   the provider, and before it drops tokens that it received.
//! - Tokens that were received late, after another attempt took the claim over, are dropped: that one may be asking at this moment,
//!   and must not do so after the successor of its token is stored.
//!
//! `tests/model` checks this state machine against every interleaving.

use super::session::{Claim, ClaimId};

/// What the driver is to do next. Each compare-and-set is against what this attempt last read or wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the session; answer with `Missing` or `Found`.
    Read,
    /// Compare and set: the same session with this claim. A lease begins. Answer with `Swapped`.
    Claim(Claim),
    /// Ask the provider; answer with `Renewed`, `Refused`, `NotSent`, `Unknown` or, where it was not asked, `LeaseTooShort`.
    Redeem,
    /// Compare and set: the session with the new tokens, without a claim; answer with `Swapped`.
    Store,
    /// Compare and set: the same session without a claim; answer with `Swapped`.
    Release,
    /// Compare and delete; answer with `Swapped`.
    End,
    /// Wait until the session may have changed; answer with `Waited`.
    Wait,
    /// End the attempt.
    Finish(Outcome),
}

/// What the driver observed after an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The attempt begins.
    Start,
    /// The session has ended.
    Missing,
    /// The session is there.
    Found(Found),
    /// How the compare-and-set, or the compare-and-delete, ended.
    Swapped(Swap),
    /// The store gave no answer: a write may have been done.
    StoreFailed,
    /// The provider gave new tokens, which are valid and the owner's.
    Renewed,
    /// The provider refused, or what it gave is not valid or another owner's.
    Refused,
    /// The provider was certainly not asked.
    NotSent,
    /// The provider may have redeemed the token.
    Unknown,
    /// The provider was not asked: the rest of the lease is too short.
    LeaseTooShort,
    /// The wait is over.
    Waited,
}

/// A session as an attempt finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// How often its tokens were renewed.
    pub generation: u64,
    /// Whether its tokens are due to be renewed.
    pub due: bool,
    /// The attempt that may redeem its refresh token.
    pub claim: Option<Claim>,
    /// Whether the lease of that attempt has ended.
    pub overdue: bool,
}

/// How a compare-and-set ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Swap {
    /// What was expected was there, and is replaced or deleted.
    Yes,
    /// Something else was there, and may still be.
    Changed,
    /// Nothing was there.
    Missing,
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// This attempt has renewed the tokens.
    Renewed,
    /// The tokens are not due any more: another attempt has renewed them.
    Fresh,
    /// The session has ended.
    Ended,
    /// The provider refused, and the session was ended.
    Refused,
    /// The provider was not asked, and the claim is given back.
    NotSent,
    /// The provider gave no answer that says anything; the claim runs out.
    Unanswered,
    /// The store does not answer.
    StoreFailed,
}

/// The action of which the attempt awaits the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    Idle,
    Reading,
    Claiming(Claim),
    Redeeming(Claim),
    Storing,
    Releasing,
    Ending,
}

/// What the provider has answered, and the store is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Tokens,
    Refusal,
}

/// One attempt's position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    me: ClaimId,
    stage: Stage,
    /// How often the tokens had been renewed when the claim was made.
    generation: u64,
    answer: Option<Answer>,
}

impl State {
    /// An attempt with this id, which no other one has.
    #[must_use]
    pub fn new(me: ClaimId) -> Self {
        Self { me, stage: Stage::Idle, generation: 0, answer: None }
    }

    /// Whether the provider has answered and the store does not know it yet: the attempt must go on trying to reach the store.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.answer.is_some()
    }

    fn then(self, stage: Stage, action: Action) -> (Self, Action) {
        (Self { stage, ..self }, action)
    }

    fn read(self) -> (Self, Action) {
        self.then(Stage::Reading, Action::Read)
    }

    fn wait(self) -> (Self, Action) {
        self.then(Stage::Idle, Action::Wait)
    }

    fn finish(self, outcome: Outcome) -> (Self, Action) {
        Self { answer: None, ..self }.then(Stage::Idle, Action::Finish(outcome))
    }

    fn claim(self, attempt: u32, generation: u64) -> (Self, Action) {
        let claim = Claim { id: self.me, attempt };
        Self { generation, ..self }.then(Stage::Claiming(claim), Action::Claim(claim))
    }
}

/// One transition. An event that does not belong to the state makes the attempt read again, which is always safe.
#[must_use]
pub fn step(state: State, event: Event) -> (State, Action) {
    match (state.stage, event) {
        (Stage::Reading, Event::Missing) | (_, Event::Swapped(Swap::Missing)) => state.finish(Outcome::Ended),
        (Stage::Reading, Event::Found(found)) => match state.answer {
            None => decide(state, found),
            Some(answer) => deliver(state, answer, found),
        },
        (Stage::Reading, Event::StoreFailed) if !state.owes() => state.finish(Outcome::StoreFailed),
        (Stage::Claiming(claim), Event::Swapped(Swap::Yes)) => state.then(Stage::Redeeming(claim), Action::Redeem),
        (Stage::Redeeming(_), Event::Renewed) => {
            State { answer: Some(Answer::Tokens), ..state }.then(Stage::Storing, Action::Store)
        }
        (Stage::Redeeming(_), Event::Refused) => {
            State { answer: Some(Answer::Refusal), ..state }.then(Stage::Ending, Action::End)
        }
        (Stage::Redeeming(_), Event::NotSent) => state.then(Stage::Releasing, Action::Release),
        (Stage::Redeeming(_), Event::Unknown) => state.finish(Outcome::Unanswered),
        // the token is unused: a new lease. It is another claim, so that no attempt that read the former one takes this one over
        (Stage::Redeeming(claim), Event::LeaseTooShort) => {
            state.claim(claim.attempt.saturating_add(1), state.generation)
        }
        (Stage::Storing, Event::Swapped(Swap::Yes)) => state.finish(Outcome::Renewed),
        (Stage::Ending, Event::Swapped(Swap::Yes)) => state.finish(Outcome::Refused),
        // whatever became of it, the claim runs out
        (Stage::Releasing, Event::Swapped(_) | Event::StoreFailed) => state.finish(Outcome::NotSent),
        _ => state.read(),
    }
}

/// An attempt that the provider has not answered.
fn decide(state: State, found: Found) -> (State, Action) {
    match found.claim {
        _ if !found.due => state.finish(Outcome::Fresh),
        None => state.claim(1, found.generation),
        Some(claim) if found.overdue => state.claim(claim.attempt.saturating_add(1), found.generation),
        // the answer to the compare-and-set was lost
        Some(claim) if claim.id == state.me => state.then(Stage::Redeeming(claim), Action::Redeem),
        Some(_) => state.wait(),
    }
}

/// An attempt that the provider has answered, and whose write found something else than its claim, or got no answer.
fn deliver(state: State, answer: Answer, found: Found) -> (State, Action) {
    let renewed = found.generation > state.generation;
    let taken_over = found.claim.is_some_and(|claim| claim.id != state.me);
    match answer {
        Answer::Tokens if renewed => state.finish(Outcome::Renewed),
        Answer::Refusal if renewed => state.finish(Outcome::Fresh),
        _ if taken_over => decide(State { answer: None, ..state }, found),
        // its own claim, or the record of before: the store was rolled back
        Answer::Tokens => state.then(Stage::Storing, Action::Store),
        Answer::Refusal => state.then(Stage::Ending, Action::End),
    }
}

#[cfg(test)]
mod tests;
