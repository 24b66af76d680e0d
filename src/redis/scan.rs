//! Lists the records in Redis, for administrators' commands. No request does that.

use std::sync::Arc;

use redis::{Pipeline, pipe};

use super::RedisStore;
use super::breaker::Use;
use super::client::{RedisClient, Topology};
use super::cluster::Cluster;
use super::node::CommandError;
use super::rights::PREFIX;
use crate::credentials::{CacheKey, Cursor, Keys, StoreError};

/// How many keys Redis examines in one step. Fewer of them match, perhaps none.
const STEP: usize = 1000;

/// The cursor of the next page, `0` after the last one, and the keys of this page.
type Page = (String, Vec<Vec<u8>>);

impl Keys for RedisStore {
    /// One page. `SCAN` lets the server run other commands between the pages; `KEYS` would block it.
    async fn keys(&self, cursor: Option<Cursor>) -> Result<(Vec<CacheKey>, Option<Cursor>), StoreError> {
        let from = cursor.map_or_else(|| "0".to_owned(), |cursor| cursor.0);
        let (next, names) = self.servers.page(&from).await.map_err(|failed| self.failed(failed))?;
        let keys = names.iter().filter_map(|name| CacheKey::known(std::str::from_utf8(name).ok()?)).collect();
        Ok((keys, (next != "0").then_some(Cursor(next))))
    }
}

fn scan(from: &str) -> Pipeline {
    let mut scan = pipe();
    scan.cmd("SCAN").arg(from).arg("MATCH").arg(format!("{PREFIX}*")).arg("COUNT").arg(STEP);
    scan
}

impl RedisClient {
    async fn page(self: &Arc<Self>, from: &str) -> Result<Page, CommandError> {
        match self.topology().await? {
            Topology::Single(node, _) | Topology::Elected(node, _) => {
                node.run::<(Page,)>(Use::Read, &scan(from)).await.map(|(page,)| page)
            }
            Topology::Cluster(cluster) => cluster.page(from).await,
        }
    }
}

impl Cluster {
    /// One page of one master; the masters follow one another. A cursor is `0`, or the number of a master and its own cursor.
    async fn page(&self, from: &str) -> Result<Page, CommandError> {
        // an old map could lack masters, and their records would be left out
        self.refresh().await?;
        let mut masters: Vec<_> = self.masters().into_iter().collect();
        masters.sort_unstable_by_key(ToString::to_string);
        let (number, from) = from.split_once(' ').unwrap_or(("0", from));
        let number: usize = number.parse().unwrap_or(0);
        let Some(master) = masters.get(number) else { return Ok(("0".into(), Vec::new())) };
        let (page,) = self
            .node(master)?
            .node
            .once::<(Page,)>(Use::Read, &scan(from))
            .await
            .map_err(|failed| failed.at(master))?;
        let next = match page.0.as_str() {
            "0" if number + 1 < masters.len() => format!("{} 0", number + 1),
            "0" => "0".into(),
            next => format!("{number} {next}"),
        };
        Ok((next, page.1))
    }
}
