//! The faults that are injected, in an order that the seed decides.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use elastauth_support::proxy::Mode;
use elastauth_support::random::Random;
use elastauth_support::scripted_provider::{Ending, Fate};

use crate::record::What;
use crate::world::{REPLICAS, World};

#[derive(Clone, Copy)]
enum Act {
    /// SIGKILL of a replica; a later step starts it again.
    Kill,
    /// SIGSTOP of a replica, for longer than a claim lasts, or shorter.
    Freeze,
    Flush,
    /// Connections to Redis are closed.
    CloseConnections,
    /// The provider's host refuses connections.
    Refuse,
    /// The provider's host is silent.
    Stall,
    /// The token endpoint answers 503.
    Fail,
    /// Some answers are lost after they took effect, some are slow.
    Lose,
}

const ACTS: [Act; 9] = [
    Act::Kill,
    Act::Kill,
    Act::Freeze,
    Act::Flush,
    Act::CloseConnections,
    Act::Refuse,
    Act::Stall,
    Act::Fail,
    Act::Lose,
];

/// Injects the faults one after another; at the end all replicas run again, and the provider answers.
pub async fn run(world: &Arc<World>, random: &mut Random) {
    let mut acts = ACTS.to_vec();
    let pace = Arc::new(Mutex::new(random.split()));
    // people log in first; nothing is waited for
    tokio::time::sleep(Duration::from_secs(3)).await;
    world.provider.script(|script| script.fates = Some(fates(&pace, false)));
    while !acts.is_empty() {
        tokio::time::sleep(random.millis(100, 700)).await;
        if random.chance(60) {
            world.restart().await;
        }
        let (from, moment) = (Instant::now(), random.millis(300, 1500));
        // answers are lost first: a claim has to be overdue before it is taken over
        let next = if acts.len() == ACTS.len() { acts.len() - 1 } else { random.below(acts.len()) };
        match acts.swap_remove(next) {
            Act::Kill => {
                let (world, replica) = (Arc::clone(world), random.below(REPLICAS));
                tokio::task::spawn_blocking(move || world.kill(replica)).await.unwrap();
            }
            Act::Freeze => {
                let replica = random.below(REPLICAS);
                world.freeze(replica, true);
                tokio::time::sleep(if random.chance(50) { moment } else { moment * 4 }).await;
                world.freeze(replica, false);
                world.note(What::Frozen, from);
            }
            Act::Flush => {
                world.redis.command(&["FLUSHALL"]);
                world.note(What::Flushed, from);
            }
            Act::CloseConnections => {
                world.redis.command(&["CLIENT", "KILL", "TYPE", "normal"]);
                world.note(What::RedisClosed, from);
            }
            Act::Refuse => {
                world.provider.network(Mode::Refuse);
                tokio::time::sleep(moment * 2).await;
                world.provider.network(Mode::Pass);
                world.note(What::ProviderDown, from);
            }
            Act::Stall => {
                world.provider.network(Mode::Stall);
                tokio::time::sleep(moment).await;
                world.provider.network(Mode::Pass);
                world.note(What::ProviderDown, from);
            }
            Act::Fail => {
                let fate = Fate { ending: Ending::Unavailable, ..Fate::default() };
                world.provider.script(|script| script.fates = Some(Arc::new(move || fate)));
                tokio::time::sleep(moment * 2).await;
                world.provider.script(|script| script.fates = Some(fates(&pace, false)));
                world.note(What::ProviderDown, from);
            }
            Act::Lose => {
                world.provider.script(|script| script.fates = Some(fates(&pace, true)));
                tokio::time::sleep(moment * 2).await;
                world.provider.script(|script| script.fates = Some(fates(&pace, false)));
                world.note(What::ProviderLossy, from);
            }
        }
    }
    world.provider.script(|script| script.fates = None);
    world.restart().await;
}

/// The fates of requests to the token endpoint.
fn fates(random: &Arc<Mutex<Random>>, lossy: bool) -> Arc<dyn Fn() -> Fate + Send + Sync> {
    let random = Arc::clone(random);
    Arc::new(move || {
        let mut random = random.lock().unwrap();
        // long enough for another replica to come meanwhile
        let delay = if random.chance(60) { random.millis(40, 200) } else { random.millis(0, 20) };
        let ending = match random.below(100) {
            0..=9 if lossy => Ending::Silent,
            10..=19 if lossy => Ending::Cut,
            _ => Ending::Answered,
        };
        Fate { delay, ending }
    })
}
