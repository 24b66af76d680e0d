//! Which cluster it is that answers: by the id that it gave itself, and by the addresses under which it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use super::{Answer, Call, ClusterClient};
use crate::credentials::Cluster;
use crate::digest::Digest;

/// Between two questions that requests cause, and after one without an answer: while the cluster is away, requests that the
/// store can serve must not wait for it again and again.
const PAUSE: Duration = Duration::from_secs(5);
const AWAY_PAUSE: Duration = Duration::from_secs(30);
/// What a node says as long as it has not joined a cluster.
const NOT_YET: &str = "_na_";
/// For people: what the account has to be allowed.
pub const NEEDED: &str = "cluster:monitor/main";

/// What is known of the cluster.
pub struct ClusterId {
    hosts: Digest,
    uuid: Mutex<Option<Arc<str>>>,
    /// Until when requests cause no other question. One question at a time.
    pause: tokio::sync::Mutex<Option<Instant>>,
    refused: AtomicBool,
    rebuilt: Notify,
}

impl ClusterId {
    /// Nothing but the addresses is known yet.
    #[must_use]
    pub fn new(hosts: &[Url]) -> Self {
        Self {
            hosts: addresses(hosts),
            uuid: Mutex::default(),
            pause: tokio::sync::Mutex::default(),
            refused: AtomicBool::default(),
            rebuilt: Notify::new(),
        }
    }

    /// What is known; asks nobody.
    pub fn known(&self) -> Cluster {
        let uuid = self.uuid.lock().clone();
        Cluster { uuid, hosts: Some(self.hosts) }
    }

    /// What is known after asking, unless that was done a moment ago.
    pub async fn ask(&self, nodes: &ClusterClient, limit: Duration) -> Cluster {
        let mut pause = self.pause.lock().await;
        if pause.is_none_or(|end| Instant::now() >= end) {
            let answered = self.read(nodes, limit).await;
            *pause = Some(Instant::now() + if answered { PAUSE } else { AWAY_PAUSE });
        }
        drop(pause);
        self.known()
    }

    /// Asks; says whether there was an answer. What was known stays where there was none, or one that names no cluster.
    pub async fn read(&self, nodes: &ClusterClient, limit: Duration) -> bool {
        let Ok(answer) = nodes.send(&Call::get(&[]), limit).await else { return false };
        self.heard(&answer);
        true
    }

    fn heard(&self, answer: &Answer) {
        let refused = answer.status == StatusCode::FORBIDDEN;
        if !self.refused.swap(refused, Ordering::Relaxed) && refused {
            tracing::warn!("{}", self.remark().unwrap_or_default());
        }
        let body = answer.body();
        let uuid = body["cluster_uuid"].as_str().filter(|uuid| !uuid.is_empty() && *uuid != NOT_YET);
        let Some(uuid) = uuid.filter(|_| answer.status == StatusCode::OK) else { return };
        let before = {
            let mut known = self.uuid.lock();
            if known.as_deref() == Some(uuid) {
                return;
            }
            known.replace(uuid.into())
        };
        match before {
            None => tracing::info!(cluster_uuid = uuid, "Cached records are bound to this cluster"),
            Some(before) => {
                tracing::warn!(
                    cluster_uuid = uuid,
                    before = &*before,
                    "Another cluster answers at elasticsearch.hosts than before: its users are written anew"
                );
                self.rebuilt.notify_one();
            }
        }
    }

    /// Ends when another cluster answers than before.
    pub async fn rebuilt(&self) {
        self.rebuilt.notified().await;
    }

    /// What a person should know, if the last question was refused.
    pub fn remark(&self) -> Option<String> {
        self.refused.load(Ordering::Relaxed).then(|| {
            format!(
                "The administrator's account may not ask which cluster this is (GET /): give it {NEEDED}. Until then cached \
                 records are told apart by elasticsearch.hosts alone"
            )
        })
    }
}

/// Of the addresses, in whatever order and spelling they were written.
fn addresses(hosts: &[Url]) -> Digest {
    let address = |url: &Url| {
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_lowercase();
        format!("{host}:{}{}", url.port_or_known_default().unwrap_or_default(), url.path().trim_end_matches('/'))
    };
    let mut addresses: Vec<String> = hosts.iter().map(address).collect();
    addresses.sort();
    addresses.dedup();
    Digest::of(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(hosts: &[&str]) -> Digest {
        addresses(&hosts.iter().map(|host| Url::parse(host).unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn addresses_are_the_same_however_they_are_written() {
        let written = digest(&["https://es1.example.com:443", "https://es2.example.com:9200/es/"]);
        for same in [
            &["https://es2.example.com:9200/es", "https://ES1.example.com."][..],
            &["https://es1.example.com/", "https://es1.example.com", "https://es2.example.com:9200/es/"],
        ] {
            assert_eq!(digest(same), written, "{same:?}");
        }
        for other in [
            &["https://es1.example.com"][..],
            &["https://es1.example.com:9200", "https://es2.example.com:9200/es/"],
            &["https://es1.example.com", "https://es2.example.com:9200/other"],
        ] {
            assert_ne!(digest(other), written, "{other:?}");
        }
    }
}
