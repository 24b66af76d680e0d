//! Provisioner over Elasticsearch's security API.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

/// `elasticsearch.*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base addresses; a path prefix is kept. At least one.
    pub hosts: Vec<Url>,
    /// The administrator's name.
    pub username: String,
    /// The administrator's password.
    pub password: SecretString,
    /// PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Time-out of a read. Default 2 s.
    pub timeout: Duration,
    /// Time-out of a write. Default 5 s.
    pub write_timeout: Duration,
    /// Concurrent writes of this process. Default 4.
    pub max_writes: usize,
    /// Decides and logs, writes nothing, denies.
    pub dry_run: bool,
    /// Names the deployment in the ownership stamp.
    pub cluster: String,
}
