//! Which node is asked next.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::outbound;

/// A node that failed is left alone this long at first, doubling up to the second figure.
const BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// The nodes, in the order of the configuration.
pub(super) struct Ring {
    nodes: Vec<Node>,
    next: AtomicUsize,
}

/// One address.
pub(super) struct Node {
    pub(super) base: Url,
    health: Mutex<Health>,
    /// Whether an answer from there named its product. From then on one without the name comes from something else; where a
    /// proxy removes the header it never is seen, and the body alone decides.
    named: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Ring {
    pub(super) fn new(hosts: Vec<Url>) -> Self {
        let nodes = hosts
            .into_iter()
            .map(|base| Node { base, health: Mutex::default(), named: AtomicBool::default() })
            .collect();
        Self { nodes, next: AtomicUsize::new(0) }
    }

    /// The nodes to try: those that do not rest, in turn, and from the beginning until there are enough attempts. When all
    /// rest, once the one whose rest ends first.
    pub(super) fn plan(&self, attempts: usize) -> Vec<&Node> {
        let (now, start) = (Instant::now(), self.next.fetch_add(1, Ordering::Relaxed));
        let all = (0..self.nodes.len()).filter_map(|i| self.nodes.get((start.wrapping_add(i)) % self.nodes.len()));
        let (awake, resting): (Vec<_>, Vec<_>) = all.partition(|node| node.health().rests_until <= Some(now));
        if awake.is_empty() {
            return resting.into_iter().min_by_key(|node| node.health().rests_until).into_iter().collect();
        }
        let enough = awake.len().max(attempts);
        awake.into_iter().cycle().take(enough).collect()
    }
}

impl Node {
    fn health(&self) -> Health {
        *self.health.lock()
    }

    /// To be told of each answer that is no error (errors do not always have the header: elasticsearch#73434). Answers
    /// whether the name is missing though it was there before.
    pub(super) fn lost_its_name(&self, named: bool) -> bool {
        if named {
            self.named.store(true, Ordering::Relaxed);
        }
        !named && self.named.load(Ordering::Relaxed)
    }

    pub(super) fn answered(&self) {
        let before = std::mem::take(&mut *self.health.lock());
        if before.failures > 0 {
            tracing::info!(node = outbound::shown(&self.base), "The node answers again");
        }
    }

    pub(super) fn failed(&self, why: &str) {
        let mut health = self.health.lock();
        let rest = BACK_OFF.saturating_mul(1 << health.failures.min(5)).min(MAX_BACK_OFF);
        health.failures = health.failures.saturating_add(1);
        health.rests_until = Some(Instant::now() + rest);
        if health.failures == 1 {
            tracing::warn!(
                node = outbound::shown(&self.base),
                why,
                "The node does not answer as it should and is left alone for a while"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(count: u16) -> Ring {
        Ring::new((0..count).map(|i| Url::parse(&format!("http://127.0.0.1:{}", 9200 + i)).unwrap()).collect())
    }

    fn ports(plan: &[&Node]) -> Vec<u16> {
        plan.iter().map(|node| node.base.port().unwrap() - 9200).collect()
    }

    /// Requirement 27.
    #[tokio::test(start_paused = true)]
    async fn nodes_take_turns_and_one_that_failed_rests_twice_as_long_each_time_up_to_a_cap() {
        let ring = ring(3);
        assert_eq!(ports(&ring.plan(3)), [0, 1, 2]);
        assert_eq!(ports(&ring.plan(3)), [1, 2, 0]);
        for rest in [1, 2, 4, 8, 16, 30, 30] {
            ring.nodes[1].failed("no connection");
            tokio::time::advance(Duration::from_millis(rest * 1000 - 1)).await;
            assert!(!ports(&ring.plan(3)).contains(&1), "after {rest} s less a bit");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(ports(&ring.plan(3)).contains(&1), "after {rest} s");
        }
        ring.nodes[1].answered();
        ring.nodes[1].failed("no connection");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(ports(&ring.plan(3)).contains(&1), "an answer forgives");
    }

    /// Requirement 27.
    #[tokio::test(start_paused = true)]
    async fn when_all_rest_the_one_that_has_rested_longest_is_tried_once() {
        let ring = ring(3);
        for node in [2, 0, 1] {
            ring.nodes[node].failed("no connection");
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        for _ in 0..3 {
            assert_eq!(ports(&ring.plan(3)), [2]);
        }
        ring.nodes[2].failed("no connection");
        assert_eq!(ports(&ring.plan(3)), [0]);
    }

    #[test]
    fn a_single_node_gets_all_attempts() {
        assert_eq!(ports(&ring(1).plan(3)), [0, 0, 0]);
    }
}
