//! Remembers refusals by Elasticsearch for half a minute, so that not every request of a refused user asks it again.
//!
//! It is a map and not a `quick_cache`, which knows no expiry: the times would have to be kept, compared and swept here all the
//! same.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::credentials::Refused;
use crate::identity::{Identity, Owner, Username};

/// How long a refusal is remembered.
const MEMORY: Duration = Duration::from_secs(30);
/// How many refusals are remembered at most; requests of further users ask Elasticsearch.
const MOST: usize = 10_000;

/// A refusal holds for one owner of a username only.
type Id = (Username, Owner);

/// The refused users, and when each was refused.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Id, (Refused, Instant)>>);

impl Refusals {
    pub(super) fn get(&self, identity: &Identity) -> Option<Refused> {
        let users = self.0.lock();
        users.get(&id(identity)).filter(|(_, at)| at.elapsed() < MEMORY).map(|(refused, _)| *refused)
    }

    pub(super) fn remember(&self, identity: &Identity, refused: Refused) {
        let mut users = self.0.lock();
        if users.len() >= MOST {
            users.retain(|_, (_, at)| at.elapsed() < MEMORY);
        }
        if users.len() < MOST {
            users.insert(id(identity), (refused, Instant::now()));
        }
    }

    /// Drops refusals that have lasted their time.
    pub(super) fn sweep(&self) {
        let mut users = self.0.lock();
        users.retain(|_, (_, at)| at.elapsed() < MEMORY);
        users.shrink_to_fit();
    }
}

fn id(identity: &Identity) -> Id {
    (identity.username.clone(), identity.owner.clone())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::identity::AsOf;

    fn identity(name: &str) -> Identity {
        Identity {
            username: Username::parse(name).unwrap(),
            owner: Owner { issuer: "i".into(), subject: name.into() },
            email: None,
            full_name: None,
            groups: Vec::new(),
            claims: Vec::new(),
            as_of: AsOf::At(0),
            expires: SystemTime::UNIX_EPOCH,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_remembered_for_a_while_and_for_its_owner_only() {
        let refusals = Refusals::default();
        refusals.remember(&identity("ann"), Refused::Disabled);
        assert_eq!(refusals.get(&identity("ann")), Some(Refused::Disabled));
        assert_eq!(refusals.get(&identity("bob")), None);
        tokio::time::advance(MEMORY).await;
        assert_eq!(refusals.get(&identity("ann")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_past_their_time_are_dropped_by_a_sweep() {
        let refusals = Refusals::default();
        refusals.remember(&identity("ann"), Refused::Disabled);
        tokio::time::advance(MEMORY / 2).await;
        refusals.remember(&identity("bob"), Refused::Disabled);
        tokio::time::advance(MEMORY / 2).await;
        refusals.sweep();
        assert!(refusals.0.lock().keys().eq([&id(&identity("bob"))]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_refusals_is_bounded_and_the_old_make_room() {
        let refusals = Refusals::default();
        for n in 0..MOST + 10 {
            refusals.remember(&identity(&format!("u{n}")), Refused::NotOurs);
        }
        assert_eq!(refusals.0.lock().len(), MOST);
        tokio::time::advance(MEMORY).await;
        refusals.remember(&identity("late"), Refused::NotOurs);
        assert_eq!(refusals.0.lock().len(), 1);
    }
}
