//! Serves the connections of the gRPC port: accepting them, TLS, HTTP/2, their greatest age and their end.
//!
//! Two libraries have a loop of their own, and neither does what is needed here:
//!
//! - tonic's has no jitter of the age and no limit for requests that do not finish, and with a grace period it cuts old
//!   connections without a GOAWAY;
//! - `hyper_util::server::graceful`, which `http.rs` uses, watches hyper's connections only, and hides the connection that it
//!   watches. So it could not end a connection that is still at its handshake of TLS or its preface, nor send the GOAWAY of an
//!   old connection while others go on, nor begin the time limit for requests in flight with the GOAWAY of each connection. The
//!   rest of it is a `watch` channel, which is used here directly.

use std::future::{self, Future};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service as _;

use crate::clock::jittered;
use crate::inbound::{ConnectionPermit, Connections};

use super::gate::Gate;
use super::listener::Listener;
use super::tls::{self, peer::UnlistedPeer};
use super::{access_log, log, preface};

/// The most streams of one connection. Envoy opens one connection per worker, and a lower limit makes it refuse streams.
const MAX_STREAMS: u32 = 4096;

/// After so long without a byte, a PING is sent; without an answer within `KEEPALIVE_TIMEOUT` the connection is closed.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest time for the handshake of TLS, and for the preface of HTTP/2 after it. After both, a connection may be idle for
/// any time.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What every connection is served with.
pub(super) struct Server {
    routes: Routes,
    gate: Gate,
    http2: http2::Builder<TokioExecutor>,
    tls: Option<Arc<tls::Watched>>,
    max_age: Option<Duration>,
    grace: Duration,
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut http2 = http2::Builder::new(TokioExecutor::new());
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT);
    http2
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, String)> {
    let (stream, address) = listener.accept().await?;
    // small messages must not wait for the peer's acknowledgement of the one before
    stream.set_nodelay(true)?;
    Ok((stream, address.to_string()))
}

impl Server {
    /// `max_age` is the age at which a connection is ended, and `grace` the time that its requests have to finish then.
    pub(super) fn new(
        routes: Routes,
        gate: Gate,
        tls: Option<Arc<tls::Watched>>,
        max_age: Option<Duration>,
        grace: Duration,
    ) -> Self {
        Self { routes: routes.prepare(), gate, http2: http2(), tls, max_age, grace }
    }

    /// Serves until `stopped`, then sends GOAWAY to every peer and returns when the requests in flight are answered, or their
    /// time is over.
    pub(super) async fn serve(
        self,
        listener: Listener,
        connections: Arc<Connections>,
        stopped: impl Future<Output = ()> + Send,
    ) {
        let watching = self.tls.clone().map(|tls| tokio::spawn(tls.watch()));
        let server = Arc::new(self);
        let (stop, stopping) = watch::channel(());
        // at the end of its arm the listener is dropped: the port is closed, or the socket's name removed
        match listener {
            Listener::Tcp(listener) => {
                let serve = |(io, from), permit| Arc::clone(&server).connection(io, from, permit, stopping.clone());
                connections.accept_until(stopped, async || accept(&listener).await, serve).await;
            }
            Listener::Unix(listener, name) => {
                let accept = async || Ok((listener.accept().await?.0, "unix".to_owned()));
                let serve = |(io, from), permit| Arc::clone(&server).connection(io, from, permit, stopping.clone());
                connections.accept_until(stopped, accept, serve).await;
                drop(name);
            }
        }
        drop(stopping);
        stop.send_replace(());
        // every connection holds a receiver
        stop.closed().await;
        if let Some(watching) = watching {
            watching.abort();
        }
    }

    async fn connection<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        self: Arc<Self>,
        io: IO,
        from: String,
        permit: ConnectionPermit,
        mut stopping: watch::Receiver<()>,
    ) {
        let Some(tls) = &self.tls else {
            return self.receive_preface(io, None, &permit, stopping).await;
        };
        let accepting = tls::accept(tls.current(), &tls.settings().allowed, io);
        let accepted = tokio::select! {
            _ = stopping.changed() => return,
            accepted = within(HANDSHAKE, accepting) => accepted,
        };
        match accepted {
            Ok((io, verdict)) => {
                let refused = verdict.err().map(|peer| Refused { peer, from });
                self.receive_preface(io, refused, &permit, stopping).await;
            }
            Err(error) => log::handshake(&error, &from),
        }
    }

    async fn receive_preface<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        io: IO,
        refused: Option<Refused>,
        permit: &ConnectionPermit,
        mut stopping: watch::Receiver<()>,
    ) {
        let received = tokio::select! {
            _ = stopping.changed() => return,
            received = within(HANDSHAKE, preface::expect(io)) => received,
        };
        match received {
            Ok(io) => self.serve_http2(io, refused, permit, stopping).await,
            Err(error) => tracing::debug!(%error, "A connection was closed before its first request"),
        }
    }

    async fn serve_http2<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        io: IO,
        refused: Option<Refused>,
        permit: &ConnectionPermit,
        mut stopping: watch::Receiver<()>,
    ) {
        let refused = refused.as_ref();
        let (closing, closed) = watch::channel(());
        let service = service_fn(|mut request: Request<Incoming>| {
            permit.request_received();
            access_log::let_end_with(&mut request, &closed);
            let (refusal, mut routes) = (refused.map(Refused::answer), self.routes.clone());
            let request = self.gate.pass(request);
            async move {
                if let Some(refusal) = refusal {
                    return Ok(refusal);
                }
                let response = routes.call(request).await;
                response.inspect(log::refused_by_tonic)
            }
        });
        let mut connection = pin!(self.http2.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = old_age(self.max_age) => {}
            _ = stopping.changed() => {}
        }
        // sends GOAWAY; requests in flight go on, and the streams of the access log, which never end, are ended
        connection.as_mut().graceful_shutdown();
        drop(closing);
        if timeout(self.grace, connection).await.is_err() {
            tracing::debug!("A connection was closed with requests in flight: they did not finish in time");
        }
    }
}

async fn within<T>(limit: Duration, operation: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(limit, operation).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A client that is not on the list. Every call of it is refused, those for health too.
struct Refused {
    peer: UnlistedPeer,
    from: String,
}

impl Refused {
    fn answer(&self) -> Response<Body> {
        log::unlisted_peer(&self.peer, &self.from);
        Status::permission_denied("the certificate of this client is not on the list").into_http()
    }
}

/// Waits for `max_age`, up to 10 % less or more: connections that were made together do not end together (gRPC proposal A9).
async fn old_age(max_age: Option<Duration>) {
    let Some(max_age) = max_age else { return future::pending().await };
    sleep(jittered(max_age, 0.9..=1.1)).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::Instant;

    use super::super::budget::MemoryBudget;
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    /// The client's SETTINGS, and the acknowledgement of the server's (RFC 9113 §6.5).
    const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
    const PING: u8 = 6;

    /// Serves this connection until the sender is dropped.
    fn serve_one(io: DuplexStream) -> watch::Sender<()> {
        let (stop, stopping) = watch::channel(());
        let gate = Gate::new(1, MemoryBudget::new(1, 1), 1, Duration::ZERO);
        let server = Arc::new(Server::new(Routes::default(), gate, None, None, Duration::ZERO));
        let permit = Connections::new(1).admit().unwrap();
        tokio::spawn(server.connection(io, "a test".into(), permit, stopping));
        stop
    }

    /// The type and the content of the next frame; `None` at the end of the connection.
    async fn frame(peer: &mut DuplexStream) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.ok()?;
        let mut content = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        peer.read_exact(&mut content).await.ok()?;
        Some((head[3], content))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_preface_in_time_is_closed() {
        for said in [0, 1, PREFACE.len() - 1] {
            let (mut peer, io) = tokio::io::duplex(64 * 1024);
            let _stop = serve_one(io);
            let began = Instant::now();
            peer.write_all(&PREFACE[..said]).await.unwrap();
            assert_eq!(frame(&mut peer).await, None);
            assert_eq!(began.elapsed(), HANDSHAKE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_preface_is_waited_for_and_an_idle_connection_that_answers_pings_stays() {
        let (mut peer, io) = tokio::io::duplex(64 * 1024);
        let _stop = serve_one(io);
        for byte in PREFACE {
            sleep(HANDSHAKE / 30).await;
            peer.write_all(&[*byte]).await.unwrap();
        }
        peer.write_all(SETTINGS).await.unwrap();
        let (began, mut pings) = (Instant::now(), 0);
        while began.elapsed() < KEEPALIVE * 20 {
            let (kind, content) = frame(&mut peer).await.expect("the connection is open");
            if kind == PING && content.len() == 8 {
                pings += 1;
                let acknowledged = [&b"\0\0\x08\x06\x01\0\0\0\0"[..], &content].concat();
                peer.write_all(&acknowledged).await.unwrap();
            }
        }
        assert!(pings >= 19, "{pings}");
    }

    #[tokio::test]
    async fn accepted_streams_wait_for_no_acknowledgement() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = accept(&listener).await.unwrap();
        assert!(stream.nodelay().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_asked_whether_it_lives_and_then_given_up() {
        let (mut peer, io) = tokio::io::duplex(64 * 1024);
        let _stop = serve_one(io);
        let began = Instant::now();
        peer.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        let mut frames = Vec::new();
        while let Some((kind, _)) = frame(&mut peer).await {
            frames.push((kind, began.elapsed().as_secs()));
        }
        assert!(frames.contains(&(PING, KEEPALIVE.as_secs())), "{frames:?}");
        assert_eq!(began.elapsed().as_secs(), (KEEPALIVE + KEEPALIVE_TIMEOUT).as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_end_within_a_tenth_of_their_age_and_not_together() {
        let age = Duration::from_secs(600);
        let mut ends = Vec::new();
        for _ in 0..40 {
            let began = tokio::time::Instant::now();
            old_age(Some(age)).await;
            ends.push(began.elapsed());
        }
        assert!(ends.iter().all(|end| (540..=661).contains(&end.as_secs())), "{ends:?}");
        ends.sort();
        ends.dedup();
        assert!(ends.len() > 5, "they are spread: {ends:?}");
        assert!(timeout(age * 100, old_age(None)).await.is_err(), "off is off");
    }
}
