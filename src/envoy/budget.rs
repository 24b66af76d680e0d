//! Memory for messages, as they come in and as long as something of them is kept while a request waits.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What each may take without asking for room. Envoy sends a few kB, of which most are the token.
pub(super) const SHARE: usize = 8 * 1024;

/// Room beyond the shares, for each request that may wait: together they take `grpc.max_in_flight` × (2 × 8 + 16) KiB at most, 128 MiB
/// at the default. Without it each could be of `grpc.max_message_size`.
const EACH: usize = 16 * 1024;

const KIB: usize = 1024;

/// Bytes beyond the shares, of all messages and requests together.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

/// Room that is taken until this is dropped; nothing where the share is enough.
#[derive(Debug)]
pub(super) struct Taken {
    _kibs: Option<OwnedSemaphorePermit>,
}

impl Room {
    /// For so many requests, and at least one message of the largest size.
    pub(super) fn new(requests: usize, max_message_size: usize) -> Self {
        let bytes = requests.saturating_mul(EACH).max(max_message_size);
        Self(Arc::new(Semaphore::new(bytes.div_ceil(KIB).min(Semaphore::MAX_PERMITS))))
    }

    /// Room for so many bytes, if there is any.
    pub(super) fn take(&self, bytes: usize) -> Option<Taken> {
        let kibs = match bytes.saturating_sub(SHARE).div_ceil(KIB) {
            0 => return Some(Taken { _kibs: None }),
            kibs => u32::try_from(kibs).ok()?,
        };
        let kibs = Arc::clone(&self.0).try_acquire_many_owned(kibs).ok()?;
        Some(Taken { _kibs: Some(kibs) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_shares_is_bounded_by_bytes_and_the_largest_message_has_room() {
        for (requests, largest) in [(4096, 4 << 20), (1, 4 << 20), (1, 1 << 30), (1000, 1000)] {
            let room = Room::new(requests, largest);
            let all: Vec<_> = (0..requests * 2).map_while(|_| room.take(56 * 1024)).collect();
            assert!(all.len() * 48 * 1024 <= (requests * EACH).max(largest), "{}", all.len());
            assert!(room.take(SHARE).is_some(), "small ones need none");
            drop(all);
            assert!(room.take(largest).is_some());
        }
    }
}
