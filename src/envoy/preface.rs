//! Waits for the connection preface of HTTP/2 (RFC 9113 §3.4) before a connection is served: hyper itself waits for it without a
//! limit of time.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

const PREFACE: [u8; 24] = *b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection after its preface, which hyper reads from here a second time.
#[derive(Debug)]
pub(super) struct Rewound<IO> {
    /// The number of bytes of the preface that have not been read again yet.
    left: usize,
    io: IO,
}

/// Waits for the preface. Fails when the first bytes are others.
pub(super) async fn expect<IO: AsyncRead + Unpin>(mut io: IO) -> io::Result<Rewound<IO>> {
    let mut first = [0; PREFACE.len()];
    io.read_exact(&mut first).await?;
    if first != PREFACE {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the peer does not speak HTTP/2"));
    }
    Ok(Rewound { left: PREFACE.len(), io })
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewound<IO> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.left > 0 {
            let rest = &PREFACE[PREFACE.len() - this.left..];
            let rest = rest.get(..buffer.remaining()).unwrap_or(rest);
            buffer.put_slice(rest);
            this.left -= rest.len();
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewound<IO> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn whole() -> Vec<u8> {
        [PREFACE.as_slice(), b" and more"].concat()
    }

    #[tokio::test]
    async fn all_that_a_peer_sends_is_read_whatever_the_pieces() {
        let (mut peer, io) = tokio::io::duplex(7);
        tokio::spawn(async move { peer.write_all(&whole()).await.unwrap() });
        let mut opened = expect(io).await.unwrap();
        let (mut all, mut piece) = (Vec::<u8>::new(), [0; 5]);
        loop {
            match opened.read(&mut piece).await.unwrap() {
                0 => break,
                length => all.extend(&piece[..length]),
            }
        }
        assert_eq!(all, whole());
    }

    #[tokio::test]
    async fn other_protocols_are_refused() {
        let (mut peer, io) = tokio::io::duplex(100);
        peer.write_all(b"GET / HTTP/1.1\r\nhost: a.example.org\r\n\r\n").await.unwrap();
        assert_eq!(expect(io).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
