//! Reads where spans are sent, and which requests are traced: `tracing.*`, and OpenTelemetry's own variables.

use super::address::url;
use crate::config::keys::observability::{TRACING_CA_FILE, TRACING_ENDPOINT, TRACING_HEADERS};
use crate::config::values::Values;
use crate::telemetry::traces::{self, Roots, Sampling, Settings};

/// OpenTelemetry's variables for the protocol that exporters speak.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// The port of collectors for OTLP over HTTP, which looks like an outage to a client that speaks gRPC.
const HTTP_PORT: u16 = 4318;

/// None for no traces: no collector is named, or a variable switches them off.
pub(super) fn traces(v: &mut Values<'_>) -> Option<Settings> {
    let endpoint = v.get(&TRACING_ENDPOINT);
    let ca_file = v.get(&TRACING_CA_FILE);
    let headers = v.get(&TRACING_HEADERS);
    let service_name = v.foreign("OTEL_SERVICE_NAME").map(str::to_owned);
    let sampling = sampling(v);
    let endpoint = url(v, &TRACING_ENDPOINT, &endpoint?)?;
    if v.variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || v.variable("OTEL_TRACES_EXPORTER") == Some("none")
    {
        return None;
    }
    let protocol = PROTOCOLS.into_iter().find_map(|name| Some((name, v.variable(name)?)));
    if let Some((name, protocol)) = protocol.filter(|(_, protocol)| *protocol != "grpc")
        && v.is_by_fallback(&TRACING_ENDPOINT)
    {
        // no reason to refuse the start: the variables were meant for other programs, too
        v.warning(
            &TRACING_ENDPOINT,
            format!("{name} is {protocol}, and elastauth speaks grpc only: there are no traces"),
        );
        return None;
    }
    if endpoint.port() == Some(HTTP_PORT) {
        v.warning(
            &TRACING_ENDPOINT,
            "4318 is where collectors take OTLP over HTTP; elastauth speaks gRPC, which is on 4317",
        );
    }
    let settings = Settings { endpoint, ca_file, headers, service_name, sampling };
    if let Err(error) = traces::check(&settings) {
        // it begins with the key
        v.problems.push(error.to_string());
    }
    Some(settings)
}

/// As `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG` name it; `parentbased_always_on` unless set.
fn sampling(v: &mut Values<'_>) -> Sampling {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    let ratio = ratio(v);
    let Some(name) = v.foreign(SAMPLER) else { return Sampling { by_parent: true, roots: Roots::All } };
    let (by_parent, rest) = match name.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    let roots = match rest {
        "always_on" => Roots::All,
        "always_off" => Roots::None,
        "traceidratio" => Roots::Share(ratio),
        _ => {
            v.problems.push(format!(
                "{SAMPLER} (environment): must be always_on, always_off or traceidratio, or one of these after parentbased_"
            ));
            Roots::None
        }
    };
    Sampling { by_parent, roots }
}

fn ratio(v: &mut Values<'_>) -> f64 {
    const SHARE: &str = "OTEL_TRACES_SAMPLER_ARG";
    let Some(text) = v.foreign(SHARE) else { return 1.0 };
    match text.trim().parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            v.problems.push(format!("{SHARE} (environment): must be a number from 0 to 1"));
            0.0
        }
    }
}
