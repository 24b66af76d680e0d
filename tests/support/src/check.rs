//! A gRPC client of Check that sends any bytes and answers the bytes that came back.

use std::future::Future;

use bytes::{Buf as _, BufMut as _, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// A connection to one elastauth.
#[derive(Clone)]
pub struct Checker(tonic::client::Grpc<Channel>);

impl Checker {
    /// `address` is `127.0.0.1:port`.
    pub async fn connect(address: &str) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        Self(tonic::client::Grpc::new(channel))
    }

    /// One call of `Check`.
    pub fn check(&self, request: Vec<u8>) -> impl Future<Output = Result<Bytes, Status>> + use<> {
        self.call("/envoy.service.auth.v3.Authorization/Check", Request::new(request))
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
