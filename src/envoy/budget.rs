//! The bound on memory for messages, while they are received and as long as a waiting request keeps something of them.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bytes that each message or request may have without a reservation. Envoy sends a few kB, of which most are the token.
pub(super) const SHARE: usize = 8 * 1024;

/// The budget beyond the shares, for each request that may wait: together they take `grpc.max_in_flight` × (2 × 8 + 16) KiB at
/// most, 128 MiB at the default. Without it each could take `grpc.max_message_size`.
const EACH: usize = 16 * 1024;

const KIB: usize = 1024;

/// The bytes beyond the shares that all messages and requests may have together.
#[derive(Clone, Debug)]
pub(super) struct MemoryBudget(Arc<Semaphore>);

/// Bytes that are reserved until this is dropped; none where the share is enough.
#[derive(Debug)]
pub(super) struct Reservation {
    _kibs: Option<OwnedSemaphorePermit>,
}

impl MemoryBudget {
    /// A budget for so many requests, and for at least one message of the largest size.
    pub(super) fn new(requests: usize, max_message_size: usize) -> Self {
        let bytes = requests.saturating_mul(EACH).max(max_message_size);
        Self(Arc::new(Semaphore::new(bytes.div_ceil(KIB).min(Semaphore::MAX_PERMITS))))
    }

    /// Reserves what so many bytes need beyond the share; `None` when not enough of the budget is left.
    pub(super) fn reserve(&self, bytes: usize) -> Option<Reservation> {
        let kibs = match bytes.saturating_sub(SHARE).div_ceil(KIB) {
            0 => return Some(Reservation { _kibs: None }),
            kibs => u32::try_from(kibs).ok()?,
        };
        let kibs = Arc::clone(&self.0).try_acquire_many_owned(kibs).ok()?;
        Some(Reservation { _kibs: Some(kibs) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_beyond_the_shares_are_bounded_and_the_largest_message_fits() {
        for (requests, largest) in [(4096, 4 << 20), (1, 4 << 20), (1, 1 << 30), (1000, 1000)] {
            let budget = MemoryBudget::new(requests, largest);
            let all: Vec<_> = (0..requests * 2).map_while(|_| budget.reserve(56 * 1024)).collect();
            assert!(all.len() * 48 * 1024 <= (requests * EACH).max(largest), "{}", all.len());
            assert!(budget.reserve(SHARE).is_some(), "small ones need none");
            drop(all);
            assert!(budget.reserve(largest).is_some());
        }
    }
}
