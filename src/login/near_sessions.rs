//! This process's cache of sessions, already unsealed, which answers nearly every request.
//!
//! An entry is served as long as the store would have reported a change of the session's record or of its markers. After that it
//! is suspect: it serves only while the store does not answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::markers::MarkerKeys;
use super::session_id::SessionDigest;
use super::session_store::{Lives, Stored};
use crate::bounded_cache::{self, BoundedCache, Size};
use crate::clock::BootTime;
use crate::credentials::{Invalidations, ReadVersion};
use crate::identity::{Identity, Owner, Username};

/// The most bytes that a session takes on average: most are its ID token, as the store has it, and the identity.
const BYTES_EACH: usize = 4096;
/// Between two attempts to do what is due for a session in this process.
const PAUSE: Duration = Duration::from_secs(1);

/// A session that lets its person in.
pub struct LiveSession<C> {
    /// What the application makes of the identity, once for each session and refresh.
    pub caller: C,
    /// The name of the Elasticsearch user.
    pub username: Username,
    /// The person.
    pub owner: Owner,
    /// The e-mail address, for pages.
    pub email: Option<String>,
    /// The full name, for pages.
    pub full_name: Option<String>,
    /// The absolute end.
    pub ends: SystemTime,
    /// The sealed record, to compare with.
    pub(crate) bytes: Vec<u8>,
    pub(crate) markers: MarkerKeys,
    /// Of the record and its two markers, the record's first and before the others.
    versions: [ReadVersion; 3],
    /// The end of the record's life, if nobody uses it until then.
    life_ends: BootTime,
    /// From when on a use extends the record's life.
    extend_at: BootTime,
    tokens_end: SystemTime,
    /// None where there is no refresh token.
    renewal_due: Option<SystemTime>,
    /// Whether an attempt has a claim on the refresh token: then the record's life is not extended.
    claimed: bool,
    /// When something may be done for the session again: a [`BootTime`] in nanoseconds.
    next_turn: AtomicU64,
    size: usize,
}

/// How a session stands at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its tokens are good.
    Good,
    /// Its tokens have ended, and it may be served while the provider does not renew them.
    Stale,
    /// Its tokens have ended so long ago that it may not be served before they are renewed.
    Late,
    /// It has ended: its tokens without a refresh token, or its absolute life.
    Over,
}

/// What is due for a session that is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) renewal: bool,
    /// The life to give to the record.
    pub(crate) extension: Option<Duration>,
}

impl<C> LiveSession<C> {
    pub(crate) fn new(
        stored: Stored,
        markers: MarkerKeys,
        versions: [ReadVersion; 3],
        lives: &Lives,
        caller: C,
    ) -> Self {
        let Stored { session, bytes, remaining, at } = stored;
        let Identity { username, owner, email, full_name, groups, claims, .. } = &session.identity;
        let texts = |texts: &[String]| texts.iter().map(|text| 24 + text.len()).sum::<usize>();
        let claims: usize = claims.iter().map(|(name, values)| 48 + name.len() + texts(values)).sum();
        let names = [username.as_str(), &owner.issuer, &owner.subject].map(|name| 16 + name.len());
        // the caller has a copy of the identity
        let identity = 2 * names.iter().sum::<usize>() + texts(groups) + claims;
        Self {
            caller,
            username: username.clone(),
            owner: owner.clone(),
            email: email.clone(),
            full_name: full_name.clone(),
            ends: session.ends(lives.lifetime),
            size: size_of::<(Self, SessionDigest, [usize; 8])>() + 3 * 80 + bytes.capacity() + identity,
            bytes,
            markers,
            versions,
            life_ends: at + remaining,
            extend_at: at + remaining.saturating_sub(lives.idle),
            tokens_end: session.tokens_end(),
            renewal_due: session.renewal_due(),
            claimed: session.claim.is_some(),
            next_turn: AtomicU64::new(0),
        }
    }

    pub(crate) fn standing(&self, now: SystemTime, max_stale: Duration) -> Standing {
        if now >= self.ends || (now >= self.tokens_end && self.renewal_due.is_none()) {
            Standing::Over
        } else if now < self.tokens_end {
            Standing::Good
        } else if now < self.tokens_end + max_stale {
            Standing::Stale
        } else {
            Standing::Late
        }
    }

    /// What is due, at most once in a second. Nearly every use ends at the first comparisons.
    pub(crate) fn due(&self, now: SystemTime, boot: BootTime, lives: &Lives) -> Option<Due> {
        let renewal = self.renewal_due.is_some_and(|due| due <= now);
        if !renewal && boot < self.extend_at {
            return None;
        }
        let until_end = self.ends.duration_since(now).unwrap_or_default();
        let left = Duration::from_nanos(self.life_ends.nanos().saturating_sub(boot.nanos()));
        let longer = boot >= self.extend_at && left + lives.precision() < until_end && !self.claimed;
        let extension = longer.then(|| (lives.idle + lives.precision()).min(until_end));
        let turn = self.next_turn.load(Ordering::Relaxed);
        if (!renewal && extension.is_none()) || boot.nanos() < turn {
            return None;
        }
        let next = (boot + PAUSE).nanos();
        let ours = self.next_turn.compare_exchange(turn, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        ours.then_some(Due { renewal, extension })
    }

    fn ended(&self, boot: BootTime) -> bool {
        boot >= self.life_ends
    }
}

impl<C> Size for Arc<LiveSession<C>> {
    fn size(&self) -> usize {
        self.size
    }
}

/// The cached sessions, bounded in number and in bytes.
pub(crate) struct NearSessions<C> {
    entries: BoundedCache<SessionDigest, Arc<LiveSession<C>>>,
    /// For how long a suspect entry serves.
    max_stale: Duration,
}

impl<C> NearSessions<C> {
    pub(crate) fn new(max_entries: usize, max_stale: Duration) -> Self {
        Self { entries: bounded_cache::bounded(max_entries, BYTES_EACH), max_stale }
    }

    /// What was read last, whether or not it is still true.
    pub(crate) fn known(&self, digest: &SessionDigest) -> Option<Arc<LiveSession<C>>> {
        self.entries.get(digest)
    }

    /// What the store holds.
    pub(crate) fn fresh(
        &self,
        digest: &SessionDigest,
        reports: &Invalidations,
        boot: BootTime,
    ) -> Option<Arc<LiveSession<C>>> {
        self.entries.get(digest).filter(|live| is_fresh(live, reports, boot))
    }

    /// Whether a suspect entry may serve, now that the store does not answer.
    pub(crate) fn may_serve(&self, live: &LiveSession<C>, reports: &Invalidations) -> bool {
        let [record, ..] = &live.versions;
        !live.ended(BootTime::now()) && unchanged(live, reports) && reports.suspect_for(record) < self.max_stale
    }

    pub(crate) fn insert(&self, digest: SessionDigest, live: Arc<LiveSession<C>>) {
        self.entries.insert(digest, live);
    }

    pub(crate) fn remove(&self, digest: &SessionDigest) {
        self.entries.remove(digest);
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Drops what will not be served any more.
    pub(crate) fn sweep(&self, reports: &Invalidations) {
        let boot = BootTime::now();
        self.entries.retain(|_, live| is_fresh(live, reports, boot) || self.may_serve(live, reports));
    }
}

/// Trust is asked for first: see [`Invalidations::trusts`]. The record's version is the oldest, and where that is trusted the others
/// are.
fn is_fresh<C>(live: &LiveSession<C>, reports: &Invalidations, boot: BootTime) -> bool {
    let [record, ..] = &live.versions;
    reports.trusts(record) && !live.ended(boot) && unchanged(live, reports)
}

fn unchanged<C>(live: &LiveSession<C>, reports: &Invalidations) -> bool {
    live.versions.iter().all(|version| reports.unchanged(version))
}
