//! One line per decision: refusals at info, outages at warn, passes at debug.

use crate::authz::{Decision, Refusal, Request};

pub(super) fn decision(request: Option<&Request>, decision: &Decision) {
    match decision {
        Decision::Allow(obtained) => {
            let request_id = request.map(|r| tracing::field::display(&r.request_id));
            let user = obtained.credential.username().as_str();
            tracing::debug!(request_id, user, source = ?obtained.source, "Request allowed");
        }
        Decision::Preflight => tracing::debug!("Preflight allowed"),
        Decision::Deny(refusal) => denied(request, refusal),
    }
}

fn denied(request: Option<&Request>, refusal: &Refusal) {
    let verdict = refusal.verdict();
    let nothing = Request::default();
    let Request { request_id, stream_id, method, host, path, .. } = request.unwrap_or(&nothing);
    let (reason, status) = (verdict.reason, verdict.http);
    if refusal.is_outage() {
        tracing::warn!(reason, status, %request_id, %stream_id, %method, %host, %path, error = %refusal, "Request denied");
    } else {
        tracing::info!(reason, status, %request_id, %stream_id, %method, %host, %path, error = %refusal, "Request denied");
    }
}

/// Bytes that are no `CheckRequest`.
pub(super) fn undecodable(error: &prost::DecodeError) {
    tracing::info!(reason = "message_undecodable", %error, "Request denied");
}
