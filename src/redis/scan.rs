//! Which records there are: for commands, never for a request.

use redis::cmd;

use super::{PREFIX, RedisStore, one};
use crate::credentials::{CacheKey, Cursor, Keys, StoreError};

/// How many keys Redis looks at in one step; it may answer fewer, or none.
const STEP: usize = 1000;

impl Keys for RedisStore {
    /// `SCAN` lets others in between, as `KEYS` does not.
    async fn keys(&self, cursor: Option<Cursor>) -> Result<(Vec<CacheKey>, Option<Cursor>), StoreError> {
        let from = cursor.map_or_else(|| "0".to_owned(), |cursor| cursor.0);
        let mut scan = cmd("SCAN");
        scan.arg(from).arg("MATCH").arg(format!("{PREFIX}*")).arg("COUNT").arg(STEP);
        let ((next, names),): ((String, Vec<Vec<u8>>),) = self.run(&one(scan)).await?;
        let keys = names.iter().filter_map(|name| CacheKey::known(std::str::from_utf8(name).ok()?)).collect();
        Ok((keys, (next != "0").then_some(Cursor(next))))
    }
}
