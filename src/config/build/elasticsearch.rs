//! `elasticsearch.*`

use std::time::Duration;

use secrecy::SecretString;

use super::{at_least_one, url};
use crate::config::values::Values;
use crate::elastic;
use crate::nodes::account::Scheme;
use crate::nodes::{self, Account, Limits};
use crate::outbound::{Authorities, Tls};

/// How many writes may wait for each that is under way: at 100 ms a write these take two seconds, and a caller waits three.
const QUEUE_PER_WRITE: usize = 16;

/// Nobody waits for a write longer than `deadline`.
pub(super) fn elasticsearch(v: &mut Values<'_>, cluster: &str, store: String, deadline: Duration) -> elastic::Settings {
    let texts = v.list("elasticsearch.hosts");
    if texts.is_empty() {
        v.problem("elasticsearch.hosts", "is required; set it in the file or as ELASTICSEARCH_HOSTS");
    }
    let hosts = texts.iter().filter_map(|text| url(v, "elasticsearch.hosts", text)).collect();
    let username = v.required("elasticsearch.username");
    let secret = v.secret("elasticsearch.password").unwrap_or_else(|| {
        v.problem("elasticsearch.password", "is required; ELASTICSEARCH_PASSWORD or ELASTICSEARCH_PASSWORD_FILE");
        SecretString::default()
    });
    let account = Some(Account { scheme: Scheme::Basic { username }, secret, file: None });
    let ca_file = v.text("elasticsearch.ca_file");
    let authorities = ca_file.map_or(Authorities::System, |path| Authorities::File(path.into()));
    let tls = Tls { authorities, identity: None };
    let concurrent = at_least_one(v, "elasticsearch.max_writes", None);
    let write_timeout = v.duration("elasticsearch.write_timeout");
    let patience = deadline.min(write_timeout / 2);
    elastic::Settings {
        nodes: nodes::Settings { hosts, account, tls, media_type: "application/json".into() },
        timeout: v.duration("elasticsearch.timeout"),
        write_timeout,
        writes: Limits { concurrent, queue: concurrent * QUEUE_PER_WRITE, patience, per_second: None },
        dry_run: v.boolean("elasticsearch.dry_run"),
        cluster: cluster.to_owned(),
        store,
    }
}
