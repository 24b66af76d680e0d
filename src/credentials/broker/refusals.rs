//! Refusals by Elasticsearch, remembered for a while, so that they are not asked for again on every request.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::credentials::Refused;
use crate::identity::{Identity, Owner, Username};

const MEMORY: Duration = Duration::from_secs(30);
/// How many are remembered; beyond that Elasticsearch is asked.
const MOST: usize = 10_000;

type Id = (Username, Owner);

/// Who was refused, and when.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<Id, (Refused, Instant)>>);

impl Refusals {
    pub(super) fn of(&self, identity: &Identity) -> Option<Refused> {
        let known = self.known();
        known.get(&id(identity)).filter(|(_, at)| at.elapsed() < MEMORY).map(|(refused, _)| *refused)
    }

    pub(super) fn remember(&self, identity: &Identity, refused: Refused) {
        let mut known = self.known();
        if known.len() >= MOST {
            known.retain(|_, (_, at)| at.elapsed() < MEMORY);
        }
        if known.len() < MOST {
            known.insert(id(identity), (refused, Instant::now()));
        }
    }

    /// Drops what counts no more.
    pub(super) fn sweep(&self) {
        let mut known = self.known();
        known.retain(|_, (_, at)| at.elapsed() < MEMORY);
        known.shrink_to_fit();
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Id, (Refused, Instant)>> {
        self.0.lock()
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
        assert_eq!(refusals.of(&identity("ann")), Some(Refused::Disabled));
        assert_eq!(refusals.of(&identity("bob")), None);
        tokio::time::advance(MEMORY).await;
        assert_eq!(refusals.of(&identity("ann")), None);
    }

    #[tokio::test(start_paused = true)]
    async fn refusals_that_count_no_more_go_without_being_asked_for() {
        let refusals = Refusals::default();
        refusals.remember(&identity("ann"), Refused::Disabled);
        tokio::time::advance(MEMORY / 2).await;
        refusals.remember(&identity("bob"), Refused::Disabled);
        tokio::time::advance(MEMORY / 2).await;
        refusals.sweep();
        assert!(refusals.known().keys().eq([&id(&identity("bob"))]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_refusals_is_bounded_and_the_old_make_room() {
        let refusals = Refusals::default();
        for n in 0..MOST + 10 {
            refusals.remember(&identity(&format!("u{n}")), Refused::NotOurs);
        }
        assert_eq!(refusals.known().len(), MOST);
        tokio::time::advance(MEMORY).await;
        refusals.remember(&identity("late"), Refused::NotOurs);
        assert_eq!(refusals.known().len(), 1);
    }
}
