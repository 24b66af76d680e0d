//! A TCP proxy that can stall, refuse or slow down connections, to imitate a fault of the network, or lead elsewhere, to imitate a
//! name that moves.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// The fault that the proxy imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Bytes pass without delay.
    Pass,
    /// Connections stay open, but no bytes pass.
    Stall,
    /// Open connections stay open, but no bytes pass; on new ones they do.
    StallOpen,
    /// Connections are closed and new ones are refused.
    Refuse,
    /// Each piece of data is delayed by this much.
    Slow(Duration),
    /// Bytes pass without delay, after the first ones of each new connection have waited for this long.
    SlowConnect(Duration),
}

/// A running proxy; dropping it ends it.
pub struct Proxy {
    /// The address to connect to, as `127.0.0.1:port`.
    pub address: String,
    mode: watch::Sender<Mode>,
    target: watch::Sender<String>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Starts a proxy in front of `target`, a `host:port`; bytes pass.
    pub async fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, modes) = watch::channel(Mode::Pass);
        let (target, targets) = watch::channel(target.to_owned());
        let task = tokio::spawn(run(listener, address.clone(), targets, modes));
        Self { address, mode, target, task }
    }

    /// Leads new connections to another `host:port`; open ones stay where they are.
    pub fn lead_to(&self, target: &str) {
        self.target.send_replace(target.to_owned());
    }

    /// Changes the fault, for open and for new connections.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn run(first: TcpListener, address: String, target: watch::Receiver<String>, mut modes: watch::Receiver<Mode>) {
    let mut listener = Some(first);
    let mut connections = JoinSet::new();
    loop {
        let refuse = *modes.borrow_and_update() == Mode::Refuse;
        if refuse {
            listener = None;
            connections = JoinSet::new();
        } else if listener.is_none() {
            listener = Some(TcpListener::bind(&address).await.unwrap());
        }
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = accept => {
                if let Ok((client, _)) = accepted {
                    connections.spawn(connection(client, target.borrow().clone(), modes.clone()));
                }
            }
            changed = modes.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(mut client: TcpStream, target: String, modes: watch::Receiver<Mode>) {
    let mode = *modes.borrow();
    if let Mode::SlowConnect(delay) = mode {
        tokio::time::sleep(delay).await;
    }
    let new = mode == Mode::StallOpen;
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
    tokio::select! {
        () = pass(&mut from_client, &mut to_server, new, modes.clone()) => {}
        () = pass(&mut from_server, &mut to_client, new, modes) => {}
    }
}

async fn pass(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    new: bool,
    mut modes: watch::Receiver<Mode>,
) {
    let mut piece = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let mode = *modes.borrow_and_update();
        if let Mode::Slow(delay) = mode {
            tokio::time::sleep(delay).await;
        }
        let passes = |mode: &Mode| *mode != Mode::Stall && (new || *mode != Mode::StallOpen);
        if modes.wait_for(passes).await.is_err() || to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
