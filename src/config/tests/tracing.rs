//! `tracing.*`, and OpenTelemetry's own variables.

use super::*;
use crate::telemetry::traces::{Roots, Sampling};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

fn traces(text: &str, pairs: &[(&str, &str)]) -> Option<telemetry::traces::Settings> {
    load_text(&format!("{BASE}{text}"), &env(pairs)).unwrap().settings.traces
}

fn endpoint(text: &str, pairs: &[(&str, &str)]) -> Option<String> {
    traces(text, pairs).map(|traces| traces.endpoint.to_string())
}

#[test]
fn nothing_is_traced_unless_a_collector_is_named() {
    assert!(traces("", &[]).is_none());
    assert!(traces("", &[("OTEL_TRACES_SAMPLER", "always_on"), ("OTEL_SERVICE_NAME", "x")]).is_none());
    let traces = traces("tracing: {endpoint: \"http://127.0.0.1:4317\"}\n", &[]).unwrap();
    assert_eq!(traces.sampling, Sampling { by_parent: true, roots: Roots::All });
    assert_eq!((traces.service_name, traces.ca_file, traces.headers.is_none()), (None, None, true));
}

#[test]
fn variables_that_speak_to_every_program_count_after_those_that_speak_to_us() {
    let ours = "tracing: {endpoint: \"https://ours:4317\"}\n";
    let (all, traces_only) =
        ((ENDPOINT, "https://all:4317"), ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://traces:4317"));
    for (text, pairs, expected) in [
        ("", &[all][..], "https://all:4317/"),
        ("", &[all, traces_only], "https://traces:4317/"),
        (ours, &[all, traces_only], "https://ours:4317/"),
        (ours, &[all, ("ELASTAUTH_TRACING_ENDPOINT", "https://env:4317")], "https://env:4317/"),
    ] {
        assert_eq!(endpoint(text, pairs).unwrap(), expected);
    }
    let named = traces("", &[all, ("OTEL_SERVICE_NAME", "gatekeeper")]).unwrap();
    assert_eq!(named.service_name.unwrap(), "gatekeeper");
}

#[test]
fn opentelemetrys_switches_turn_them_off() {
    let collector = (ENDPOINT, "https://all:4317");
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert_eq!(endpoint("", &[collector, off]), None, "{off:?}");
    }
    // meant for programs that speak it: no reason not to serve
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let loaded = load_text(BASE, &env(&[collector, protocol])).unwrap();
    assert!(loaded.settings.traces.is_none() && warns(&loaded, "elastauth speaks grpc only"));
    let ours = "tracing: {endpoint: \"https://ours:4317\"}\n";
    assert!(endpoint(ours, &[collector, protocol]).is_some(), "ours was meant for us");
    let loaded = load_text(&format!("{BASE}tracing: {{endpoint: \"https://ours:4318\"}}\n"), &env(&[])).unwrap();
    assert!(warns(&loaded, "4317"));
}

#[test]
fn samplers_have_opentelemetrys_names() {
    for (name, share, by_parent, roots) in [
        ("always_on", "1", false, Roots::All),
        ("always_off", "1", false, Roots::None),
        ("traceidratio", "0.25", false, Roots::Share(0.25)),
        ("parentbased_always_off", "1", true, Roots::None),
        ("parentbased_traceidratio", "0.5", true, Roots::Share(0.5)),
    ] {
        let pairs = [(ENDPOINT, "https://c"), ("OTEL_TRACES_SAMPLER", name), ("OTEL_TRACES_SAMPLER_ARG", share)];
        assert_eq!(traces("", &pairs).unwrap().sampling, Sampling { by_parent, roots }, "{name}");
    }
    let bad = "tracing: {endpoint: \"collector:4317\"}\n";
    let pairs = [("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
    let problems = load_text(&format!("{BASE}{bad}"), &env(&pairs)).unwrap_err().to_string();
    for path in ["OTEL_TRACES_SAMPLER (", "OTEL_TRACES_SAMPLER_ARG (", "tracing.endpoint ("] {
        assert!(problems.contains(path), "{path}: {problems}");
    }
}

#[test]
fn what_the_collector_is_shown_is_a_secret() {
    let text = format!("{BASE}tracing: {{endpoint: \"https://c\", headers: \"authorization=Bearer%20key\"}}\n");
    let loaded = load_text(&text, &env(&[])).unwrap();
    assert!(loaded.settings.traces.is_some_and(|traces| traces.headers.is_some()));
    assert!(!format!("{:?}", loaded.effective).contains("Bearer"));
}
