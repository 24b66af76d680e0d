//! Ends the process on signals: the first SIGTERM or SIGINT drains, a second one ends at once. SIGHUP does not end it.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// The time limits of the end: `drain`, and the longest time of a request.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Time between `NOT_SERVING` and the end of accepting requests. Default 3 s: longer than the health-check interval of the
    /// shipped Envoy configuration (2 s), so that Envoy uses other replicas by then.
    pub drain: Duration,
    /// Time for requests in flight to finish after that, and for writes that outlived their requests.
    pub finish: Duration,
}

/// Added to the time that requests have: a request that still runs after it is stuck.
const MARGIN: Duration = Duration::from_secs(2);

const ON_HANG_UP: &str = "SIGHUP: elastauth continues to serve. The files of grpc.tls_* and of the Elasticsearch account's secret \
    are read again by themselves when they change; everything else, the configuration too, is read at start only: restart \
    elastauth to apply it";

/// The phases of the process, from serving to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Requests are served, and health says so.
    Running,
    /// Requests are still served, but health says `NOT_SERVING`, so that new ones go to other replicas.
    Draining,
    /// No new requests are accepted, and those in flight finish, as do writes that outlived their requests.
    Stopping,
    /// The time is over: requests and writes that have not finished are abandoned.
    Overdue,
}

/// Observes the phase of the process.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<Phase>);

impl Shutdown {
    /// The phase at this moment.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Resolves when the phase is reached.
    pub async fn reached(mut self, phase: Phase) {
        // without a sender no phase can be announced any more: the process is at its end
        let _ = self.0.wait_for(|now| *now >= phase).await;
    }
}

/// Handles signals from now on.
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
    // it would end the process by default, also where it is sent to a daemon to make it read its files again
    tokio::spawn(async move {
        while hang_up.recv().await.is_some() {
            tracing::info!("{ON_HANG_UP}");
        }
    });
    Ok(after(signals, settings, || std::process::exit(130)))
}

/// The first signal begins the phases, the second ends the process.
fn after(mut signals: mpsc::Receiver<()>, settings: Settings, exit: impl FnOnce() + Send + 'static) -> Shutdown {
    let (sender, receiver) = watch::channel(Phase::Running);
    tokio::spawn(async move {
        // that no signal can come any more is none: so it is when the runtime ends, and drops its tasks in any order
        if signals.recv().await.is_none() {
            return;
        }
        tokio::select! {
            () = step_by_step(&sender, settings) => {}
            Some(()) = signals.recv() => exit(),
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
    tracing::warn!("Ending with requests or writes that do not finish");
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
        let shutdown = after(signals, SETTINGS, || panic!("there was only one signal"));
        let began = Instant::now();
        assert_eq!(shutdown.phase(), Phase::Running);
        sender.send(()).await.unwrap();
        for (phase, at) in [(Phase::Draining, 0), (Phase::Stopping, 3), (Phase::Overdue, 9)] {
            shutdown.clone().reached(phase).await;
            assert_eq!((shutdown.phase(), began.elapsed().as_secs()), (phase, at));
        }
    }

    /// An end of the process at once, and whether it has come.
    fn exit() -> (Arc<AtomicBool>, impl FnOnce() + Send) {
        let ended = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ended);
        (ended, move || ends.store(true, Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_process_itself_is_neither_a_first_nor_a_second_signal() {
        for signalled in [false, true] {
            let (sender, signals) = mpsc::channel(2);
            let (ended, exit) = exit();
            let shutdown = after(signals, SETTINGS, exit);
            if signalled {
                sender.send(()).await.unwrap();
                shutdown.clone().reached(Phase::Draining).await;
            }
            drop(sender);
            tokio::task::yield_now().await;
            let phase = if signalled { Phase::Draining } else { Phase::Running };
            assert_eq!((shutdown.phase(), ended.load(Ordering::SeqCst)), (phase, false));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_ends_at_once_in_every_phase() {
        for phase in [Phase::Draining, Phase::Stopping] {
            let (sender, signals) = mpsc::channel(2);
            let (ended, exit) = exit();
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
