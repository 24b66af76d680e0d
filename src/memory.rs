//! Store for one process.

/// `cache.memory_*`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most records kept; the oldest are dropped. Default 100,000.
    pub max_entries: usize,
}
