//! Finds schedules without an end.
//!
//! `stateright` checks "eventually", but not for schedules that come back to an earlier state. Faults are counted down, so that
//! every such cycle is one without faults: if there is none, every schedule ends.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stateright::Model as _;

use crate::transitions::Transition;
use crate::world::{Setup, World};

/// What a search through all states found.
#[derive(Debug)]
pub struct Search {
    /// How many different states there are.
    pub states: usize,
    /// The length of the longest path that visits no state twice.
    pub deepest: usize,
    /// The most PUTs on any path.
    pub writes: u8,
    /// The states and transitions of a cycle, which could be repeated for ever.
    pub cycle: Option<Vec<String>>,
}

/// A state on the path, its transitions, and how many of them were followed.
struct Stop {
    world: World,
    name: u64,
    transitions: Vec<Transition>,
    followed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The state is on the path that is being followed.
    OnPath,
    /// Everything after the state was followed.
    Done,
}

impl Stop {
    fn shown(&self) -> String {
        let transition = self.transitions[self.followed.saturating_sub(1)];
        format!("{}; then {transition:?}", self.world)
    }
}

fn name(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Depth first; a transition to a state on the path that is being followed closes a cycle.
#[must_use]
pub fn search(setup: &Setup) -> Search {
    let mut seen = HashMap::new();
    let mut found = Search { states: 0, deepest: 0, writes: 0, cycle: None };
    let mut path = Vec::new();
    let stop = |world: World, name: u64| {
        let mut transitions = Vec::new();
        setup.actions(&world, &mut transitions);
        Stop { world, name, transitions, followed: 0 }
    };
    for world in setup.init_states() {
        let name = name(&world);
        seen.insert(name, Seen::OnPath);
        path.push(stop(world, name));
    }
    while let Some(here) = path.last_mut() {
        let Some(transition) = here.transitions.get(here.followed).copied() else {
            seen.insert(here.name, Seen::Done);
            path.pop();
            continue;
        };
        here.followed += 1;
        let Some(world) = setup.next_state(&here.world, transition) else { continue };
        let name = name(&world);
        match seen.get(&name) {
            None => {
                found.writes = found.writes.max(world.writes);
                seen.insert(name, Seen::OnPath);
                path.push(stop(world, name));
                found.deepest = found.deepest.max(path.len());
            }
            Some(Seen::Done) => {}
            Some(Seen::OnPath) => {
                let begin = path.iter().position(|stop| stop.name == name).unwrap_or_default();
                found.cycle = Some(path[begin..].iter().map(Stop::shown).collect());
                break;
            }
        }
    }
    found.states = seen.len();
    found
}
