//! Identifies the cluster that answers: by the id that it gave itself, and by the addresses under which it is asked. A
//! cluster that was built anew under the old addresses has another id, and none of the users that records speak of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::StatusCode;
use tokio::sync::Notify;
use tokio::time::Instant;
use url::Url;

use super::ClusterClient;
use super::answer::Answer;
use super::call::Call;
use crate::credentials::Cluster;
use crate::digest::Digest;

/// How often requests make the cluster be asked for its id.
const PAUSE: Duration = Duration::from_secs(5);
/// The same after a call without an answer: while the cluster cannot be reached, requests that the store can serve must not
/// wait for it again and again.
const PAUSE_WITHOUT_ANSWER: Duration = Duration::from_secs(30);
/// The id that a node shows as long as it has not joined a cluster.
const NOT_JOINED: &str = "_na_";
/// The privilege that the account needs for this, for messages.
const NEEDED: &str = "cluster:monitor/main";

/// The id and the addresses of the cluster, as far as they are known.
pub(crate) struct ClusterId {
    hosts: Digest,
    uuid: Mutex<Option<Arc<str>>>,
    /// Until when requests do not make the cluster be asked again. The lock is held while it is asked, so that it is asked
    /// once.
    pause: tokio::sync::Mutex<Option<Instant>>,
    /// Whether the cluster refused to say when it was last asked.
    refused: AtomicBool,
    rebuilt: Notify,
}

impl ClusterId {
    /// Knows the addresses only, until the cluster is asked.
    pub(crate) fn new(hosts: &[Url]) -> Self {
        Self {
            hosts: addresses(hosts),
            uuid: Mutex::default(),
            pause: tokio::sync::Mutex::default(),
            refused: AtomicBool::default(),
            rebuilt: Notify::new(),
        }
    }

    /// What is known so far, without a request.
    pub(crate) fn known(&self) -> Cluster {
        let uuid = self.uuid.lock().clone();
        Cluster { uuid, hosts: Some(self.hosts) }
    }

    /// What is known after asking the cluster, which is left out if it was done a moment ago.
    pub(crate) async fn ask(&self, client: &ClusterClient, limit: Duration) -> Cluster {
        let mut pause = self.pause.lock().await;
        if pause.is_none_or(|end| Instant::now() >= end) {
            let answered = self.read(client, limit).await;
            *pause = Some(Instant::now() + if answered { PAUSE } else { PAUSE_WITHOUT_ANSWER });
        }
        drop(pause);
        self.known()
    }

    /// Asks the cluster, and answers whether there was an answer. Without one, or with one that names no cluster, what was
    /// known stays.
    pub(crate) async fn read(&self, client: &ClusterClient, limit: Duration) -> bool {
        let Ok(answer) = client.send(&Call::get(&[]), limit).await else { return false };
        self.learn(&answer);
        true
    }

    fn learn(&self, answer: &Answer) {
        let refused = answer.status == StatusCode::FORBIDDEN;
        if !self.refused.swap(refused, Ordering::Relaxed) && refused {
            tracing::warn!("{}", self.remark().unwrap_or_default());
        }
        let body = answer.body();
        let uuid = body["cluster_uuid"].as_str().filter(|uuid| !uuid.is_empty() && *uuid != NOT_JOINED);
        let Some(uuid) = uuid.filter(|_| answer.status == StatusCode::OK) else { return };
        let before = {
            let mut known = self.uuid.lock();
            if known.as_deref() == Some(uuid) {
                return;
            }
            known.replace(uuid.into())
        };
        match before {
            None => tracing::info!(
                cluster_uuid = uuid,
                "The cluster is known by its id: cached records are used for it alone"
            ),
            Some(before) => {
                tracing::warn!(
                    cluster_uuid = uuid,
                    before = &*before,
                    "Another cluster answers at elasticsearch.hosts than before: users are written to it again"
                );
                self.rebuilt.notify_one();
            }
        }
    }

    /// Resolves when another cluster answers than before.
    pub(crate) async fn rebuilt(&self) {
        self.rebuilt.notified().await;
    }

    /// What an operator has to do, if the cluster refused to say which one it is.
    pub(crate) fn remark(&self) -> Option<String> {
        self.refused.load(Ordering::Relaxed).then(|| {
            format!(
                "The administrator's account may not ask which cluster this is (GET /): grant it {NEEDED}. Until then, cached \
                 records of different clusters can be told apart only by elasticsearch.hosts"
            )
        })
    }
}

/// A digest of the addresses, which does not depend on their order and spelling.
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
