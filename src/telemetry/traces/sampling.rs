//! Decides which requests are traced.

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// Which requests are traced, by OpenTelemetry's `OTEL_TRACES_SAMPLER`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Whether the choice of the caller, which its `traceparent` says, is followed.
    pub by_parent: bool,
    /// Which requests are traced where the caller has made no choice, or it is not followed.
    pub roots: Roots,
}

/// Which requests are traced where no choice of the caller is followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Roots {
    /// Every such request is traced.
    All,
    /// No such request is traced.
    None,
    /// This share, from 0 to 1, by the number of the trace.
    Share(f64),
}

impl From<Sampling> for Sampler {
    fn from(sampling: Sampling) -> Self {
        let roots = match sampling.roots {
            Roots::All => Self::AlwaysOn,
            Roots::None => Self::AlwaysOff,
            Roots::Share(share) => Self::TraceIdRatioBased(share),
        };
        if sampling.by_parent { Self::ParentBased(Box::new(roots)) } else { roots }
    }
}

/// A request is chosen when it comes in, with all that is done for it. Work that no request asked for, such as the
/// confirmation of a password in the background, is no trace of its own.
#[derive(Clone, Debug)]
pub(super) struct OfRequests(Sampler);

impl OfRequests {
    pub(super) fn new(sampling: Sampling) -> Self {
        Self(sampling.into())
    }
}

impl ShouldSample for OfRequests {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        if *kind == SpanKind::Server {
            return self.0.should_sample(parent, trace, name, kind, attributes, links);
        }
        let above = parent.map(|context| context.span().span_context().clone());
        let chosen = above.as_ref().is_some_and(SpanContext::is_sampled);
        SamplingResult {
            decision: if chosen { SamplingDecision::RecordAndSample } else { SamplingDecision::Drop },
            attributes: Vec::new(),
            trace_state: above.map_or_else(TraceState::default, |above| above.trace_state().clone()),
        }
    }
}
