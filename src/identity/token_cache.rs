//! The cache of tokens that were verified or refused before, found by the SHA-256 of the token.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quick_cache::sync::Cache;
use ring::digest::{SHA256, digest};
use tokio::time::Instant;

use super::{Error, Validity};
use crate::bounded_cache::{self, BoundedCache, Size};

/// How long a refusal counts, by our checks or by the provider's answer: a token may be accepted this much later after the provider
/// has mended its key, or after all of the provider's servers have heard of the token.
pub(super) const REFUSAL_LIFETIME: Duration = Duration::from_secs(5);

/// Bytes that a verified token takes on average, at most: about 700 where names are of usual length.
const BYTES_EACH: usize = 1024;

/// The SHA-256 of a token, by which it is found without being kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of this token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }
}

/// Verified tokens with what was made of each (`T`), and refused tokens with the error. Both caches are bounded: a flood of new
/// tokens evicts only entries that are not used again.
pub(crate) struct TokenCache<T> {
    verified: BoundedCache<TokenDigest, Arc<(Validity, T)>>,
    refused: Cache<TokenDigest, (Error, Instant)>,
}

/// The size of an entry with its digest, its validity, and its place in the table.
impl<T: Size> Size for Arc<(Validity, T)> {
    fn size(&self) -> usize {
        size_of::<(TokenDigest, Validity, [usize; 8])>() + self.1.size()
    }
}

/// What the cache holds about a token.
#[derive(Debug)]
pub(crate) enum Lookup<T> {
    /// Nothing, or an entry that has ended.
    Unknown,
    /// It was verified, and would be verified now.
    Verified(Arc<(Validity, T)>),
    /// It was refused less than [`REFUSAL_LIFETIME`] ago.
    Refused(Error),
}

impl<T: Size> TokenCache<T> {
    /// A cache without tokens, for so many verified ones, and a tenth as many refused ones, which are kept for seconds only.
    #[must_use]
    pub fn new(entries: usize) -> Self {
        Self { verified: bounded_cache::bounded(entries, BYTES_EACH), refused: Cache::new(entries.div_ceil(10)) }
    }

    /// Drops the entries that have ended. `now` is the wall clock.
    pub fn sweep(&self, now: SystemTime) {
        self.verified.retain(|_, entry| entry.0.holds(now));
        self.refused.retain(|_, (_, at)| at.elapsed() < REFUSAL_LIFETIME);
    }

    /// What is kept about a token. `now` is the wall clock. The entry of a verified token ends with the token's `exp`, and when
    /// the provider withdraws the key that signed it.
    pub fn lookup(&self, token: &TokenDigest, now: SystemTime) -> Lookup<T> {
        if let Some(entry) = self.verified.get(token) {
            if entry.0.holds(now) {
                return Lookup::Verified(entry);
            }
            self.verified.remove(token);
            return Lookup::Unknown;
        }
        match self.refused.get(token) {
            Some((error, at)) if at.elapsed() < REFUSAL_LIFETIME => Lookup::Refused(error),
            _ => Lookup::Unknown,
        }
    }

    /// Keeps what was made of a verified token.
    pub fn insert(&self, token: TokenDigest, validity: Validity, made: T) -> Arc<(Validity, T)> {
        let entry = Arc::new((validity, made));
        self.verified.insert(token, Arc::clone(&entry));
        entry
    }

    /// Keeps a refusal, unless it may pass sooner (with the provider's outage, with its next keys, or with time) or is the
    /// provider's own, which is kept with its other answers.
    pub fn insert_refusal(&self, token: TokenDigest, error: &Error) {
        let passes = matches!(error, Error::Key(_) | Error::NotYetValid | Error::IssuedInFuture);
        let kept_elsewhere = matches!(error, Error::Refused);
        if !passes && !kept_elsewhere && !error.is_outage() {
            self.refused.insert(token, (error.clone(), Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const ENTRIES: usize = 100;

    /// Of so many bytes.
    impl Size for usize {
        fn size(&self) -> usize {
            *self
        }
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn what_a_token_came_to_is_found_until_it_ends() {
        let cache = TokenCache::new(ENTRIES);
        let token = TokenDigest::of("a.b.c");
        assert!(matches!(cache.lookup(&token, at(0)), Lookup::Unknown));
        cache.insert(token, Validity::until(at(10)), 7);
        assert!(matches!(cache.lookup(&token, at(9)), Lookup::Verified(entry) if entry.1 == 7));
        assert!(matches!(cache.lookup(&TokenDigest::of("a.b.d"), at(9)), Lookup::Unknown));
        assert!(matches!(cache.lookup(&token, at(10)), Lookup::Unknown));
        assert_eq!(cache.verified.len(), 0, "what has ended makes room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_for_a_moment_and_only_if_it_cannot_pass_sooner() {
        let cache = TokenCache::<usize>::new(ENTRIES);
        let token = TokenDigest::of("a.b.c");
        for error in [
            Error::NotYetValid,
            Error::IssuedInFuture,
            Error::Refused,
            Error::Key(crate::identity::KeyError::UnknownKey),
            Error::Key(crate::identity::KeyError::Unavailable("down".into())),
        ] {
            cache.insert_refusal(token, &error);
            assert!(matches!(cache.lookup(&token, at(0)), Lookup::Unknown), "{error:?}");
        }
        cache.insert_refusal(token, &Error::Signature);
        assert!(matches!(cache.lookup(&token, at(0)), Lookup::Refused(Error::Signature)));
        tokio::time::advance(REFUSAL_LIFETIME).await;
        assert!(matches!(cache.lookup(&token, at(0)), Lookup::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_goes_without_being_looked_at() {
        let cache = TokenCache::new(ENTRIES);
        for (token, end) in [("short", 10), ("long", 20)] {
            cache.insert(TokenDigest::of(token), Validity::until(at(end)), 0);
        }
        cache.insert_refusal(TokenDigest::of("bad"), &Error::Signature);
        cache.sweep(at(9));
        assert_eq!((cache.verified.len(), cache.refused.len()), (2, 1));
        tokio::time::advance(REFUSAL_LIFETIME).await;
        cache.insert_refusal(TokenDigest::of("worse"), &Error::Signature);
        cache.sweep(at(10));
        assert_eq!((cache.verified.len(), cache.refused.len()), (1, 1));
        assert!(matches!(cache.lookup(&TokenDigest::of("long"), at(10)), Lookup::Verified(_)));
        assert!(matches!(cache.lookup(&TokenDigest::of("worse"), at(10)), Lookup::Refused(_)));
    }

    #[test]
    fn large_entries_take_the_room_of_several() {
        let cache = TokenCache::new(ENTRIES);
        for n in 0..1000_usize {
            cache.insert(TokenDigest::of(&n.to_string()), Validity::until(at(10)), 10 * BYTES_EACH);
        }
        let kept = cache.verified.len();
        assert!((5..=10).contains(&kept), "{kept} entries of 10 KiB, where 100 of 1 KiB have room");
    }

    #[test]
    fn both_sides_are_bounded_and_a_flood_does_not_push_out_a_token_that_is_used_again() {
        for (entries, refused) in [(100, 10), (1000, 100)] {
            let cache = TokenCache::new(entries);
            let token = TokenDigest::of("ann");
            cache.insert(token, Validity::until(at(10)), 0);
            for n in 0..10_000 {
                assert!(matches!(cache.lookup(&token, at(0)), Lookup::Verified(_)), "{n}");
                cache.insert(TokenDigest::of(&n.to_string()), Validity::until(at(10)), n);
                cache.insert_refusal(TokenDigest::of(&format!("bad {n}")), &Error::Signature);
            }
            assert!(cache.verified.len() <= entries && cache.refused.len() <= refused);
        }
    }

    #[test]
    fn a_bound_of_nothing_keeps_nothing() {
        let cache = TokenCache::new(0);
        let token = TokenDigest::of("a.b.c");
        cache.insert(token, Validity::until(at(10)), 0);
        cache.insert_refusal(token, &Error::Signature);
        assert!(matches!(cache.lookup(&token, at(0)), Lookup::Unknown));
    }
}
