//! The ext_authz service.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where Envoy reaches us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:9001`
    Tcp(SocketAddr),
    /// `unix:/path`
    Unix(PathBuf),
}

/// `grpc.*`
#[derive(Clone, Debug)]
pub struct Settings {
    /// Default `127.0.0.1:9001`.
    pub listen: Listen,
    /// `grpc.allow_insecure`: an address other than loopback without TLS.
    pub allow_insecure: bool,
    /// `grpc.reflection`: for `grpcurl`. Default off.
    pub reflection: bool,
    /// `grpc.max_message_size`: bytes of one request. Default 4 MiB.
    pub max_message_size: usize,
    /// `grpc.deadline`: longest time for one answer, whatever Envoy allows. Default 3 s.
    pub deadline: Duration,
    /// `grpc.max_in_flight`: requests being answered at once; more are denied with 503. Default 4096.
    pub max_in_flight: usize,
}
