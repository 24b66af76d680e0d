//! `grpc`: the port that Envoy asks.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::key::{key, section, unset};
use super::processors::processors;

section! {
    LISTEN: String = key("grpc.listen", "127.0.0.1:9001", "address that Envoy asks; or `unix:/path`");
    SOCKET_MODE: String = key(
        "grpc.socket_mode",
        "0660",
        "mode of the Unix socket; a user needs `w` to connect",
    )
    .restricting();
    TLS_CERT_FILE: Option<PathBuf> = unset(
        "grpc.tls_cert_file",
        "PEM file with elastauth's certificate and its chain: turns TLS on",
    )
    .restricting();
    TLS_KEY_FILE: Option<PathBuf> = unset("grpc.tls_key_file", "PEM file with the key of the certificate").restricting();
    TLS_CLIENT_CA_FILE: Option<PathBuf> = unset(
        "grpc.tls_client_ca_file",
        "PEM file with the authorities of clients: each must show a certificate",
    )
    .restricting();
    TLS_ALLOWED_SANS: Vec<String> = unset(
        "grpc.tls_allowed_sans",
        "URIs (SPIFFE) and host names in clients' certificates that may ask; unset: all",
    )
    .restricting();
    TLS_RELOAD_INTERVAL: Duration = key(
        "grpc.tls_reload_interval",
        "10s",
        "how often these files are looked at for changes",
    );
    ALLOW_INSECURE: bool = key(
        "grpc.allow_insecure",
        "false",
        "listen beyond loopback without TLS: any program that reaches the port gets passwords",
    );
    REFLECTION: bool = key("grpc.reflection", "false", "server reflection, for `grpcurl`");
    ACCESS_LOG: bool = key(
        "grpc.access_log",
        "false",
        "take Envoy's access log (gRPC): a 401 behind Envoy lets the user's password be tried at the next request",
    );
    MAX_MESSAGE_SIZE: NonZeroUsize = key("grpc.max_message_size", "4194304", "bytes of one request");
    DEADLINE: Duration = key("grpc.deadline", "3s", "longest time for an answer, whatever Envoy allows");
    MAX_CONNECTION_AGE: Option<Duration> = key(
        "grpc.max_connection_age",
        "10m",
        "a connection ends at about this age, so that Envoy finds new replicas; 0: never",
    );
    MAX_IN_FLIGHT: NonZeroUsize = key(
        "grpc.max_in_flight",
        "4096",
        "requests at once that need more than memory; more are answered 503",
    );
    MAX_VERIFICATIONS: NonZeroUsize = key(
        "grpc.max_verifications",
        "half the CPUs",
        "signatures of new tokens checked at once; others wait, and known callers need none",
    )
    .computed(|| NonZeroUsize::new(processors().get() / 2).unwrap_or(NonZeroUsize::MIN));
}
