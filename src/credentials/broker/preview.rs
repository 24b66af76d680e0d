//! A preview of what the next request of a caller would find and do, for `elastauth explain`. Nothing is written.

use std::time::Duration;

use tokio::time::Instant;

use super::run::{AgreementRun, Purpose};
use super::shared::Peek;
use super::{Broker, Error};
use crate::credentials::agreement::{Action, Event, State, Swap, step};
use crate::credentials::record::{Phase, Record};
use crate::credentials::seal::SealedBy;
use crate::credentials::{CacheKey, Caller, Existing, InspectError, Provisioner, RequestContext, Store, UserSpec};
use crate::identity::{Millis, Owner};
use crate::roles::Roles;

/// What the store and Elasticsearch hold for a caller, and what a request would do.
#[derive(Debug)]
pub struct Preview {
    /// The name of the record.
    pub key: CacheKey,
    /// What the store holds under it; none for nothing.
    pub held: Option<StoredRecord>,
    /// What Elasticsearch has under the username.
    pub user: Result<Existing, InspectError>,
    /// What a request would do first, or why it would be refused.
    pub next: Result<PlannedWrite, Error>,
}

/// A record in the store.
#[derive(Debug)]
pub struct StoredRecord {
    /// Which of the configured keys sealed it.
    pub sealed_by: SealedBy,
    /// How long the store will keep it.
    pub remaining: Duration,
    /// What it says; none when it does not open, or is broken.
    pub seen: Option<ObservedUser>,
}

/// The content of a record, without its password.
#[derive(Debug)]
pub struct ObservedUser {
    /// How far its write to Elasticsearch has come.
    pub phase: Phase,
    /// How long it has been in this phase; more than any record's life means that it was restored.
    pub age: Duration,
    /// The (issuer, subject) to which the username belongs.
    pub owner: Owner,
    /// The roles that the replicas have agreed on.
    pub roles: Roles,
    /// The time at which these roles were true.
    pub as_of: Millis,
    /// If another configuration than this process's derived the roles: since when that one is in force.
    pub other_mapping: Option<Millis>,
}

/// What a request does first.
#[derive(Debug)]
pub enum PlannedWrite {
    /// It gets the cached credential.
    Served,
    /// It waits for a replica that is writing.
    Waits,
    /// It writes this user.
    Written {
        /// The user without its password.
        user: Box<UserSpec>,
        /// Whether the write contains a password.
        with_password: bool,
    },
}

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// The provisioner that would write, for details of the write.
    pub(crate) fn provisioner(&self) -> &P {
        &self.shared.provisioner
    }

    /// Reads the store and the user. An unreachable store is an error, an unreachable Elasticsearch is part of the answer.
    pub(crate) async fn preview(&self, caller: &Caller) -> Result<Preview, Error> {
        let (shared, identity, key) = (&*self.shared, caller.identity(), caller.key.clone());
        shared.ask_cluster().await;
        let (at, read_version) = (Instant::now(), shared.near_cache.read_version(&key));
        let entry = shared.store.get(&key).await?;
        let stored = entry.as_ref().map(|entry| (shared.seal.sealed_by(&entry.bytes), entry.remaining));
        let peek = shared.opened(&key, entry, at).await;
        let entitlement = shared.dated(&caller.entitlement);
        let seen = match &peek {
            Ok(Peek::Record(current)) => {
                let record = &current.written.record;
                let (owner, roles) = (record.owner.clone(), record.roles.clone());
                let other_mapping = (!record.mapping.is_same(entitlement.mapping)).then_some(record.mapping.since);
                let (phase, age, as_of) = (record.phase.clone(), current.age(), record.as_of);
                Some(ObservedUser { phase, age, owner, roles, as_of, other_mapping })
            }
            _ => None,
        };
        let held = stored.map(|(sealed_by, remaining)| StoredRecord { sealed_by, remaining, seen });
        let context = RequestContext::default();
        let user = shared.provisioner.inspect(&identity.username, &identity.owner, &context).await;
        let state = Purpose::Obtain(entitlement).state(shared.me);
        let run = AgreementRun::new(shared, key.clone(), identity.clone(), context, read_version);
        let next = peek.and_then(|peek| run.preview(state, peek, &user));
        Ok(Preview { key, held, user, next })
    }
}

impl<S: Store, P: Provisioner> AgreementRun<'_, S, P> {
    /// What a request would do first: follows the state machine up to the first write, and carries nothing out. Where the
    /// user could not be read, it is treated as absent.
    fn preview(
        mut self,
        state: State,
        peek: Peek,
        user: &Result<Existing, InspectError>,
    ) -> Result<PlannedWrite, Error> {
        let unexpected = || Err(Error::Internal("the protocol does not begin with this action".into()));
        let (state, _get) = step(state, Event::Start);
        let event = self.observe(peek)?;
        let (mut state, mut action) = step(state, event);
        let mut planned = None;
        loop {
            let event = match action {
                Action::Create(record) => {
                    planned = Some(record);
                    Event::Created
                }
                Action::Replace(record, _) if self.has_lease(&record) => {
                    planned = Some(record);
                    Event::Replaced(Swap::Yes)
                }
                Action::Replace(..) | Action::Wait => return Ok(PlannedWrite::Waits),
                Action::Inspect { .. } => match (user, planned.take()) {
                    (Err(_), Some(record)) => return Ok(self.planned(&record)),
                    (Ok(existing), _) => Event::Inspected(Ok(self.inspected(existing.clone()))),
                    (Err(_), None) => return unexpected(),
                },
                Action::Write { record, .. } => return Ok(self.planned(&record)),
                Action::Finish(outcome) => return self.finish(outcome).map(|_record| PlannedWrite::Served),
                // what a login would show is not known: it may turn out that nothing is to be written
                Action::LogIn { .. } => Event::LoggedIn(Ok(false)),
                Action::Get | Action::Remove => return unexpected(),
            };
            (state, action) = step(state, event);
        }
    }

    fn planned(&self, record: &Record) -> PlannedWrite {
        let with_password = !record.phase.has_password();
        PlannedWrite::Written { user: Box::new(self.spec(record)), with_password }
    }
}
