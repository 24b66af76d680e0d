//! Exports spans to the collector, and logs when it does not take them.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use opentelemetry_otlp::{SpanExporter as Otlp, WithTonicConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use parking_lot::Mutex;
use secrecy::{ExposeSecret as _, SecretString};
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use super::settings::Settings;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a batch (OpenTelemetry's default of `OTEL_EXPORTER_OTLP_TIMEOUT`).
const TIMEOUT: Duration = Duration::from_secs(10);
/// Shortest time between two log lines about a collector that fails.
const ALERTS: Duration = Duration::from_secs(60);
/// How many characters of a collector's error are logged.
const SHOWN: usize = 200;

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file with the authorities cannot be read.
    #[error("tracing.ca_file: {path}: {source}")]
    Read {
        /// `tracing.ca_file`, as the configuration has it.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// `tracing.headers` is not a list of `name=value`.
    #[error("tracing.headers: must be name=value, separated by commas")]
    Headers,
    /// The address, or the TLS settings, cannot be used.
    #[error("tracing.endpoint: {0}")]
    Endpoint(#[from] tonic::transport::Error),
    /// OpenTelemetry refuses to make an exporter.
    #[error("tracing.endpoint: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// Makes the exporter, which connects when it first sends something.
pub(super) fn exporter(settings: &Settings) -> Result<Collector, Error> {
    let metadata = settings.headers.as_ref().map(headers).transpose()?.unwrap_or_default();
    let builder = Otlp::builder().with_tonic().with_channel(endpoint(settings)?.connect_lazy()).with_metadata(metadata);
    Ok(Collector { exporter: builder.build()?, reported: Mutex::default() })
}

/// Fails where [`exporter`] would.
pub(super) fn check(settings: &Settings) -> Result<(), Error> {
    endpoint(settings)?;
    settings.headers.as_ref().map(headers).transpose()?;
    Ok(())
}

fn endpoint(settings: &Settings) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(settings.endpoint.to_string())?;
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
    if settings.endpoint.scheme() != "https" {
        return Ok(endpoint);
    }
    // ring for the whole process; an error means that it is installed already
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = match &settings.ca_file {
        Some(path) => {
            let pem = std::fs::read(path).map_err(|source| Error::Read { path: path.clone(), source })?;
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    Ok(endpoint.tls_config(tls)?)
}

/// As in `OTEL_EXPORTER_OTLP_HEADERS`: values are percent-encoded.
fn headers(text: &SecretString) -> Result<MetadataMap, Error> {
    let mut metadata = MetadataMap::new();
    for pair in text.expose_secret().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(Error::Headers)?;
        let value = percent_encoding::percent_decode_str(value.trim()).decode_utf8().map_err(|_| Error::Headers)?;
        let name: AsciiMetadataKey = name.trim().to_lowercase().parse().map_err(|_| Error::Headers)?;
        let mut value: AsciiMetadataValue = value.parse().map_err(|_| Error::Headers)?;
        value.set_sensitive(true);
        metadata.insert(name, value);
    }
    Ok(metadata)
}

/// The exporter, with the time of its last log line.
#[derive(Debug)]
pub(super) struct Collector {
    exporter: Otlp,
    reported: Mutex<Reported>,
}

/// What the log says about the collector.
#[derive(Debug, Default)]
struct Reported {
    last: Option<Instant>,
    /// The last line says that the collector fails, so that its recovery is logged too.
    failing: bool,
}

impl Collector {
    /// At most one line a minute that spans are lost, and one after it that they are not any more.
    fn report(&self, result: &OTelSdkResult) {
        let mut reported = self.reported.lock();
        match result {
            Ok(()) if reported.failing => {
                reported.failing = false;
                tracing::info!("The collector takes traces again");
            }
            Err(error) if reported.last.is_none_or(|last| last.elapsed() >= ALERTS) => {
                *reported = Reported { last: Some(Instant::now()), failing: true };
                let error: String = error.to_string().chars().take(SHOWN).collect();
                tracing::warn!(error, "The collector does not take traces: they are lost, and requests are answered");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl SpanExporter for Collector {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        self.report(&result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
