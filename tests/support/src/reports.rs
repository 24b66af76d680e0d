//! A client of the access log service that reports as Envoy does, and in ways that Envoy never would.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Metadata;
use envoy_types::pb::envoy::data::accesslog::v3::{AccessLogCommon, HttpAccessLogEntry, HttpResponseProperties};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, UInt32Value, Value};
use prost::Message as _;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::check::Checker;

const STREAM: &str = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs";

/// The fields of `StreamAccessLogsMessage` with entries of HTTP requests and of TCP connections.
const HTTP: u32 = 2;
const TCP: u32 = 3;

/// One open stream of the access log.
pub struct Reporter(mpsc::Sender<Vec<u8>>);

/// One encoded entry, and the field of the message in which it is sent.
pub struct Entry {
    field: u32,
    bytes: Vec<u8>,
}

/// What the server answers when the stream has ended.
pub struct Ended(JoinHandle<Result<Bytes, Status>>);

impl Ended {
    /// Waits for the end of the stream.
    pub async fn wait(self) -> Result<(), Status> {
        self.0.await.unwrap().map(|answer| assert!(answer.is_empty(), "the answer has no fields"))
    }
}

impl Reporter {
    /// Opens a stream over plain TCP to `address`, which is `127.0.0.1:port`.
    pub async fn open(address: &str) -> (Self, Ended) {
        Self::over(&Checker::connect(address).await)
    }

    /// The same over TLS.
    pub async fn open_tls(address: &str, config: &Arc<ClientConfig>) -> (Self, Ended) {
        Self::over(&Checker::connect_tls(address, config).await.unwrap())
    }

    fn over(checker: &Checker) -> (Self, Ended) {
        let (sender, messages) = mpsc::channel(1);
        (Self(sender), Ended(tokio::spawn(checker.send_all(STREAM, messages))))
    }

    /// Sends these entries, those that follow each other in one field as one message.
    pub async fn send(&mut self, entries: &[Entry]) {
        for together in entries.chunk_by(|one, next| one.field == next.field) {
            let mut entries = Vec::new();
            for entry in together {
                delimited(&mut entries, 1, &entry.bytes);
            }
            let mut message = Vec::new();
            delimited(&mut message, together[0].field, &entries);
            self.0.send(message).await.unwrap();
        }
    }
}

impl Entry {
    /// A request with this answer, to which the ext_authz filter named this user.
    #[must_use]
    pub fn http(code: u32, user: &str) -> Self {
        let value = Value { kind: Some(Kind::StringValue(user.to_owned())) };
        let fields = [("user".to_owned(), value)].into();
        let filter_metadata = [("envoy.filters.http.ext_authz".to_owned(), Struct { fields })].into();
        let metadata = Some(Metadata { filter_metadata, ..Metadata::default() });
        let response_code = Some(UInt32Value { value: code });
        let entry = HttpAccessLogEntry {
            common_properties: Some(AccessLogCommon { metadata, ..AccessLogCommon::default() }),
            response: Some(HttpResponseProperties { response_code, ..HttpResponseProperties::default() }),
            ..HttpAccessLogEntry::default()
        };
        Self { field: HTTP, bytes: entry.encode_to_vec() }
    }

    /// The same with so many bytes more, in a field that no version of the API has.
    #[must_use]
    pub fn padded(mut self, bytes: usize) -> Self {
        delimited(&mut self.bytes, 999, &vec![b'x'; bytes]);
        self
    }

    /// A TCP connection.
    #[must_use]
    pub fn tcp() -> Self {
        Self { field: TCP, ..Self::http(401, "of-a-tcp-connection") }
    }

    /// Bytes that are no entry, among others that are.
    #[must_use]
    pub fn unreadable() -> Self {
        Self { field: HTTP, bytes: vec![0xff; 3] }
    }
}

fn delimited(into: &mut Vec<u8>, field: u32, content: &[u8]) {
    prost::encoding::encode_key(field, prost::encoding::WireType::LengthDelimited, into);
    prost::encoding::encode_varint(u64::try_from(content.len()).unwrap(), into);
    into.extend_from_slice(content);
}
