//! Signals and drain: the first SIGTERM or SIGINT drains, a second one ends at once. SIGHUP ends nothing.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// `drain`, and what follows from other settings.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Between `NOT_SERVING` and the end. Default 3 s: longer than the health-check interval of the shipped Envoy
    /// configuration (2 s), so that Envoy has moved on.
    pub drain: Duration,
    /// How long requests in flight have to finish after that.
    pub finish: Duration,
}

/// Beyond the time that requests have: what still runs then is stuck.
const MARGIN: Duration = Duration::from_secs(2);

const ON_HANG_UP: &str = "SIGHUP: elastauth serves on. The files of grpc.tls_* and of the Elasticsearch account's secret are \
    read again by themselves when they change; everything else, the configuration too, is read at start only: restart \
    elastauth to apply it";

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Serving, but saying that nobody new should come.
    Draining,
    /// Finishing what is in flight.
    Stopping,
    /// What is not finished never will be.
    Overdue,
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
pub fn on_signals(settings: Settings) -> io::Result<Shutdown> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let (sender, signals) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if sender.send(()).await.is_err() {
                return;
            }
        }
    });
    // it would end the process by default, also when it is sent by those who expect a daemon to read its files again
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::info!("{ON_HANG_UP}");
        }
    });
    Ok(after(signals, settings, || std::process::exit(130)))
}

/// The first signal begins the end, the second is the end.
fn after(mut signals: mpsc::Receiver<()>, settings: Settings, exit: impl FnOnce() + Send + 'static) -> Shutdown {
    let (sender, receiver) = watch::channel(Phase::Running);
    tokio::spawn(async move {
        signals.recv().await;
        tokio::select! {
            () = step_by_step(&sender, settings) => {}
            _ = signals.recv() => exit(),
        }
    });
    Shutdown(receiver)
}

async fn step_by_step(phase: &watch::Sender<Phase>, settings: Settings) {
    tracing::info!("Draining");
    phase.send_replace(Phase::Draining);
    sleep(settings.drain).await;
    tracing::info!("Stopping");
    phase.send_replace(Phase::Stopping);
    sleep(settings.finish + MARGIN).await;
    tracing::warn!("Ending with requests that do not finish");
    phase.send_replace(Phase::Overdue);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::time::Instant;

    use super::*;

    const SETTINGS: Settings = Settings { drain: Duration::from_secs(3), finish: Duration::from_secs(4) };

    #[tokio::test(start_paused = true)]
    async fn the_end_comes_step_by_step_and_not_later_than_requests_may_take() {
        let (sender, signals) = mpsc::channel(2);
        let shutdown = after(signals, SETTINGS, || panic!("nobody asked twice"));
        let began = Instant::now();
        assert_eq!(shutdown.phase(), Phase::Running);
        sender.send(()).await.unwrap();
        for (phase, at) in [(Phase::Draining, 0), (Phase::Stopping, 3), (Phase::Overdue, 9)] {
            shutdown.clone().reached(phase).await;
            assert_eq!((shutdown.phase(), began.elapsed().as_secs()), (phase, at));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once_in_every_phase() {
        for phase in [Phase::Draining, Phase::Stopping] {
            let (sender, signals) = mpsc::channel(2);
            let ended = Arc::new(AtomicBool::new(false));
            let exit = {
                let ended = Arc::clone(&ended);
                move || ended.store(true, Ordering::SeqCst)
            };
            let shutdown = after(signals, SETTINGS, exit);
            sender.send(()).await.unwrap();
            shutdown.clone().reached(phase).await;
            assert!(!ended.load(Ordering::SeqCst));
            let began = Instant::now();
            sender.send(()).await.unwrap();
            sender.closed().await;
            assert!(ended.load(Ordering::SeqCst) && began.elapsed().is_zero(), "{phase:?}");
        }
    }
}
