//! The protocol by which replicas agree on one credential for each user, as a pure state machine:
//! `step(state, event) → (state, action)`. `docs/credential-protocol.md` is its specification, with the reason for each rule.
//!
//! - *Agree first*: a record is in the store, pending, before Elasticsearch is asked to write it. A replica that loses the
//!   set-if-absent adopts the winner's password, so it does not matter how many replicas write it.
//! - *Write after*: the replica that holds the record's lease inspects the user and writes it. When Elasticsearch has
//!   acknowledged the write, a compare-and-set makes the record ready. The lease only saves work: an expired one is taken
//!   over, a valid one never is.
//! - *Never back*: before each write the user's stamp is compared with the record. Where the record was lost, rolled back or
//!   belongs to an older token, the stamp prevails: its roles are agreed and written instead. One rule ([`standing`]) decides
//!   which of two statements about a user's roles prevails, for records, callers and stamps alike.
//! - *Serve meanwhile*: a pending change of roles says which roles may be in force, and that the password is valid. A caller to which
//!   these are not too much does not wait for the write ([`Entitlement::allows`]).
//! - *Log in before writing*: the user keeps its password, sealed, beside its stamp. A record that was lost is ready again without a
//!   write where Elasticsearch accepts that password.
//! - *Debt*: this run's write was acknowledged, but the store meanwhile has something else. The run owes a write: whatever the
//!   store has must be written once more, even if it is ready, before the run ends.
//!
//! `tests/model` checks the state machine against every interleaving. It found:
//!
//! - A debt may concern another subject. Two subjects inspect a user that does not exist yet; the record of the first is lost;
//!   the record of the second is created, written and served; then the PUT of the first is applied. It has put the first
//!   caller's stamp over the second's user. So the run that sent it, and only that run, may write the second subject's record
//!   over that stamp. It does so before its own caller is denied ([`Action::Inspect`]).
//! - Without scripting a change may happen between a comparison and the SET after it. When a lease holder overwrites newer
//!   roles that way, it takes them over. Otherwise the replica that raised them would raise them again in the middle of the
//!   next PUT, round after round. Each such change costs a few PUTs. No bound exists for a schedule in which such changes never
//!   cease: A writes; B, which owes a write, puts its lease over A's; A, acknowledged, puts ready over B's lease and owes a
//!   write; B reads that, A takes the lease and writes, and B puts its lease over A's.
//! - A pending record must live as long as a PUT of it may be applied. Otherwise a late PUT meets another subject's record.
//! - Two subjects that compete for a new username can take it from each other when the record is lost and one more fault
//!   happens: a crash, an unknown outcome or a second loss. A PUT has no condition, and no run is left that owes a write.

mod entitlement;
mod protocol;
pub mod standing;
mod state;
mod step;

pub use entitlement::{Entitlement, Observation};
pub use protocol::{Action, Event, Failure, Fresh, Inspected, Life, Outcome, Swap, WriteFailure};
pub use standing::Standing;
pub use state::State;
pub use step::step;

#[cfg(test)]
mod tests;
