//! Defaults that depend on the machine.

use std::num::NonZeroUsize;

/// How many processors this process may use.
pub(crate) fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
