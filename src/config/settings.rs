//! The settings of all parts together.

use crate::flavor::Flavor;
use crate::{
    authz, credentials, elastic, envoy, file, http, identity, login, memory, oidc, opensearch, redis, roles, shutdown,
    telemetry,
};

/// The settings of all parts, each of which is valid.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The HTTP port: `listen` and `enable_metrics`.
    pub http: http::Settings,
    /// The port that Envoy asks: `grpc.*`.
    pub grpc: envoy::Settings,
    /// What is removed from requests that are let through: it follows from how callers are named.
    pub stripped: envoy::StrippedAttributes,
    /// How the process ends: `drain`, and `grpc.deadline`.
    pub shutdown: shutdown::Settings,
    /// What is logged, and how: `log_level` and `log_format`.
    pub logs: telemetry::Settings,
    /// Where spans are sent: `tracing.*`. None where no collector is named.
    pub traces: Option<telemetry::traces::Settings>,
    /// What names the caller: `auth_provider` and its section.
    pub identity: Provider,
    /// How people log in with a browser: `login.*`. None unless `login.enabled` is true.
    pub login: Option<login::Settings>,
    /// `cache.token_max_entries`: how many verified tokens are kept; a tenth as many refused ones. 0 keeps none.
    pub max_tokens: usize,
    /// `grpc.max_verifications`: signatures of tokens that are checked at once. Default: half the processors.
    pub verifications: usize,
    /// The rules that let requests through: `policy.*`.
    pub policy: authz::policy::Settings,
    /// Groups to roles: `default_roles`, `group_mappings` and `allow_no_roles`.
    pub roles: roles::Settings,
    /// How long credentials live and when they are confirmed: `cache.*`, `extend_cache`, `elasticsearch.settling` and the like.
    pub credentials: credentials::Settings,
    /// What records are sealed with and bound to: `secret_key`, `previous_secret_keys` and `cluster`.
    pub seal: credentials::seal::Settings,
    /// Where credentials are stored: `cache.type`.
    pub cache: Cache,
    /// The back end, where it is Elasticsearch: `elasticsearch.*`.
    pub elasticsearch: elastic::Settings,
    /// The back end, where it is OpenSearch: `elasticsearch.*`, and `elasticsearch.opensearch_*`.
    pub opensearch: opensearch::Settings,
    /// `elasticsearch.flavor`: which of the two the back end is. None to ask it.
    pub flavor: Option<Flavor>,
}

/// What names the caller.
#[derive(Clone, Debug)]
pub enum Provider {
    /// `auth_provider: oidc`: each issuer, by its network side and by what its tokens must be; and where tokens are looked for.
    Oidc(Vec<(oidc::Settings, identity::issuer::Settings)>, authz::bearer::Sources),
    /// `auth_provider: authelia`: headers of a login proxy, or Envoy's metadata.
    Headers(Box<identity::headers::Settings>),
}

/// Where credentials are stored.
#[derive(Clone, Debug)]
pub enum Cache {
    /// `cache.type: ""` or `memory`: in this process, for as long as it lives.
    Memory(memory::Settings),
    /// `cache.type: file`: in a file of one process.
    File(file::Settings),
    /// `cache.type: redis`: in Redis, which all replicas share.
    Redis(Box<redis::Settings>),
}

impl Cache {
    /// The store's name in the ownership stamp.
    pub(super) fn name(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        match self {
            Self::Memory(memory) => memory.name(&host()),
            Self::File(file) => file.name(&host()),
            Self::Redis(redis) => redis.name(),
        }
    }
}
