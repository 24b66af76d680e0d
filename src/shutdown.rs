//! Signals and drain: the first SIGTERM or SIGINT drains, a second one ends at once.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Between `NOT_SERVING` and the end: longer than the health-check interval of the shipped Envoy configuration (2 s), so
/// that Envoy has moved on.
const DRAIN: Duration = Duration::from_secs(3);

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Serving, but saying that nobody new should come.
    Draining,
    /// Finishing what is in flight.
    Stopping,
}

/// Watches the end come nearer.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Phase>);

impl Shutdown {
    /// Where we are.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Resolves when the phase is reached.
    pub async fn reached(mut self, phase: Phase) {
        // a lost sender means that nobody can announce the end any more: it has come
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

/// Listens for signals from now on.
pub fn on_signals() -> io::Result<Shutdown> {
    let (sender, receiver) = watch::channel(Phase::Running);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let mut signal = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        signal().await;
        tracing::info!("Draining");
        sender.send_replace(Phase::Draining);
        tokio::select! {
            () = tokio::time::sleep(DRAIN) => {}
            () = signal() => std::process::exit(130),
        }
        tracing::info!("Stopping");
        sender.send_replace(Phase::Stopping);
        signal().await;
        std::process::exit(130);
    });
    Ok(Shutdown(receiver))
}
