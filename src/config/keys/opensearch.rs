//! `elasticsearch.flavor` and `elasticsearch.opensearch_*`: OpenSearch instead of Elasticsearch.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::choice::HashPlace;
use super::key::{key, section};
use crate::flavor::Flavor;
use crate::opensearch::RoleField;

section! {
    FLAVOR: Option<Flavor> = key(
        "elasticsearch.flavor",
        "auto",
        "`elasticsearch`, `opensearch`, or `auto`: found out at first use",
    );
    ROLES: RoleField = key(
        "elasticsearch.opensearch_roles",
        "backend_roles",
        "where roles go: `backend_roles`, or `security_roles`, which must exist",
    );
    HASH: HashPlace = key("elasticsearch.opensearch_hash", "here", "where passwords are hashed: `here`, or `opensearch`");
    HASH_COST: u32 = key("elasticsearch.opensearch_hash_cost", "12", "cost of bcrypt: 4 to 31");
    WRITE_INTERVAL: Duration = key(
        "elasticsearch.opensearch_write_interval",
        "500ms",
        "from one write to the next, at most half of `write_timeout`; users that wait are written together",
    );
    MAX_BATCH: NonZeroUsize = key("elasticsearch.opensearch_max_batch", "100", "users in one write");
}
