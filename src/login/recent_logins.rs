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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::testing::at;

    /// A browser that keeps the cookie.
    #[derive(Default)]
    struct Browser(Option<String>);

    impl Browser {
        fn recent(&self, now: u64) -> RecentLogins {
            let headers: Vec<Bytes> = self.0.iter().map(|pair| Bytes::from(format!("a=b; {pair}"))).collect();
            RecentLogins::of(&headers, at(now))
        }

        fn logs_in(&mut self, started: u64, finished: u64) {
            if let Some(cookie) = self.recent(finished).and(at(started), at(finished)) {
                assert!(cookie.contains("; Secure") && cookie.contains("Max-Age=30") && cookie.len() < 160, "{cookie}");
                self.0 = cookie.split("; ").next().map(str::to_owned);
            }
        }
    }

    #[test]
    fn a_fourth_login_within_half_a_minute_is_not_started() {
        let mut browser = Browser::default();
        for second in 0..3 {
            assert!(!browser.recent(second * 5).are_too_many(), "{second}");
            browser.logs_in(second * 5, second * 5 + 1);
        }
        assert!(browser.recent(12).are_too_many());
        assert!(browser.recent(30).are_too_many());
        assert!(!browser.recent(31).are_too_many(), "the first is half a minute old");
        browser.logs_in(32, 33);
        assert!(browser.recent(34).are_too_many());
    }

    #[test]
    fn tabs_that_were_started_together_are_no_loop() {
        let mut browser = Browser::default();
        for tab in 0..10 {
            browser.logs_in(0, tab + 1);
        }
        assert!(!browser.recent(11).are_too_many());
        browser.logs_in(11, 12);
        assert!(!browser.recent(13).are_too_many());
    }

    #[test]
    fn people_who_log_in_now_and_then_are_never_stopped() {
        let mut browser = Browser::default();
        for minute in 0..100 {
            assert!(!browser.recent(minute * 16).are_too_many());
            browser.logs_in(minute * 16, minute * 16 + 1);
        }
    }

    #[test]
    fn what_a_person_writes_into_the_cookie_is_read_with_care() {
        let now = crate::clock::unix_millis(at(0));
        for (value, expected) in [
            (String::new(), 0),
            ("x.y.z".into(), 0),
            (format!("{now}.{now}.{now}.{now}.{now}"), 3),
            (format!("{now}.-1.99999999999999999999999"), 1),
            (format!("{}.{}", now + 29_999, now + 30_000), 1),
            (format!("{}.{}", now - 29_999, now - 30_000), 1),
            ("1".repeat(8192), 0),
        ] {
            let header = Bytes::from(format!("{LOGINS}={value}"));
            assert_eq!(RecentLogins::of(&[header], at(0)).0.len(), expected, "{value}");
        }
        let twice = Bytes::from(format!("{LOGINS}={now}; {LOGINS}={now}"));
        assert_eq!(RecentLogins::of(&[twice], at(0)), RecentLogins::default());
    }
}
