//! What the next request of a caller would find and do, for a person to read. Nothing is written.

use tokio::time::Instant;

use super::core::Peek;
use super::run::Flight;
use super::*;
use crate::credentials::seal::SealedBy;
use crate::credentials::{Day, Existing};
use crate::identity::Owner;

/// What stands where, and what would be done.
#[derive(Debug)]
pub struct Outlook {
    /// The name of the record.
    pub key: CacheKey,
    /// What the store has under it.
    pub held: Option<Held>,
    /// What stands in Elasticsearch.
    pub user: Result<Existing, InspectError>,
    /// What a request would do first, or why it would be refused.
    pub next: Result<Next, Error>,
}

/// A record in the store.
#[derive(Debug)]
pub struct Held {
    /// With which key.
    pub sealed_by: SealedBy,
    /// How long the store will keep it.
    pub remaining: Duration,
    /// What it says; none when it does not open, or is broken.
    pub seen: Option<Seen>,
}

/// What a record says, without its password.
#[derive(Debug)]
pub struct Seen {
    /// How far it is.
    pub phase: Phase,
    /// How long it has been so; more than any record's life means that it was restored.
    pub age: Duration,
    /// Whose it is.
    pub owner: Owner,
    /// The agreed roles.
    pub roles: Roles,
    /// When they were true.
    pub as_of: Millis,
}

/// What a request does first.
#[derive(Debug)]
pub enum Next {
    /// It gets the credential that is cached.
    Served,
    /// It waits for a replica that is writing.
    Waits,
    /// It writes this user.
    Written {
        /// All but the password.
        user: Box<UserSpec>,
        /// Whether a password goes with it.
        with_password: bool,
    },
}

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// Who would write.
    pub fn provisioner(&self) -> &P {
        &self.core.provisioner
    }

    /// Reads the store and looks at the user. An unreachable store is an error, an unreachable Elasticsearch is part of the
    /// answer.
    pub async fn foresee(&self, caller: &Caller) -> Result<Outlook, Error> {
        let (core, identity, key) = (&*self.core, caller.identity(), caller.key.clone());
        let (at, ticket) = (Instant::now(), core.near.ticket(&key));
        let entry = core.store.get(&key).await?;
        let stored = entry.as_ref().map(|entry| (core.seal.sealed_by(&entry.bytes), entry.remaining));
        let peek = entry.map_or(Ok(Peek::Nothing), |entry| core.opened(&key, entry, at));
        let seen = match &peek {
            Ok(Peek::Record(current)) => {
                let record = &current.written.record;
                let (owner, roles) = (record.owner.clone(), record.roles.clone());
                Some(Seen { phase: record.phase, age: current.age(), owner, roles, as_of: record.as_of })
            }
            _ => None,
        };
        let held = stored.map(|(sealed_by, remaining)| Held { sealed_by, remaining, seen });
        let user = core.provisioner.inspect(&identity.username, &identity.owner, &Origin::default()).await;
        let (identity, origin, why) = (identity.clone(), Origin::default(), String::new());
        let state = State::new(core.me, caller.want.clone());
        let flight = Flight { core, key: key.clone(), identity, origin, current: None, ticket, why, place: None };
        let next = peek.and_then(|peek| flight.foresee(state, peek)).map(|next| match next {
            // the role-only write would find nobody
            Next::Written { user: spec, .. } if matches!(user, Ok(Existing::Absent)) => {
                Next::Written { user: spec, with_password: true }
            }
            next => next,
        });
        Ok(Outlook { key, held, user, next })
    }
}

impl<S: Store, P: Provisioner> Flight<'_, S, P> {
    /// What a request would do first, going by the loop's own rules; nothing is done.
    fn foresee(mut self, state: State, peek: Peek) -> Result<Next, Error> {
        let (state, _get) = step(state, Event::Start);
        let event = self.seen(peek)?;
        let (_state, action) = step(state, event);
        match action {
            Action::Create(record) | Action::Replace(record, _) => match record.phase {
                Phase::Pending { password_known, .. } if record.is_claimed_by(self.core.me) => {
                    Ok(Next::Written { user: Box::new(self.spec(&record)), with_password: !password_known })
                }
                _ => Ok(Next::Waits),
            },
            Action::Wait => Ok(Next::Waits),
            Action::Finish(outcome) => self.finish(outcome).map(|_record| Next::Served),
            Action::Get | Action::Remove | Action::Inspect { .. } | Action::Write { .. } => {
                Err(Error::Internal("the loop does not begin so".into()))
            }
        }
    }

    /// The user, as a write of this record has it.
    pub(super) fn spec(&self, record: &Record) -> UserSpec {
        // another's record is written by whoever owes it, and knows only his own caller's names
        let callers = record.owner == self.identity.owner;
        UserSpec {
            username: self.identity.username.clone(),
            full_name: self.identity.full_name.clone().filter(|_| callers),
            email: self.identity.email.clone().filter(|_| callers),
            owner: record.owner.clone(),
            roles: record.roles.clone(),
            as_of: record.as_of,
            seen: Day::of(now_ms()),
            origin: self.origin.clone(),
        }
    }
}
