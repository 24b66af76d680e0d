//! Starts several Redis servers that belong together: a master with Sentinels, or a cluster.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, free_port, until};
use crate::resp::{Reply, Resp};
use crate::servers::{REDIS_PASSWORD, Redis, tool};

/// The name of the master at the Sentinels.
pub const MASTER: &str = "records";
/// The password that the Sentinels require.
pub const SENTINEL_PASSWORD: &str = "sentinel-password";

/// A running Sentinel that monitors the master.
pub struct Sentinel {
    /// The address to connect to, as `127.0.0.1:port`.
    pub address: String,
    /// The process of the Sentinel, so that a test can stop it.
    pub process: Process,
    _folder: TempDir,
}

impl Sentinel {
    fn start(master: &str) -> Option<Self> {
        let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
        let master = master.replace(':', " ");
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nrequirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n\
             sentinel monitor {MASTER} {master} 2\nsentinel auth-pass {MASTER} {REDIS_PASSWORD}\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 6000\n",
            folder.path().display()
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new(tool("redis-server")?);
        let process = Process::start("sentinel", command.arg(&file).arg("--sentinel"));
        process.wait_for_line(0, &["+monitor master"]);
        Some(Self { address: format!("127.0.0.1:{port}"), process, _folder: folder })
    }

    /// Sends a command and returns the texts of its answer; an error gives none.
    pub fn says(&self, words: &[&str]) -> Vec<String> {
        let words: Vec<_> = words.iter().map(|word| word.as_bytes()).collect();
        let Reply::List(items) = Resp::connect(&self.address, SENTINEL_PASSWORD).command(&words) else {
            return Vec::new();
        };
        items.into_iter().filter_map(Reply::bytes).map(|text| String::from_utf8(text).unwrap()).collect()
    }
}

/// A master and two replicas with three Sentinels.
pub struct Elected {
    /// The servers; the one that was the master at the start comes first.
    pub servers: Vec<Redis>,
    /// The three Sentinels that monitor the master.
    pub sentinels: Vec<Sentinel>,
}

impl Elected {
    /// Starts everything, with `extra` as further options of each server, and waits until every Sentinel knows the others and
    /// both replicas.
    pub async fn start(extra: &[&str]) -> Option<Self> {
        let common = ["--masterauth", REDIS_PASSWORD, "--repl-diskless-sync-delay", "0"];
        let common = [&common[..], extra].concat();
        let mut servers = vec![Redis::start(&common)?];
        let master = servers[0].address.clone();
        let port = master.rsplit_once(':').unwrap().1;
        for _ in 0..2 {
            servers.push(Redis::start(&[&common[..], &["--replicaof", "127.0.0.1", port]].concat())?);
        }
        let sentinels = (0..3).map(|_| Sentinel::start(&master)).collect::<Option<Vec<_>>>()?;
        until("replicas", || async {
            servers[0].command(&["INFO", "replication"]).matches("state=online").count() == 2
        })
        .await;
        until("Sentinels that know one another and the replicas", || async {
            sentinels.iter().all(|sentinel| {
                let known = sentinel.says(&["SENTINEL", "MASTER", MASTER]);
                let is = |field: &str, value: &str| known.windows(2).any(|pair| pair == [field, value]);
                is("num-slaves", "2") && is("num-other-sentinels", "2")
            })
        })
        .await;
        Some(Self { servers, sentinels })
    }

    /// The server that is the master according to the first Sentinel.
    #[must_use]
    pub fn master(&self) -> &Redis {
        let says = self.sentinels[0].says(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]);
        self.servers.iter().find(|server| server.address == says.join(":")).unwrap()
    }

    /// The `cache` section of a configuration with these Sentinels' addresses.
    #[must_use]
    pub fn cache(&self) -> String {
        format!(
            "  type: redis\n  redis_host: \"{}\"\n  redis_password: {REDIS_PASSWORD}\n  \
             redis_sentinel_password: {SENTINEL_PASSWORD}",
            self.sentinels[1].address
        )
    }
}

/// A Redis Cluster of three masters with a replica each.
pub struct Cluster {
    /// The masters come first; the replica of each is three positions further.
    pub nodes: Vec<Redis>,
}

impl Cluster {
    /// Starts everything, with `extra` as further options of each node, and waits until every node knows the others and serves.
    pub async fn start(extra: &[&str]) -> Option<Self> {
        let mut nodes = Vec::new();
        let mut buses = Vec::new();
        for _ in 0..6 {
            let bus = free_port().to_string();
            let options = [
                &["--cluster-enabled", "yes", "--cluster-node-timeout", "1500", "--cluster-port", &bus][..],
                &["--masterauth", REDIS_PASSWORD, "--repl-diskless-sync-delay", "0"],
                extra,
            ]
            .concat();
            nodes.push(Redis::start(&options)?);
            buses.push(bus);
        }
        let port = |node: &Redis| node.address.rsplit_once(':').unwrap().1.to_owned();
        for (n, node) in nodes.iter().enumerate() {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
        }
        for (node, (first, last)) in nodes.iter().zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")]) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            nodes[0].command(&["CLUSTER", "MEET", "127.0.0.1", &port(node), bus]);
        }
        until("nodes that know one another", || async {
            nodes.iter().all(|node| node.command(&["CLUSTER", "NODES"]).matches("connected").count() == 6)
        })
        .await;
        for n in 0..3 {
            let id = nodes[n].command(&["CLUSTER", "MYID"]);
            nodes[n + 3].command(&["CLUSTER", "REPLICATE", id.lines().last().unwrap()]);
        }
        until("a cluster that serves", || async {
            nodes.iter().enumerate().all(|(n, node)| {
                let linked = n < 3 || node.command(&["INFO", "replication"]).contains("master_link_status:up");
                let known = node.command(&["CLUSTER", "NODES"]).matches("slave").count() == 3;
                linked && known && node.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
            })
        })
        .await;
        Some(Self { nodes })
    }

    /// The node that owns the slot of `key` now, according to the node `living`.
    #[must_use]
    pub fn owner(&self, living: &Redis, key: &str) -> &Redis {
        let slot: u32 = living.command(&["CLUSTER", "KEYSLOT", key]).trim_matches([':', '\r', '\n']).parse().unwrap();
        let nodes = living.command(&["CLUSTER", "NODES"]);
        let owner = nodes.lines().find(|line| {
            line.split(' ')
                .skip(8)
                .filter_map(|range| range.split_once('-'))
                .any(|(first, last)| (first.parse().unwrap()..=last.parse().unwrap()).contains(&slot))
        });
        let address = owner.unwrap().split([' ', '@']).nth(1).unwrap();
        self.nodes.iter().find(|node| node.address == address).unwrap()
    }

    /// The `cache` section of a configuration with the address of one node.
    #[must_use]
    pub fn cache(&self) -> String {
        crate::servers::redis_cache(&self.nodes[2].address)
    }
}
