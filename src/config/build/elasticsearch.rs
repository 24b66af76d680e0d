//! Reads how the cluster is asked and written to: `elasticsearch.*`.

use std::time::Duration;

use url::Url;

use super::address::url;
use crate::cluster_client::{self, WriteLimits};
use crate::config::keys::elasticsearch as keys;
use crate::config::keys::processors;
use crate::config::values::Values;
use crate::credentials::StoreName;
use crate::elastic::{self, Hashing};
use crate::roles;

mod cluster;

/// No request waits for a write longer than `deadline`.
pub(super) fn elasticsearch(
    v: &mut Values<'_>,
    connection: cluster_client::Settings,
    store: StoreName,
    cluster: &str,
    roles: &roles::Settings,
    deadline: Duration,
) -> elastic::Settings {
    let write_timeout = v.get(&keys::WRITE_TIMEOUT);
    let concurrent = v.get(&keys::MAX_WRITES).get();
    let per_second = Some(v.get(&keys::MAX_WRITE_RATE)).filter(|rate| *rate > 0);
    let patience = deadline.min(write_timeout / 2);
    let mapped = roles.group_mappings.iter().flat_map(|(_, roles)| roles).chain(&roles.default_roles);
    let mut mapped_roles: Vec<String> = mapped.cloned().collect();
    mapped_roles.sort();
    mapped_roles.dedup();
    elastic::Settings {
        connection,
        timeout: v.get(&keys::TIMEOUT),
        write_timeout,
        writes: WriteLimits { concurrent, patience, per_second },
        refresh: v.get(&keys::REFRESH),
        hashing: hashing(v),
        mapped_roles,
        dry_run: v.get(&keys::DRY_RUN),
        cluster: cluster.to_owned(),
        store,
    }
}

/// How the cluster is reached: hosts, account, certificates, time-outs.
pub(super) fn connection(v: &mut Values<'_>) -> cluster_client::Settings {
    let texts = v.get(&keys::HOSTS);
    let cloud_id = v.get(&keys::CLOUD_ID);
    let hosts: Vec<Url> = match cloud_id {
        Some(_) if !texts.is_empty() => {
            v.problem(&keys::CLOUD_ID, "names the hosts already: set it or elasticsearch.hosts");
            Vec::new()
        }
        Some(cloud_id) => cluster::cloud_host(v, &cloud_id).into_iter().collect(),
        None if texts.is_empty() => {
            v.problem(&keys::HOSTS, "is required; set it in the file or as ELASTICSEARCH_HOSTS");
            Vec::new()
        }
        None => texts.iter().filter_map(|text| url(v, &keys::HOSTS, text)).collect(),
    };
    let media_type = match v.get(&keys::COMPATIBLE_WITH) {
        None => "application/json".to_owned(),
        Some(major) => {
            if !major.bytes().all(|b| b.is_ascii_digit()) {
                v.problem(&keys::COMPATIBLE_WITH, "must be a major version, such as 8");
            }
            format!("application/vnd.elasticsearch+json; compatible-with={major}")
        }
    };
    cluster_client::Settings { hosts, account: cluster::account(v), tls: cluster::tls(v), media_type }
}

/// By Elasticsearch's own names of its algorithms.
fn hashing(v: &mut Values<'_>) -> Hashing {
    let Some(name) = v.get(&keys::PASSWORD_HASH) else { return Hashing::There };
    let cost = match name.strip_prefix("bcrypt") {
        Some("") => Some(10),
        Some(cost) => cost.parse().ok().filter(|cost| (4..=14).contains(cost)),
        None => None,
    };
    let Some(cost) = cost else {
        v.problem(&keys::PASSWORD_HASH, "must be bcrypt, or bcrypt4 to bcrypt14");
        return Hashing::There;
    };
    Hashing::Here { cost, cores: processors().get() }
}
