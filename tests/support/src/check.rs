//! A gRPC client of Check that sends any bytes and answers the bytes that came back.

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
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::{PathAndQuery, Uri};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tower::service_fn;

use crate::process::PATIENCE;
use crate::secrets;

/// A connection to one elastauth.
#[derive(Clone)]
pub struct Checker(tonic::client::Grpc<Channel>);

impl Checker {
    /// `address` is `127.0.0.1:port`.
    pub async fn connect(address: &str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self(tonic::client::Grpc::new(channel))
    }

    /// Over TLS. What goes wrong in the handshake may show here or at the first call.
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

    /// Over a Unix socket.
    pub async fn connect_unix(path: &Path) -> Result<Self, tonic::transport::Error> {
        let path = path.to_owned();
        let connect = service_fn(move |_: Uri| {
            let path = path.clone();
            async move { io::Result::Ok(TokioIo::new(UnixStream::connect(path).await?)) }
        });
        let channel = Endpoint::from_static("http://elastauth").connect_with_connector(connect).await?;
        Ok(Self(tonic::client::Grpc::new(channel)))
    }

    /// The standard health check (`grpc.health.v1`) of a service: whether it serves.
    pub async fn serving(&self, service: &str) -> Result<bool, Status> {
        let answer = self.call("/grpc.health.v1.Health/Check", Request::new(health(service))).await?;
        Ok(answer[..] == [0x08, 1])
    }

    /// The same, told anew whenever it changes.
    pub async fn watch(&self, service: &str) -> Streaming<Bytes> {
        self.stream("/grpc.health.v1.Health/Watch", health(service)).await.unwrap()
    }

    /// A call of `Check` whose message is never sent. `begun` is told when the call is on its way.
    pub async fn never_ending(self, begun: oneshot::Sender<()>) -> Result<(), Status> {
        let mut client = self.0;
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let method = PathAndQuery::from_static("/envoy.service.auth.v3.Authorization/Check");
        let message = NeverEnding(Some(begun));
        client.client_streaming(Request::new(message), method, Plain).await.map(|_: tonic::Response<Bytes>| ())
    }

    /// One message to a method that answers with many.
    pub async fn stream(&self, method: &'static str, request: Vec<u8>) -> Result<Streaming<Bytes>, Status> {
        let mut client = self.0.clone();
        client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = client.server_streaming(Request::new(request), PathAndQuery::from_static(method), Plain).await?;
        Ok(answer.into_inner())
    }

    /// One call of `Check`.
    pub fn check(&self, request: Vec<u8>) -> impl Future<Output = Result<Bytes, Status>> + use<> {
        self.call("/envoy.service.auth.v3.Authorization/Check", Request::new(request))
    }

    /// Asks for a bearer of this token, as Envoy does.
    pub async fn ask(&self, token: &str) -> Answer {
        self.try_ask(token).await.unwrap()
    }

    /// The same, of a process that may end meanwhile.
    pub async fn try_ask(&self, token: &str) -> Result<Answer, Status> {
        secrets::keep_token(token);
        let reply = self.check(bearer(token)).await?;
        Ok(Answer::read(&reply))
    }

    /// Asks until the answer is another than to come back later.
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

    /// One call of any unary method.
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

/// An encoded `HealthCheckRequest`.
fn health(service: &str) -> Vec<u8> {
    let mut request = vec![0x0a, u8::try_from(service.len()).unwrap()];
    request.extend(service.as_bytes());
    request
}

/// An encoded `CheckRequest` with this bearer token and nothing else.
#[must_use]
pub fn bearer(token: &str) -> Vec<u8> {
    let headers = [("authorization".to_owned(), format!("Bearer {token}"))].into();
    let http = HttpRequest { headers, ..HttpRequest::default() };
    let request = Some(attribute_context::Request { time: None, http: Some(http) });
    let attributes = Some(AttributeContext { request, ..AttributeContext::default() });
    CheckRequest { attributes }.encode_to_vec()
}

/// What Check said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Let through, under this name and password.
    Allowed {
        /// Of the Elasticsearch user.
        user: String,
        /// In the clear.
        password: String,
    },
    /// Refused with this HTTP status.
    Denied(i32),
}

impl Answer {
    /// Reads an encoded reply.
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

    /// The password, if let through.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        match self {
            Self::Allowed { password, .. } => Some(password),
            Self::Denied(_) => None,
        }
    }
}

/// When a refused client may come back, if the reply says so.
#[must_use]
pub fn retry_after(reply: &[u8]) -> Option<Duration> {
    let reply = CheckResponse::decode(reply).unwrap();
    let Some(HttpResponse::DeniedResponse(denied)) = reply.http_response else { return None };
    let mut headers = denied.headers.into_iter().filter_map(|option| option.header);
    let seconds = headers.find(|header| header.key == "retry-after")?.value;
    Some(Duration::from_secs(seconds.parse().unwrap()))
}

/// Is asked for the message when the head of the call is sent.
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

/// Bytes as they are.
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
