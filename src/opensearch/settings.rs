//! How users are managed on OpenSearch, as the configuration says.

use std::time::Duration;

use crate::cluster_client;
use crate::credentials::StoreName;
use crate::native_user::Hashing;

/// What OpenSearch needs beside `elasticsearch.*` is in `elasticsearch.opensearch_*`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the cluster is reached, and with which account.
    pub connection: cluster_client::Settings,
    /// `elasticsearch.timeout`, of a read. Default 2 s.
    pub timeout: Duration,
    /// `elasticsearch.write_timeout`, of a write, waiting for its turn included. Default 5 s.
    pub write_timeout: Duration,
    /// `elasticsearch.dry_run`: writes are only logged, and new users are denied.
    pub dry_run: bool,
    /// The name of the deployment in the ownership stamp.
    pub cluster: String,
    /// The store of the records, which the ownership stamp names by its mark.
    pub store: StoreName,
    /// `elasticsearch.opensearch_roles`: the field for roles. Default `Backend`.
    pub roles: RoleField,
    /// `elasticsearch.opensearch_hash`: where passwords are hashed. Default `Here`.
    pub hashing: Hashing,
    /// `elasticsearch.opensearch_write_interval`: the least time from the beginning of one write to that of the next. Users
    /// that wait meanwhile are written together. Default 500 ms.
    pub write_interval: Duration,
    /// `elasticsearch.opensearch_max_batch`: how many users one write may have. Default 100.
    pub max_batch: usize,
}

/// The field of a user that holds its roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleField {
    /// `backend_roles`: any names, which OpenSearch's role mappings turn into its own roles.
    Backend,
    /// `opendistro_security_roles`: OpenSearch's own roles, which must exist.
    Security,
}

impl RoleField {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend_roles",
            Self::Security => "opendistro_security_roles",
        }
    }

    /// The field of `authinfo` that shows them. OpenSearch's own roles are shown together with those from mappings.
    pub(super) fn name_in_authinfo(self) -> &'static str {
        match self {
            Self::Backend => "backend_roles",
            Self::Security => "roles",
        }
    }
}
