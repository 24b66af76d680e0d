//! Envoy's access log service: learns which requests with an injected credential were answered 401 by the system behind Envoy.
//!
//! Check alone does not show what was answered. An entry of the access log does, and has the dynamic metadata of the ext_authz
//! filter, in which the reply of Check has named the user (`response.rs`). No client can set that metadata. An entry has an effect
//! only where it shows a 401 with such a user; the rest of it, which the client wrote, is not even decoded.

use std::future;
use std::sync::Arc;

use ::http::Request;
use bytes::Bytes;
use prost::Message as _;
use prost_types::value::Kind;
use tokio::sync::{Semaphore, watch};
use tonic::{Response, Status, Streaming};

use super::response::USER;
use super::wire::access_log::{StreamAccessLogsMessage, StreamAccessLogsResponse};
use super::wire::access_log_server::access_log_service_server::{AccessLogService, AccessLogServiceServer};
use super::wire::log_data::HttpAccessLogEntry;
use crate::authz::Authorizer;
use crate::credentials::{Provisioner, Store};
use crate::identity::Username;
use crate::login::IdentityProvider;
use crate::metrics::Metrics;

/// The path of a stream.
const STREAM: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// Where Envoy keeps the dynamic metadata of a reply of Check, whatever the filter is called in its configuration.
const NAMESPACE: &str = "envoy.filters.http.ext_authz";

/// The most bytes of one message. Envoy sends a batch when it has 16 KiB (`buffer_size_bytes`), and an entry holds the path and a few
/// headers, which are 60 KiB by default.
const MAX_MESSAGE: usize = 128 * 1024;

/// The most streams at once: each worker of an Envoy has one. With [`MAX_MESSAGE`] it bounds the memory for messages.
const MAX_STREAMS: usize = 1024;

const UNAUTHORIZED: u32 = 401;

/// The service, for all streams.
pub(super) struct Service<K: IdentityProvider, S, P> {
    authorizer: Arc<Authorizer<K, S, P>>,
    metrics: Option<Arc<Metrics>>,
    streams: Semaphore,
}

/// Ends with the connection: when the other half is dropped, its streams are to end.
#[derive(Clone)]
struct Closing(watch::Receiver<()>);

/// The service for the router of the port.
pub(super) fn service<K: IdentityProvider, S: Store, P: Provisioner>(
    authorizer: Arc<Authorizer<K, S, P>>,
    metrics: Option<Arc<Metrics>>,
) -> AccessLogServiceServer<Service<K, S, P>> {
    let service = Service { authorizer, metrics, streams: Semaphore::new(MAX_STREAMS) };
    AccessLogServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE)
}

/// Lets a stream end when the sender of `closed` is dropped. Envoy never ends one by itself, and a connection that is to be closed
/// would wait for it. Calls of other methods are left as they are.
pub(super) fn let_end_with<B>(request: &mut Request<B>, closed: &watch::Receiver<()>) {
    if request.uri().path() == STREAM {
        request.extensions_mut().insert(Closing(closed.clone()));
    }
}

#[tonic::async_trait]
impl<K: IdentityProvider, S: Store, P: Provisioner> AccessLogService for Service<K, S, P> {
    async fn stream_access_logs(
        &self,
        call: tonic::Request<Streaming<StreamAccessLogsMessage>>,
    ) -> Result<Response<StreamAccessLogsResponse>, Status> {
        let Ok(_stream) = self.streams.try_acquire() else {
            return Err(Status::resource_exhausted("too many streams of the access log"));
        };
        let closing = call.extensions().get::<Closing>().cloned();
        let mut messages = call.into_inner();
        let mut closed = std::pin::pin!(async {
            match closing {
                // there is never a value: an error means that the sender is gone
                Some(Closing(mut closing)) => drop(closing.changed().await),
                None => future::pending().await,
            }
        });
        loop {
            let message = tokio::select! {
                () = &mut closed => None,
                message = messages.message() => message?,
            };
            let Some(message) = message else { return Ok(Response::new(StreamAccessLogsResponse {})) };
            for username in rejected(message) {
                if let Some(metrics) = &self.metrics {
                    metrics.credential_rejected();
                }
                self.authorizer.rejected(&username);
            }
        }
    }
}

/// The users of those entries in a message that are requests with an injected credential and the answer 401.
fn rejected(message: StreamAccessLogsMessage) -> impl Iterator<Item = Username> {
    message.http_logs.into_iter().flat_map(|entries| entries.log_entry).filter_map(rejected_user)
}

/// An entry that cannot be read is passed over: the others are worth as much as before.
fn rejected_user(entry: Bytes) -> Option<Username> {
    let entry = HttpAccessLogEntry::decode(entry).ok()?;
    if entry.response?.response_code? != UNAUTHORIZED {
        return None;
    }
    let of_filter = entry.common_properties?.metadata?.filter_metadata.remove(NAMESPACE)?;
    match of_filter.fields.get(USER)?.kind.as_ref()? {
        Kind::StringValue(name) => Username::parse(name).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envoy::wire::access_log::stream_access_logs_message::HttpAccessLogEntries;
    use crate::envoy::wire::core::Metadata;
    use crate::envoy::wire::log_data::{AccessLogCommon, HttpResponseProperties};
    use prost_types::{Struct, Value};

    fn entry(code: Option<u32>, namespace: &str, field: &str, kind: Kind) -> Vec<u8> {
        let fields = [(field.to_owned(), Value { kind: Some(kind) })].into();
        let filter_metadata = [(namespace.to_owned(), Struct { fields })].into();
        let metadata = Some(Metadata { filter_metadata, ..Metadata::default() });
        let entry = HttpAccessLogEntry {
            common_properties: Some(AccessLogCommon { metadata }),
            response: Some(HttpResponseProperties { response_code: code }),
        };
        entry.encode_to_vec()
    }

    fn users(entries: Vec<Vec<u8>>) -> Vec<String> {
        let log_entry = entries.into_iter().map(Bytes::from).collect();
        let message = StreamAccessLogsMessage { http_logs: Some(HttpAccessLogEntries { log_entry }) };
        rejected(message).map(|username| username.as_str().to_owned()).collect()
    }

    #[test]
    fn only_a_401_with_the_user_of_our_own_reply_counts_and_what_cannot_be_read_is_passed_over() {
        let name = |name: &str| Kind::StringValue(name.to_owned());
        let found = users(vec![
            entry(Some(401), NAMESPACE, "user", name("ann")),
            entry(Some(200), NAMESPACE, "user", name("fine")),
            entry(Some(403), NAMESPACE, "user", name("forbidden")),
            entry(None, NAMESPACE, "user", name("no-answer")),
            entry(Some(401), "envoy.filters.http.jwt_authn", "user", name("of-another-filter")),
            entry(Some(401), NAMESPACE, "ext_authz_duration", Kind::NumberValue(1.0)),
            entry(Some(401), NAMESPACE, "user", Kind::NumberValue(1.0)),
            entry(Some(401), NAMESPACE, "user", name("no\nname")),
            b"\xff\xff\xff".to_vec(),
            Vec::new(),
            entry(Some(401), NAMESPACE, "user", name("bob")),
        ]);
        assert_eq!(found, ["ann", "bob"]);
        assert_eq!(rejected(StreamAccessLogsMessage { http_logs: None }).count(), 0, "entries of TCP connections");
    }
}
