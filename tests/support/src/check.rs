//! A gRPC client of Check that sends any bytes and returns the bytes of the reply.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base64::Engine as _;
use bytes::{Buf as _, BufMut as _, Bytes};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{self, HttpRequest};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use hyper_util::rt::TokioIo;
use prost::Message as _;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsConnector;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::{PathAndQuery, Uri};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tower::service_fn;

use crate::process::PATIENCE;
use crate::secrets;

/// A gRPC connection to one elastauth.
#[derive(Clone)]
pub struct Checker(tonic::client::Grpc<Channel>);

impl Checker {
    /// Connects over plain TCP to `address`, which is `127.0.0.1:port`.
    pub async fn connect(address: &str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self(tonic::client::Grpc::new(channel))
    }

    /// Connects over TLS. A failure of the handshake may only be reported by the first call.
    pub async fn connect_tls(address: &str, config: &Arc<ClientConfig>) -> Result<Self, tonic::transport::Error> {
        let (address, connector) = (address.to_owned(), TlsConnector::from(Arc::clone(config)));
        let connect = service_fn(move |_: Uri| {
            let (address, connector) = (address.clone(), connector.clone());
            async move {
                let stream = TcpStream::connect(address).await?;
                let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
                io::Result::Ok(TokioIo::new(connector.connect(name, stream).await?))
            }
        });
        let channel = Endpoint::from_static("http://elastauth").connect_with_connector(connect).await?;
        Ok(Self(tonic::client::Grpc::new(channel)))
    }

    /// Connects to the Unix socket at this path.
    pub async fn connect_unix(path: &Path) -> Result<Self, tonic::transport::Error> {
        let path = path.to_owned();
        let connect = service_fn(move |_: Uri| {
            let path = path.clone();
            async move { io::Result::Ok(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        let channel = Endpoint::from_static("http://elastauth").connect_with_connector(connect).await?;
        Ok(Self(tonic::client::Grpc::new(channel)))
    }

    /// The standard health check (`grpc.health.v1`): whether this service is reported as serving.
    pub async fn serving(&self, service: &str) -> Result<bool, Status> {
        let answer = self.call("/grpc.health.v1.Health/Check", Request::new(health(service))).await?;
        Ok(answer[..] == [0x08, 1])
    }

    /// Subscribes to the same: a message arrives whenever the status changes.
    pub async fn watch(&self, service: &str) -> Streaming<Bytes> {
        self.stream("/grpc.health.v1.Health/Watch", health(service)).await.unwrap()
    }

    /// Begins a call of `Check` that never sends its message; `begun` is completed when the head of the call has been sent.
    pub async fn never_ending(self, begun: oneshot::Sender<()>) -> Result<(), Status> {
        let mut client = self.0;
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let method = PathAndQuery::from_static("/envoy.service.auth.v3.Authorization/Check");
        let message = NeverEnding(Some(begun));
        client.client_streaming(Request::new(message), method, Plain).await.map(|_: tonic::Response<Bytes>| ())
    }

    /// Calls a method that answers one message with a stream.
    pub async fn stream(&self, method: &'static str, request: Vec<u8>) -> Result<Streaming<Bytes>, Status> {
        let mut client = self.0.clone();
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = client.server_streaming(Request::new(request), PathAndQuery::from_static(method), Plain).await?;
        Ok(answer.into_inner())
    }

    /// Calls `Check` with these bytes as the message.
    pub fn check(&self, request: Vec<u8>) -> impl Future<Output = Result<Bytes, Status>> + use<> {
        self.call("/envoy.service.auth.v3.Authorization/Check", Request::new(request))
    }

    /// Asks with this bearer token, as Envoy does.
    pub async fn ask(&self, token: &str) -> Answer {
        self.try_ask(token).await.unwrap()
    }

    /// As [`Self::ask`], for a test that ends the process meanwhile.
    pub async fn try_ask(&self, token: &str) -> Result<Answer, Status> {
        secrets::keep_token(token);
        let reply = self.check(bearer(token)).await?;
        Ok(Answer::read(&reply))
    }

    /// Asks again as long as the answer is to come back later.
    pub async fn ask_patiently(&self, token: &str) -> Answer {
        let ends = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(token).await;
            if answer != Answer::Denied(503) {
                return answer;
            }
            assert!(Instant::now() < ends, "still 503");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Calls a method with a stream of these messages. The answer comes when the server ends it.
    pub fn send_all(
        &self,
        method: &'static str,
        messages: mpsc::Receiver<Vec<u8>>,
    ) -> impl Future<Output = Result<Bytes, Status>> + use<> {
        let mut client = self.0.clone();
        async move {
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let messages = Request::new(ReceiverStream::new(messages));
            let answer = client.client_streaming(messages, PathAndQuery::from_static(method), Plain).await?;
            Ok(answer.into_inner())
        }
    }

    /// Calls any unary method.
    pub fn call(
        &self,
        method: &'static str,
        request: Request<Vec<u8>>,
    ) -> impl Future<Output = Result<Bytes, Status>> + use<> {
        let mut client = self.0.clone();
        async move {
            client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let answer = client.unary(request, PathAndQuery::from_static(method), Plain).await?;
            Ok(answer.into_inner())
        }
    }
}

/// Encodes a `HealthCheckRequest` for this service.
fn health(service: &str) -> Vec<u8> {
    let mut request = vec![0x0a, u8::try_from(service.len()).unwrap()];
    request.extend(service.as_bytes());
    request
}

/// Encodes a `CheckRequest` with this bearer token and nothing else.
#[must_use]
pub fn bearer(token: &str) -> Vec<u8> {
    let headers = [("authorization".to_owned(), format!("Bearer {token}"))].into();
    let http = HttpRequest { headers, ..HttpRequest::default() };
    let request = Some(attribute_context::Request { time: None, http: Some(http) });
    let attributes = Some(AttributeContext { request, ..AttributeContext::default() });
    CheckRequest { attributes }.encode_to_vec()
}

/// The decision of Check, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The request was let through with this user and password.
    Allowed {
        /// The username in Elasticsearch.
        user: String,
        /// The password in the clear, as the Basic credential holds it.
        password: String,
    },
    /// The request was refused with this HTTP status.
    Denied(i32),
}

impl Answer {
    /// Decodes a reply, and panics when it is not well formed.
    #[must_use]
    pub fn read(reply: &[u8]) -> Self {
        let text = String::from_utf8_lossy(reply);
        let reply = CheckResponse::decode(reply).unwrap();
        match reply.http_response.unwrap() {
            HttpResponse::OkResponse(ok) => {
                assert_eq!(reply.status.unwrap().code, 0);
                let header = ok.headers[0].header.as_ref().unwrap();
                let basic = header.value.strip_prefix("Basic ").unwrap();
                let pair = base64::engine::general_purpose::STANDARD.decode(basic).unwrap();
                let pair = String::from_utf8(pair).unwrap();
                let (user, password) = pair.split_once(':').unwrap();
                secrets::keep("a password", password);
                Self::Allowed { user: user.to_owned(), password: password.to_owned() }
            }
            HttpResponse::DeniedResponse(denied) => {
                assert_ne!(reply.status.unwrap().code, 0, "an unset status means allow");
                secrets::are_not_in("a denial", &text);
                Self::Denied(denied.status.unwrap().code)
            }
            HttpResponse::ErrorResponse(_) => panic!("an error would let failure_mode_allow decide"),
        }
    }

    /// The password; `None` when the request was refused.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        match self {
            Self::Allowed { password, .. } => Some(password),
            Self::Denied(_) => None,
        }
    }
}

/// The time after which a refused client may come back, if the reply contains it.
#[must_use]
pub fn retry_after(reply: &[u8]) -> Option<Duration> {
    let reply = CheckResponse::decode(reply).unwrap();
    let Some(HttpResponse::DeniedResponse(denied)) = reply.http_response else { return None };
    let mut headers = denied.headers.into_iter().filter_map(|option| option.header);
    let seconds = headers.find(|header| header.key == "retry-after")?.value;
    Some(Duration::from_secs(seconds.parse().unwrap()))
}

/// A stream of messages that never yields one; it is polled first when the head of the call has been sent.
struct NeverEnding(Option<oneshot::Sender<()>>);

impl tokio_stream::Stream for NeverEnding {
    type Item = Vec<u8>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
        if let Some(begun) = self.0.take() {
            let _ = begun.send(());
        }
        Poll::Pending
    }
}

/// A codec that passes bytes unchanged.
#[derive(Clone, Copy, Default)]
struct Plain;

impl Codec for Plain {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
