//! Tasks that go on without the request that began them, and that the end of the process waits for: a write that is under way is
//! neither repeated by another replica nor missed.

use std::future::Future;

use tokio::sync::watch;

/// Starts tasks, and knows how many of them have not ended.
#[derive(Clone, Default)]
pub(super) struct Background(watch::Sender<usize>);

/// Counts a task for as long as it lives: it may also panic.
struct Counted(watch::Sender<usize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|running| *running -= 1);
    }
}

impl Background {
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.send_modify(|running| *running += 1);
        let counted = Counted(self.0.clone());
        tokio::spawn(async move {
            let _counted = counted;
            task.await;
        });
    }

    /// How many tasks have not ended.
    pub(super) fn running(&self) -> usize {
        *self.0.borrow()
    }

    /// Resolves when no task is left. Those that are begun meanwhile count, too.
    pub(super) async fn ended(&self) {
        // the sender is here, so that the channel is open
        let _ = self.0.subscribe().wait_for(|running| *running == 0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_waits_for_tasks_that_were_begun_and_for_what_they_begin_and_not_for_one_that_panicked() {
        let background = Background::default();
        background.ended().await;
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let within = background.clone();
        background.spawn(async move {
            let _ = gone.await;
            within.spawn(tokio::task::yield_now());
        });
        background.spawn(async { panic!("while it runs") });
        let ended = background.ended();
        tokio::pin!(ended);
        while background.running() > 1 {
            tokio::task::yield_now().await;
        }
        assert!(futures_util::poll!(ended.as_mut()).is_pending());
        go.send(()).unwrap();
        ended.await;
        assert_eq!(background.running(), 0);
    }
}
