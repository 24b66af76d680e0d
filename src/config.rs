//! Raw YAML and environment to valid settings.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::flavor::Flavor;
use crate::{
    authz, credentials, elastic, envoy, file, http, identity, memory, oidc, opensearch, redis, roles, telemetry,
};

mod build;
mod keys;
mod tree;
mod values;

pub use keys::reference;

/// Everything, valid.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `listen`
    pub http: http::Settings,
    /// `grpc.*`
    pub grpc: envoy::Settings,
    /// What is removed from requests that are let through: it follows from how callers are named.
    pub stripped: envoy::StrippedAttributes,
    /// `drain`
    pub shutdown: crate::shutdown::Settings,
    /// `log_*`
    pub logs: telemetry::Settings,
    /// `tracing.*`; none for no traces.
    pub traces: Option<telemetry::traces::Settings>,
    /// `auth_provider`
    pub identity: Provider,
    /// `cache.token_max_entries`, `cache.refused_token_max_entries`
    pub known: identity::token_cache::Settings,
    /// `grpc.max_verifications`: signatures of tokens that are checked at once. Default: half the processors.
    pub verifications: usize,
    /// `policy.*`
    pub policy: authz::policy::Settings,
    /// `default_roles`, `group_mappings`
    pub roles: roles::Settings,
    /// `cache.*`, `extend_cache`
    pub credentials: credentials::Settings,
    /// `secret_key`, `cluster`
    pub seal: credentials::seal::Settings,
    /// `cache.type`
    pub cache: Cache,
    /// `elasticsearch.*`
    pub elasticsearch: elastic::Settings,
    /// `elasticsearch.*`, and `elasticsearch.opensearch_*`
    pub opensearch: opensearch::Settings,
    /// `elasticsearch.flavor`; none to find out.
    pub flavor: Option<Flavor>,
}

/// Who says who the caller is.
#[derive(Clone, Debug)]
pub enum Provider {
    /// `auth_provider: oidc`: each issuer, by its network side and by what its tokens must be; and where tokens are looked for.
    Oidc(Vec<(oidc::Settings, identity::issuer::Settings)>, authz::bearer::Sources),
    /// `auth_provider: authelia`
    Headers(Box<identity::headers::Settings>),
}

/// Which store.
#[derive(Clone, Debug)]
pub enum Cache {
    /// `cache.type: ""` or `memory`
    Memory(memory::Settings),
    /// `cache.type: file`
    File(file::Settings),
    /// `cache.type: redis`
    Redis(Box<redis::Settings>),
}

impl Cache {
    /// What the ownership stamp calls the store.
    fn name(&self) -> String {
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        match self {
            Self::Memory(memory) => memory.name(&host()),
            Self::File(file) => file.name(&host()),
            Self::Redis(redis) => redis.name(),
        }
    }
}

/// Where a file is looked for when nobody names one. The last is where the Go service's image has it.
const PLACES: [&str; 3] = ["config.yml", "/etc/elastauth/config.yml", "/config.yml"];

/// A valid configuration and what is odd about it.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Things to know that are no errors.
    pub warnings: Vec<String>,
    /// The file, if there was one.
    pub source: Option<PathBuf>,
    /// Every setting in force by key, secrets redacted.
    pub effective: Vec<(String, String)>,
}

/// Every problem of a configuration, each with its key path.
#[derive(Debug)]
pub struct Problems(pub Vec<String>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration has {} problem(s):", self.0.len())?;
        self.0.iter().try_for_each(|problem| writeln!(f, "  - {problem}"))
    }
}

impl std::error::Error for Problems {}

/// Stands for bytes that are not UTF-8.
const NOT_UTF8: char = char::REPLACEMENT_CHARACTER;

/// The process's environment; names that are not UTF-8 are left out. In values such bytes are `NOT_UTF8`, so that a variable which
/// is asked for is an error, and not unset.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Reads the file (`explicit`, else `ELASTAUTH_CONFIG`, else the first of the usual places, else none) under the
/// environment, and reports all problems at once.
pub fn load(explicit: Option<&Path>, env: &BTreeMap<String, String>) -> Result<Loaded, Problems> {
    let one = |problem: String| Problems(vec![problem]);
    let named = explicit.map(Path::to_owned).or_else(|| env.get("ELASTAUTH_CONFIG").map(PathBuf::from));
    let source = named.or_else(|| PLACES.iter().map(PathBuf::from).find(|path| path.is_file()));
    let text = match &source {
        Some(path) => std::fs::read_to_string(path).map_err(|e| one(format!("{}: {e}", path.display())))?,
        None => String::new(),
    };
    let tree = tree::parse(&text, env).map_err(one)?;
    let mut values = values::Values::new(&tree, env);
    let settings = build::settings(&mut values);
    values.unused_restrictions();
    if values.problems.is_empty() {
        let (warnings, effective) = (values.warnings, values.effective);
        Ok(Loaded { settings, warnings, source, effective })
    } else {
        Err(Problems(values.problems))
    }
}

#[cfg(test)]
mod tests;
