//! Days by UTC: the precision with which a user's last use is written down.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::identity::Millis;

/// Seconds of a day.
const SECONDS: u64 = 24 * 3600;

/// A day by UTC, written `2026-11-25`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(u64);

impl Day {
    /// The day that holds this moment.
    #[must_use]
    pub fn of(at: Millis) -> Self {
        Self(at / (SECONDS * 1000))
    }

    /// The day that holds this moment; before 1970 there is one day only.
    #[must_use]
    pub fn at(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS)
    }

    /// Reads a day as it is written; none for any other text.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != "2026-11-25".len() {
            return None;
        }
        humantime::parse_rfc3339(&format!("{text}T00:00:00Z")).ok().map(Self::at)
    }

    /// The day that lies this long before, in whole days rounded up.
    #[must_use]
    pub(crate) fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs().div_ceil(SECONDS)))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(self.0 * SECONDS)).to_string();
        f.write_str(text.split('T').next().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_and_read_by_utc() {
        let day = Day::of(1_795_564_800_000);
        assert_eq!(day.to_string(), "2026-11-25");
        assert_eq!(Day::of(1_795_564_799_999).to_string(), "2026-11-24");
        assert_eq!(Day::parse("2026-11-25"), Some(day));
        assert_eq!(day.before(Duration::from_secs(30 * SECONDS)), Day::parse("2026-10-26").unwrap());
        assert_eq!(day.before(Duration::from_secs(1)), Day::parse("2026-11-24").unwrap());
        for nonsense in ["", "2026-11-2", "2026-13-01", "2026-11-25T", "25.11.2026", "yesterday!"] {
            assert_eq!(Day::parse(nonsense), None, "{nonsense}");
        }
    }
}
