//! Bounds the memory of messages that are being received: their number, their bytes and their time. The messages of calls
//! beyond these limits are thrown away as they come.
//!
//! A message is in memory while it is received. Without a limit that could be `grpc.max_message_size` for every stream of every
//! connection, long before the limit of requests in flight applies.

use std::error::Error;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

use super::budget::{MemoryBudget, Reservation};
use super::wire::THROWN_AWAY;

/// The path of the calls that are limited. Messages of other methods are small, and health must always answer.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The length of the prefix of a message: one byte for its compression and four for its length (gRPC over HTTP/2,
/// "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// The limits for messages that are being received.
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    budget: MemoryBudget,
    max_message_size: usize,
    patience: Duration,
}

/// The body of a call as the service reads it.
pub(super) enum Message<B = Incoming> {
    /// A body of another method than Check, without limits.
    Unlimited(B),
    Received(Received<B>),
    /// Read to its end before the answer: h2 ends a connection on which too many streams go on after their answer.
    ThrownAway(Option<B>),
}

/// A message within the limits. It holds its permit and its reservation until it is dropped.
pub(super) struct Received<B> {
    body: B,
    patience: Duration,
    late: Option<Pin<Box<Sleep>>>,
    _permit: OwnedSemaphorePermit,
    remaining: Remaining,
}

/// How many bytes of a message have not been received yet.
enum Remaining {
    /// The first bytes, which say it, have not come yet.
    Unknown { budget: MemoryBudget, max_message_size: usize },
    /// So many bytes. Bytes behind them belong to no message of this call and are dropped.
    Known { bytes: usize, _reserved: Reservation },
}

impl Gate {
    /// Limits for so many messages at once, as far as the budget goes. Each must be complete within `patience`: a client that
    /// never ends its message must not hold a permit.
    pub(super) fn new(messages: usize, budget: MemoryBudget, max_message_size: usize, patience: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(messages)), budget, max_message_size, patience }
    }

    /// Puts the limits around the body of a request.
    pub(super) fn pass<B>(&self, request: Request<B>) -> Request<Message<B>> {
        if request.uri().path() != CHECK {
            return request.map(Message::Unlimited);
        }
        request.map(|body| match Arc::clone(&self.permits).try_acquire_owned() {
            Err(_) => Message::ThrownAway(Some(body)),
            Ok(permit) => {
                let (budget, max_message_size) = (self.budget.clone(), self.max_message_size);
                let remaining = Remaining::Unknown { budget, max_message_size };
                Message::Received(Received { body, patience: self.patience, late: None, _permit: permit, remaining })
            }
        })
    }
}

impl Remaining {
    /// Cuts off bytes behind the message. Fails when the budget is not enough for it.
    fn take(&mut self, data: &mut Bytes) -> Result<(), OverBudget> {
        if let Self::Unknown { budget, max_message_size } = self {
            // a client that sends less than a prefix at first may go on with the longest message
            let length = data.get(1..PREFIX).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
            let length = length.map_or(*max_message_size, |length| usize::try_from(length).unwrap_or(usize::MAX));
            // one over the limit is refused as soon as its length is read, and needs no memory
            let reserved = budget.reserve(if length > *max_message_size { 0 } else { length }).ok_or(OverBudget)?;
            *self = Self::Known { bytes: length.saturating_add(PREFIX), _reserved: reserved };
        }
        if let Self::Known { bytes, .. } = self {
            data.truncate(*bytes);
            *bytes -= data.len();
        }
        Ok(())
    }
}

struct OverBudget;

type PolledFrame = Poll<Option<Result<Frame<Bytes>, Box<dyn Error + Send + Sync>>>>;

impl<B> Received<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Result<PolledFrame, OverBudget> {
        while let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let mut data = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => data,
                Some(Ok(Err(other))) => return Ok(Poll::Ready(Some(Ok(other)))),
                Some(Err(error)) => return Ok(Poll::Ready(Some(Err(error.into())))),
                None => return Ok(Poll::Ready(None)),
            };
            self.remaining.take(&mut data)?;
            if !data.is_empty() {
                return Ok(Poll::Ready(Some(Ok(Frame::data(data)))));
            }
        }
        // nearly all messages have come completely at the first poll and need no timer
        let patience = self.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
        Ok(late.as_mut().poll(context).map(|()| Some(Err("the message was not complete in time".into()))))
    }
}

impl<B> Body for Message<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> PolledFrame {
        let this = self.get_mut();
        if let Self::Received(received) = this {
            match received.poll_frame(context) {
                Ok(polled) => return polled,
                Err(OverBudget) => {
                    if let Self::Received(received) = mem::replace(this, Self::ThrownAway(None)) {
                        *this = Self::ThrownAway(Some(received.body));
                    }
                }
            }
        }
        match this {
            Self::Unlimited(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Received(_) => Poll::Ready(None),
            Self::ThrownAway(body) => {
                let Some(rest) = body else { return Poll::Ready(None) };
                while let Some(frame) = ready!(Pin::new(&mut *rest).poll_frame(context)) {
                    drop(frame.map_err(Into::into)?);
                }
                *body = None;
                Poll::Ready(Some(Ok(Frame::data(placeholder()))))
            }
        }
    }
}

/// [`THROWN_AWAY`] with its prefix, in place of a message that was thrown away.
fn placeholder() -> Bytes {
    let length = u32::try_from(THROWN_AWAY.len()).unwrap_or_default().to_be_bytes();
    [&[0][..], &length, THROWN_AWAY].concat().into()
}

#[cfg(test)]
mod tests;
