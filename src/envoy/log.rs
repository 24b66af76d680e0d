//! Writes one log line for each decision: refusals at info, outages at warn, allowed requests at debug.

use tonic::codegen::http::Response;

use super::tls::peer::UnlistedPeer;
use super::wire::http::Malformed;
use crate::authz::{Because, Decision, Refusal, Request};

pub(super) fn decision(request: Option<&Request>, decision: &Decision) {
    match decision {
        Decision::Allow(obtained) => {
            let request_id = request.map(|r| tracing::field::display(&r.request_id));
            let user = obtained.credential.username().as_str();
            tracing::debug!(request_id, user, source = ?obtained.source, "Request allowed");
        }
        Decision::Preflight => tracing::debug!("Preflight allowed"),
        Decision::Deny(refusal) => denied(request, refusal),
        Decision::Respond(respond) => match &respond.because {
            Because::Refused(refusal) => denied(request, refusal),
            Because::Login(step) => {
                let request_id = request.map(|r| tracing::field::display(&r.request_id));
                tracing::debug!(request_id, status = respond.response.status, "{step}");
            }
        },
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

/// Logs a message that is no `CheckRequest`.
pub(super) fn undecodable(error: &Malformed) {
    tracing::info!(reason = "message_undecodable", %error, "Request denied");
}

/// Logs a call that tonic refuses before it reaches the service: a message over the limit, an unknown method. A reply of the
/// service has its status in the trailers, a refusal by tonic in the headers.
pub(super) fn refused_by_tonic<B>(response: &Response<B>) {
    if let Some(status) = response.headers().get("grpc-status").filter(|status| *status != "0") {
        let grpc_status = status.to_str().unwrap_or("?");
        tracing::info!(reason = "call_refused", grpc_status, "Request denied");
    }
}

/// Logs a call of a client with a valid certificate that is not on the list.
pub(super) fn unlisted_peer(peer: &UnlistedPeer, from: &str) {
    tracing::warn!(reason = "peer_not_allowed", peer = peer.0, from, "Request denied");
}

/// Logs a failed handshake; at debug only when the peer closed the connection, as probes of the port do.
pub(super) fn handshake(error: &std::io::Error, from: &str) {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        tracing::debug!(reason = "tls_handshake", %error, from, "Connection refused");
    } else {
        tracing::info!(reason = "tls_handshake", %error, from, "Connection refused");
    }
}
