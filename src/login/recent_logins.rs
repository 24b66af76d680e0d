//! Notices a browser that logs in again and again, as when the provider lets a person in whose session never gets through: the
//! redirects would go on for ever.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::cookies::{LOGINS, set_for};
use crate::clock::unix_millis;
use crate::cookies;

/// Within this time…
const WITHIN: Duration = Duration::from_secs(30);
/// …so many logins are a loop, and no person's doing.
const LOOP: usize = 3;

/// The moments of the last logins that a browser finished, in milliseconds since 1970. They come from a cookie that is not sealed:
/// with another value a person only harms herself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentLogins(Vec<u64>);

impl RecentLogins {
    /// Reads what the cookies say, as far as it is of this moment.
    #[must_use]
    pub fn of(headers: &[Bytes], now: SystemTime) -> Self {
        let [value] = cookies::find(headers, LOGINS)[..] else { return Self::default() };
        let now = unix_millis(now);
        let recent = |moment: &u64| u128::from(moment.abs_diff(now)) < WITHIN.as_millis();
        Self(value.split('.').take(LOOP).filter_map(|moment| moment.parse().ok()).filter(recent).collect())
    }

    /// Whether the next login would be one too many: it is not to be started.
    #[must_use]
    pub fn are_too_many(&self) -> bool {
        self.0.len() >= LOOP
    }

    /// `Set-Cookie` after one more login was finished. `started` is when it was started: one that was started before the last one
    /// was finished belongs to another tab, and does not count. None where it changes nothing.
    #[must_use]
    pub fn and(mut self, started: SystemTime, now: SystemTime) -> Option<String> {
        if self.0.iter().max().is_some_and(|last| unix_millis(started) < *last) {
            return None;
        }
        self.0.push(unix_millis(now));
        let from = self.0.len().saturating_sub(LOOP);
        let moments: Vec<String> = self.0[from..].iter().map(u64::to_string).collect();
        Some(set_for(LOGINS, &moments.join("."), WITHIN))
    }
}
