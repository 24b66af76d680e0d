//! The request that causes a call of Elasticsearch.

/// The id and the trace of a request. They are passed on with each call, so that the logs and traces of Elasticsearch can be
/// joined with Envoy's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    request_id: String,
    traceparent: String,
}

impl RequestContext {
    /// Both come from the client, and what does not fit into a header, or is no `traceparent` (W3C Trace Context §3.2),
    /// is left out.
    #[must_use]
    pub(crate) fn new(request_id: &str, traceparent: &str) -> Self {
        let plain = request_id.len() <= 128 && request_id.bytes().all(|byte| byte.is_ascii_graphic());
        let request_id = if plain { request_id.to_owned() } else { String::new() };
        let traceparent = if is_traceparent(traceparent) { traceparent.to_owned() } else { String::new() };
        Self { request_id, traceparent }
    }

    /// The value of `x-request-id`; empty if there is none.
    #[must_use]
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The value of `traceparent`; empty if there is none.
    #[must_use]
    pub(crate) fn traceparent(&self) -> &str {
        &self.traceparent
    }
}

fn is_traceparent(text: &str) -> bool {
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([2, 32, 16, 2]) && parts.iter().all(|part| hex(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_well_formed_is_passed_on() {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = RequestContext::new("7c2f", trace);
        assert_eq!((context.request_id(), context.traceparent()), ("7c2f", trace));
        for (id, trace) in [
            ("a\u{fffd}b", ""),
            ("a b", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"),
            (&*"x".repeat(129), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"),
            ("", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"),
        ] {
            assert_eq!(RequestContext::new(id, trace), RequestContext::default(), "{id} {trace}");
        }
    }
}
