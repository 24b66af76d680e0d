//! One run of the protocol for one user: it carries out the actions of the state machine, and feeds it their outcomes.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::Error;
use super::kept_passwords::Look;
use super::shared::{Peek, Shared, until_rotation};
use crate::clock::now_millis;
use crate::credentials::admission::Permit;
use crate::credentials::agreement::{
    Action, Entitlement, Event, Failure, Fresh, Inspected, Life, Observation, Outcome, Standing, State, Swap,
    WriteFailure, step,
};
use crate::credentials::invalidation::ReadVersion;
use crate::credentials::provisioner::outcome;
use crate::credentials::record::{LeaseHolder, Phase, Record, Unknown, Written};
use crate::credentials::stored::Current;
use crate::credentials::{
    CacheKey, Day, DurableCopy, Existing, InspectError, Ours, Password, Provisioner, Refused, Replaced, RequestContext,
    SealedCopy, Store, StoreError, UserSpec, WriteError,
};
use crate::identity::{Identity, Owner};
use crate::roles::{Roles, Version};
use crate::spans;

/// How much longer than its lease a pending record lives, so that it can still be finished. As long as a PUT of it may still be
/// applied (a minute is Elasticsearch's own time-out of a write): if the record went before, its owner would not be known when
/// that PUT is applied.
const PENDING_MARGIN: Duration = Duration::from_secs(60);
/// Between two reads of a record that another replica is writing, where the store does not report changes.
const POLL: Duration = Duration::from_millis(25);
/// The same where it does: only a safety net.
const TRACKED_POLL: Duration = Duration::from_millis(500);
/// How long a run with a debt goes on trying to reach the store.
const DEBT_PATIENCE: Duration = Duration::from_secs(60);
/// Between two of these attempts.
const DEBT_RETRY: Duration = Duration::from_millis(500);

/// What a run is for.
#[derive(Clone, PartialEq)]
pub(super) enum Purpose {
    /// A caller is to get a credential with these roles.
    Obtain(Entitlement),
    /// This ready record is to be written once more. Elasticsearch accepts its password for a user with these roles, or does not
    /// accept it where there are none.
    WriteAgain(Record, Option<Roles>),
    /// This ready record is to get a new password.
    Rotate(Record, Fresh),
}

impl Purpose {
    /// The state in which the run begins.
    pub(super) fn state(&self, me: LeaseHolder) -> State {
        match self {
            Self::Obtain(entitlement) => State::new(me, entitlement.clone()),
            Self::WriteAgain(record, in_force) => State::write_again(me, record.clone(), in_force.clone()),
            Self::Rotate(record, fresh) => State::rotate(me, record.clone(), fresh.clone()),
        }
    }
}

/// One run of the protocol.
pub(super) struct AgreementRun<'a, S, P> {
    shared: &'a Shared<S, P>,
    key: CacheKey,
    identity: Identity,
    /// The request that began it.
    context: RequestContext,
    /// The record as it was last read or written.
    current: Option<Current>,
    /// Taken before the key was last read.
    read_version: ReadVersion,
    /// The last failure of Elasticsearch, for the log.
    why: String,
    /// Kept to the end.
    permit: Option<Permit>,
    /// Kept to the end, where there was no permit.
    look: Option<OwnedSemaphorePermit>,
    /// The look at a user without a record, with a permit, until it is known whether Elasticsearch keeps the password.
    first_look: Option<Look>,
    /// This run made the record that it last read or wrote.
    made: bool,
}

impl<'a, S: Store, P: Provisioner> AgreementRun<'a, S, P> {
    pub(super) fn new(
        shared: &'a Shared<S, P>,
        key: CacheKey,
        identity: Identity,
        context: RequestContext,
        read_version: ReadVersion,
    ) -> Self {
        let (current, why, permit, look, first_look) = (None, String::new(), None, None, None);
        Self { shared, key, identity, context, current, read_version, why, permit, look, first_look, made: false }
    }

    /// Goes on to the end. `known` is what was just read.
    pub(super) async fn run(mut self, state: State, known: Option<Peek>) -> Result<Record, Error> {
        if self.shared.provisioner.cluster().uuid.is_none() {
            // Elasticsearch is asked about the user anyway, and the record is to say which cluster it is for
            self.shared.ask_cluster().await;
        }
        let (mut state, mut action) = step(state, Event::Start);
        // A pending record under this process's lease is written without another read of the store, and another run may have
        // finished it since it was read.
        let ours = |peek: &Peek| matches!(peek, Peek::Record(current) if self.has_lease(&current.written.record));
        if let Some(peek) = known.filter(|peek| !ours(peek)) {
            let event = self.observe(peek)?;
            (state, action) = step(state, event);
        }
        let mut patience = Instant::now() + DEBT_PATIENCE;
        loop {
            if let Action::Finish(outcome) = action {
                return self.finish(outcome);
            }
            let event = match self.perform(action).await {
                Ok(event) => {
                    patience = Instant::now() + DEBT_PATIENCE;
                    event
                }
                // the outcome of a failed write to the store is unknown: a run with a debt reads again
                Err(_) if state.owes() && Instant::now() < patience => {
                    tokio::time::sleep(DEBT_RETRY).await;
                    Event::Waited
                }
                Err(error) => return Err(error),
            };
            (state, action) = step(state, event);
        }
    }

    /// The event of having read this.
    pub(super) fn observe(&mut self, peek: Peek) -> Result<Event, Error> {
        self.made = false;
        match peek {
            Peek::Nothing => {
                self.current = None;
                Ok(Event::Absent(fresh()?))
            }
            Peek::Broken(entry) => {
                let fresh = fresh()?;
                let record = placeholder(&self.identity, &fresh);
                let cluster = self.shared.provisioner.cluster();
                let (life, unknown) = (entry.remaining, Unknown::new());
                let written = Written { record, life, aged: Duration::ZERO, cluster, unknown };
                let (bytes, remaining) = (entry.bytes, entry.remaining);
                self.current = Some(Current { bytes, written, remaining, at: Instant::now() });
                Ok(Event::Broken(fresh))
            }
            Peek::Record(current) => {
                let lease_expired = current.written.age(current.remaining) > self.shared.settings.lease_time();
                let changed_since = current.changed_since(self.identity.as_of);
                let observation =
                    Observation { now: now_millis(), changed_since, mapping: self.shared.running.version() };
                let record = current.written.record.clone();
                self.current = Some(*current);
                Ok(Event::Found { record, lease_expired, observation })
            }
        }
    }

    /// Takes a permit before the first action that leads to a write by this process. Where there is none, and users were just
    /// found to have the password that Elasticsearch keeps, this user probably has it too: then no write is needed, and the run
    /// goes on without a permit until it turns out that one is.
    async fn admit(&mut self, action: &Action) -> Result<(), Error> {
        let writes = matches!(action, Action::Write { .. });
        let begins = match action {
            Action::Create(_) | Action::Inspect { .. } | Action::Write { .. } => true,
            Action::Replace(record, _) => self.has_lease(record),
            Action::Get | Action::Remove | Action::LogIn { .. } | Action::Wait | Action::Finish(_) => false,
        };
        if !begins || self.permit.is_some() || (self.look.is_some() && self.made && !writes) {
            return Ok(());
        }
        match self.shared.admission.enter(&self.key, self.shared.provisioner.throughput()) {
            Ok(permit) => {
                self.permit = Some(permit);
                self.first_look = matches!(action, Action::Create(_)).then(|| self.shared.kept_passwords.begin());
            }
            Err(_) if matches!(action, Action::Create(_)) && self.shared.kept_passwords.are_found().await => {
                self.look = self.shared.kept_passwords.look().await;
            }
            Err(busy) => {
                if let (true, Some(current)) = (self.look.is_some() && self.made, &self.current) {
                    // this run made the record, nothing was written of it, and no other replica shall wait for its lease
                    self.shared.store.remove(&self.key, &current.bytes).await?;
                    self.shared.near_cache.invalidate(&self.key);
                }
                return Err(busy.into());
            }
        }
        Ok(())
    }

    /// Whether this process is to write the record.
    pub(super) fn has_lease(&self, record: &Record) -> bool {
        record.is_leased_by(self.shared.me)
    }

    async fn perform(&mut self, action: Action) -> Result<Event, Error> {
        self.admit(&action).await?;
        match action {
            Action::Get => {
                self.read_version = self.shared.near_cache.read_version(&self.key);
                let peek = self.shared.peek(&self.key).await?;
                self.observe(peek)
            }
            Action::Create(record) => self.create(record).await,
            Action::Replace(record, life) => {
                let replaced = self.replace(record, life).await?;
                Ok(Event::Replaced(self.swap(replaced)))
            }
            Action::Remove => {
                let Some(current) = &self.current else { return Ok(Event::Removed(true)) };
                let removed = self.shared.store.remove(&self.key, &current.bytes).await?;
                self.shared.near_cache.invalidate(&self.key);
                Ok(Event::Removed(removed))
            }
            Action::LogIn { password, standing } => Ok(Event::LoggedIn(self.log_in(&password, &standing).await)),
            Action::Inspect { owner, or_callers } => Ok(Event::Inspected(self.inspect(&owner, or_callers).await)),
            Action::Write { record, with_password } => Ok(self.write(record, with_password).await),
            Action::Wait => {
                self.shared.near_cache.invalidations().wait(&self.read_version, POLL, TRACKED_POLL).await;
                Ok(Event::Waited)
            }
            Action::Finish(_) => Err(Error::Internal("the run of the protocol had ended".into())),
        }
    }

    async fn create(&mut self, record: Record) -> Result<Event, Error> {
        let life = self.shared.settings.lease_time() + PENDING_MARGIN;
        let (cluster, unknown) = (self.shared.provisioner.cluster(), Unknown::new());
        let written = Written { record, life, aged: Duration::ZERO, cluster, unknown };
        let bytes = self.shared.sealed(&self.key, &written)?;
        let at = Instant::now();
        let existed = match self.shared.store.put_if_absent(&self.key, &bytes, life).await {
            Ok(existing) => existing.is_some(),
            // the outcome is unknown: the record may be there, and nothing has been written of it
            Err(error @ StoreError::Unavailable(_)) => match self.shared.store.get(&self.key).await {
                Ok(Some(entry)) if entry.bytes == bytes => false,
                Ok(_) | Err(_) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        };
        if existed {
            self.first_look = None;
            return Ok(Event::Existed);
        }
        self.shared.near_cache.invalidate(&self.key);
        self.current = Some(Current { bytes, written, remaining: life, at });
        self.made = true;
        Ok(Event::Created)
    }

    async fn replace(&mut self, record: Record, life: Life) -> Result<Replaced, Error> {
        let Some(current) = &self.current else {
            return Ok(Replaced::Missing);
        };
        let pending_life = self.shared.settings.lease_time() + PENDING_MARGIN;
        let (life, remaining) = match life {
            // Elasticsearch accepts the password: it is kept for as long as that of a ready record
            Life::Lease if record.phase.has_password() => (self.shared.ready_life(record.born).max(pending_life), None),
            Life::Lease => (pending_life, None),
            Life::Ready => (self.shared.ready_life(record.born), None),
            // the same lease goes on ageing
            Life::Remaining => (current.written.life, Some(current.life_left())),
        };
        let remaining = remaining.unwrap_or(life).max(Duration::from_millis(1));
        let cluster = self.shared.provisioner.cluster().or_as(&current.written.cluster);
        let written = Written { record, life, aged: Duration::ZERO, cluster, unknown: current.written.unknown.clone() };
        let bytes = self.shared.sealed(&self.key, &written)?;
        let at = Instant::now();
        let replaced = self.shared.store.replace(&self.key, &current.bytes, &bytes, remaining).await?;
        self.shared.near_cache.invalidate(&self.key);
        if matches!(replaced, Replaced::Yes | Replaced::Overwrote(_)) {
            self.current = Some(Current { bytes, written, remaining, at });
        }
        Ok(replaced)
    }

    fn swap(&self, replaced: Replaced) -> Swap {
        match replaced {
            Replaced::Yes => Swap::Yes,
            Replaced::Changed => Swap::Changed,
            Replaced::Missing => Swap::Missing,
            Replaced::Overwrote(bytes) => {
                let plain = self.shared.seal.open(&self.key, &bytes).ok();
                Swap::Overwrote(plain.and_then(|plain| Written::decode(&plain).ok()).map(|written| written.record))
            }
        }
    }

    async fn inspect(&mut self, owner: &Owner, or_callers: bool) -> Result<Inspected, Failure> {
        let (username, provisioner) = (&self.identity.username, &self.shared.provisioner);
        let inspect =
            |owner| provisioner.inspect(username, owner, &self.context).instrument(spans::span!("inspect user"));
        let mut found = inspect(owner).await;
        if or_callers && matches!(found, Err(InspectError::Refused(Refused::OtherOwner))) {
            // a stamp of the caller's says nothing about the roles of the record's owner
            found = inspect(&self.identity.owner).await.map(|_callers| Existing::Ours(Ours::default()));
        }
        if let Ok(Existing::Ours(Ours { standing: Some(stamp), .. })) = &found {
            self.shared.running.note_stamp(stamp.mapping);
        }
        match found {
            Ok(existing) => {
                let inspected = self.inspected(existing);
                if !matches!(inspected, Inspected::Ours { kept: Some(_), .. }) {
                    self.missed();
                }
                Ok(inspected)
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    /// What was found, for the state machine.
    pub(super) fn inspected(&self, existing: Existing) -> Inspected {
        match existing {
            Existing::Absent => Inspected::Absent,
            Existing::Ours(Ours { standing, copy }) => {
                let opened = copy.and_then(|copy| self.shared.seal.open_copy(&self.identity.username, &copy).ok());
                let kept = opened.filter(|kept| !until_rotation(kept.born).is_zero());
                Inspected::Ours { standing, kept }
            }
        }
    }

    fn failure(&mut self, error: InspectError) -> Failure {
        match error {
            InspectError::Refused(refused) => Failure::Refused(refused),
            InspectError::Unavailable(why) => {
                self.why = why;
                Failure::Unavailable
            }
        }
    }

    /// The user has no password that Elasticsearch keeps.
    fn missed(&mut self) {
        if let Some(look) = self.first_look.take() {
            look.missed();
        }
    }

    /// Whether Elasticsearch accepts the password, for a user with these roles and this stamp.
    async fn log_in(&mut self, password: &Password, standing: &Standing) -> Result<bool, Failure> {
        let login = self.shared.provisioner.log_in(&self.identity.username, password);
        match login.instrument(spans::span!("try kept password")).await {
            Ok(login) => {
                let shown = login.shows(standing);
                if shown {
                    self.shared.kept_passwords.found();
                    self.first_look = None;
                } else {
                    self.missed();
                }
                Ok(shown)
            }
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Sends the write only if it will have ended, one way or the other, before the lease does: another replica takes over an
    /// expired lease.
    async fn write(&mut self, record: Record, with_password: bool) -> Event {
        let (lease, limit) = (self.shared.settings.lease_time(), self.shared.settings.write_timeout);
        let left = self.current.as_ref().map_or(Duration::ZERO, |current| lease.saturating_sub(current.age()));
        if left < limit {
            return Event::LeaseTooShort;
        }
        let spec = self.spec(&record);
        let span = spans::span!("write user", elastauth.outcome = Empty);
        let write = self.shared.provisioner.write(&spec, with_password.then_some(&record.password));
        let late = |_| Err(WriteError::Unknown(format!("no answer within {limit:?}")));
        let result = tokio::time::timeout(limit, write.instrument(span.clone())).await.unwrap_or_else(late);
        span.record("elastauth.outcome", outcome(result.as_ref().copied()));
        drop(span);
        if let Err(error) = &result {
            self.why = error.to_string();
        } else {
            let (user, roles) = (spec.username.as_str(), spec.roles.to_string());
            let request_id = self.context.request_id();
            tracing::info!(user, roles, password = with_password, request_id, "User provisioned");
        }
        Event::Written(result.map_err(|error| match error {
            WriteError::Refused { refused, detail } => {
                tracing::warn!(user = spec.username.as_str(), detail, "Elasticsearch refused the user");
                WriteFailure::Refused(refused)
            }
            WriteError::Missing => WriteFailure::Missing,
            WriteError::Outranked => WriteFailure::Outranked,
            WriteError::Unavailable(_) => WriteFailure::NotApplied,
            WriteError::Unknown(_) => WriteFailure::Unknown,
        }))
    }

    /// The user, as a write of this record has it.
    pub(super) fn spec(&self, record: &Record) -> UserSpec {
        // a run with a debt also writes records of another owner, and knows only its own caller's names
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
            copy: self.sealed_copy(record),
            context: self.context.clone(),
        }
    }

    /// The password as it is kept with the user; none where that is not safe, or sealing fails.
    fn sealed_copy(&self, record: &Record) -> Option<SealedCopy> {
        let copy = DurableCopy { password: record.password.clone(), born: record.born };
        self.shared.seal.seal_copy(&self.identity.username, &copy).ok().flatten()
    }

    pub(super) fn finish(self, outcome: Outcome) -> Result<Record, Error> {
        match outcome {
            Outcome::Ready(record) => Ok(record),
            Outcome::OtherOwner => Err(Error::OtherOwner),
            Outcome::Refused(refused) => {
                self.shared.refusals.remember(&self.identity, refused);
                Err(Error::Refused(refused))
            }
            Outcome::Unavailable => Err(Error::Elasticsearch(self.why)),
        }
    }
}

/// A new password, and the time of now.
pub(super) fn fresh() -> Result<Fresh, Error> {
    let password = Password::generate().map_err(|e| Error::Internal(e.to_string()))?;
    Ok(Fresh { password, born: now_millis() })
}

/// Takes the place of a record that could not be read: only its bytes are of use.
fn placeholder(identity: &Identity, fresh: &Fresh) -> Record {
    Record {
        phase: Phase::Ready,
        password: fresh.password.clone(),
        roles: Roles::default(),
        as_of: 0,
        mapping: Version::default(),
        owner: identity.owner.clone(),
        born: fresh.born,
    }
}
