//! Runs commands about one key in a Redis Cluster. redis-rs's own client for clusters sends `PING`, which narrow ACLs refuse,
//! repeats writes with an unknown outcome, and lets all commands wait while it connects to one node. Here each node has
//! the pool and the time-outs of a single server.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::join_all;
use parking_lot::RwLock;
use redis::{ErrorKind, FromRedisValue, Pipeline, ServerErrorKind, Value, pipe};
use tokio::sync::watch;
use tokio::time::timeout;

use super::address::Address;
use super::breaker::{Signs, Use};
use super::connect::Connector;
use super::node::{CommandError, Node};
use super::server::Route;
use super::settings::Settings;
use super::slots;

/// How often a command follows a redirection at most. One is usual with an old map, two while a slot moves.
const REDIRECTS: usize = 5;

/// The nodes of a cluster, and which of them owns which slot.
pub(super) struct Cluster {
    connector: Connector,
    settings: Settings,
    map: RwLock<Map>,
    /// The number of changes of the set of masters so far.
    changes: watch::Sender<u64>,
    signs: Signs,
    refreshing: AtomicBool,
    /// The position of the node that is asked next for the map. It advances each time, since the map of one node may be older
    /// than those of the others.
    turn: AtomicUsize,
}

#[derive(Default)]
struct Map {
    /// The configured nodes, all masters and replicas, and targets of redirections.
    members: HashMap<Address, Arc<Member>>,
    owners: Vec<Option<Arc<Member>>>,
}

pub(super) struct Member {
    address: Address,
    pub(super) node: Node,
}

impl Cluster {
    pub(super) fn new(connector: &Connector, settings: &Settings, changes: watch::Sender<u64>, signs: Signs) -> Self {
        let (connector, settings) = (connector.clone(), settings.clone());
        let (refreshing, turn) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self { connector, settings, map: RwLock::default(), changes, signs, refreshing, turn }
    }

    /// Runs commands about one key at the node that owns its slot, and follows redirections.
    pub(super) async fn run<T: FromRedisValue>(
        self: &Arc<Self>,
        what: Use,
        key: &str,
        commands: &Pipeline,
    ) -> Result<T, CommandError> {
        let slot = slots::of(key);
        let (mut member, mut asking) = (self.owner(slot)?, false);
        for _ in 0..REDIRECTS {
            let answer =
                if asking { ask(&member.node, what, commands).await } else { member.node.once(what, commands).await };
            let failed = match answer {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let CommandError::Refused(error) = &failed else {
                self.refresh_soon();
                return Err(failed.at(&member.address));
            };
            let to = error.redirect_node().and_then(|(to, _)| Address::redirected(to, &member.address));
            match (error.kind(), to) {
                (ErrorKind::Server(ServerErrorKind::Moved), Some(to)) => {
                    (member, asking) = (self.moved(slot, &to)?, false);
                    self.refresh_soon();
                }
                (ErrorKind::Server(ServerErrorKind::Ask), Some(to)) => (member, asking) = (self.node(&to)?, true),
                (ErrorKind::Server(ServerErrorKind::ClusterDown | ServerErrorKind::ReadOnly), _) => {
                    self.refresh_soon();
                    return Err(failed);
                }
                _ => return Err(failed),
            }
        }
        Err(CommandError::Timeout(format!("more than {REDIRECTS} redirections from node to node")))
    }

    /// The owner of a slot, or any node where none is known: it redirects.
    fn owner(&self, slot: usize) -> Result<Arc<Member>, CommandError> {
        let owner = self.map.read().owners.get(slot).and_then(Clone::clone);
        owner.map_or_else(|| self.any_member(0), Ok)
    }

    /// The member so many positions after the next one in turn.
    fn any_member(&self, after: usize) -> Result<Arc<Member>, CommandError> {
        let map = self.map.read();
        let turn = self.turn.load(Ordering::Relaxed).wrapping_add(after);
        if let Some(member) = turn.checked_rem(map.members.len()).and_then(|nth| map.members.values().nth(nth)) {
            return Ok(Arc::clone(member));
        }
        drop(map);
        let configured = turn.checked_rem(self.settings.nodes.len()).and_then(|nth| self.settings.nodes.get(nth));
        configured
            .map_or_else(|| Err(CommandError::Timeout("no node is configured".into())), |address| self.node(address))
    }

    pub(super) fn node(&self, address: &Address) -> Result<Arc<Member>, CommandError> {
        let mut map = self.map.write();
        if let Some(member) = map.members.get(address) {
            return Ok(Arc::clone(member));
        }
        let made = self.make(address)?;
        map.members.insert(address.clone(), Arc::clone(&made));
        Ok(made)
    }

    fn make(&self, address: &Address) -> Result<Arc<Member>, CommandError> {
        let node =
            Node::new(self.connector.clone(), Route::Member(address.clone()), &self.settings, self.signs.clone());
        Ok(Arc::new(Member { address: address.clone(), node: node.map_err(CommandError::Timeout)? }))
    }

    /// Enters another owner of a slot into the map.
    fn moved(&self, slot: usize, to: &Address) -> Result<Arc<Member>, CommandError> {
        let member = self.node(to)?;
        let mut map = self.map.write();
        let before = masters(&map.owners);
        map.owners.resize(slots::SLOTS, None);
        if let Some(owner) = map.owners.get_mut(slot) {
            *owner = Some(Arc::clone(&member));
        }
        if !before.contains(to) {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(member)
    }

    /// Reads the map anew in the background, unless that is under way.
    fn refresh_soon(self: &Arc<Self>) {
        if !self.refreshing.swap(true, Ordering::AcqRel) {
            let cluster = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(why) = cluster.refresh().await {
                    tracing::debug!(%why, "No node of the Redis Cluster answered with the map of slots");
                }
                cluster.refreshing.store(false, Ordering::Release);
            });
        }
    }

    /// Asks one node after the other for the map of slots.
    pub(super) async fn refresh(&self) -> Result<(), CommandError> {
        let mut slots = pipe();
        slots.cmd("CLUSTER").arg("SLOTS");
        let patience = self.settings.command_timeout * 2;
        let count = self.map.read().members.len().max(self.settings.nodes.len());
        let mut last = CommandError::Timeout("no node is configured".into());
        for after in 0..count {
            let member = self.any_member(after)?;
            let asked = timeout(patience, member.node.once::<(Value,)>(Use::Read, &slots)).await;
            match asked.unwrap_or_else(|_| Err(CommandError::Timeout(format!("no answer within {patience:?}")))) {
                Ok((answer,)) => match super::slots::read(answer, &member.address) {
                    Some(ranges) => {
                        self.turn.fetch_add(1 + after, Ordering::Relaxed);
                        return self.learn(&ranges);
                    }
                    None => {
                        let why = CommandError::Timeout("the answer to CLUSTER SLOTS cannot be read".into());
                        last = why.at(&member.address);
                    }
                },
                Err(failed) if failed.is_lack_of_permission() => return Err(failed),
                Err(failed) => last = failed.at(&member.address),
            }
        }
        Err(last)
    }

    fn learn(&self, ranges: &[slots::Range]) -> Result<(), CommandError> {
        let mut map = self.map.write();
        let mut members = HashMap::new();
        let named = ranges.iter().flat_map(|range| &range.nodes).chain(&self.settings.nodes);
        for address in named.collect::<HashSet<_>>() {
            let known = map.members.get(address).map(Arc::clone);
            members.insert(address.clone(), known.map_or_else(|| self.make(address), Ok)?);
        }
        let mut owners = vec![None; slots::SLOTS];
        for range in ranges {
            let owner = range.nodes.first().and_then(|owner| members.get(owner));
            if let Some(slots) = owners.get_mut(range.first..=range.last) {
                slots.fill(owner.map(Arc::clone));
            }
        }
        let changed = masters(&map.owners) != masters(&owners);
        *map = Map { members, owners };
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// The nodes that own slots.
    pub(super) fn masters(&self) -> HashSet<Address> {
        masters(&self.map.read().owners)
    }

    /// The masters that own slots.
    fn owners(&self) -> Vec<Arc<Member>> {
        let map = self.map.read();
        let owners = masters(&map.owners);
        owners.iter().filter_map(|owner| map.members.get(owner)).map(Arc::clone).collect()
    }

    /// Makes the first connections to all masters that are in reach.
    pub(super) async fn warm(&self) {
        let owners = self.owners();
        join_all(owners.iter().map(|member| Box::pin(member.node.warm()))).await;
    }

    /// Whether every master is asked at present.
    pub(super) fn all_asked(&self) -> bool {
        self.owners().iter().all(|member| member.node.is_asked())
    }

    /// For each master one of these keys that it owns, as far as there is one.
    pub(super) fn one_each(&self, keys: impl Iterator<Item = String>) -> Vec<String> {
        let map = self.map.read();
        let mut missing = masters(&map.owners);
        let mut found = Vec::new();
        for key in keys {
            if missing.is_empty() {
                break;
            }
            let owner = map.owners.get(slots::of(&key)).and_then(Option::as_ref);
            if owner.is_some_and(|owner| missing.remove(&owner.address)) {
                found.push(key);
            }
        }
        found
    }

    pub(super) fn close_idle(&self) {
        for member in self.map.read().members.values() {
            member.node.close_idle();
        }
    }
}

/// Runs commands at a node that a slot is moving to: it serves them only when `ASKING` comes before each.
async fn ask<T: FromRedisValue>(node: &Node, what: Use, commands: &Pipeline) -> Result<T, CommandError> {
    let mut with_asking = pipe();
    for command in commands.cmd_iter() {
        with_asking.cmd("ASKING").add_command(command.clone());
    }
    let answers: Vec<Value> = node.once(what, &with_asking).await?;
    let answers = answers.into_iter().skip(1).step_by(2).collect();
    redis::from_redis_value(Value::Array(answers)).map_err(|error| CommandError::Refused(error.into()))
}

fn masters(owners: &[Option<Arc<Member>>]) -> HashSet<Address> {
    let mut found = HashSet::new();
    let mut last: Option<&Arc<Member>> = None;
    for owner in owners.iter().flatten() {
        // ranges are long: most owners are the same as the one before
        if !last.is_some_and(|last| Arc::ptr_eq(last, owner)) {
            found.insert(owner.address.clone());
            last = Some(owner);
        }
    }
    found
}
