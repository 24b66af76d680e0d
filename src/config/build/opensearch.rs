//! Reads how OpenSearch is written to: `elasticsearch.opensearch_*`.

use crate::cluster_client;
use crate::config::keys::opensearch as keys;
use crate::config::keys::{HashPlace, processors};
use crate::config::values::Values;
use crate::elastic;
use crate::opensearch::{Hashing, Settings};

/// bcrypt has no other costs.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// What both back ends share comes from `elasticsearch`.
pub(super) fn opensearch(v: &mut Values<'_>, elasticsearch: &elastic::Settings) -> Settings {
    // a user that waits for the next write must still be written in time
    let write_interval = v.get(&keys::WRITE_INTERVAL).min(elasticsearch.write_timeout / 2);
    Settings {
        // OpenSearch knows no media types but its own
        connection: cluster_client::Settings {
            media_type: "application/json".into(),
            ..elasticsearch.connection.clone()
        },
        timeout: elasticsearch.timeout,
        write_timeout: elasticsearch.write_timeout,
        dry_run: elasticsearch.dry_run,
        cluster: elasticsearch.cluster.clone(),
        store: elasticsearch.store.clone(),
        roles: v.get(&keys::ROLES),
        hashing: hashing(v),
        write_interval,
        max_batch: v.get(&keys::MAX_BATCH).get(),
    }
}

fn hashing(v: &mut Values<'_>) -> Hashing {
    let cost = v.get(&keys::HASH_COST);
    if !COSTS.contains(&cost) {
        v.problem(&keys::HASH_COST, "must be 4 to 31");
    }
    match v.get(&keys::HASH) {
        HashPlace::Here => Hashing::Here { cost, cores: processors().get() },
        HashPlace::OpenSearch => Hashing::There,
    }
}
