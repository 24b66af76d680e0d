//! Where spans are sent, and which.

use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use super::sampling::Sampling;

/// `tracing.*`, and OpenTelemetry's variables.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `tracing.endpoint`: the address of the collector, http or https.
    pub endpoint: Url,
    /// `tracing.ca_file`: PEM file with the authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// `tracing.headers`: `name=value`, separated by commas; sent along with every request.
    pub headers: Option<SecretString>,
    /// `OTEL_SERVICE_NAME`; default what `OTEL_RESOURCE_ATTRIBUTES` says, or `elastauth`.
    pub service_name: Option<String>,
    /// `OTEL_TRACES_SAMPLER`: which requests are traced.
    pub sampling: Sampling,
}
