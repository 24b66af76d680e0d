//! Credentials kept in this process, unsealed once. An entry is used as long as the store would have told of a change;
//! after that it is suspect, and serves only when the store cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use super::agreement::Want;
use super::broker::{Current, Upkeep};
use super::{CacheKey, Credential};
use crate::kept::{self, Size};
use crate::roles::Version;

mod link;

pub use link::Link;
pub(super) use link::Ticket;

/// `cache.near_max_entries`, `cache.max_stale`
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Credentials kept in this process, and 1.5 KiB for each. Default 100,000; 0 keeps none.
    pub max_entries: usize,
    /// How long a suspect entry serves while the store does not answer. Default 15 min.
    pub max_stale: Duration,
}

/// Bytes that a credential takes on average, at most: about 1,300 with a few roles.
const BYTES_EACH: usize = 1536;

/// What the encoded reply takes beside the credential: the names of the headers that it removes.
const REPLY: usize = 512;

/// A ready record and its credential.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) current: Current,
    pub(super) credential: Credential,
    pub(super) upkeep: Upkeep,
    ticket: Ticket,
}

/// What is known of a key.
pub(super) enum Look {
    /// Nothing.
    Nothing,
    /// What the store holds.
    Fresh(Arc<Kept>),
    /// What the store held; it may have changed.
    Suspect(Arc<Kept>),
}

/// The kept credentials.
pub(super) struct Near {
    kept: kept::Kept<CacheKey, Arc<Kept>>,
    link: Arc<Link>,
    settings: Settings,
}

impl Kept {
    pub(super) fn serves(&self, want: &Want, running: impl FnOnce() -> Version) -> bool {
        self.current.serves(want, running)
    }

    /// Never longer than the record itself.
    fn ended(&self) -> bool {
        self.current.at.elapsed() >= self.current.remaining
    }
}

/// With the record as the store holds it, and the reply, which has the credential once more.
impl Size for Arc<Kept> {
    fn size(&self) -> usize {
        let Kept { current, credential, .. } = &**self;
        let record = &current.written.record;
        let names = [credential.username().as_str(), &record.owner.issuer, &record.owner.subject].map(str::len);
        let roles: usize = record.roles.iter().map(|role| size_of::<(&str, [usize; 2])>() + role.len()).sum();
        size_of::<(Kept, CacheKey, [usize; 8])>()
            + current.bytes.capacity()
            + names.iter().sum::<usize>()
            + roles
            + 2 * credential.expose_header().len()
            + REPLY
    }
}

impl Near {
    pub(super) fn new(settings: Settings) -> Self {
        Self { kept: kept::bounded(settings.max_entries, BYTES_EACH), link: Arc::default(), settings }
    }

    /// For the store to tell of changes.
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// To be taken before the key is read from the store.
    pub(super) fn ticket(&self, key: &CacheKey) -> Ticket {
        self.link.ticket(key)
    }

    pub(super) fn look(&self, key: &CacheKey) -> Look {
        let Some(kept) = self.kept.get(key) else { return Look::Nothing };
        if kept.ended() || !self.link.unchanged(&kept.ticket) {
            self.kept.remove(key);
            return Look::Nothing;
        }
        if self.link.trusts(&kept.ticket, kept.current.at) { Look::Fresh(kept) } else { Look::Suspect(kept) }
    }

    /// Drops what will not be served any more, with its password: what has ended, what has changed in the store, and what is suspect
    /// for too long.
    pub(super) fn sweep(&self) {
        let lives = |kept: &Kept| !kept.ended() && self.link.unchanged(&kept.ticket);
        let fresh = |kept: &Kept| lives(kept) && self.link.trusts(&kept.ticket, kept.current.at);
        self.kept.retain(|_, kept| fresh(kept) || self.may_serve(kept));
    }

    /// Forgets everybody.
    pub(super) fn clear(&self) {
        self.kept.clear();
    }

    /// Whether a suspect entry may serve, now that the store does not answer.
    pub(super) fn may_serve(&self, kept: &Kept) -> bool {
        !kept.ended()
            && self.link.unchanged(&kept.ticket)
            && self.link.suspect_for(&kept.ticket, kept.current.at) < self.settings.max_stale
    }

    /// Keeps what was read after the ticket was taken. A change that was told in between wins: the ticket is compared
    /// at every look, so that it does not matter which of the two comes first.
    pub(super) fn keep(
        &self,
        key: &CacheKey,
        ticket: Ticket,
        current: Current,
        credential: Credential,
        upkeep: Upkeep,
    ) -> Arc<Kept> {
        let kept = Arc::new(Kept { current, credential, upkeep, ticket });
        self.kept.insert(key.clone(), Arc::clone(&kept));
        kept
    }

    /// This process changed the key itself. The store will tell of that change too, a moment later, and then what was read in
    /// between is dropped once more: one more round trip for the request after a provisioning. It cannot be spared. A
    /// push says which key changed, not who changed it; `NOLOOP` covers only the connection that tracks, which writes nothing; and
    /// whoever takes the next push for his own misses another's change that came before it.
    pub(super) fn forget(&self, key: &CacheKey) {
        self.link.changed(key.as_str().as_bytes());
        self.kept.remove(key);
    }
}

#[cfg(test)]
mod tests;
