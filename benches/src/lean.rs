//! The floor's lean twin: it ignores the request and answers a constant as well, but with elastauth's own messages. Requests are
//! slices of the received bytes, and the reply was encoded once. The difference between the two is what the messages save; the
//! difference between this and a hit is the cost of the work of a hit.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes};
use elastauth::envoy::SERVICE;
use elastauth::envoy::wire::{Call, CheckCodec};
use prost::Message as _;
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};

use crate::floor::constant;

/// A service that answers every Check with a constant.
#[derive(Clone)]
pub struct Lean(Bytes);

/// The lean twin's gRPC service.
#[must_use]
pub fn lean() -> Lean {
    Lean(constant().encode_to_vec().into())
}

impl NamedService for Lean {
    const NAME: &'static str = SERVICE;
}

impl Service<http::Request<Body>> for Lean {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = self.clone();
        Box::pin(async move { Ok(Grpc::new(LeanCodec).unary(method, request).await) })
    }
}

impl UnaryService<Call> for Lean {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, _: Request<Call>) -> Self::Future {
        ready(Ok(Response::new(self.0.clone())))
    }
}

/// Decodes as elastauth does, and encodes bytes unchanged.
#[derive(Clone, Copy)]
struct LeanCodec;

impl Codec for LeanCodec {
    type Encode = Bytes;
    type Decode = Call;
    type Encoder = Self;
    type Decoder = CheckCodec;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> CheckCodec {
        CheckCodec
    }
}

impl Encoder for LeanCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, reply: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&reply);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        Encoder::buffer_settings(&CheckCodec)
    }
}
