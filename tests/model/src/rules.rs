//! The table "What must hold", as properties.

use std::fmt::Debug;

use stateright::{Model, Property};

use crate::act::act;
use crate::loops::Act;
use crate::record::{Stage, same};
use crate::turns::{Turn, turns};
use crate::world::{Faults, Setup, World};

/// What confirmation is for.
pub const AGREEMENT: &str = "when nobody is in the loop, Elasticsearch has what the store says";
/// What two subjects can only lose together with a record.
pub const OWNER: &str = "one username never serves two subjects";
/// Or the others would say nothing about repairs.
pub const REPAIR: &str = "a repair writes";
/// Never for ever.
pub const STUCK: &str = "nobody is stuck";

impl Model for Setup {
    type State = World;
    type Action = Turn;

    fn init_states(&self) -> Vec<World> {
        vec![self.start()]
    }

    fn actions(&self, world: &World, into: &mut Vec<Turn>) {
        turns(self, world, into);
    }

    fn next_state(&self, world: &World, turn: Turn) -> Option<World> {
        Some(act(self, world, turn))
    }

    fn format_step(&self, before: &World, turn: Turn) -> Option<String>
    where
        World: Debug,
    {
        Some(act(self, before, turn).to_string())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no credential before its write was acknowledged", |_, w: &World| !w.early),
            Property::always(OWNER, |_, w: &World| w.served.count_ones() <= 1),
            Property::always("nobody gets another's credential, or less than his token's roles", |_, w: &World| {
                !w.unmet
            }),
            Property::always("roles never go back", |_, w: &World| !w.back),
            Property::always("roles do not go back when a record is lost", keeps),
            Property::always("the last configuration's records have no role that it does not give", exact),
            Property::always("writes are bounded", |setup: &Setup, w: &World| w.writes <= setup.bound()),
            Property::always(AGREEMENT, agreement),
            Property::always("what is ready is right, unless something was applied unheard", heard),
            Property::always("every schedule ends with everybody served and every record tried", ends),
            Property::always(STUCK, Setup::nobody_is_stuck),
            Property::sometimes(REPAIR, repairs),
        ]
    }
}

fn agreement(setup: &Setup, world: &World) -> bool {
    // what is only ready is tried later
    let trusted = |stage| stage == Stage::Confirmed || (stage == Stage::Ready && !setup.confirmation);
    let found = world.stored.filter(|record| trusted(record.stage));
    !world.quiet() || world.doubt || found.is_none_or(|record| world.has(record))
}

fn heard(_: &Setup, world: &World) -> bool {
    let ready = world.stored.filter(|record| record.is_ready());
    // what is found wrong is on its way to its repair
    let known = world.wrong.is_some() || world.trying.is_some();
    !world.quiet() || world.doubt || world.unheard || known || ready.is_none_or(|record| world.has(record))
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
    turns(setup, world, &mut next);
    let tried = world.stored.is_none_or(|record| {
        // another subject's user is left alone, and nothing is known of the record's password
        record.stage == Stage::Confirmed || !setup.confirmation || world.seen_by(record.owner).is_none()
    });
    !next.is_empty() || (world.quiet() && tried)
}

fn repairs(setup: &Setup, world: &World) -> bool {
    let writes = |act| matches!(act, Act::Write { .. });
    let wrong =
        Faults { losses: 0, crashes: 0, refusals: 0, pauses: 0, overwrites: 0, ..setup.faults } != Faults::default();
    let repairs =
        world.replicas.iter().any(|replica| replica.repairs && replica.run.is_some_and(|run| writes(run.act)));
    let subjects = setup.requests.iter().flatten().any(|request| request.owner > 0);
    repairs || !setup.confirmation || !wrong || subjects
}

impl Setup {
    /// Whenever nobody is in the loop, the next request ends in a credential, without an operator. Of two subjects one is
    /// denied.
    fn nobody_is_stuck(&self, world: &World) -> bool {
        if !world.quiet() {
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
        let mut world = World { left: Faults::default(), trying: None, wrong: None, ..world.clone() };
        let replica = &mut world.replicas[i];
        let last = u8::try_from(last).unwrap();
        replica.begun = last + 1;
        let goal = self.goal(i, replica, last).unwrap();
        replica.run = Some(self.loops.begin(replica.holder(i), goal));
        for _ in 0..50 {
            let mut next = Vec::new();
            turns(self, &world, &mut next);
            let own = |turn: &Turn| matches!(turn, Turn::Go(_) | Turn::Write(..));
            let time = |turn: &Turn| matches!(turn, Turn::Overdue | Turn::Expire);
            let turn = next.iter().copied().find(own).or_else(|| next.iter().copied().find(time))?;
            let served = world.served;
            world = act(self, &World { served: 0, ..world }, turn);
            if world.replicas[i].run.is_none() {
                return Some(world.served & (1 << owner) != 0);
            }
            world.served = served;
        }
        None
    }
}
