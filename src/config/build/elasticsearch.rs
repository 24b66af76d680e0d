//! `elasticsearch.*`

use std::time::Duration;

use url::Url;

use super::{at_least_one, cpus, url};
use crate::cluster_client::{self, Limits};
use crate::config::values::Values;
use crate::elastic::{self, Hashing, Refresh};
use crate::roles;

mod cluster;

/// Nobody waits for a write longer than `deadline`.
pub(super) fn elasticsearch(
    v: &mut Values<'_>,
    cluster: &str,
    roles: &roles::Settings,
    deadline: Duration,
) -> elastic::Settings {
    let nodes = nodes(v);
    let write_timeout = v.duration("elasticsearch.write_timeout");
    let concurrent = at_least_one(v, "elasticsearch.max_writes", None);
    let per_second = Some(v.number("elasticsearch.max_write_rate", None)).filter(|rate| *rate > 0);
    let patience = deadline.min(write_timeout / 2);
    let mapped = roles.group_mappings.iter().flat_map(|(_, roles)| roles).chain(&roles.default_roles);
    let mut mapped_roles: Vec<String> = mapped.cloned().collect();
    mapped_roles.sort();
    mapped_roles.dedup();
    elastic::Settings {
        nodes,
        timeout: v.duration("elasticsearch.timeout"),
        write_timeout,
        writes: Limits { concurrent, patience, per_second },
        refresh: refresh(v),
        hashing: hashing(v),
        mapped_roles,
        dry_run: v.boolean("elasticsearch.dry_run"),
        cluster: cluster.to_owned(),
        // the caller knows the cache
        store: "".into(),
    }
}

fn nodes(v: &mut Values<'_>) -> cluster_client::Settings {
    let texts = v.list("elasticsearch.hosts");
    let cloud_id = v.text("elasticsearch.cloud_id");
    let hosts: Vec<Url> = match cloud_id {
        Some(_) if !texts.is_empty() => {
            v.problem("elasticsearch.cloud_id", "names the hosts already: set it or elasticsearch.hosts");
            Vec::new()
        }
        Some(cloud_id) => cluster::cloud_host(v, &cloud_id).into_iter().collect(),
        None if texts.is_empty() => {
            v.problem("elasticsearch.hosts", "is required; set it in the file or as ELASTICSEARCH_HOSTS");
            Vec::new()
        }
        None => texts.iter().filter_map(|text| url(v, "elasticsearch.hosts", text)).collect(),
    };
    let media_type = match v.text("elasticsearch.compatible_with") {
        None => "application/json".to_owned(),
        Some(major) => {
            if !major.bytes().all(|b| b.is_ascii_digit()) {
                v.problem("elasticsearch.compatible_with", "must be a major version, such as 8");
            }
            format!("application/vnd.elasticsearch+json; compatible-with={major}")
        }
    };
    cluster_client::Settings { hosts, account: cluster::account(v), tls: cluster::tls(v), media_type }
}

fn refresh(v: &mut Values<'_>) -> Refresh {
    match v.setting("elasticsearch.refresh").as_str() {
        "false" => Refresh::False,
        "true" => Refresh::True,
        "wait_for" => Refresh::WaitFor,
        _ => {
            v.problem("elasticsearch.refresh", "must be false, true or wait_for");
            Refresh::False
        }
    }
}

/// By Elasticsearch's own names of its algorithms.
fn hashing(v: &mut Values<'_>) -> Hashing {
    let Some(name) = v.text("elasticsearch.password_hash") else { return Hashing::There };
    let cost = match name.strip_prefix("bcrypt") {
        Some("") => Some(10),
        Some(cost) => cost.parse().ok().filter(|cost| (4..=14).contains(cost)),
        None => None,
    };
    let Some(cost) = cost else {
        v.problem("elasticsearch.password_hash", "must be bcrypt, or bcrypt4 to bcrypt14");
        return Hashing::There;
    };
    Hashing::Here { cost, cores: cpus() }
}
