//! Chooses the node that is asked next, and leaves nodes that failed alone for a while.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use url::Url;

use crate::outbound;

/// A node that failed is left alone for this long at first, and twice as long after each further failure up to the second
/// figure.
const BACK_OFF: Duration = Duration::from_secs(1);
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// The nodes, in the order of the configuration.
pub(super) struct NodePool {
    nodes: Vec<Node>,
    next: AtomicUsize,
}

/// One address, and what its last answers were.
pub(super) struct Node {
    pub(super) base: Url,
    health: Mutex<Health>,
    /// Whether an answer from this address ever named the product. After that, an answer without the name is foreign. Where a
    /// proxy removes the header no answer has the name, and the body alone decides.
    product_named: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    avoided_until: Option<Instant>,
}

impl NodePool {
    pub(super) fn new(hosts: Vec<Url>) -> Self {
        let nodes = hosts
            .into_iter()
            .map(|base| Node { base, health: Mutex::default(), product_named: AtomicBool::default() })
            .collect();
        Self { nodes, next: AtomicUsize::new(0) }
    }

    /// The nodes to try, in this order: those that are not avoided, each call beginning with another one, and again from the
    /// first until there are enough attempts. When all are avoided, only the one that is avoided for the shortest time.
    pub(super) fn plan(&self, attempts: usize) -> Vec<&Node> {
        let (now, start) = (Instant::now(), self.next.fetch_add(1, Ordering::Relaxed));
        let all = (0..self.nodes.len()).filter_map(|i| self.nodes.get((start.wrapping_add(i)) % self.nodes.len()));
        let (usable, avoided): (Vec<_>, Vec<_>) = all.partition(|node| node.health().avoided_until <= Some(now));
        if usable.is_empty() {
            return avoided.into_iter().min_by_key(|node| node.health().avoided_until).into_iter().collect();
        }
        let enough = usable.len().max(attempts);
        usable.into_iter().cycle().take(enough).collect()
    }
}

impl Node {
    fn health(&self) -> Health {
        *self.health.lock()
    }

    /// Whether the answer lacks the product's name though one before had it. To be called for each answer that is not an error:
    /// errors do not always have the header (elasticsearch#73434).
    pub(super) fn lost_product_name(&self, named: bool) -> bool {
        if named {
            self.product_named.store(true, Ordering::Relaxed);
        }
        !named && self.product_named.load(Ordering::Relaxed)
    }

    /// Ends the back-off: the node gave a genuine answer.
    pub(super) fn answered(&self) {
        let before = std::mem::take(&mut *self.health.lock());
        if before.failures > 0 {
            tracing::info!(node = outbound::shown(&self.base), "The node answers again");
        }
    }

    /// Leaves the node alone for a while; `why` is for the log line about the first of several failures.
    pub(super) fn failed(&self, why: &str) {
        let mut health = self.health.lock();
        let pause = BACK_OFF.saturating_mul(1 << health.failures.min(5)).min(MAX_BACK_OFF);
        health.failures = health.failures.saturating_add(1);
        health.avoided_until = Some(Instant::now() + pause);
        if health.failures == 1 {
            tracing::warn!(
                node = outbound::shown(&self.base),
                why,
                "The node failed and is not asked again for a while"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(count: u16) -> NodePool {
        NodePool::new((0..count).map(|i| Url::parse(&format!("http://127.0.0.1:{}", 9200 + i)).unwrap()).collect())
    }

    fn ports(plan: &[&Node]) -> Vec<u16> {
        plan.iter().map(|node| node.base.port().unwrap() - 9200).collect()
    }

    /// Requirement 27: a node that failed is left alone, longer each time.
    #[tokio::test(start_paused = true)]
    async fn nodes_take_turns_and_one_that_failed_rests_twice_as_long_each_time_up_to_a_cap() {
        let pool = pool(3);
        assert_eq!(ports(&pool.plan(3)), [0, 1, 2]);
        assert_eq!(ports(&pool.plan(3)), [1, 2, 0]);
        for rest in [1, 2, 4, 8, 16, 30, 30] {
            pool.nodes[1].failed("no connection");
            tokio::time::advance(Duration::from_millis(rest * 1000 - 1)).await;
            assert!(!ports(&pool.plan(3)).contains(&1), "after {rest} s less a bit");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(ports(&pool.plan(3)).contains(&1), "after {rest} s");
        }
        pool.nodes[1].answered();
        pool.nodes[1].failed("no connection");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(ports(&pool.plan(3)).contains(&1), "an answer forgives");
    }

    /// Requirement 27: there is an attempt even when all nodes failed.
    #[tokio::test(start_paused = true)]
    async fn when_all_rest_the_one_that_has_rested_longest_is_tried_once() {
        let pool = pool(3);
        for node in [2, 0, 1] {
            pool.nodes[node].failed("no connection");
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        for _ in 0..3 {
            assert_eq!(ports(&pool.plan(3)), [2]);
        }
        pool.nodes[2].failed("no connection");
        assert_eq!(ports(&pool.plan(3)), [0]);
    }

    #[test]
    fn a_single_node_gets_all_attempts() {
        assert_eq!(ports(&pool(1).plan(3)), [0, 0, 0]);
    }
}
