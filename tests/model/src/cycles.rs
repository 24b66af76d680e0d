//! Schedules without an end.
//!
//! `stateright` knows "eventually", but says nothing about schedules that come back to where they were. Faults are counted
//! down, so that every such round is one without faults: if there is none, every schedule ends.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stateright::Model as _;

use crate::turns::Turn;
use crate::world::{Setup, World};

/// What a search through all states found.
#[derive(Debug)]
pub struct Search {
    /// Different ones.
    pub states: usize,
    /// The longest way without coming back.
    pub deepest: usize,
    /// The most PUTs on any way.
    pub writes: u8,
    /// The states and turns of a round that can go on for ever.
    pub cycle: Option<Vec<String>>,
}

/// A state on the way, what may happen there, and how much of that was followed.
struct Stop {
    world: World,
    name: u64,
    turns: Vec<Turn>,
    followed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// On the way that is being followed.
    OnTheWay,
    /// Everything after it was followed.
    Done,
}

impl Stop {
    fn shown(&self) -> String {
        let turn = self.turns[self.followed.saturating_sub(1)];
        format!("{}; then {turn:?}", self.world)
    }
}

fn name(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Depth first; a turn that leads to a state on the way that is being followed closes a cycle.
#[must_use]
pub fn search(setup: &Setup) -> Search {
    let mut seen = HashMap::new();
    let mut found = Search { states: 0, deepest: 0, writes: 0, cycle: None };
    let mut way = Vec::new();
    let stop = |world: World, name: u64| {
        let mut turns = Vec::new();
        setup.actions(&world, &mut turns);
        Stop { world, name, turns, followed: 0 }
    };
    for world in setup.init_states() {
        let name = name(&world);
        seen.insert(name, Seen::OnTheWay);
        way.push(stop(world, name));
    }
    while let Some(here) = way.last_mut() {
        let Some(turn) = here.turns.get(here.followed).copied() else {
            seen.insert(here.name, Seen::Done);
            way.pop();
            continue;
        };
        here.followed += 1;
        let Some(world) = setup.next_state(&here.world, turn) else { continue };
        let name = name(&world);
        match seen.get(&name) {
            None => {
                found.writes = found.writes.max(world.writes);
                seen.insert(name, Seen::OnTheWay);
                way.push(stop(world, name));
                found.deepest = found.deepest.max(way.len());
            }
            Some(Seen::Done) => {}
            Some(Seen::OnTheWay) => {
                let begin = way.iter().position(|stop| stop.name == name).unwrap_or_default();
                found.cycle = Some(way[begin..].iter().map(Stop::shown).collect());
                break;
            }
        }
    }
    found.states = seen.len();
    found
}
