//! The bounds of the near cache.

use std::time::Duration;

/// How many credentials the near cache holds, and how long one is served that cannot be checked.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `cache.near_max_entries`: the most credentials, and 1.5 KiB for each. Default 100,000; 0 keeps none.
    pub max_entries: usize,
    /// `cache.max_stale`: how long a suspect entry serves while the store does not answer. Default 15 min.
    pub max_stale: Duration,
}
