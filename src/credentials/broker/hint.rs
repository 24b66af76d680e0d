//! Looks at a user's password at once when the system behind Envoy has answered 401 to it, instead of at the end of the interval.
//!
//! A 401 proves nothing: a caller can provoke it at will, and Elasticsearch gives it while its security index is unavailable. So it
//! only makes the next confirmation due, by the record in the store, where all replicas see it. The next request of the user starts
//! that confirmation at whichever replica it reaches, and what Elasticsearch says then decides about a repair.

use std::sync::Arc;
use std::time::Duration;

use super::limits::BETWEEN_HINTS;
use super::shared::{Peek, Shared};
use super::{Broker, Error};
use crate::credentials::record::Phase;
use crate::credentials::{CacheKey, Provisioner, Store};

impl<S: Store, P: Provisioner> Broker<S, P> {
    /// Lets the next request of this user, at any replica, start the confirmation of the record, if it was confirmed before: one
    /// that was only just written is tried at the end of its settling time anyway, when no late write can undo a repair. Happens at
    /// most once in [`BETWEEN_HINTS`] for a user in this process, and in the background: it waits for nothing, and a failure leaves
    /// the record as it is. Must be called within a runtime.
    pub(crate) fn hint(&self, key: &CacheKey) {
        if !self.shared.limits.hinted.begin(key, BETWEEN_HINTS) {
            return;
        }
        let (shared, key) = (Arc::clone(&self.shared), key.clone());
        self.shared.background.spawn(async move {
            let Ok(_permit) = shared.limits.hints.acquire().await else { return };
            match shared.make_confirmation_due(&key).await {
                Ok(true) => tracing::debug!(
                    cacheKey = key.as_str(),
                    "A request with the user's credential was answered 401: the password is tried at the next request"
                ),
                Ok(false) => {}
                Err(error) => tracing::debug!(cacheKey = key.as_str(), %error, "A reported 401 was not noted"),
            }
        });
    }
}

impl<S: Store, P: Provisioner> Shared<S, P> {
    /// Whether the record was written once more, as old enough to be confirmed again.
    async fn make_confirmation_due(&self, key: &CacheKey) -> Result<bool, Error> {
        let Peek::Record(current) = self.peek(key).await? else { return Ok(false) };
        let (interval, age) = (self.settings.confirm_interval, current.age());
        if current.written.record.phase != Phase::Confirmed || age >= interval {
            return Ok(false);
        }
        let record = current.written.record.clone();
        self.write_aged(key, &current, record, interval, current.life_left().max(Duration::from_millis(1))).await?;
        Ok(true)
    }
}
