//! Variables that count where nothing else is said: those that a standard gives a meaning, and other programs go by, too; and the
//! image's.

use super::Values;

/// Counts where nothing is said to us. The image says where it listens, so that the kubelet reaches the probes; unlike a variable
/// for the key itself, that does not win over the file. The rest is OpenTelemetry's specification, "Environment Variable
/// Specification" and "OTLP Exporter Configuration".
const STANDARD: &[(&str, &[&str])] = &[
    ("listen", &["ELASTAUTH_IMAGE_LISTEN"]),
    ("tracing.endpoint", &["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]),
    ("tracing.ca_file", &["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]),
    ("tracing.service_name", &["OTEL_SERVICE_NAME"]),
    ("tracing.sampler", &["OTEL_TRACES_SAMPLER"]),
    ("tracing.sampler_arg", &["OTEL_TRACES_SAMPLER_ARG"]),
];

/// The variables of a standard that say the same as this key.
fn variables(path: &str) -> &'static [&'static str] {
    STANDARD.iter().find(|(key, _)| *key == path).map_or(&[], |(_, names)| names)
}

impl Values<'_> {
    /// Such a variable, or any other that is no key of ours.
    pub(in crate::config) fn variable(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What such variables say about a key. They speak to every program of a deployment: what is said to us goes first.
    pub(super) fn standard(&self, path: &str) -> Option<String> {
        variables(path).iter().find_map(|name| self.variable(name)).map(str::to_owned)
    }

    /// Whether nobody else says it.
    pub(in crate::config) fn is_by_standard(&mut self, path: &'static str) -> bool {
        self.own(path).is_none() && self.standard(path).is_some()
    }
}
