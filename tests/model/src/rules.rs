//! The properties that must hold in every state.

use std::fmt::Debug;

use stateright::{Model, Property};

use crate::effects::after;
use crate::machine::Action;
use crate::record::{Phase, Record, same};
use crate::transitions::{Transition, transitions};
use crate::world::{Faults, Setup, World};

/// The property for which records are confirmed.
pub const AGREEMENT: &str = "when no run is under way, Elasticsearch and the store agree";
/// The property that two subjects can only violate by a loss of the record together with another fault.
pub const OWNER: &str = "one username never serves two subjects";
/// The property that repairs happen; without it the others could hold because nothing is repaired.
pub const REPAIR: &str = "a repair writes";
/// The property that a quiet world serves the next request.
pub const SERVES: &str = "when no run is under way, the next request is served";

impl Model for Setup {
    type State = World;
    type Action = Transition;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, into: &mut Vec<Transition>) {
        transitions(self, world, into);
    }

    fn next_state(&self, world: &World, transition: Transition) -> Option<World> {
        Some(after(self, world, transition))
    }

    fn format_step(&self, before: &World, transition: Transition) -> Option<String>
    where
        World: Debug,
    {
        Some(after(self, before, transition).to_string())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no credential before its write was acknowledged", |_, w: &World| !w.early),
            Property::always(OWNER, |_, w: &World| w.served.count_ones() <= 1),
            Property::always(
                "no subject gets another's credential, or fewer roles than its token's",
                |_, w: &World| !w.unsatisfied,
            ),
            Property::always("roles never go back", |_, w: &World| !w.back),
            Property::always("roles do not go back when a record is lost", keeps),
            Property::always("the last configuration's records have no role that it does not give", exact),
            Property::always("writes are bounded", |setup: &Setup, w: &World| w.writes <= setup.bound()),
            Property::always(AGREEMENT, agreement),
            Property::always("a ready record matches Elasticsearch, unless a write was applied unnoticed", noticed),
            Property::always("every schedule ends with every request answered and every record confirmed", ends),
            Property::always("a record that was ready keeps a password that Elasticsearch accepts", keeps_password),
            Property::always("no user has more roles than its record says may be in force", bounded),
            Property::always(SERVES, Setup::the_next_request_is_served),
            Property::sometimes(REPAIR, repairs),
        ]
    }
}

fn agreement(setup: &Setup, world: &World) -> bool {
    // a record that is only ready is confirmed later
    let trusted = |phase| phase == Phase::Confirmed || (phase == Phase::Ready && !setup.confirmation);
    let found = world.stored.filter(|record| trusted(record.phase));
    !world.quiet() || world.doubt || world.later || found.is_none_or(|record| world.has(record))
}

fn noticed(_: &Setup, world: &World) -> bool {
    let ready = world.stored.filter(|record| record.is_ready());
    // a record that was found mismatched is repaired later
    let known = world.mismatched.is_some() || world.confirming.is_some();
    !world.quiet()
        || world.doubt
        || world.later
        || world.unnoticed
        || known
        || ready.is_none_or(|record| world.has(record))
}

/// Whether some path serves a user of whom Elasticsearch accepts the password: a caller with all roles in force gets it.
fn keeps_password(setup: &Setup, world: &World) -> bool {
    let accepted = |record: Record| {
        let found = world.elastic.filter(|user| user.owner == record.owner && user.password == record.password);
        found.is_none() || record.roles_in_force().is_some()
    };
    let Faults { losses, restores, password_changes, refusals, overwrites, later_formats, .. } = setup.faults;
    // where there may be a write of another password, the record's is in doubt; and a user that must not be changed is not served
    let doubtful = losses + restores + password_changes + refusals + overwrites + later_formats > 0;
    !world.lasting || doubtful || world.stored.is_some_and(accepted)
}

fn bounded(_: &Setup, world: &World) -> bool {
    let owes = world.replicas.iter().any(|replica| replica.run.is_some_and(|run| run.owes));
    let (Some(record), Some(user)) = (world.stored, world.elastic) else { return true };
    let same = (user.owner, user.password) == (record.owner, record.password);
    let within = record.roles_in_force().is_none_or(|roles| user.stamp.roles & !roles == 0);
    !world.lasting || world.doubt || world.landed || owes || !same || within
}

fn keeps(setup: &Setup, world: &World) -> bool {
    let ready = world.stored.filter(|record| record.is_ready());
    !setup.keeps_what_was_written()
        || !world.quiet()
        || ready.is_none_or(|record| (record.mapping, record.as_of) >= world.highest)
}

fn exact(setup: &Setup, world: &World) -> bool {
    let (starts, Some(record)) = (setup.mappings.iter().zip(&setup.requests), world.stored) else { return true };
    let last = starts.clone().flat_map(|((first, restarted), _)| [*first, *restarted]).max().unwrap();
    let runs = |(first, restarted): &(u8, u8)| same(*first, last) || same(*restarted, last);
    let requests = starts.filter(|(starts, _)| runs(starts)).flat_map(|(_, requests)| requests);
    let given = requests.filter(|request| request.owner == record.owner).fold(0, |all, request| all | request.roles);
    record.mapping != last || record.roles & !given == 0
}

fn ends(setup: &Setup, world: &World) -> bool {
    let mut next = Vec::new();
    transitions(setup, world, &mut next);
    let tried = world.stored.is_none_or(|record| {
        // another subject's user must not be changed, and the record's password cannot be tried
        record.phase == Phase::Confirmed
            || !setup.confirmation
            || world.seen_by(record.owner).is_none()
            // a change of roles that waits for the next use of the record
            || (!record.is_ready() && world.lease_expired && record.roles_in_force().is_some())
    });
    !next.is_empty() || (world.quiet() && tried)
}

fn repairs(setup: &Setup, world: &World) -> bool {
    let writes = |action| matches!(action, Action::Write { .. });
    let mismatched = Faults {
        losses: 0,
        crashes: 0,
        refusals: 0,
        pauses: 0,
        overwrites: 0,
        outages: 0,
        lost_answers: 0,
        ..setup.faults
    } != Faults::default();
    let repairs =
        world.replicas.iter().any(|replica| replica.repairs && replica.run.is_some_and(|run| writes(run.action)));
    let subjects = setup.requests.iter().flatten().any(|request| request.owner > 0);
    repairs || !setup.confirmation || !mismatched || subjects
}

impl Setup {
    /// Whether, when no run is under way, the next request ends with a credential, without an operator. Of two subjects one is
    /// denied.
    fn the_next_request_is_served(&self, world: &World) -> bool {
        if !world.quiet() || world.later {
            return true;
        }
        let mut owners: Vec<u8> = self.requests.iter().flatten().map(|request| request.owner).collect();
        owners.sort_unstable();
        owners.dedup();
        let ends: Vec<Option<bool>> = owners.iter().map(|owner| self.alone(world, *owner)).collect();
        ends.iter().all(Option::is_some) && ends.contains(&Some(true))
    }

    /// One request alone, without faults: whether it is served, or denied; none when it does not end.
    fn alone(&self, world: &World, owner: u8) -> Option<bool> {
        let last = |i: usize| self.requests[i].iter().rposition(|request| request.owner == owner);
        let (i, last) = (0..self.requests.len()).find_map(|i| Some((i, last(i)?)))?;
        let mut world = World { faults_left: Faults::default(), confirming: None, mismatched: None, ..world.clone() };
        let replica = &mut world.replicas[i];
        let last = u8::try_from(last).unwrap();
        replica.begun = last + 1;
        let purpose = self.purpose(i, replica, last).unwrap();
        replica.run = Some(self.machine.begin(replica.holder(i), purpose));
        for _ in 0..50 {
            let mut next = Vec::new();
            transitions(self, &world, &mut next);
            let own = |transition: &Transition| matches!(transition, Transition::Step(_) | Transition::Write(..));
            let time =
                |transition: &Transition| matches!(transition, Transition::ExpireLease | Transition::ExpireRecord);
            let transition = next.iter().copied().find(own).or_else(|| next.iter().copied().find(time))?;
            let served = world.served;
            world = after(self, &World { served: 0, ..world }, transition);
            if world.replicas[i].run.is_none() {
                return Some(world.served & (1 << owner) != 0);
            }
            world.served = served;
        }
        None
    }
}
