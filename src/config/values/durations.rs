//! Lengths of time.

use std::time::Duration;

use super::Values;

impl Values<'_> {
    /// `250ms`, `90s`, `1h30m`
    pub(in crate::config) fn duration(&mut self, path: &'static str) -> Duration {
        let text = self.setting(path);
        match humantime::parse_duration(&text) {
            Ok(duration) if duration.is_zero() => {
                self.problem(path, "must be longer than nothing");
                Duration::from_secs(1)
            }
            Ok(duration) => duration,
            Err(_) => {
                self.problem(path, "must be a duration such as 250ms, 90s or 1h30m");
                Duration::from_secs(1)
            }
        }
    }

    /// A duration, or `0` for none.
    pub(in crate::config) fn duration_or_off(&mut self, path: &'static str) -> Option<Duration> {
        let text = self.setting(path);
        if text.trim() == "0" {
            return None;
        }
        let Ok(duration) = humantime::parse_duration(&text) else {
            self.problem(path, "must be a duration such as 250ms, 90s or 1h30m, or 0");
            return None;
        };
        Some(duration).filter(|duration| !duration.is_zero())
    }
}
