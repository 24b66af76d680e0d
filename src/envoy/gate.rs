//! The way in: so many messages are received at once, and those of the calls over that are thrown away as they come.
//!
//! A message is held in memory while it comes in. Without a limit that could be as much as every stream of every connection
//! times `grpc.max_message_size`, long before the limit of requests in flight is looked at.

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

use super::room::{Room, Taken};
use super::wire::THROWN_AWAY;

/// Other methods have no messages to speak of, and health must answer always.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// A message is one byte about its compression and four of its length, and then itself (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// Lets messages in.
pub(super) struct Gate {
    places: Arc<Semaphore>,
    room: Room,
    max_message_size: usize,
    patience: Duration,
}

/// What is read of a call.
pub(super) enum Message<B = Incoming> {
    Free(B),
    Received(Received<B>),
    /// Not answered before its end: h2 ends a connection on which too many streams go on after their answer.
    ThrownAway(Option<B>),
}

/// The place and the room are kept as long as the message may grow.
pub(super) struct Received<B> {
    body: B,
    patience: Duration,
    late: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
    coming: Coming,
}

/// How much is still to come.
enum Coming {
    /// That is not known before the first bytes.
    Unknown { room: Room, max_message_size: usize },
    /// So many bytes. What comes behind them belongs to no message of this call, and is passed over.
    Left { bytes: usize, _room: Taken },
}

impl Gate {
    /// So many at once, as far as there is room, each within `patience`: a client that never ends its message must not keep a
    /// place.
    pub(super) fn new(places: usize, room: Room, max_message_size: usize, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), room, max_message_size, patience }
    }

    pub(super) fn pass<B>(&self, request: Request<B>) -> Request<Message<B>> {
        if request.uri().path() != CHECK {
            return request.map(Message::Free);
        }
        request.map(|body| match Arc::clone(&self.places).try_acquire_owned() {
            Err(_) => Message::ThrownAway(Some(body)),
            Ok(place) => {
                let coming = Coming::Unknown { room: self.room.clone(), max_message_size: self.max_message_size };
                Message::Received(Received { body, patience: self.patience, late: None, _place: place, coming })
            }
        })
    }
}

impl Coming {
    /// Cuts off what comes behind the message. Fails where there is no room for it.
    fn take(&mut self, data: &mut Bytes) -> Result<(), NoRoom> {
        if let Self::Unknown { room, max_message_size } = self {
            // a client that sends less than a prefix at first may mean the longest message
            let length = data.get(1..PREFIX).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
            let length = length.map_or(*max_message_size, |length| usize::try_from(length).unwrap_or(usize::MAX));
            // one over the limit is refused as soon as its length is read, and takes none
            let taken = room.take(if length > *max_message_size { 0 } else { length }).ok_or(NoRoom)?;
            *self = Self::Left { bytes: length.saturating_add(PREFIX), _room: taken };
        }
        if let Self::Left { bytes, .. } = self {
            data.truncate(*bytes);
            *bytes -= data.len();
        }
        Ok(())
    }
}

struct NoRoom;

type Polled = Poll<Option<Result<Frame<Bytes>, Box<dyn Error + Send + Sync>>>>;

impl<B> Received<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    fn poll_frame(&mut self, context: &mut Context<'_>) -> Result<Polled, NoRoom> {
        while let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let mut data = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => data,
                Some(Ok(Err(other))) => return Ok(Poll::Ready(Some(Ok(other)))),
                Some(Err(error)) => return Ok(Poll::Ready(Some(Err(error.into())))),
                None => return Ok(Poll::Ready(None)),
            };
            self.coming.take(&mut data)?;
            if !data.is_empty() {
                return Ok(Poll::Ready(Some(Ok(Frame::data(data)))));
            }
        }
        // what comes at once, as nearly all does, needs no timer
        let patience = self.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
        Ok(late.as_mut().poll(context).map(|()| Some(Err("the message did not come to its end in time".into()))))
    }
}

impl<B> Body for Message<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let this = self.get_mut();
        if let Self::Received(received) = this {
            match received.poll_frame(context) {
                Ok(polled) => return polled,
                Err(NoRoom) => {
                    if let Self::Received(received) = mem::replace(this, Self::ThrownAway(None)) {
                        *this = Self::ThrownAway(Some(received.body));
                    }
                }
            }
        }
        match this {
            Self::Free(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Received(_) => Poll::Ready(None),
            Self::ThrownAway(body) => {
                let Some(coming) = body else { return Poll::Ready(None) };
                while let Some(frame) = ready!(Pin::new(&mut *coming).poll_frame(context)) {
                    drop(frame.map_err(Into::into)?);
                }
                *body = None;
                Poll::Ready(Some(Ok(Frame::data(stand_in()))))
            }
        }
    }
}

/// [`THROWN_AWAY`] with its prefix.
fn stand_in() -> Bytes {
    let length = u32::try_from(THROWN_AWAY.len()).unwrap_or_default().to_be_bytes();
    [&[0][..], &length, THROWN_AWAY].concat().into()
}

#[cfg(test)]
mod tests;
