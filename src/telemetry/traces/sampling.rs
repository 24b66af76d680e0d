//! Which requests are traced.

use opentelemetry::trace::{Link, SpanContext, SpanKind, TraceContextExt as _, TraceId, TraceState};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, SamplingResult, ShouldSample};

/// `tracing.sampler`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Where the caller has chosen, his choice counts.
    pub by_parent: bool,
    /// Where he has not.
    pub roots: Roots,
}

/// Of requests whose caller has not chosen, or is not asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Roots {
    /// Each.
    All,
    /// None.
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

/// A request is chosen when it comes in, with all that is done for it. What nobody asked for, such as the confirmation of a
/// password in the background, is no trace of its own.
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
