//! The way in: so many messages are received at once, and those of the calls over that are thrown away as they come.
//!
//! A message is held in memory while it comes in. Without a limit that could be as much as every stream of every connection
//! times `grpc.max_message_size`, long before the limit of requests in flight is looked at.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};

/// Other methods have no messages to speak of, and health must answer always.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// A message of no bytes, with its prefix (gRPC over HTTP/2, "Length-Prefixed-Message").
const NOTHING: Bytes = Bytes::from_static(&[0; 5]);

/// Marks a call whose message was thrown away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shed;

/// Lets messages in.
pub(super) struct Gate {
    places: Arc<Semaphore>,
    patience: Duration,
}

/// What is read of a call. The place is kept as long as the message may grow.
pub(super) enum Message {
    Free(Incoming),
    Received {
        body: Incoming,
        patience: Duration,
        late: Option<Pin<Box<Sleep>>>,
        _place: OwnedSemaphorePermit,
    },
    /// Not answered before its end: h2 ends a connection on which too many streams go on after their answer.
    ThrownAway {
        body: Option<Incoming>,
    },
}

impl Gate {
    /// So many at once, each within `patience`: who never ends his message must not keep a place.
    pub(super) fn new(places: usize, patience: Duration) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), patience }
    }

    pub(super) fn pass(&self, request: Request<Incoming>) -> Request<Message> {
        if request.uri().path() != CHECK {
            return request.map(Message::Free);
        }
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let patience = self.patience;
            return request.map(|body| Message::Received { body, patience, late: None, _place: place });
        }
        let mut request = request.map(|body| Message::ThrownAway { body: Some(body) });
        request.extensions_mut().insert(Shed);
        request
    }
}

impl Body for Message {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Free(body) => Pin::new(body).poll_frame(context).map_err(Into::into),
            Self::Received { body, patience, late, .. } => {
                if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
                    return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
                }
                // what comes at once, as nearly all does, needs no timer
                ready!(late.get_or_insert_with(|| Box::pin(sleep(*patience))).as_mut().poll(context));
                Poll::Ready(Some(Err("the message did not come to its end in time".into())))
            }
            Self::ThrownAway { body } => {
                let Some(coming) = body else { return Poll::Ready(None) };
                while let Some(frame) = ready!(Pin::new(&mut *coming).poll_frame(context)) {
                    drop(frame?);
                }
                *body = None;
                Poll::Ready(Some(Ok(Frame::data(NOTHING))))
            }
        }
    }
}
