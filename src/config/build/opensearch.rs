//! `elasticsearch.flavor`, `elasticsearch.opensearch_*`

use super::{at_least_one, cpus};
use crate::cluster_client;
use crate::config::values::Values;
use crate::elastic;
use crate::flavor::Flavor;
use crate::opensearch::{Hashing, RoleField, Settings};

/// bcrypt knows no others.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

pub(super) fn flavor(v: &mut Values<'_>) -> Option<Flavor> {
    const PATH: &str = "elasticsearch.flavor";
    match v.setting(PATH).as_str() {
        "auto" => None,
        "elasticsearch" => Some(Flavor::Elasticsearch),
        "opensearch" => Some(Flavor::OpenSearch),
        _ => {
            v.problem(PATH, "must be auto, elasticsearch or opensearch");
            None
        }
    }
}

/// What both back ends share comes from `elasticsearch`.
pub(super) fn opensearch(v: &mut Values<'_>, elasticsearch: &elastic::Settings) -> Settings {
    // who waits for his turn must still have time to write
    let write_interval = v.duration("elasticsearch.opensearch_write_interval").min(elasticsearch.write_timeout / 2);
    Settings {
        // OpenSearch knows no media types but its own
        nodes: cluster_client::Settings { media_type: "application/json".into(), ..elasticsearch.nodes.clone() },
        timeout: elasticsearch.timeout,
        write_timeout: elasticsearch.write_timeout,
        dry_run: elasticsearch.dry_run,
        cluster: elasticsearch.cluster.clone(),
        store: elasticsearch.store.clone(),
        roles: roles(v),
        hashing: hashing(v),
        write_interval,
        max_batch: at_least_one(v, "elasticsearch.opensearch_max_batch", None),
    }
}

fn roles(v: &mut Values<'_>) -> RoleField {
    const PATH: &str = "elasticsearch.opensearch_roles";
    match v.setting(PATH).as_str() {
        "backend_roles" => RoleField::Backend,
        "security_roles" => RoleField::Security,
        _ => {
            v.problem(PATH, "must be backend_roles or security_roles");
            RoleField::Backend
        }
    }
}

fn hashing(v: &mut Values<'_>) -> Hashing {
    const COST: &str = "elasticsearch.opensearch_hash_cost";
    let cost = v.number(COST, None);
    if !COSTS.contains(&cost) {
        v.problem(COST, "must be 4 to 31");
    }
    match v.setting("elasticsearch.opensearch_hash").as_str() {
        "here" => Hashing::Here { cost, cores: cpus() },
        "opensearch" => Hashing::There,
        _ => {
            v.problem("elasticsearch.opensearch_hash", "must be here or opensearch");
            Hashing::There
        }
    }
}
