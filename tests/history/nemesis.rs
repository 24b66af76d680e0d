//! The faults that are injected, in an order that the seed decides.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use elastauth_support::elasticsearch::Faults;
use elastauth_support::faults::{Ending, Fate};
use elastauth_support::proxy::Mode;
use elastauth_support::random::Random;
use elastauth_support::resp::{Reply, Resp};
use elastauth_support::servers::REDIS_PASSWORD;
use tokio::task::JoinSet;

use crate::record::{Outcome, Trouble, What};
use crate::world::{HOT, REPLICAS, World};

#[derive(Clone, Copy)]
enum Act {
    /// SIGKILL of a replica; a later step starts it again.
    Kill,
    /// Once, or again while the lost records are being created anew.
    Flush,
    /// Records of the users that are asked for most expire, one after another.
    Expire,
    /// `maxmemory` is below what is used, for a moment.
    Evict,
    Turn(Weather),
    /// SIGSTOP of a replica, while others change what it keeps.
    Freeze,
    /// Redis does not answer one replica.
    Partition,
    /// Redis refuses writes: its memory is full, or it has too few replicas.
    RefuseWrites,
    /// Some connections to Redis are closed, or all of them.
    CloseConnections,
    /// The same for all, and for one replica a new connection takes longer than a command may.
    ConnectSlowly,
    /// Old records come back, as when Redis fails over to a replica that lagged behind.
    RollBack,
}

const ACTS: [Act; 19] = [
    Act::Kill,
    Act::Kill,
    Act::Kill,
    Act::Flush,
    Act::Expire,
    Act::Expire,
    Act::Evict,
    Act::Freeze,
    Act::Freeze,
    Act::Partition,
    Act::RefuseWrites,
    Act::RefuseWrites,
    Act::CloseConnections,
    Act::ConnectSlowly,
    Act::Turn(Weather::Fair),
    Act::Turn(Weather::Slow),
    Act::Turn(Weather::Lossy),
    Act::Turn(Weather::Failing),
    Act::Turn(Weather::Down),
];

/// The faults that only a confirmation repairs: no process notices them when they happen.
const LATE_WRITES_AND_ROLL_BACK: [Act; 4] =
    [Act::RollBack, Act::RollBack, Act::Turn(Weather::Late), Act::Turn(Weather::Late)];

/// How Elasticsearch answers PUTs.
#[derive(Clone, Copy, Debug)]
pub enum Weather {
    /// In 0 to 50 ms, as where no other weather is set.
    Fair,
    /// Some within the time-out of the write, some later.
    Slow,
    /// Some PUTs are lost, and some answers.
    Lossy,
    /// Half of them are answered with 503.
    Failing,
    /// Every GET and PUT is answered with 503.
    Down,
    /// Some are applied later, mostly after the client gave up.
    Late,
}

impl Weather {
    fn fate(self, random: &mut Random) -> Fate {
        // two ranges of delays, so that one PUT often overtakes another
        let delay = if random.chance(30) { random.millis(35, 50) } else { random.millis(0, 15) };
        let fair = Fate { delay, ending: Ending::Answered };
        let delay = match self {
            Self::Slow if random.chance(30) => random.millis(80, 150),
            // never close to the time-out: whether such a PUT was applied in time would depend on the machine
            Self::Slow if random.chance(20) => Duration::from_secs(1),
            Self::Late if random.chance(30) => random.millis(100, 1500),
            _ => fair.delay,
        };
        let ending = match self {
            Self::Lossy if random.chance(20) => Ending::AnswerLost,
            Self::Lossy if random.chance(20) => Ending::Lost,
            Self::Failing if random.chance(50) => Ending::Refused(503),
            Self::Down => Ending::Refused(503),
            Self::Late if delay > fair.delay => Ending::Late,
            _ => Ending::Answered,
        };
        Fate { delay, ending }
    }

    pub fn begins(self, world: &World, random: &mut Random) {
        let random = Arc::new(Mutex::new(random.split()));
        world.elasticsearch.fail(Faults {
            get_status: matches!(self, Self::Down).then_some(503),
            fates: Some(Arc::new(move || self.fate(&mut random.lock().unwrap()))),
            ..Faults::default()
        });
        world.note(What::Weather(format!("{self:?}")));
    }
}

/// Injects the faults one after another; at the end all replicas run again.
pub async fn run(world: &Arc<World>, random: &mut Random, late_writes_and_rollback: bool) {
    let mut acts = ACTS.to_vec();
    if late_writes_and_rollback {
        acts.extend(LATE_WRITES_AND_ROLL_BACK);
    }
    let mut redis = Resp::connect(&world.redis.address, REDIS_PASSWORD);
    let (mut dumps, mut asks) = (Vec::new(), JoinSet::new());
    // every fault happens in every history; the seed decides the order
    while !acts.is_empty() {
        // a random pause between faults; nothing is waited for
        tokio::time::sleep(random.millis(100, 700)).await;
        if random.chance(50) {
            world.restart().await;
        }
        dump(world, &mut redis, random, &mut dumps);
        match acts.swap_remove(random.below(acts.len())) {
            Act::Kill => world.kill(random.below(REPLICAS)),
            Act::Flush => {
                for _ in 0..=random.below(3) {
                    world.note(What::Flushed);
                    redis.command(&[b"FLUSHALL"]);
                    tokio::time::sleep(random.millis(10, 60)).await;
                }
            }
            Act::Expire => expire(world, &mut redis, random, &mut asks).await,
            Act::Evict => evict(&mut redis, random).await,
            Act::Freeze => freeze(world, &mut redis, random, &mut asks).await,
            Act::Partition => partition(world, random).await,
            Act::RefuseWrites => refuse_writes(world, &mut redis, random).await,
            Act::CloseConnections => {
                let all = random.chance(30);
                close_connections(world, &mut redis, random, all);
            }
            Act::ConnectSlowly => connect_slowly(world, &mut redis, random).await,
            Act::Turn(weather) => weather.begins(world, random),
            Act::RollBack => roll_back(world, &mut redis, random, &mut dumps),
        }
    }
    Weather::Fair.begins(world, random);
    world.restart().await;
    asks.join_all().await;
}

/// Twice for each user: the second time while two replicas write again what the first time removed.
async fn expire(world: &Arc<World>, redis: &mut Resp, random: &mut Random, asks: &mut JoinSet<Outcome>) {
    for _ in 0..15 {
        let user = random.below(HOT);
        for _ in 0..2 {
            world.note(What::Expired(user));
            redis.command(&[b"DEL", world.users[user].key.as_bytes()]);
            for _ in 0..2 {
                let (token, replica) = (random.below(world.users[user].tokens.len()), random.below(REPLICAS));
                let world = Arc::clone(world);
                asks.spawn(async move { world.ask(user, token, replica).await });
            }
            tokio::time::sleep(random.millis(5, 30)).await;
        }
    }
}

/// Others change passwords that the frozen replica keeps, and after it has woken up it is asked for them.
async fn freeze(world: &Arc<World>, redis: &mut Resp, random: &mut Random, asks: &mut JoinSet<Outcome>) {
    let (frozen, began) = (random.below(REPLICAS), Instant::now());
    let Some(name) = world.running(frozen) else { return };
    world.freeze(frozen, true);
    tokio::time::sleep(random.millis(50, 1000)).await;
    if random.chance(70) {
        expire(world, redis, random, asks).await;
    }
    tokio::time::sleep(random.millis(50, 1500)).await;
    world.freeze(frozen, false);
    for user in 0..HOT {
        let (world, token) = (Arc::clone(world), random.below(world.users[user].tokens.len()));
        asks.spawn(async move { world.ask(user, token, frozen).await });
    }
    world.note_at(began, What::Trouble { what: Trouble::Frozen, replica: Some(name), until: Instant::now() });
}

async fn partition(world: &Arc<World>, random: &mut Random) {
    let (alone, began) = (random.below(REPLICAS), Instant::now());
    let Some(name) = world.running(alone) else { return };
    world.connections(alone, *random.pick(&[Mode::Refuse, Mode::Stall]));
    tokio::time::sleep(random.millis(100, 1500)).await;
    world.connections(alone, Mode::Pass);
    world.note_at(began, What::Trouble { what: Trouble::RedisAway, replica: Some(name), until: Instant::now() });
}

async fn refuse_writes(world: &Arc<World>, redis: &mut Resp, random: &mut Random) {
    let began = Instant::now();
    let mut set = |name: &[u8], value: &[u8]| {
        assert_eq!(redis.command(&[b"CONFIG", b"SET", name, value]), Reply::Status("OK".into()));
    };
    let memory: bool = random.chance(50);
    if memory {
        set(b"maxmemory-policy", b"noeviction");
        set(b"maxmemory", b"1");
    } else {
        set(b"min-replicas-to-write", b"1");
    }
    tokio::time::sleep(random.millis(100, 1500)).await;
    set(b"maxmemory", b"0");
    set(b"min-replicas-to-write", b"0");
    world.note_at(began, What::Trouble { what: Trouble::WritesRefused, replica: None, until: Instant::now() });
}

fn close_connections(world: &World, redis: &mut Resp, random: &mut Random, all: bool) {
    let began = Instant::now();
    let clients = redis.command(&[b"CLIENT", b"LIST", b"TYPE", b"NORMAL"]).bytes().unwrap();
    let clients = String::from_utf8(clients).unwrap();
    let own = redis.command(&[b"CLIENT", b"ID"]);
    for id in clients.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next()) {
        if own != Reply::Number(id.parse().unwrap()) && (all || random.chance(20)) {
            redis.command(&[b"CLIENT", b"KILL", b"ID", id.as_bytes()]);
        }
    }
    world.note_at(began, What::Trouble { what: Trouble::ConnectionsClosed, replica: None, until: Instant::now() });
}

async fn connect_slowly(world: &Arc<World>, redis: &mut Resp, random: &mut Random) {
    let (slow, began) = (random.below(REPLICAS), Instant::now());
    let Some(name) = world.running(slow) else { return };
    // the shipped limit for a command is 250 ms, a handshake over a long way with TLS may well take longer
    world.connections(slow, Mode::SlowConnect(random.millis(300, 500)));
    close_connections(world, redis, random, true);
    tokio::time::sleep(random.millis(500, 1500)).await;
    world.connections(slow, Mode::Pass);
    world.note_at(began, What::Trouble { what: Trouble::SlowToConnect, replica: Some(name), until: Instant::now() });
}

async fn evict(redis: &mut Resp, random: &mut Random) {
    let info = redis.command(&[b"INFO", b"memory"]).bytes().unwrap();
    let info = String::from_utf8(info).unwrap();
    let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap();
    let limit = used.parse::<usize>().unwrap() - 1000 * (10 + random.below(100));
    redis.command(&[
        b"CONFIG",
        b"SET",
        b"maxmemory-policy",
        b"allkeys-lru",
        b"maxmemory",
        limit.to_string().as_bytes(),
    ]);
    tokio::time::sleep(random.millis(20, 300)).await;
    redis.command(&[b"CONFIG", b"SET", b"maxmemory", b"0"]);
}

/// A user, a record that Redis once had for it, and when the record was to expire.
type Dump = (usize, Vec<u8>, i64);

fn dump(world: &World, redis: &mut Resp, random: &mut Random, dumps: &mut Vec<Dump>) {
    for (n, user) in world.users.iter().enumerate() {
        let key = user.key.as_bytes();
        if random.chance(3)
            && let Reply::Number(expires @ 1..) = redis.command(&[b"PEXPIRETIME", key])
            && let Some(bytes) = redis.command(&[b"DUMP", key]).bytes()
        {
            dumps.push((n, bytes, expires));
        }
    }
}

fn roll_back(world: &World, redis: &mut Resp, random: &mut Random, dumps: &mut Vec<Dump>) {
    for _ in 0..dumps.len() / 2 {
        let (user, bytes, expires) = dumps.swap_remove(random.below(dumps.len()));
        world.note(What::RolledBack(user));
        // a replica of Redis kept the expiry; a person who restores a dump may give it any life
        let by_hand = if random.chance(20) { 3_600_000 } else { 0 };
        let (key, expires) = (world.users[user].key.as_bytes(), (expires + by_hand).to_string());
        let reply = redis.command(&[b"RESTORE", key, expires.as_bytes(), &bytes, b"REPLACE", b"ABSTTL"]);
        assert_eq!(reply, Reply::Status("OK".into()));
    }
}
