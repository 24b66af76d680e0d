//! One run of the loop.

use tracing::field::Empty;

use super::*;
use crate::clock::now_millis;
use crate::credentials::invalidation::ReadVersion;
use crate::credentials::{Existing, outcome};
use crate::identity::Owner;
use crate::roles::Version;

/// The state of a run.
pub(super) struct AgreementRun<'a, S, P> {
    pub(super) shared: &'a Shared<S, P>,
    pub(super) key: CacheKey,
    pub(super) identity: Identity,
    /// The request that began it.
    pub(super) context: RequestContext,
    pub(super) current: Option<Current>,
    /// The key's line before it was last read.
    pub(super) read_version: ReadVersion,
    /// The last failure of Elasticsearch, for the log.
    pub(super) why: String,
    /// Leave to write; kept to the end.
    pub(super) place: Option<Permit>,
}

impl<S: Store, P: Provisioner> AgreementRun<'_, S, P> {
    pub(super) async fn run(mut self, state: State, known: Option<Peek>) -> Result<Record, Error> {
        if self.shared.provisioner.cluster().uuid.is_none() {
            // Elasticsearch is asked about the user anyway, and the record is to say which cluster it is for
            self.shared.ask_cluster().await;
        }
        let (mut state, mut action) = step(state, Event::Start);
        // A pending record of ours is written without another look at the store, and another flight may have finished it
        // since it was read.
        let me = self.shared.me;
        let ours = |peek: &Peek| matches!(peek, Peek::Record(current) if current.written.record.is_leased_by(me));
        if let Some(peek) = known.filter(|peek| !ours(peek)) {
            let event = self.seen(peek)?;
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
                // the outcome of a failed write to the store is unknown: whoever owes a write reads again
                Err(_) if state.owes() && Instant::now() < patience => {
                    tokio::time::sleep(DEBT_RETRY).await;
                    Event::Waited
                }
                Err(error) => return Err(error),
            };
            (state, action) = step(state, event);
        }
    }

    pub(super) fn seen(&mut self, peek: Peek) -> Result<Event, Error> {
        match peek {
            Peek::Nothing => {
                self.current = None;
                Ok(Event::Absent(fresh()?))
            }
            Peek::Broken(entry) => {
                let fresh = fresh()?;
                let record = placeholder(&self.identity, &fresh);
                let cluster = self.shared.provisioner.cluster();
                let written = Written { record, life: entry.remaining, aged: Duration::ZERO, cluster };
                let (bytes, remaining) = (entry.bytes, entry.remaining);
                self.current = Some(Current { bytes, written, remaining, at: Instant::now() });
                Ok(Event::Broken(fresh))
            }
            Peek::Record(current) => {
                let overdue = current.written.age(current.remaining) > self.shared.lease_time();
                let changed_since = current.changed_since(self.identity.as_of);
                let observation =
                    Observation { now: now_millis(), changed_since, mapping: self.shared.running.version() };
                let record = current.written.record.clone();
                self.current = Some(*current);
                Ok(Event::Found { record, overdue, observation })
            }
        }
    }

    /// Before the first step that leads to a write of ours.
    fn admitted(&mut self, action: &Action) -> Result<(), Error> {
        let begins = match action {
            Action::Create(_) | Action::Inspect { .. } | Action::Write { .. } => true,
            Action::Replace(record, _) => record.is_leased_by(self.shared.me),
            Action::Get | Action::Remove | Action::Wait | Action::Finish(_) => false,
        };
        if begins && self.place.is_none() {
            self.place = Some(self.shared.admission.enter(&self.key, self.shared.provisioner.pace())?);
        }
        Ok(())
    }

    async fn perform(&mut self, action: Action) -> Result<Event, Error> {
        self.admitted(&action)?;
        match action {
            Action::Get => {
                self.read_version = self.shared.near.read_version(&self.key);
                let peek = self.shared.peek(&self.key).await?;
                self.seen(peek)
            }
            Action::Create(record) => self.create(record).await,
            Action::Replace(record, life) => {
                let replaced = self.replace(record, life).await?;
                Ok(Event::Replaced(self.swap(replaced)))
            }
            Action::Remove => {
                if let Some(current) = &self.current {
                    self.shared.store.remove(&self.key, &current.bytes).await?;
                    self.shared.near.forget(&self.key);
                }
                Ok(Event::Removed)
            }
            Action::Inspect { owner, or_callers } => Ok(Event::Inspected(self.inspect(&owner, or_callers).await)),
            Action::Write { record, with_password } => Ok(self.write(record, with_password).await),
            Action::Wait => {
                self.shared.near.invalidations().wait(&self.read_version, POLL, TOLD_POLL).await;
                Ok(Event::Waited)
            }
            Action::Finish(_) => Err(Error::Internal("the loop had ended".into())),
        }
    }

    fn seal(&self, written: &Written) -> Result<Vec<u8>, Error> {
        let plain = written.encode().map_err(|e| Error::Internal(e.to_string()))?;
        Ok(self.shared.seal.seal(&self.key, &plain)?)
    }

    async fn create(&mut self, record: Record) -> Result<Event, Error> {
        let life = self.shared.lease_time() + PENDING_MARGIN;
        let written = Written { record, life, aged: Duration::ZERO, cluster: self.shared.provisioner.cluster() };
        let bytes = self.seal(&written)?;
        let at = Instant::now();
        if self.shared.store.put_if_absent(&self.key, &bytes, life).await?.is_some() {
            return Ok(Event::Existed);
        }
        self.shared.near.forget(&self.key);
        self.current = Some(Current { bytes, written, remaining: life, at });
        Ok(Event::Created)
    }

    async fn replace(&mut self, record: Record, life: Life) -> Result<Replaced, Error> {
        let Some(current) = &self.current else {
            return Ok(Replaced::Missing);
        };
        let (life, remaining) = match life {
            Life::Lease => (self.shared.lease_time() + PENDING_MARGIN, None),
            Life::Ready => (self.shared.ready_life(record.born), None),
            // the same claim goes on ageing
            Life::Remaining => (current.written.life, Some(current.remaining.saturating_sub(current.at.elapsed()))),
        };
        let remaining = remaining.unwrap_or(life).max(Duration::from_millis(1));
        let cluster = self.shared.provisioner.cluster().or_as(&current.written.cluster);
        let written = Written { record, life, aged: Duration::ZERO, cluster };
        let bytes = self.seal(&written)?;
        let at = Instant::now();
        let replaced = self.shared.store.replace(&self.key, &current.bytes, &bytes, remaining).await?;
        self.shared.near.forget(&self.key);
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

    async fn inspect(&mut self, owner: &Owner, or_callers: bool) -> Result<Existing, Failure> {
        let (username, provisioner) = (&self.identity.username, &self.shared.provisioner);
        let look = |owner| provisioner.inspect(username, owner, &self.context).instrument(spans::span!("inspect user"));
        let mut found = look(owner).await;
        if or_callers && matches!(found, Err(InspectError::Refused(Refused::OtherOwner))) {
            // what stands there of the caller's says nothing about the other's roles
            found = look(&self.identity.owner).await.map(|_callers| Existing::Ours(None));
        }
        if let Ok(Existing::Ours(Some(stamp))) = &found {
            self.shared.running.saw(stamp.mapping);
        }
        found.map_err(|error| match error {
            InspectError::Refused(refused) => Failure::Refused(refused),
            InspectError::Unavailable(why) => {
                self.why = why;
                Failure::Unavailable
            }
        })
    }

    /// Sends the write only if it will have ended, one way or the other, before the claim does: an overdue one is taken over.
    async fn write(&mut self, record: Record, with_password: bool) -> Event {
        let (holder, limit) = (self.shared.lease_time(), self.shared.settings.write_timeout);
        let left = self.current.as_ref().map_or(Duration::ZERO, |current| holder.saturating_sub(current.age()));
        if left < limit {
            return Event::Expired;
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
            WriteError::Unavailable(_) | WriteError::Unknown(_) => WriteFailure::Unfinished,
        }))
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

/// Stands for a record that could not be read: only its bytes are of use.
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
