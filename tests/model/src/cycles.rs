//! Finds schedules without an end.
//!
//! `stateright` checks "eventually", but not for schedules that come back to an earlier state. Faults are counted down, so that
//! every such cycle is one without faults: if there is none, every schedule ends.

use std::collections::HashMap;
use std::fmt::{Debug, Display};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use stateright::Model;

/// What a search through all states found.
#[derive(Debug)]
pub struct Search {
    /// How many different states there are.
    pub states: usize,
    /// The length of the longest path that visits no state twice.
    pub deepest: usize,
    /// The largest count on any path, such as of PUTs.
    pub most: u8,
    /// The states and transitions of a cycle, which could be repeated for ever.
    pub cycle: Option<Vec<String>>,
}

/// A state on the path, its transitions, and how many of them were followed.
struct Stop<S, A> {
    world: S,
    name: u64,
    transitions: Vec<A>,
    followed: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The state is on the path that is being followed.
    OnPath,
    /// Everything after the state was followed.
    Done,
}

impl<S: Display, A: Debug> Stop<S, A> {
    fn shown(&self) -> String {
        let transition = &self.transitions[self.followed.saturating_sub(1)];
        format!("{}; then {transition:?}", self.world)
    }
}

fn name(world: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Depth first; a transition to a state on the path that is being followed closes a cycle. `count` is of a state.
#[must_use]
pub fn search<M>(setup: &M, count: impl Fn(&M::State) -> u8) -> Search
where
    M: Model<State: Display + Hash, Action: Debug + Copy>,
{
    let mut seen = HashMap::new();
    let mut found = Search { states: 0, deepest: 0, most: 0, cycle: None };
    let mut path = Vec::new();
    let stop = |world: M::State, name: u64| {
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
                found.most = found.most.max(count(&world));
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
