//! What the next request of a caller would find and do, for a person to read. Nothing is written.

use tokio::time::Instant;

use super::run::AgreementRun;
use super::shared::Peek;
use super::*;
use crate::clock::now_millis;
use crate::credentials::seal::SealedBy;
use crate::credentials::{Day, Existing};
use crate::identity::Millis;
use crate::identity::Owner;

/// What stands where, and what would be done.
#[derive(Debug)]
pub struct Preview {
    /// The name of the record.
    pub key: CacheKey,
    /// What the store has under it.
    pub held: Option<StoredRecord>,
    /// What stands in Elasticsearch.
    pub user: Result<Existing, InspectError>,
    /// What a request would do first, or why it would be refused.
    pub next: Result<PlannedWrite, Error>,
}

/// A record in the store.
#[derive(Debug)]
pub struct StoredRecord {
    /// With which key.
    pub sealed_by: SealedBy,
    /// How long the store will keep it.
    pub remaining: Duration,
    /// What it says; none when it does not open, or is broken.
    pub seen: Option<ObservedUser>,
}

/// What a record says, without its password.
#[derive(Debug)]
pub struct ObservedUser {
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
    /// Whether they were derived by the configuration that this process has; if not, since when the other one counts.
    pub other_mapping: Option<Millis>,
}

/// What a request does first.
#[derive(Debug)]
pub enum PlannedWrite {
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
        &self.shared.provisioner
    }

    /// Reads the store and looks at the user. An unreachable store is an error, an unreachable Elasticsearch is part of the
    /// answer.
    pub async fn preview(&self, caller: &Caller) -> Result<Preview, Error> {
        let (shared, identity, key) = (&*self.shared, caller.identity(), caller.key.clone());
        shared.ask_cluster().await;
        let (at, read_version) = (Instant::now(), shared.near.read_version(&key));
        let entry = shared.store.get(&key).await?;
        let stored = entry.as_ref().map(|entry| (shared.seal.sealed_by(&entry.bytes), entry.remaining));
        let peek = match entry {
            Some(entry) => shared.opened(&key, entry, at).await,
            None => Ok(Peek::Nothing),
        };
        let entitlement = shared.wanted(&caller.entitlement);
        let seen = match &peek {
            Ok(Peek::Record(current)) => {
                let record = &current.written.record;
                let (owner, roles) = (record.owner.clone(), record.roles.clone());
                let other_mapping = (!record.mapping.is_same(entitlement.mapping)).then_some(record.mapping.since);
                let (phase, age, as_of) = (record.phase, current.age(), record.as_of);
                Some(ObservedUser { phase, age, owner, roles, as_of, other_mapping })
            }
            _ => None,
        };
        let held = stored.map(|(sealed_by, remaining)| StoredRecord { sealed_by, remaining, seen });
        let user = shared.provisioner.inspect(&identity.username, &identity.owner, &RequestContext::default()).await;
        let (identity, context, why) = (identity.clone(), RequestContext::default(), String::new());
        let state = State::new(shared.me, entitlement);
        let flight =
            AgreementRun { shared, key: key.clone(), identity, context, current: None, read_version, why, place: None };
        let next = peek.and_then(|peek| flight.preview(state, peek, &user));
        Ok(Preview { key, held, user, next })
    }
}

impl<S: Store, P: Provisioner> AgreementRun<'_, S, P> {
    /// What a request would do first, going by the loop's own rules as far as to the write; nothing is done. Where the user
    /// could not be looked at, it is as if there were none.
    fn preview(
        mut self,
        state: State,
        peek: Peek,
        user: &Result<Existing, InspectError>,
    ) -> Result<PlannedWrite, Error> {
        let (state, _get) = step(state, Event::Start);
        let event = self.seen(peek)?;
        let (mut state, mut action) = step(state, event);
        let mut planned = None;
        loop {
            let event = match action {
                Action::Create(record) => {
                    planned = Some(record);
                    Event::Created
                }
                Action::Replace(record, _) if record.is_leased_by(self.shared.me) => {
                    planned = Some(record);
                    Event::Replaced(Swap::Yes)
                }
                Action::Replace(..) | Action::Wait => return Ok(PlannedWrite::Waits),
                Action::Inspect { .. } => match (user, planned.take()) {
                    (Err(_), Some(record)) => return Ok(self.written(&record)),
                    (Ok(existing), _) => Event::Inspected(Ok(existing.clone())),
                    (Err(_), None) => return Err(Error::Internal("the loop does not begin so".into())),
                },
                Action::Write { record, .. } => return Ok(self.written(&record)),
                Action::Finish(outcome) => return self.finish(outcome).map(|_record| PlannedWrite::Served),
                Action::Get | Action::Remove => return Err(Error::Internal("the loop does not begin so".into())),
            };
            (state, action) = step(state, event);
        }
    }

    fn written(&self, record: &Record) -> PlannedWrite {
        let password_known = matches!(record.phase, Phase::Pending { password_known: true, .. });
        PlannedWrite::Written { user: Box::new(self.spec(record)), with_password: !password_known }
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
            mapping: record.mapping,
            cluster_uuid: self.shared.provisioner.cluster().uuid,
            seen: Day::of(now_millis()),
            context: self.context.clone(),
        }
    }
}
