use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;

use super::*;

const MAX: usize = 1 << 20;

/// A body of these frames. After them it ends, or else it never does.
struct Frames {
    frames: VecDeque<Bytes>,
    ends: bool,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frames = self.get_mut();
        match frames.frames.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if frames.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// A message of so many bytes in frames of HTTP/2's usual size. Without `ends` only its first half comes.
fn message(length: usize, ends: bool) -> Request<Frames> {
    let mut bytes = vec![0; PREFIX + length];
    bytes[1..PREFIX].copy_from_slice(&u32::try_from(length).unwrap().to_be_bytes());
    if !ends {
        bytes.truncate(PREFIX + length / 2);
    }
    frames(bytes.chunks(16 * 1024).map(Bytes::copy_from_slice).collect(), ends)
}

fn frames(frames: VecDeque<Bytes>, ends: bool) -> Request<Frames> {
    Request::builder().uri(CHECK).body(Frames { frames, ends }).unwrap()
}

fn gate(messages: usize, requests: usize) -> Gate {
    Gate::new(messages, MemoryBudget::new(requests, MAX), MAX, Duration::from_secs(1))
}

/// The bytes that can be read without waiting, or the text of an error.
async fn read(message: &mut Message<Frames>) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    let mut frame = async || {
        poll_fn(|context| match Pin::new(&mut *message).poll_frame(context) {
            Poll::Pending => Poll::Ready(None),
            ready @ Poll::Ready(_) => ready,
        })
        .await
    };
    while let Some(frame) = frame().await {
        all.extend(frame.map_err(|error| error.to_string())?.into_data().unwrap());
    }
    Ok(all)
}

#[tokio::test]
async fn messages_that_are_received_at_once_are_bounded_by_their_bytes() {
    let gate = gate(1000, 1);
    let mut open = Vec::new();
    for _ in 0..100 {
        let mut message = gate.pass(message(100 * 1024, false)).into_body();
        read(&mut message).await.unwrap();
        open.push(message);
    }
    let received = open.iter().filter(|message| matches!(message, Message::Received(_))).count();
    assert_eq!(received, MAX / (92 * 1024), "the others are thrown away as they come");
    let mut small = gate.pass(message(1000, true)).into_body();
    assert_eq!(read(&mut small).await.unwrap().len(), PREFIX + 1000, "a small one needs no reservation");
    open.clear();
    let mut large = gate.pass(message(MAX, true)).into_body();
    assert_eq!(read(&mut large).await.unwrap().len(), PREFIX + MAX, "the largest one fits when the others are done");
}

#[tokio::test]
async fn a_message_over_the_limits_is_read_to_its_end_and_replaced() {
    let (no_permit, no_budget) = (gate(0, 1), gate(2, 1));
    let mut takes_all = no_budget.pass(message(MAX, false)).into_body();
    read(&mut takes_all).await.unwrap();
    for gate in [no_permit, no_budget] {
        let mut message = gate.pass(message(100 * 1024, true)).into_body();
        let replaced = read(&mut message).await.unwrap();
        assert_eq!((&replaced[..PREFIX], &replaced[PREFIX..]), (&[0, 0, 0, 0, 23][..], THROWN_AWAY));
    }
}

#[tokio::test]
async fn bytes_behind_the_announced_length_are_dropped() {
    let gate = gate(2, 1);
    let behind: VecDeque<_> = [&b"\0\0\0\0\x02ab\0\0"[..], b"\x10\0", b"more"].map(Bytes::from_static).into();
    let mut message = gate.pass(frames(behind, true)).into_body();
    assert_eq!(read(&mut message).await.unwrap(), b"\0\0\0\0\x02ab");
}

#[tokio::test]
async fn a_length_over_the_limit_reserves_nothing_and_one_that_comes_late_reserves_the_maximum() {
    let gate = gate(3, 1);
    let mut too_long = gate.pass(message(MAX + 1, false)).into_body();
    assert!(read(&mut too_long).await.unwrap().len() > PREFIX, "tonic reads the length, and refuses it");
    let drops = VecDeque::from([Bytes::from_static(b"\0\0"), Bytes::from_static(b"\0\0\x01a")]);
    let mut slow = gate.pass(frames(drops, true)).into_body();
    assert_eq!(read(&mut slow).await.unwrap(), b"\0\0\0\0\x01a");
    let mut large = gate.pass(message(100 * 1024, true)).into_body();
    assert_eq!(read(&mut large).await.unwrap()[PREFIX..], *THROWN_AWAY);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_does_not_end_is_given_up() {
    let gate = gate(1, 1);
    let mut message = gate.pass(message(1000, false)).into_body();
    assert_eq!(read(&mut message).await.unwrap().len(), PREFIX + 500);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(read(&mut message).await.unwrap_err().contains("in time"));
}
