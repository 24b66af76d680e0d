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
pub(super) const REFUSED: Duration = Duration::from_secs(5);

/// Bytes that a verified token takes on average, at most: about 700 where names are of usual length.
const BYTES_EACH: usize = 1024;

/// How many tokens are kept: `cache.token_max_entries`, and a tenth of it for refused tokens.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Verified tokens that are kept, and a KiB for each. Default 100,000; 0 keeps none.
    pub verified: usize,
    /// Refused tokens that are kept: a tenth of the verified ones. 0 keeps none.
    pub refused: usize,
}

/// A token, named by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of this token.
    #[must_use]
    pub fn of(token: &str) -> Self {
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(name)
    }
}

/// The tokens that were seen before, and what was made of the good ones. Both caches are bounded: a flood of new tokens
/// pushes out what is not used again.
pub(crate) struct TokenCache<T> {
    verified: BoundedCache<TokenDigest, Arc<(Validity, T)>>,
    refused: Cache<TokenDigest, (Error, Instant)>,
}

/// What was made of a token, with its digest, its validity, and the place in the table.
impl<T: Size> Size for Arc<(Validity, T)> {
    fn size(&self) -> usize {
        size_of::<(TokenDigest, Validity, [usize; 8])>() + self.1.size()
    }
}

/// What is known of a token.
#[derive(Debug)]
pub(crate) enum Lookup<T> {
    /// Nothing, or no more.
    New,
    /// It verified, and would now.
    Good(Arc<(Validity, T)>),
    /// It was refused a moment ago.
    Bad(Error),
}

impl<T: Size> TokenCache<T> {
    /// A cache without tokens.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { verified: bounded_cache::bounded(settings.verified, BYTES_EACH), refused: Cache::new(settings.refused) }
    }

    /// Drops what has ended. `now` is the wall clock.
    pub fn sweep(&self, now: SystemTime) {
        self.verified.retain(|_, entry| entry.0.holds(now));
        self.refused.retain(|_, (_, at)| at.elapsed() < REFUSED);
    }

    /// `now` is the wall clock. An entry ends with the token's `exp`, and with the key that signed it.
    pub fn look(&self, name: &TokenDigest, now: SystemTime) -> Lookup<T> {
        if let Some(entry) = self.verified.get(name) {
            if entry.0.holds(now) {
                return Lookup::Good(entry);
            }
            self.verified.remove(name);
            return Lookup::New;
        }
        match self.refused.get(name) {
            Some((error, at)) if at.elapsed() < REFUSED => Lookup::Bad(error),
            _ => Lookup::New,
        }
    }

    /// Keeps what was made of a verified token.
    pub fn keep(&self, name: TokenDigest, validity: Validity, made: T) -> Arc<(Validity, T)> {
        let entry = Arc::new((validity, made));
        self.verified.insert(name, Arc::clone(&entry));
        entry
    }

    /// Keeps a refusal, unless it may pass sooner (with the provider's outage, with its next keys, or with time) or is the
    /// provider's own, which is kept with its other answers.
    pub fn refuse(&self, name: TokenDigest, error: &Error) {
        let passes = matches!(error, Error::Key(_) | Error::NotYetValid | Error::IssuedInFuture);
        let kept_elsewhere = matches!(error, Error::Refused);
        if !passes && !kept_elsewhere && !error.is_outage() {
            self.refused.insert(name, (error.clone(), Instant::now()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const SETTINGS: Settings = Settings { verified: 100, refused: 100 };

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
        let known = TokenCache::new(SETTINGS);
        let name = TokenDigest::of("a.b.c");
        assert!(matches!(known.look(&name, at(0)), Lookup::New));
        known.keep(name, Validity::until(at(10)), 7);
        assert!(matches!(known.look(&name, at(9)), Lookup::Good(entry) if entry.1 == 7));
        assert!(matches!(known.look(&TokenDigest::of("a.b.d"), at(9)), Lookup::New));
        assert!(matches!(known.look(&name, at(10)), Lookup::New));
        assert_eq!(known.verified.len(), 0, "what has ended makes room");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_for_a_moment_and_only_if_it_cannot_pass_sooner() {
        let known = TokenCache::<usize>::new(SETTINGS);
        let name = TokenDigest::of("a.b.c");
        for error in [
            Error::NotYetValid,
            Error::IssuedInFuture,
            Error::Refused,
            Error::Key(crate::identity::KeyError::UnknownKey),
            Error::Key(crate::identity::KeyError::Unavailable("down".into())),
        ] {
            known.refuse(name, &error);
            assert!(matches!(known.look(&name, at(0)), Lookup::New), "{error:?}");
        }
        known.refuse(name, &Error::Signature);
        assert!(matches!(known.look(&name, at(0)), Lookup::Bad(Error::Signature)));
        tokio::time::advance(REFUSED).await;
        assert!(matches!(known.look(&name, at(0)), Lookup::New));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_goes_without_being_looked_at() {
        let known = TokenCache::new(SETTINGS);
        for (token, end) in [("short", 10), ("long", 20)] {
            known.keep(TokenDigest::of(token), Validity::until(at(end)), 0);
        }
        known.refuse(TokenDigest::of("bad"), &Error::Signature);
        known.sweep(at(9));
        assert_eq!((known.verified.len(), known.refused.len()), (2, 1));
        tokio::time::advance(REFUSED).await;
        known.refuse(TokenDigest::of("worse"), &Error::Signature);
        known.sweep(at(10));
        assert_eq!((known.verified.len(), known.refused.len()), (1, 1));
        assert!(matches!(known.look(&TokenDigest::of("long"), at(10)), Lookup::Good(_)));
        assert!(matches!(known.look(&TokenDigest::of("worse"), at(10)), Lookup::Bad(_)));
    }

    #[test]
    fn large_entries_take_the_room_of_several() {
        let known = TokenCache::new(SETTINGS);
        for n in 0..1000_usize {
            known.keep(TokenDigest::of(&n.to_string()), Validity::until(at(10)), 10 * BYTES_EACH);
        }
        let kept = known.verified.len();
        assert!((5..=10).contains(&kept), "{kept} entries of 10 KiB, where 100 of 1 KiB have room");
    }

    #[test]
    fn both_sides_are_bounded_and_a_flood_does_not_push_out_who_comes_again() {
        let known = TokenCache::new(SETTINGS);
        let name = TokenDigest::of("ann");
        known.keep(name, Validity::until(at(10)), 0);
        for n in 0..10_000 {
            assert!(matches!(known.look(&name, at(0)), Lookup::Good(_)), "{n}");
            known.keep(TokenDigest::of(&n.to_string()), Validity::until(at(10)), n);
            known.refuse(TokenDigest::of(&format!("bad {n}")), &Error::Signature);
        }
        assert!(known.verified.len() <= SETTINGS.verified && known.refused.len() <= SETTINGS.refused);
    }

    #[test]
    fn a_bound_of_nothing_keeps_nothing() {
        let known = TokenCache::new(Settings { verified: 0, refused: 0 });
        let name = TokenDigest::of("a.b.c");
        known.keep(name, Validity::until(at(10)), 0);
        known.refuse(name, &Error::Signature);
        assert!(matches!(known.look(&name, at(0)), Lookup::New));
    }
}
