//! `tracing.*`

use super::url;
use crate::config::values::Values;
use crate::telemetry::traces::{self, Roots, Sampling, Settings};

/// Whom OpenTelemetry's own variables tell which protocol to speak.
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// Where collectors listen for OTLP over HTTP, which looks like an outage to a client that speaks gRPC.
const HTTP_PORT: u16 = 4318;

/// None for no traces: nobody names a collector, or a variable switches them off.
pub(super) fn traces(v: &mut Values<'_>) -> Option<Settings> {
    const PATH: &str = "tracing.endpoint";
    let endpoint = v.text(PATH);
    let ca_file = v.text("tracing.ca_file").map(Into::into);
    let headers = v.secret("tracing.headers");
    let service_name = v.text("tracing.service_name");
    let sampling = sampling(v);
    let endpoint = url(v, PATH, &endpoint?)?;
    if v.variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"))
        || v.variable("OTEL_TRACES_EXPORTER") == Some("none")
    {
        return None;
    }
    let protocol = PROTOCOLS.into_iter().find_map(|name| Some((name, v.variable(name)?.to_owned())));
    if let Some((name, protocol)) = protocol.filter(|(_, protocol)| protocol != "grpc")
        && v.is_by_standard(PATH)
    {
        // no reason not to serve: the variable was meant for others, too
        v.warning(PATH, format!("{name} is {protocol}, and elastauth speaks grpc only: there are no traces"));
        return None;
    }
    if endpoint.port() == Some(HTTP_PORT) {
        v.warning(PATH, "4318 is where collectors take OTLP over HTTP; elastauth speaks gRPC, which is on 4317");
    }
    let settings = Settings { endpoint, ca_file, headers, service_name, sampling };
    if let Err(error) = traces::check(&settings) {
        // it begins with the key
        v.problems.push(error.to_string());
    }
    Some(settings)
}

fn sampling(v: &mut Values<'_>) -> Sampling {
    const PATH: &str = "tracing.sampler";
    let ratio = ratio(v);
    let name = v.setting(PATH);
    let (by_parent, rest) = match name.strip_prefix("parentbased_") {
        Some(rest) => (true, rest),
        None => (false, name.as_str()),
    };
    let roots = match rest {
        "always_on" => Roots::All,
        "always_off" => Roots::None,
        "traceidratio" => Roots::Share(ratio),
        _ => {
            v.problem(PATH, "must be always_on, always_off or traceidratio, or one of these after parentbased_");
            Roots::None
        }
    };
    Sampling { by_parent, roots }
}

fn ratio(v: &mut Values<'_>) -> f64 {
    const PATH: &str = "tracing.sampler_arg";
    match v.setting(PATH).trim().parse() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
        _ => {
            v.problem(PATH, "must be a number from 0 to 1");
            0.0
        }
    }
}
