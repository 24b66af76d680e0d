//! Logs, metrics and traces. The variables of OpenTelemetry are those of its specification, "Environment Variable
//! Specification" and "OTLP Exporter Configuration".

use std::path::PathBuf;

use secrecy::SecretString;
use tracing::Level;

use super::key::{key, section, unset};
use crate::telemetry::Format;

section! {
    LOG_LEVEL: Level = key("log_level", "info", "`error`, `warn`, `info`, `debug`, `trace`");
    LOG_FORMAT: Format = key("log_format", "json", "`json` or `text`");
    ENABLE_METRICS: bool = key("enable_metrics", "false", "`/metrics` for Prometheus on `listen`");
    TRACING_ENDPOINT: Option<String> = unset(
        "tracing.endpoint",
        "collector of traces (OTLP over gRPC), such as `http://127.0.0.1:4317`: turns them on; else `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`",
    )
    .or_from(&["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
    TRACING_CA_FILE: Option<PathBuf> = key(
        "tracing.ca_file",
        "the system's",
        "PEM file with the authorities to trust; else `OTEL_EXPORTER_OTLP_CERTIFICATE`",
    )
    .restricting()
    .or_from(&["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"]);
    TRACING_HEADERS: Option<SecretString> = unset(
        "tracing.headers",
        "`name=value,name=value` for the collector, beside those of `OTEL_EXPORTER_OTLP_HEADERS`",
    );
}
